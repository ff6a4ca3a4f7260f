from __future__ import annotations

import dataclasses
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler import Config, InputError, Linear, Model, Program, quantize
from gatewright.compiler.analysis.figures import analyze
from gatewright.compiler.report.page import to_html, to_text
from gatewright.compiler.report.style import BLUE, ORANGE
from support import randoms

SEED = 3


@pytest.fixture(scope="module")
def model() -> Model:
    rng = np.random.default_rng(SEED)
    return Model(
        3,
        (
            randoms.recurrent(rng, "gru", "gru", ("x",), 3, 6),
            randoms.recurrent(rng, "lstm", "lstm", ("gru",), 6, 5),
            Linear("head", ("lstm",), rng.normal(size=(2, 5)), rng.normal(size=2)),
        ),
    )


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(SEED).normal(size=(4, 20, 3))


@pytest.fixture(scope="module")
def program(model, x) -> Program:
    return quantize(model, x, Config(lanes=6))


def test_formats_cover_every_tensor(program):
    rows = {row["tensor"]: row for row in analyze(program)["formats"]}
    for layer in program.network.layers:
        assert rows[layer.name]["frac"] == [layer.frac, layer.frac]
        for gate in layer.gates:
            for part, weights in (("W", gate.w), ("U", gate.u)):
                if weights is not None and weights.size:
                    row = rows[f"{layer.name}.{gate.gate.name}.{part}"]
                    assert row["range"][0] <= -row["peak"] or row["peak"] <= row["range"][1]
    assert rows["lstm.c"]["bits"] == program.network.numbers.cell_bits
    assert "gru as operand" in rows
    assert "head as operand" not in rows


def test_cycles_add_up(program):
    cycles = analyze(program)["cycles"]
    layers = cycles["layers"]
    assert sum(la["cycles"] for la in layers) + cycles["waiting"] == cycles["per_step"]
    assert sum(la["cycles"] for la in layers) == program.schedule.words
    assert sum(la["macs"] for la in layers) == program.network.macs
    assert cycles["waiting"] >= 0
    assert all(0 < la["utilization"] <= 1 for la in layers)


def test_memories_are_those_of_the_images(program):
    bits = {m["memory"]: m["bits"] for m in analyze(program)["memories"]}
    assert bits["weights"] == program.summary["weight_rom_bits"]
    assert bits["control"] == program.summary["beat_rom_bits"]
    assert min(bits.values()) > 0


def test_error_against_float_leaves_padding_out(program, model, x):
    lengths = np.array([20, 5, 1, 12])
    padded = x.copy()
    padded[np.arange(20) >= lengths[:, None]] = 0
    error = analyze(program, padded, lengths, model)["error"]
    valid = np.arange(20) < lengths[:, None]
    difference = np.abs(program.run(padded) - model.run(padded))[valid]
    assert error["max"] == difference.max()
    assert error["mean"] == pytest.approx(difference.mean())
    assert error["by_step"]["step"] == list(range(20))
    assert max(error["by_step"]["max"]) == error["max"]
    alone = np.abs(program.run(padded) - model.run(padded))[0, 19]  # the others have ended
    assert error["by_step"]["mean"][19] == pytest.approx(alone.mean())


def test_peaks_of_the_data(program, x):
    analysis = analyze(program, 100 * x)
    rows = {row["tensor"]: row for row in analysis["formats"]}
    assert rows["x"]["peak"] == pytest.approx(-rows["x"]["range"][0])  # clipped
    assert 0 < rows["lstm.c"]["peak"]
    assert analysis["data"]["steps"] == 80


def test_a_single_sequence(program, model, x):
    assert analyze(program, x[0], None, model)["data"]["sequences"] == 1


def test_refusals(program, model, x):
    with pytest.raises(InputError, match="needs data"):
        analyze(program, model=model)
    rng = np.random.default_rng(SEED)
    other = Model(3, (randoms.recurrent(rng, "gru", "gru", ("x",), 3, 7),))
    with pytest.raises(InputError, match=r"gru \(gru, 7\), the program .*gru \(gru, 6\)"):
        analyze(program, x, None, other)
    with pytest.raises(InputError, match="lengths"):
        analyze(program, x, np.array([1, 2]))


def test_text_holds_every_figure(program, model, x):
    text = to_text(analyze(program, x, None, model))
    for word in ("gru.n.U", "lstm.c", "weights", "waiting", "Saturations", "utilization", "rms"):
        assert word in text
    assert f"{program.summary['cycles_per_step']:,}" in text


def test_page_is_self_contained_and_the_same_twice(program, model, x):
    analysis = analyze(program, x, None, model)
    page = to_html(analysis, program)
    assert page == to_html(json.loads(json.dumps(analysis)), program)
    assert page.count("<svg") == 3
    # The only addresses are names of XML vocabularies.
    assert set(re.findall(r"https?://[^\"' )]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "<script" not in page
    assert "<image" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert not re.search(r"\d{4}-\d\d-\d\d", page)


def test_error_of_a_single_step_is_drawn(program, model, x):
    """A line through one point would be invisible: both errors are dots, in plot and legend."""
    dots = [
        len(
            re.findall(
                f"<use [^>]*fill: {color}",
                to_html(analyze(program, x[:, :n], None, model), program),
            )
        )
        for n in (1, 2)
        for color in (ORANGE, BLUE)
    ]
    assert dots == [2, 2, 0, 0]


def test_identifiers_of_the_plots_do_not_collide(program, model, x):
    page = to_html(analyze(program, x, None, model), program)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names)) > 10
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', page)) <= set(names)


def test_command_writes_text_json_and_page(tiny, tmp_path, capsys):
    program, page = str(tiny / "program"), tmp_path / "r.html"
    capsys.readouterr()
    assert main(["report", program]) == 0
    assert "Formats" in capsys.readouterr().out
    data = ["--data", str(tiny / "x.npz"), "--model", str(tiny / "model.safetensors")]
    assert main(["report", program, *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["error"]["max"] > 0
    assert main(["report", program, *data, "--html", str(page)]) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_without_matplotlib(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code = main(["report", str(tiny / "program"), "--html", str(tmp_path / "r.html")])
    assert code == 3
    assert "pip install 'gatewright[plot]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_refuses_another_model_of_the_same_sizes(program, model, x):
    rng = np.random.default_rng(SEED)
    gru, lstm, head = model.layers
    other = Model(3, (randoms.recurrent(rng, "gru", "mgu", ("x",), 3, 6), lstm, head))
    with pytest.raises(InputError, match=r"gru \(mgu, 6\).*gru \(gru, 6\).*program was made of"):
        analyze(program, x, None, other)
    with pytest.raises(InputError, match=r"g \(gru, 6\)"):
        analyze(
            program,
            x,
            None,
            Model(
                3,
                (
                    dataclasses.replace(gru, name="g"),
                    *map(
                        lambda layer: (
                            dataclasses.replace(layer, inputs=("g",))
                            if layer.inputs == ("gru",)
                            else layer
                        ),
                        (lstm, head),
                    ),
                ),
            ),
        )


def test_labels_are_classes(program, x, tiny, tmp_path, capsys):
    with pytest.raises(InputError, match="label 2 is 7; the model has 2 outputs"):
        analyze(program, x, labels=[0, 1, 7, 0])
    np.save(tmp_path / "y.npy", [0, 1, 0, 1, -1])
    arguments = [str(tiny / "program"), "--data", str(tiny / "x.npz")]
    assert main(["report", *arguments, "--labels", str(tmp_path / "y.npy")]) == 1
    assert "label 4 is -1" in capsys.readouterr().err
