"""Where an error comes from: roundings switched off change what they should and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.analysis.figures import analyze
from gatewright.compiler.analysis.noise import (
    _with_float_weights,
    _with_wide_operands,
    contributions,
    explain,
    finer,
)
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.report.page import to_html
from gatewright.compiler.report.subject import Subject
from gatewright.compiler.report.text import to_text
from support.randoms import extreme_codes, program, recurrent


@pytest.mark.parametrize("seed", range(10))
def test_a_finer_network_has_the_same_outputs(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), largest=6)
    x = extreme_codes(p, np.random.default_rng(seed), 2, 8)
    expected = golden.run(p.network, x).outputs
    assert (golden.run(finer(p.network), x).outputs == expected).all()
    # Operands that need no rounding are not rounded either way.
    wide, bits = _with_wide_operands(replace(p.network))
    assert wide.numbers.operand_shift == 0 and bits == p.network.numbers.operand_shift


def model(seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 4, 8),
        recurrent(rng, "b", "lstm", ("a",), 8, 5),
        Linear("y", ("b",), rng.normal(size=(3, 5)), rng.normal(size=3)),
    )
    return Model(4, layers)


X = np.random.default_rng(1).normal(size=(6, 50, 4))


@pytest.mark.parametrize("gate", ["a.r", "a.n", "b.f", "y.y"])
def test_the_gate_that_was_made_coarse_is_named(gate: str) -> None:
    m = model()
    config = Config(14, activation_bits=16, weight_widths={gate: 3}, rounding="nearest")
    p = quantize(m, X, config)
    found = contributions(p, m, X, None)
    worst = found["parts"][0]
    assert worst["what"] == f"rounding of the weights of {gate}" and worst["bits"] == 3
    assert worst["share"] > 0.99
    assert f"{gate} (3 bits)" in explain({}, found)[0]
    layer = p.network.layer(gate.split(".")[0])
    g = next(g for g in layer.gates if g.gate.name == gate.split(".")[1])
    fixed = _with_float_weights(p.network, m, layer, g)
    codes = p.encode(X)
    off = golden.run(fixed, codes).outputs * fixed.output_steps - m.run(X)
    assert np.abs(off).max() < 5e-3


def test_coarse_operands_are_named() -> None:
    m = model()
    found = contributions(quantize(m, X, Config(16, activation_bits=5)), m, X, None)
    shares = {part["what"]: part["share"] for part in found["parts"]}
    both = shares["rounding of states to operands"] + shares["rounding of the input"]
    assert both > 0.9
    assert "operands (5 bits)" in explain({}, found)[0] or "input (5 bits)" in explain({}, found)[0]


def test_a_state_that_saturates_is_named_with_its_share() -> None:
    one = np.ones((1, 1))
    counter = Model(
        1, (Recurrent("sum", "rnn", ("x",), 1, 1, {"n": one}, {"n": one}, candidate="relu"),)
    )
    p = quantize(counter, np.full((1, 10, 1), 0.5), Config(lanes=1, rounding="nearest"))
    analysis = analyze(p, np.full((1, 40, 1), 0.5), None, counter)
    clipped, of = analysis["data"]["saturations"]["sum.n"]
    assert (
        analysis["limits"]["text"][0]
        == f"the state saturates in layer sum, {100 * clipped / of:.1f} % of values"
    )


def test_clipped_input_is_named() -> None:
    m = model()
    p = quantize(m, X, Config())
    analysis = analyze(p, 100 * X, None, m)
    assert analysis["data"]["saturations"]["x"][1] == X.size
    assert analysis["limits"]["text"][0].startswith("the input is clipped by its format, 9")


@pytest.mark.parametrize("steps", [12, 20])
def test_clipped_calibration_is_in_the_summary(steps: int) -> None:
    """Few large values: the format that errs least clips them, and quantizing says so."""
    x = np.random.default_rng(0).normal(size=(40, 20, 4))
    x[0, 3, 1], x[1, 15, 2] = 8.0, -8.0
    config = Config(activation_bits=4, calibration_method="mse")
    p = quantize(model(), x, config, lengths=np.full(40, steps))
    value = x[:, :steps] / p.input_format.step
    beyond = int(((value < -8.5) | (value >= 7.5)).sum())
    assert 0 < beyond < value.size / 100
    assert p.summary["saturations"]["x"] == [beyond, value.size]
    found = analyze(p, x, np.full(40, steps))["data"]["saturations"]
    assert found["x"] == [beyond, value.size]


def test_report_has_ratios_and_accuracy() -> None:
    m = model()
    p = quantize(m, X, Config())
    labels = m.run(X)[:, -1].argmax(1)
    labels[0] = (labels[0] + 1) % 3
    analysis = analyze(p, X, None, m, labels)
    assert analysis["accuracy"]["float"] == pytest.approx(5 / 6)
    snr = {row["tensor"]: row.get("snr") for row in analysis["formats"]}
    # A weight of 8 bits that fills its format has 6.02 * 8 - some dB.
    assert all(30 < snr[f"a.{g}.{part}"] < 50 for g in "rzn" for part in "WU")
    wide = analyze(quantize(m, X, Config(16, activation_bits=16)), X, None, m, labels)
    for row in wide["formats"]:
        if snr.get(row["tensor"]) and row["kind"] in ("weight", "state", "gate", "vector", "input"):
            assert row["snr"] > snr[row["tensor"]] + 10, row
    text = to_text(analysis)
    for part in (
        "signal to noise",
        " dB",
        "accuracy",
        "float 83.3 %",
        "What the error comes from",
        "limit",
    ):
        assert part in text
    assert "What the error comes from" in to_html([Subject("p", p, analysis)])


def test_ratio_of_the_input_by_hand() -> None:
    m = model()
    p = quantize(m, X, Config(activation_bits=6))
    fmt = p.input_format
    off = fmt.value(fmt.quantize(X)) - X
    row = analyze(p, X, None, m)["formats"][0]
    assert row["snr"] == pytest.approx(10 * np.log10((X**2).mean() / (off**2).mean()))


def test_refuses_labels_that_do_not_fit() -> None:
    m = model()
    p = quantize(m, X, Config())
    with pytest.raises(InputError, match="5 labels for 6 sequences"):
        analyze(p, X, None, None, np.zeros(5, int))
    with pytest.raises(InputError, match="accuracy needs data"):
        analyze(p, None, None, None, np.zeros(6, int))
