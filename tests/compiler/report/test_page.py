from __future__ import annotations

import dataclasses
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler import Config, InputError, Linear, Model, Program, quantize
from gatewright.compiler.analysis.figures import analyze
from gatewright.compiler.layout.timeline import timeline
from gatewright.compiler.program.chain import load_program
from gatewright.compiler.report import charts
from gatewright.compiler.report.page import to_html
from gatewright.compiler.report.subject import Subject
from gatewright.compiler.report.text import to_text
from gatewright.compiler.report.verdicts import facts
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


# -- the page ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(program, model, x) -> Subject:
    made = analyze(program, x, None, model, np.array([0, 1, 1, 0]))
    boards = [
        {"name": "dear", "device": "D", "price": [90, 99], "fits": True, "lanes": 6, "luts": 9000,
         "cycles_per_step": made["summary"]["cycles_per_step"], "estimate": {"luts": 3000, "multipliers": 8},
         "multipliers": 0, "steps_per_second": 5e5, "microseconds_per_step": 2.0},
        {"name": "cheap", "device": "C", "price": [9, 12], "fits": True, "lanes": 6, "luts": 4000,
         "cycles_per_step": made["summary"]["cycles_per_step"], "estimate": {"luts": 3000, "multipliers": 7},
         "multipliers": 20, "steps_per_second": 2.5e5, "microseconds_per_step": 4.0},
        {"name": "small", "device": "S", "price": [5, 6], "fits": "6 lanes on small: needs 3,000 LUTs",
         "luts": 900, "multipliers": 2},
    ]  # fmt: skip
    proof = {"bit_exact": True, "cycle_exact": True, "steps": 80, "simulator": "verilator"}
    return Subject("speakers", program, made, None, boards, proof)


