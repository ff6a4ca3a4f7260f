"""A reversed model in float, and its split into sweeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.quantizer.sweeps import split
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chains import LENGTHS, both_ways, data, small
from support.randoms import recurrent


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before", "lstm", "rnn", "mgu"])
def test_reversed_layer_is_the_forward_layer_on_the_reversed_sequence(cell):
    layer = recurrent(np.random.default_rng(0), "h", cell, ("x",), 3, 5)
    forward, backward = (Model(3, (replace(layer, reverse=r),)) for r in (False, True))
    x = data(4, 9)
    np.testing.assert_array_equal(backward.run(x), forward.run(x[:, ::-1])[:, ::-1])
    trace = {}
    backward.run(x, trace=trace)
    np.testing.assert_array_equal(np.stack(trace["h"], axis=1), backward.run(x))


def test_state_of_a_reversed_layer_enters_at_the_end():
    model = both_ways("lstm")
    x, state = data(), model.initial_state(3)
    whole = model.run(x, state)
    np.testing.assert_array_equal(state["b0"][0], whole[:, 0, 4:])
    np.testing.assert_array_equal(state["f0"][0], whole[:, -1, :4])
    # The first half, given what the second half hands back.
    later = model.initial_state(3)
    model.run(x[:, 3:], later)
    start = {"f0": model.initial_state(3)["f0"], "b0": later["b0"]}
    np.testing.assert_allclose(model.run(x[:, :3], start), whole[:, :3], atol=1e-15, rtol=0)


def test_padding_is_never_seen():
    model, x = both_ways(layers=2, head=2), data()
    padded = model.run(x, lengths=LENGTHS)
    for k, n in enumerate(LENGTHS):
        alone = model.run(x[k, :n])
        np.testing.assert_allclose(padded[k, :n], alone, atol=1e-15, rtol=0)
    assert np.abs(model.run(x)[2, :4] - padded[2, :4]).max() > 1e-3


@pytest.mark.parametrize(
    "lengths", [[6, 1], [6, 1, 7], [6, -1, 2], [1.5, 2, 3], "abc", [[1, 2, 3]]]
)
def test_wrong_lengths(lengths):
    with pytest.raises(InputError, match="lengths are 3 whole numbers from 0 to 6"):
        both_ways().run(data(), lengths=lengths)
    with pytest.raises(InputError, match="lengths are 3 whole numbers from 0 to 6"):
        small().run(data(), lengths=lengths)


def test_split_of_a_stack():
    passes = split(both_ways(layers=2, head=2))
    assert [(p.reads, p.reverse, p.model.outputs) for p in passes] == [
        (("x",), False, ("f0",)),
        (("x",), True, ("b0",)),
        (("f0", "b0"), False, ("f1",)),
        (("f0", "b0"), True, ("b1",)),
        (("f1", "b1"), False, ("head",)),
    ]
    assert all(p.model.streams for p in passes)


def test_layers_that_walk_alike_share_a_pass():
    rng = np.random.default_rng(0)
    dense = Linear("dense", ("x",), rng.normal(size=(5, 3)), None, "relu")
    one = replace(recurrent(rng, "one", "gru", ("dense",), 5, 4), reverse=True)
    two = replace(recurrent(rng, "two", "gru", ("one", "x"), 7, 4), reverse=True)
    unused = recurrent(rng, "unused", "gru", ("x",), 3, 4)
    (only,) = split(Model(3, (dense, one, unused, two), ("two",)))
    assert only.reverse and [layer.name for layer in only.model.layers] == ["dense", "one", "two"]


def passes_in_float(model: Model, x: np.ndarray) -> np.ndarray:
    """Run the passes of a model by hand."""
    vectors = {"x": x}
    for part in split(model):
        flip = slice(None, None, -1 if part.reverse else 1)
        given = np.concatenate([vectors[name] for name in part.reads], axis=2)
        made = part.model.run(given[:, flip])[:, flip]
        sizes = [part.model.sizes[name] for name in part.model.outputs]
        vectors |= zip(part.model.outputs, np.split(made, np.cumsum(sizes)[:-1], 2), strict=True)
    return np.concatenate([vectors[name] for name in model.outputs], axis=2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_passes_compute_the_model(seed):
    """Any directions, skips, vectors in any order and more than once."""
    rng = np.random.default_rng(seed)
    sizes, layers = {"x": 3}, []
    for k in range(int(rng.integers(1, 7))):
        reads = tuple(str(n) for n in rng.choice(list(sizes), int(rng.integers(1, 4))))
        width, h = sum(sizes[n] for n in reads), int(rng.integers(1, 4))
        if rng.random() < 0.3:
            layers.append(Linear(f"l{k}", reads, rng.normal(size=(h, width)), None, "tanh"))
        else:
            layer = recurrent(rng, f"l{k}", "gru", reads, width, h)
            layers.append(replace(layer, reverse=bool(rng.random() < 0.5)))
        sizes[f"l{k}"] = h
    names = [layer.name for layer in layers]
    outputs = tuple(dict.fromkeys(str(n) for n in rng.choice(names, 2)))
    model, x = Model(3, tuple(layers), outputs), data(2, 5)
    np.testing.assert_allclose(passes_in_float(model, x), model.run(x), atol=1e-12, rtol=0)
