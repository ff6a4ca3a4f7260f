"""Formats, rounding and the bound on accumulators; what is refused is refused by name."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.ir.network import BOUNDED, QNetwork
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.lowering import quantize_network
from gatewright.compiler.quantizer.pipeline import quantize
from support.randoms import config, extreme_codes, model, program, recurrent

ALL = tuple(CELLS)


# -- bounds ---------------------------------------------------------------------------------


def worst_operands(row: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[int, int]:
    """Return the least and the largest sum a row of weights can have, in Python integers."""
    ends = [(w * lo, w * hi) for w, lo, hi in zip(row, low, high, strict=True)]
    return sum(int(min(e)) for e in ends), sum(int(max(e)) for e in ends)


def extremes(network: QNetwork) -> tuple[int, int, int, int]:
    """Return the least and largest accumulator and sum that any operands can make.

    Every operand is at the end of its format that the sign of its weight asks for; a
    reset gate is fully open, and its hidden part at the end of its format.
    """
    n = network.numbers
    half = 1 << (n.activation_bits - 1)
    accs, sums = [0], [0]
    for layer in network.layers:
        shifts = np.repeat(
            network.input_shifts(layer), [network.size(name) for name in layer.inputs]
        )
        for g in layer.gates:
            for k in range(layer.size if g.gate.source == "acc" else 0):
                low = high = bias = 0
                for w, wide, shift, b in (
                    (g.w, shifts, g.shift_input, g.bias_input),
                    (g.u, np.zeros(layer.size, int), g.shift_recurrent, g.bias_recurrent),
                ):
                    part = (0, 0)
                    if w is not None:
                        part = worst_operands(w[k], -half << wide, (half - 1) << wide)
                        accs += part
                    part = tuple((v << int(shift[k])) + int(b[k]) for v in part)
                    sums += part  # each part stands alone in the hardware, too
                    if g.gate.reset and w is g.u:
                        hidden = 1 << (n.hidden_bits - 1)
                        product = hidden << n.gate_bits - 1
                        amount = n.gate_frac - n.hidden_shift
                        product = product >> amount if amount > 0 else product << -amount
                        part = (-product - 1, product + 1)
                    low, high, bias = low + part[0], high + part[1], bias + 1
                rounding = 1 << n.sum_shift >> 1
                sums += [low, high + rounding]
    return min(accs), max(accs), min(sums), max(sums)


@pytest.mark.parametrize("seed", range(60))
def test_no_operands_pass_the_bounds(seed: int) -> None:
    check_bounds(program(seed, cells=ALL, largest=10).network)


@pytest.mark.parametrize("large", ["w", "u"])
def test_bounds_of_parts_of_very_different_size(large: str) -> None:
    rng = np.random.default_rng(0)
    made = recurrent(rng, "layer", "gru_reset_before", ("x",), 3, 4)
    scaled = {gate: 500 * matrix for gate, matrix in getattr(made, large).items()}
    made = replace(made, **{large: scaled})
    check_bounds(quantize(Model(3, (made,)), None, Config(lanes=1)).network)


def check_bounds(network: QNetwork) -> None:
    acc_bits, sum_bits = network.bounds()
    acc_low, acc_high, sum_low, sum_high = extremes(network)
    assert -(1 << (acc_bits - 1)) <= acc_low and acc_high < 1 << (acc_bits - 1)
    assert -(1 << (sum_bits - 1)) <= sum_low and sum_high < 1 << (sum_bits - 1)
    # One bit less for the accumulators would be too few, but for the end of the operands: the
    # bound takes their largest magnitude, 2**(bits - 1), which no positive operand has.
    if acc_bits > 2:
        top = 1 << (network.numbers.activation_bits - 1)
        assert max(acc_high, -acc_low) * max(1.1, top / (top - 1)) >= 1 << (acc_bits - 2)


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_a_run_stay_within_the_bounds(seed: int) -> None:
    p = program(seed, cells=ALL, largest=10)
    sum_bits = p.network.bounds()[1]
    rng = np.random.default_rng(seed)
    result = golden.run(p.network, extreme_codes(p, rng, 4, 12), trace=True)
    sums = [np.abs(v).max() for name, v in result.trace.items() if name.endswith(".acc")]
    assert max(sums) < 1 << (sum_bits - 1)


# -- formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_formats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = model(rng, cells=ALL)
    c = config(rng, model=m)
    x = rng.normal(size=(2, 12, m.input_size))
    measured = calibrate(m, x)
    network = quantize_network(m, c, measured)
    n = network.numbers
    for layer in network.layers:
        limit = 2.0 ** (n.state_bits - 1 - layer.frac)
        if layer.has_cell_state or layer.gates[-1].act in BOUNDED:
            assert limit == 1.0
        elif measured.ranges[layer.name]:
            assert measured.ranges[layer.name] <= limit <= 2.6 * measured.ranges[layer.name]
        for g in layer.gates:
            if g.gate.source != "acc":
                continue
            half = 1 << (c.weight_width(layer.name, g.gate.name) - 1)
            for codes in (g.w, g.u):
                assert codes is None or (-half <= codes.min() and codes.max() < half)
            assert (g.shift_input >= 0).all() and (g.shift_recurrent >= 0).all()
            if not g.gate.reset:
                assert not g.bias_recurrent.any()
    assert network.input_format.bits == c.activation_bits


def test_input_format_follows_the_data() -> None:
    m = Model(1, (Linear("y", ("x",), np.ones((1, 1))),))
    for scale in (1e-3, 1.0, 500.0):
        x = np.random.default_rng(0).uniform(-scale, scale, (1, 500, 1))
        fmt = quantize(m, x, Config(lanes=1)).network.input_format
        assert scale <= fmt.high * fmt.step * 1.01 <= 2.1 * scale
    # One outlier in 20,000 does not cost everything else its resolution.
    x = np.random.default_rng(0).normal(0, 0.1, (1, 20_000, 1))
    x[0, 0] = 1.6
    fmt = quantize(m, x, Config(lanes=1, activation_bits=4)).network.input_format
    assert fmt.high * fmt.step < 0.8


def test_widths_of_layers_and_gates_are_kept() -> None:
    """Every gate uses the width it was given: some row's largest weight fills it."""
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 5, 9),
        recurrent(rng, "b", "lstm", ("a",), 9, 9),
        Linear("y", ("b",), rng.normal(size=(4, 9))),
    )
    c = Config(weight_bits=7, weight_widths={"a.n": 3, "b": 5, "b.o": 9}, lanes=1)
    network = quantize(Model(5, layers), None, c).network
    for layer in network.layers:
        for g in layer.gates:
            bits = c.weight_width(layer.name, g.gate.name) if g.gate.source == "acc" else 0
            assert g.bits == bits
            for codes in (g.w, g.u):
                if codes is not None:
                    assert 1 << (bits - 2) <= np.abs(codes).max() <= 1 << (bits - 1)
    assert network.numbers.weight_bits == 9