class Checker(HTMLParser):
    """Checks that elements are closed in order; collects their attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data * (self.open[-1:] != ["style"])


def checked(page: str) -> Checker:
    found = Checker()
    found.feed(page)
    assert found.open == []
    return found


def test_page_is_self_contained_and_the_same_twice(labelled):
    page = to_html([labelled], "gatewright report program")
    again = dataclasses.replace(labelled, analysis=json.loads(json.dumps(labelled.analysis)))
    assert page == to_html([again], "gatewright report program")
    found = checked(page)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "img", "image", "link", "iframe", "object", "use", "text"}
    assert not re.search(r"https?:|url\(|@import|src=|href=|\bon\w+=", page)
    assert not re.search(r"\d{4}-\d\d-\d\d", page)
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert ElementTree.fromstring(svg).get("aria-label") or "aria-hidden" in svg
    assert len(page) < 120_000


def test_first_screen_answers(labelled):
    said = {fact.label: fact for fact in facts(labelled)}
    accuracy = labelled.analysis["accuracy"]
    assert said["Accuracy"].value == f"{100 * accuracy['program']:.1f}\N{NO-BREAK SPACE}%"
    assert f"{100 * accuracy['float']:.1f}" in said["Accuracy"].detail
    assert said["A step"].value == "4 µs" and "250,000" in said["A step"].detail
    assert said["Boards it fits"].value == "2 of 3" and "cheap" in said["Boards it fits"].detail
    assert said["Multipliers"].value == "7"
    assert said["Proven"].mark == "good" and "80 steps" in said["Proven"].detail
    text = checked(to_html([labelled])).text
    for fact in said.values():
        assert fact.value in text and fact.detail in text


def test_nothing_is_claimed_that_was_not_compared(labelled):
    for proof, mark in (
        (None, "open"),
        (labelled.proof | {"bit_exact": False}, "bad"),
        (labelled.proof | {"cycle_exact": False}, "bad"),
    ):
        subject = dataclasses.replace(labelled, proof=proof)
        assert {fact.label: fact.mark for fact in facts(subject)}["Proven"] == mark
    nothing = dataclasses.replace(
        labelled, boards=[], analysis=analyze(labelled.program), proof=None
    )
    text = checked(to_html([nothing])).text
    assert "not compared here" in text and "Not measured" in text
    assert "Float against" not in text and "Classes" not in text and "Boards" not in text


HOSTILE = "\"><script>alert('&')</script><b onclick=x>"


def test_text_from_elsewhere_is_escaped(x):
    """Names of layers, folders, boards, logs and classes are what a stranger wrote."""
    rng = np.random.default_rng(SEED)
    layer = randoms.recurrent(rng, HOSTILE, "gru", ("x",), 3, 4)
    program = quantize(Model(3, (layer,)), x, Config(lanes=4))
    made = analyze(program, x, labels=np.zeros(4, int))
    made["classes"]["names"] = [HOSTILE] * 4
    build = {
        "board": HOSTILE, "device": HOSTILE, "bitstream": None, "error": HOSTILE, "estimate": {},
        "tries": [{"target_mhz": 1.0, "seed": 1, "fmax_mhz": 2.0, "log": HOSTILE}],
        "path": [{"kind": HOSTILE, "ns": 1.0, "name": HOSTILE}],
    }  # fmt: skip
    proof = {"bit_exact": True, "cycle_exact": True, "steps": 1, "simulator": HOSTILE}
    boards = [{"name": HOSTILE, "device": "", "price": [1, 2], "fits": HOSTILE}]
    for subject in (
        Subject(HOSTILE, program, made, build, [], proof),
        Subject(HOSTILE, program, made, None, boards),
    ):
        for page in (to_html([subject], HOSTILE), to_html([subject, subject], HOSTILE)):
            found = checked(page)
            assert "script" not in {tag for tag, _ in found.tags}
            assert not any("onclick" in attributes for _, attributes in found.tags)
            assert found.text.count(HOSTILE) > 10


def test_text_has_contrast_in_the_light_and_in_the_dark(labelled):
    """At least 4.5 to 1 for text, as WCAG 2.1 AA asks for; shapes are told apart by place as well."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    schemes = re.findall(r":root \{(.*?)\}", to_html([labelled]), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", scheme))
        for name, ground, least in (
            *((n, g, 4.5) for n in ("text", "soft", "good", "bad") for g in ("ground", "card")),
            *((f"c{k}", "ground", 2.0) for k in range(6)),
        ):
            high, low = sorted(map(luminance, (colours[name], colours[ground])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (name, ground)


def test_schedule_is_drawn_to_the_cycle(labelled):
    """Every cycle of the lanes' line is a word or a wait, as in the schedule."""
    done = timeline(labelled.program.schedule)
    page = to_html([labelled])
    line = re.search(r'<svg viewBox="0 0 (\d+) 10"[^>]*class="strip tall".*?</svg>', page)
    assert line and int(line[1]) == done.cycles
    drawn = {"word": 0, "wait": 0}
    for path, kind in re.findall(r'<path d="([^"]*)" class="([a-z0-9]+)', line[0]):
        if kind != "mark":
            drawn["wait" if kind == "wait" else "word"] += sum(
                int(n) for n in re.findall(r"h(\d+)v", path)
            )
    assert drawn["word"] == labelled.program.schedule.words
    assert drawn["wait"] == sum(wait.cycles for wait in done.waits)


def test_bars_are_as_long_as_their_shares(labelled):
    page = to_html([labelled])
    parts = labelled.analysis["limits"]["parts"][:10]
    widths = [float(w) for w in re.findall(r'<i style="width:([\d.]+)%" class="c[01]">', page)]
    shares = [min(1.0, max(0.0, part["share"])) for part in parts]
    assert widths[: len(parts)] == pytest.approx([100 * share for share in shares], abs=0.01)
    said = re.findall(r"<b>(\N{MINUS SIGN}?[\d.]+) %</b>", page)[: len(parts)]
    values = [float(text.replace("\N{MINUS SIGN}", "-")) for text in said]
    assert values == pytest.approx([100 * part["share"] for part in parts], rel=0, abs=0.051)


def test_curves_hold_every_step():
    x, y = charts.Axis(0, 9), charts.Axis(1, 100, log=True)
    d = re.search(r'd="M([^"]*)"', charts.curve(range(10), [10.0] * 10, x, y, "c0"))
    assert d is not None
    points = [tuple(map(float, point.split())) for point in d[1].split("L")]
    assert [a for a, _ in points] == pytest.approx([1000 * k / 9 for k in range(10)], abs=0.01)
    assert {b for _, b in points} == {500.0}
    # A line through one point would be invisible.
    alone = charts.curve([4.0], [10.0], x, y, "c0")
    assert alone.count("L") == 1


@pytest.mark.parametrize("seed", range(20))
def test_ticks_are_few_round_and_inside(seed):
    rng = np.random.default_rng(seed)
    low = float(rng.normal() * 10.0 ** rng.integers(-6, 6))
    axis = charts.Axis(low, low + float(rng.uniform(0.1, 9) * 10.0 ** rng.integers(-6, 6)))
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7, (axis, ticks)
    assert all(-1e-6 <= axis.place(tick) <= 1 + 1e-6 for tick in ticks), (axis, ticks)
    first = 10.0 ** float(rng.uniform(-6, 6))
    log = charts.Axis(first, first * 10.0 ** float(rng.uniform(0.8, 9)), log=True)
    assert 2 <= len(log.ticks()) <= 8 and all(0 <= log.place(t) <= 1 for t in log.ticks()), log


def test_programs_side_by_side(labelled, model, x):
    other = quantize(model, x, Config(lanes=3, weight_bits=4))
    second = Subject("narrow", other, analyze(other, x, None, model, np.array([0, 1, 1, 0])))
    found = checked(to_html([labelled, second]))
    assert "speakers, narrow" in found.text
    rows = re.findall(r"<tr>.*?</tr>", to_html([labelled, second]), re.DOTALL)
    cycles = next(row for row in rows if "Cycles a step" in row)
    assert cycles.index('class="best"') < cycles.index(f"{other.summary['cycles_per_step']:,}<")
    memory = next(row for row in rows if ">Memory<" in row)
    assert memory.index("KiB") < memory.index('class="best"')
    # What both have in equal measure is not marked.
    same = re.findall(r"<tr>.*?</tr>", to_html([labelled, labelled]), re.DOTALL)
    assert not any('class="best"' in row for row in same)


def test_an_argmax_is_compared_before_it(model, x):
    """The error is that of the outputs; their index is compared with the float model's."""
    programs = [quantize(model, x, Config(lanes=6, argmax=flag)) for flag in (False, True)]
    plain, argmax = (analyze(p, x, None, model, np.array([0, 1, 1, 0])) for p in programs)
    assert argmax["error"] == plain["error"]
    assert argmax["accuracy"] == plain["accuracy"]
    assert "agreement" not in plain
    expected = (programs[0].run(x)[:, -1].argmax(1) == model.run(x)[:, -1].argmax(1)).mean()
    assert argmax["agreement"] == expected
    assert f"{100 * expected:.1f} % of the sequences are taken" in to_text(argmax)
    assert (
        "Agreement"
        in checked(to_html([Subject("a", programs[1], analyze(programs[1], x, None, model))])).text
    )


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


def test_a_page_needs_no_matplotlib(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(tiny / "program"), "--html", str(tmp_path / "r.html")]) == 0


def test_command_puts_folders_side_by_side(tiny, tmp_path, capsys):
    for name, lanes in (("few", 2), ("many", 12)):
        load_program(tiny / "program").with_lanes(lanes).save(tmp_path / name / "program")
    folders = [str(tmp_path / name / "program") for name in ("few", "many")]
    capsys.readouterr()
    assert main(["report", *folders]) == 0
    text = capsys.readouterr().out
    assert text.split("\n")[0].split() == ["few", "many"] and "Cycles a step" in text
    assert main(["report", *folders, "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert [r["summary"]["lanes"] for r in reports] == [2, 12]
    page = tmp_path / "r.html"
    data = ["--data", str(tiny / "x.npz"), "--model", str(tiny / "model.safetensors")]
    assert main(["report", *folders, *data, "--html", str(page)]) == 0
    found = checked(page.read_text())
    assert "few, many" in found.text and str(tmp_path) not in page.read_text()
    command = (
        "gatewright report program program --data x.npz --model model.safetensors --html r.html"
    )
    assert command in found.text
    same = [folders[0], str(tmp_path / "few" / "program")]
    assert main(["report", *same]) == 0  # the same name twice
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    capsys.readouterr()
    assert main(["report", *folders, "--data", str(tmp_path / "wide.npy")]) == 1
    assert f"error: {folders[0]}: " in capsys.readouterr().err


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
