"""The compiled form of the golden model against NumPy: every code, count, trace and state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.compiled import evaluation
from gatewright.compiler.compiled.evaluation import evaluate
from gatewright.compiler.compiled.library import library
from gatewright.compiler.compiled.weights import packed
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Model
from gatewright.compiler.ir.network import QNetwork
from gatewright.compiler.quantizer.pipeline import quantize
from support.randoms import extreme_codes, program, recurrent

pytestmark = pytest.mark.skipif(library().run is None, reason=library().reason)


def differences(a: golden.Result, b: golden.Result) -> list[str]:
    """Return the names of all that differs between two results."""
    found = [] if np.array_equal(a.outputs, b.outputs) else ["outputs"]
    for name, x, y in (
        ("h", a.state.h, b.state.h), ("c", a.state.c, b.state.c),
        ("last", a.state.last, b.state.last), ("trace", a.trace, b.trace),
        ("changed", a.changed, b.changed),
    ):  # fmt: skip
        found += [f"{name}[{key}]" for key in x.keys() ^ y.keys()]
        for key in x.keys() & y.keys():
            if x[key].dtype != y[key].dtype or not np.array_equal(x[key], y[key]):
                found.append(f"{name}[{key}]")
    for name in ("saturations", "narrowings"):
        if dict(getattr(a, name)) != dict(getattr(b, name)):
            found.append(name)
    return found


def compiled(
    network: QNetwork, x: np.ndarray, state: golden.State | None = None, trace: bool = False
) -> golden.Result:
    """Evaluate in the compiled form, never in NumPy."""
    state = golden.State.zeros(network, len(x)) if state is None else state
    done = evaluate(network, x, state.h, state.c, state.last, trace)
    assert done is not None
    return golden.Result(
        done.outputs, golden.State(done.h, done.c, done.last), done.saturations, done.narrowings,
        done.trace, done.changed,
    )  # fmt: skip


def loudest(network: QNetwork, rng: np.random.Generator) -> QNetwork:
    """Return the network with weights at the ends of their range."""

    def ends(w: np.ndarray | None, bits: int) -> np.ndarray | None:
        return None if w is None else rng.choice([-(1 << bits - 1), (1 << bits - 1) - 1], w.shape)

    layers = [
        replace(layer, gates=tuple(
            replace(g, w=ends(g.w, g.bits), u=ends(g.u, g.bits)) for g in layer.gates
        ))
        for layer in network.layers
    ]  # fmt: skip
    return replace(network, layers=tuple(layers))


def variants(network: QNetwork, rng: np.random.Generator) -> Iterator[QNetwork]:
    """Yield a network, one whose places clip often, delta engines, loud weights, and an argmax."""
    yield network
    n = network.numbers
    tight = replace(n, hidden_bits=max(2, n.hidden_bits - 4), cell_bits=max(2, n.cell_bits - 4),
                    sum_shift=max(0, n.sum_shift - 3))  # fmt: skip
    yield replace(network, numbers=tight)
    for threshold, threshold_input in ((0, 0), (5, -1), (-1, 3)):
        changed = replace(n, threshold=threshold, threshold_input=threshold_input)
        yield replace(network, numbers=changed)
    yield loudest(network, rng)
    if len(network.outputs) == 1 and network.elements <= 1 << (n.state_bits - 1):
        yield network.with_argmax()


def compare(seed: int) -> int:
    """Compare all variants of a random program; return how many there were."""
    p, rng = program(seed, cells=tuple(CELLS), largest=20), np.random.default_rng(seed)
    count = 0
    for network in variants(p.network, rng):
        n = int(rng.integers(1, 20))
        x, more = extreme_codes(p, rng, n, 6), extreme_codes(p, rng, n, 2)
        expected = golden.reference(network, x, trace=True)
        assert differences(expected, compiled(network, x, trace=True)) == [], (seed, count)
        after = golden.reference(network, more, expected.state)
        kept = expected.state.flat(network).copy()
        assert differences(after, compiled(network, more, expected.state)) == [], (seed, count)
        assert (expected.state.flat(network) == kept).all(), "a given state was changed"
        count += 1
    return count


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_random_programs_equal_numpy(start: int) -> None:
    assert sum(compare(seed) for seed in range(start, start + 10)) >= 60


@pytest.mark.full
@pytest.mark.parametrize("start", range(1000, 1400, 20))
def test_many_random_programs_equal_numpy(start: int) -> None:
    assert sum(compare(seed) for seed in range(start, start + 20)) >= 120


def test_the_random_programs_reach_every_place() -> None:
    """Each cell, both kinds of product, and clipping at each kind of place took part."""
    cells, kinds, clipped = set(), set(), set()
    for seed in range(40):
        p, rng = program(seed, cells=tuple(CELLS), largest=20), np.random.default_rng(seed)
        for network in variants(p.network, rng):
            cells |= {layer.cell for layer in network.layers}
            weights = packed(network)
            assert weights is not None
            kinds |= {w.matrix.wide for x in weights.layers for w in x.weights.values() if w.first}
            done = compiled(network, extreme_codes(p, rng, 4, 6))
            clipped |= {place.split(".")[1] for place in done.saturations}
    assert cells == {"linear", *CELLS}
    assert kinds == {0, 1}
    assert clipped >= {"hidden", "c", "n", "y"}


@pytest.mark.parametrize("n", [1, 3, 4, 5, 15, 16, 17, 33])
def test_any_number_of_sequences_equals_numpy(n: int) -> None:
    p = program(3, cells=("gru_reset_before", "lstm"), largest=20)
    x = extreme_codes(p, np.random.default_rng(n), n, 4)
    expected = golden.reference(p.network, x, trace=True)
    assert differences(expected, compiled(p.network, x, trace=True)) == []


def one_layer(size: int, inputs: int, **widths: int) -> QNetwork:
    rng = np.random.default_rng(0)
    model = Model(inputs, (recurrent(rng, "layer", "rnn", ("x",), inputs, size),))
    return quantize(model, None, Config(lanes=1, rounding="nearest", **widths)).network


@pytest.mark.parametrize(("inputs", "wide"), [(1, False), (2, True), (3, True)])
def test_sums_of_just_32_bits_are_not_taken_for_31(inputs: int, wide: bool) -> None:
    """Two products of -2**15 and -2**15 are 2**31, one more than an int32 holds."""
    network = one_layer(1, inputs, weight_bits=16, activation_bits=16)
    (layer,) = network.layers
    (g,) = layer.gates
    least = replace(g, w=np.full((1, inputs), -(1 << 15)), u=np.full((1, 1), -(1 << 15)))
    network = replace(network, layers=(replace(layer, gates=(least,)),))
    weights = packed(network)
    assert weights is not None and weights.layers[0].weights["x"].matrix.wide == wide
    x = np.full((1, 3, inputs), -(1 << 15))
    expected = golden.reference(network, x, trace=True)
    first = expected.trace["layer.n.acc"][0, 0, 0] - g.bias_input[0] - g.bias_recurrent[0]
    assert first == (inputs << 30) << g.shift_input[0]
    assert differences(expected, compiled(network, x, trace=True)) == []


def test_sums_beyond_62_bits_are_left_to_numpy() -> None:
    network = one_layer(2, 2)
    (layer,) = network.layers
    (g,) = layer.gates
    far = replace(g, shift_input=g.shift_input + 50)
    assert packed(replace(network, layers=(replace(layer, gates=(far,)),))) is None
    negative = replace(g, shift_input=g.shift_input - 60)
    assert packed(replace(network, layers=(replace(layer, gates=(negative,)),))) is None


def test_states_that_do_not_fit_are_left_to_numpy() -> None:
    network = one_layer(4, 3)
    half = 1 << (network.numbers.state_bits - 1)
    x = np.zeros((2, 3, 3), np.int64)
    for code, n, fits in (
        (half - 1, 2, True),
        (half, 2, False),
        (-half - 1, 2, False),
        (0, 3, False),
    ):
        state = golden.State({"layer": np.full((n, 4), code)}, {})
        assert (evaluate(network, x, state.h, {}, {}, False) is not None) == fits
    assert (
        evaluate(network, x.astype(np.float64), {"layer": np.zeros((2, 4), int)}, {}, {}, False)
        is None
    )
    assert evaluate(network, x, {}, {}, {}, False) is None


def test_run_takes_the_compiled_form_and_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    p = program(5, cells=tuple(CELLS), largest=8)
    x = extreme_codes(p, np.random.default_rng(0), 2, 5)
    monkeypatch.setattr(golden, "reference", None)
    quick = golden.run(p.network, x, trace=True)
    monkeypatch.undo()
    monkeypatch.setattr(evaluation, "library", lambda: type("None", (), {"run": None}))
    assert differences(golden.run(p.network, x, trace=True), quick) == []