@pytest.mark.parametrize("name", ["c", "a.x", "a.", "y.w", "b.h", ""])
def test_refuses_widths_of_what_is_not_there(name: str) -> None:
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 2, 3),
        recurrent(rng, "b", "lstm", ("a",), 3, 3),
        Linear("y", ("b",), np.ones((1, 3))),
    )
    told = re.escape(f"a weight width is given for {name!r}, which the model does not have; ")
    has = re.escape("it has a (gates r z n), b (gates i g f o), y (gates y)")
    message = rf"{told}(did you mean '[aby]\.\w'\? )?{has}"
    with pytest.raises(InputError, match=message):
        quantize(Model(2, layers), None, Config(weight_widths={name: 4}))


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_compensated_rounding_is_no_worse_than_nearest(bits: int) -> None:
    """Mean squared error of a linear layer's output, inputs correlated as features are."""
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(1, 400, 4)) @ rng.normal(size=(4, 12)) + rng.normal(size=12)
        x += 0.1 * rng.normal(size=x.shape)
        m = Model(12, (Linear("y", ("x",), rng.normal(size=(8, 12)), rng.normal(size=8)),))
        errors = []
        for rounding in ("compensated", "nearest"):
            c = Config(weight_bits=bits, activation_bits=16, lanes=1, rounding=rounding)
            errors.append(float(np.mean((quantize(m, x, c).run(x) - m.run(x)) ** 2)))
        ratios.append(errors[0] / errors[1])
    print(f"{bits} bits: error of compensated over nearest {np.round(ratios, 2)}")
    assert max(ratios) <= 1.0
    assert np.mean(ratios) < 0.7


# -- corner cases ---------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_all_zero_weights(cell: str) -> None:
    zero = np.zeros((3, 2)), np.zeros((3, 3))
    spec = CELLS[cell].weighted
    layer = Recurrent(
        "zero", cell, ("x",), 3, 2,
        {g.name: zero[0] for g in spec if g.input}, {g.name: zero[1] for g in spec if g.recurrent},
    )  # fmt: skip
    p = quantize(Model(2, (layer,)), None, Config(lanes=1))
    assert not p.run(np.ones((4, 2))).any()


@pytest.mark.parametrize("cell", CELLS)
def test_one_neuron_one_input(cell: str) -> None:
    rng = np.random.default_rng(0)
    m = Model(1, (recurrent(rng, "one", cell, ("x",), 1, 1),))
    x = rng.normal(size=(2, 30, 1))
    p = quantize(m, x, Config(weight_bits=16, activation_bits=16, lanes=1))
    assert np.abs(p.run(x) - m.run(x)).max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7])
def test_constant_input(value: float) -> None:
    m = Model(4, (recurrent(np.random.default_rng(0), "gru", "gru", ("x",), 4, 6),))
    x = np.full((1, 20, 4), value)
    p = quantize(m, x, Config(weight_bits=16, activation_bits=16, lanes=1))
    assert np.abs(p.run(x) - m.run(x)).max() < 2e-3


