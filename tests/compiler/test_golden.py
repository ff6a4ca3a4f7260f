"""The golden model: close to floating point, resumable, and honest about saturation."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.pytorch import from_module
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from support.randoms import program, recurrent

WIDE = Config(weight_bits=16, activation_bits=16, lanes=6)
NARROW = Config(weight_bits=8, activation_bits=8, lanes=6)
FEATURES, H, T = 10, 20, 256


def one_layer(cell: str, seed: int = 1, **options: str) -> Model:
    rng = np.random.default_rng(seed)
    return Model(FEATURES, (recurrent(rng, "layer", cell, ("x",), FEATURES, H, **options),))


def largest_error(model: Model, config: Config) -> float:
    x = np.random.default_rng(2).normal(size=(2, T, FEATURES))
    return float(np.abs(quantize(model, x, config).run(x) - model.run(x)).max())


@pytest.mark.parametrize("cell", CELLS)
def test_16_bits_within_a_thousandth_of_float(cell: str) -> None:
    error = largest_error(one_layer(cell), WIDE)
    print(f"{cell}: max |h - float| = {error:.2e} over {T} steps")
    assert error <= 1e-3


# Weights of 8 bits have steps of about 1/100 of the largest, so a sum of 30 of them is wrong by
# some hundredths, and feedback multiplies that: a bound that catches a lost bit, no more.
@pytest.mark.parametrize("cell", CELLS)
def test_8_bits_within_a_tenth_of_float(cell: str) -> None:
    error = largest_error(one_layer(cell), NARROW)
    print(f"{cell}: max |h - float| = {error:.2e} over {T} steps")
    assert error <= 0.1


@pytest.mark.parametrize("seed", range(3))
def test_gru_against_torch(seed: int) -> None:
    torch.manual_seed(seed)
    module = torch.nn.GRU(FEATURES, H, batch_first=True)
    x = torch.randn(2, T, FEATURES)
    with torch.no_grad():
        expected = module(x)[0].numpy()
    p = quantize(from_module(module), x.numpy(), WIDE)
    error = float(np.abs(p.run(x.numpy()) - expected).max())
    print(f"seed {seed}: max |h - torch| = {error:.2e} over {T} steps")
    assert error <= 1e-3


def test_more_bits_are_closer() -> None:
    model = one_layer("gru")
    errors = [
        largest_error(model, Config(weight_bits=b, activation_bits=b, lanes=6))
        for b in (4, 8, 12, 16)
    ]
    print(errors)
    assert errors == sorted(errors, reverse=True)


def codes(p: Program, rng: np.random.Generator, n: int, steps: int) -> np.ndarray:
    """Return random codes over the whole input format, beyond what calibration saw."""
    f = p.network.input_format
    return rng.integers(f.low, f.high, (n, steps, p.network.input_size), endpoint=True)


@pytest.mark.parametrize("seed", range(12))
def test_a_run_cut_in_two_equals_the_whole(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), largest=8)
    x = codes(p, np.random.default_rng(seed), 3, 10)
    whole = golden.run(p.network, x)
    head = golden.run(p.network, x[:, :4])
    flat = head.state.flat(p.network)
    kept = flat.copy()
    given = golden.State.unflat(p.network, flat)
    tail = golden.run(p.network, x[:, 4:], given)
    assert (flat == kept).all() and (given.flat(p.network) == kept).all(), "a state was changed"
    assert (np.concatenate([head.outputs, tail.outputs], axis=1) == whole.outputs).all()
    assert (tail.state.flat(p.network) == whole.state.flat(p.network)).all()


@pytest.mark.parametrize("seed", range(12))
def test_sequences_do_not_mix(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), largest=8)
    x = codes(p, np.random.default_rng(seed), 3, 6)
    together = golden.run(p.network, x).outputs
    for k in range(3):
        assert (golden.run(p.network, x[k : k + 1]).outputs[0] == together[k]).all()


@pytest.mark.parametrize("seed", range(30))
def test_every_vector_stays_in_its_format(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), largest=8)
    n = p.network.numbers
    result = golden.run(p.network, codes(p, np.random.default_rng(seed), 4, 20), trace=True)
    for layer in p.network.layers:
        h = result.trace[layer.name]
        assert -(1 << (n.state_bits - 1)) <= h.min() and h.max() < 1 << (n.state_bits - 1)
        if layer.has_cell_state:
            c = result.trace[f"{layer.name}.c"]
            assert -(1 << (n.cell_bits - 1)) <= c.min() and c.max() < 1 << (n.cell_bits - 1)


def relu_counter(limit: float) -> tuple[Model, np.ndarray]:
    """Return an RNN that adds its input up, and input that sums to ``limit`` in 10 steps."""
    one = np.ones((1, 1))
    layer = Recurrent("sum", "rnn", ("x",), 1, 1, {"n": one}, {"n": one}, candidate="relu")
    return Model(1, (layer,)), np.full((1, 10, 1), limit / 10)


def test_saturations_are_counted() -> None:
    model, calibration = relu_counter(5.0)
    p = quantize(model, calibration, Config(lanes=1, rounding="nearest"))
    within = golden.run(p.network, p.encode(calibration))
    assert not within.saturations
    assert within.narrowings["sum.n"] == 10
    assert abs(p.decode(within.outputs)[0, -1, 0] - 5.0) < 0.05
    # Calibrated to 5 with a margin, the state holds up to 8: 40 steps of 0.5 pass that.
    beyond = golden.run(p.network, p.encode(np.full((1, 40, 1), 0.5)), trace=True)
    values = p.decode(beyond.outputs)[0, :, 0]
    top = ((1 << 15) - 1) * 2.0 ** -p.network.layers[0].frac
    assert values.max() == top
    exact = (beyond.trace["sum.n.acc"] >> p.network.numbers.sum_shift - 1) + 1 >> 1
    assert beyond.saturations["sum.n"] == (exact > (1 << 15) - 1).sum() > 20
    assert beyond.narrowings["sum.n"] == 40
    assert values.min() > 0, "never wraps"


@pytest.mark.parametrize("end", [3.0, -3.0])
def test_a_slow_state_neither_freezes_early_nor_drifts(end: float) -> None:
    """1/200 of the way a step: rounding stops 100 steps of the format short, from either side.

    Cutting bits off instead would stop 200 short when coming from below, and none from above.
    """
    zero = {g: np.zeros((1, 1)) for g in "rzn"}
    bias = {"r": np.zeros(1), "z": np.array([np.log(199.0)]), "n": np.array([end])}
    model = Model(1, (Recurrent("slow", "gru", ("x",), 1, 1, zero, zero, bias),))
    x = np.zeros((1, 2000, 1))
    error = np.abs(quantize(model, x, Config(lanes=1)).run(x) - model.run(x)).max() * 2**15
    print(f"{error:.0f} steps of the format")
    assert 80 < error < 130


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 4), (3,)])
def test_refuses_shapes(shape: tuple[int, ...]) -> None:
    p = quantize(Model(3, (Linear("y", ("x",), np.ones((1, 3))),)), None, Config(lanes=1))
    with pytest.raises(InputError, match="expected"):
        golden.run(p.network, np.zeros(shape, np.int64))


def test_refuses_codes_out_of_format_and_states_of_another_size() -> None:
    p = quantize(one_layer("lstm"), None, Config(lanes=1))
    x = np.zeros((1, 2, FEATURES), np.int64)
    x[0, 1, 3] = p.network.input_format.high + 1
    with pytest.raises(InputError, match="input codes span 0 to"):
        golden.run(p.network, x)
    with pytest.raises(InputError, match=f"a state has {2 * H} words, not {H}"):
        golden.State.unflat(p.network, np.zeros((1, H), np.int64))


def test_example_task_keeps_its_accuracy() -> None:
    """The whole test set of the shipped example, default widths: within half a point of float."""
    folder = Path(__file__).parents[2] / "examples" / "japanese_vowels"
    model = load(folder / "checkpoint.safetensors")
    with np.load(folder / "japanese_vowels.npz") as data:
        x, lengths, labels = data["x_test"], data["len_test"], data["y_test"]
        train, train_lengths = data["x_train"], data["len_train"]
    p = quantize(model, train, lengths=train_lengths)
    start = time.perf_counter()
    outputs = p.run(x)
    seconds = time.perf_counter() - start
    last = np.arange(len(x)), lengths.astype(int) - 1
    correct = [int((y[last].argmax(1) == labels).sum()) for y in (outputs, model.run(x))]
    print(f"{x.shape[0]} sequences in {seconds:.2f} s; correct {correct[0]}, float {correct[1]}")
    assert correct[0] >= correct[1] - 0.005 * len(x)
    assert correct[1] > 0.9 * len(x)