def test_a_layer_that_calibration_leaves_silent() -> None:
    """A ReLU that never opens on the data gives no range; it must still quantize and open."""
    layers = (
        recurrent(np.random.default_rng(0), "gru", "gru", ("x",), 2, 4),
        Linear("off", ("gru",), np.ones((2, 4)), np.array([-9.0, -9.0]), "relu"),
    )
    p = quantize(Model(2, layers), None, Config(lanes=1))
    assert not p.run(np.ones((5, 2))).any()
    assert p.network.layer("off").frac == 14  # range 2, as for an output of one


def test_lengths_leave_padding_out() -> None:
    rng = np.random.default_rng(0)
    m = Model(3, (recurrent(rng, "gru", "gru", ("x",), 3, 4),))
    x = rng.normal(size=(2, 10, 3))
    padded = np.concatenate([x, np.full((2, 5, 3), 1e3)], axis=1)
    one = quantize(m, x, Config(lanes=1))
    two = quantize(m, padded, Config(lanes=1), lengths=[10, 10])
    assert one.digest == two.digest


def test_without_data_it_says_so() -> None:
    m = Model(3, (recurrent(np.random.default_rng(0), "gru", "gru", ("x",), 3, 4),))
    assert quantize(m, None, Config(lanes=1)).quality["calibration"] == "synthetic"
    assert quantize(m, np.ones((4, 3)), Config(lanes=1)).quality["calibration"] == "data"


# -- refusals -------------------------------------------------------------------------------


def layer(cell: str = "gru", name: str = "layer", **options: object) -> Recurrent:
    made = recurrent(np.random.default_rng(0), name, cell, ("x",), 2, 2)
    return Recurrent(
        name, cell, made.inputs, 2, 2, made.w, made.u, made.b, made.c, **options  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (layer(gate="tanh"), "layer: gate activation 'tanh' is not supported in the GRU.* 0 to 1"),
        (layer("mgu", gate="relu"), "'relu' is not supported .*; use one of sigmoid, hard_sigmoid"),
        (layer("lstm", candidate="relu"), "layer: candidate activation 'relu' is not supported"),
        (layer("lstm", output="none"), "layer: output activation 'none' .* it multiplies a gate"),
    ],
)
def test_refuses_activations(made: Recurrent, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantize(Model(2, (made,)), None, Config(lanes=1))


def test_refuses_two_slopes() -> None:
    one = layer(name="one", gate="hard_sigmoid", slope=0.2)
    two = layer(name="two", gate="hard_sigmoid", slope=1 / 6)
    with pytest.raises(InputError, match=r"different slopes \[0.1666.*, 0.2\]"):
        quantize(Model(2, (one, two), ("one", "two")), None, Config(lanes=1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_calibration_that_is_not_finite(value: float) -> None:
    x = np.ones((1, 4, 2))
    x[0, 2, 1] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        quantize(Model(2, (layer(),)), x, Config(lanes=1))


@pytest.mark.parametrize("shape", [(4,), (1, 4, 3), (4, 3), (1, 1, 4, 2)])
def test_refuses_calibration_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected"):
        quantize(Model(2, (layer(),)), np.ones(shape), Config(lanes=1))


@pytest.mark.parametrize("scale", [1e30, 1e200, 1e300])
def test_refuses_weights_no_accumulator_holds(scale: float) -> None:
    w = np.array([[1.0, scale]])
    m = Model(2, (Linear("a", ("x",), w, activation="tanh"), Linear("y", ("a",), np.ones((1, 1)))))
    with pytest.raises(InputError, match="rescale"):
        quantize(m, None, Config(lanes=1))


@pytest.mark.parametrize("scale", [1e30, 1e160, 1e300])
def test_refuses_calibration_data_beyond_reason(scale: float) -> None:
    with pytest.raises(InputError):
        quantize(Model(2, (layer(),)), np.full((1, 4, 2), scale), Config(lanes=1))


# -- clipping -------------------------------------------------------------------------------


def test_the_cost_of_clipping_is_measured() -> None:
    """A pulse beyond the format: without clipping the error is that of rounding, as minmax has it."""
    rng = np.random.default_rng(0)
    m = Model(3, (recurrent(rng, "a", "gru", ("x",), 3, 4, candidate="relu"),))
    x = rng.normal(size=(2, 300, 3))
    x[0, 50] = 30
    found = {
        method: quantize(m, x, Config(lanes=1, calibration_method=method)).quality
        for method in ("percentile", "minmax")
    }
    cost = found["percentile"]["clipping"]
    assert found["percentile"]["saturations"]["a.n"][0] > 0
    assert cost["moved"] > 0.5 and cost["max"] > 3 * cost["max_without"]
    assert cost["max"] == found["percentile"]["error"]["max"]
    assert cost["max_without"] < 1.5 * found["minmax"]["error"]["max"]
    assert "clipping" not in found["minmax"]
