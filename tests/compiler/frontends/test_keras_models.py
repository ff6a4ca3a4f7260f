"""Keras models by what Keras computes: each equals it or is refused, none is silently different."""

from __future__ import annotations

import os
import pathlib
import re
from collections import Counter

import h5py
import numpy as np
import pytest
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends import keras_layers
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.ir.model import Model

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
from keras import layers as L
from keras import ops
from support.random_keras import Net

DATA = pathlib.Path(__file__).parents[2] / "data"
TOLERANCE = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def arranged(model: Model, y: np.ndarray, softmax: bool = False) -> np.ndarray:
    """Cut the model's outputs of every step to what its notes say that the file gives out."""
    notes = " ".join(model.notes)
    if softmax:
        assert "softmax left out" in notes
        y = np.exp(y - y.max(-1, keepdims=True))
        y = y / y.sum(-1, keepdims=True)
    if "first of others" in notes:
        (said,) = re.findall(r"of the last step: outputs ([\d, ]+)", notes)
        at_end = np.isin(np.arange(y.shape[-1]), [int(k) for k in said.split(",")])
        return np.where(at_end, y[:, -1], y[:, 0])
    if "step only" in notes:
        return y[:, -1] if "last step only" in notes else y[:, 0]
    return y[:, ::-1] if "last step first" in notes else y


def data(model: Model, x: np.ndarray) -> np.ndarray:
    return np.eye(model.input_size)[x] if x.ndim == 2 and x.dtype.kind == "i" else x.astype(float)


def answer(net: keras.Model, x: np.ndarray) -> np.ndarray:
    y = net.predict_on_batch(x)
    return np.asarray(y[0] if isinstance(y, list) else y, dtype=float)


def equal(got: np.ndarray, want: np.ndarray) -> bool:
    return got.shape == want.shape and np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()


def drawn(net: keras.Model) -> keras.Model:
    """Give every weight a value that no initializer would."""
    rng = np.random.default_rng(3)
    for weight in net.weights:
        value = rng.normal(size=weight.shape) * 0.6
        weight.assign(np.abs(value) + 0.3 if "variance" in weight.path else value)
    return net


# -- random models ------------------------------------------------------------------


def outcomes(seeds: range, folder: pathlib.Path) -> Counter[str]:
    """Save each random model in one of both formats and load it; count what happened."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        net = Net(seed)
        way = "h5" if seed % 3 == 0 else "keras"
        path = folder / f"net.{way}"
        net.model.save(path)
        try:
            model = load(path, check=seed % 4 == 0)
        except InputError as error:
            assert "do not fit" not in str(error), (seed, net.plan, str(error))
            counts[f"{way} refused"] += 1
            counts[f"why: {str(error).split(': ')[-1][:70]}"] += 1
            continue
        assert not net.refused, (seed, net.plan, model.notes)
        x = net.draw(12)
        got = arranged(model, model.run(data(model, x)), net.end == "softmax")
        same = equal(got, answer(net.model, x))
        counts[f"{way} {'equal' if same else 'different'}"] += 1
        if not same:
            counts[f"different: {seed} {net.plan} {net.end}"] += 1
    return counts


def test_random_models_equal_keras_or_are_refused(tmp_path):
    counts = outcomes(range(16), tmp_path)
    print(*sorted(counts.items()), sep="\n")
    assert counts["h5 different"] == counts["keras different"] == 0
    assert counts["h5 equal"] + counts["keras equal"] >= 10


@pytest.mark.full
def test_more_random_models_equal_keras_or_are_refused(tmp_path):
    counts = outcomes(range(1000, 1080), tmp_path)
    print(*sorted(counts.items()), sep="\n")
    assert counts["h5 different"] == counts["keras different"] == 0
    assert counts["h5 equal"] + counts["keras equal"] >= 50


# -- forms that people have ---------------------------------------------------------


def gru(size: int = 4, **options: object) -> L.Layer:
    return L.GRU(size, return_sequences=True, **options)


def chain(*layers: L.Layer, shape: tuple[int | None, ...] = (None, 3)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def graph(build, shape: tuple[int | None, ...] = (None, 3), **options: object) -> keras.Model:
    x = keras.Input(shape, **options)
    return keras.Model(x, build(x))


def from_zeros(x):
    return gru()(x, initial_state=ops.zeros((2, 4)))


def shared(x):
    dense = L.Dense(3, "tanh")
    return dense(dense(x))


def mixed() -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return chain(gru(), L.Dense(2))
    finally:
        keras.config.set_dtype_policy(before)


def both_states(x):
    y, h, _ = L.LSTM(4, return_sequences=True, return_state=True)(x)
    return L.Dense(2)(L.Average()([h, y[:, -1]]))


TAKEN = {
    "reset after": lambda: chain(gru(reset_after=True), L.Dense(2)),
    "reset before": lambda: chain(gru(reset_after=False), L.Dense(2)),
    "no bias": lambda: chain(gru(use_bias=False), L.LSTM(3, use_bias=False, return_sequences=True), L.Dense(2, use_bias=False)),
    "settings without effect": lambda: chain(
        L.LSTM(3, return_sequences=True, unit_forget_bias=False, unroll=True, dropout=0.2, recurrent_dropout=0.1), shape=(9, 3)),
    "hard sigmoid": lambda: chain(gru(recurrent_activation="hard_sigmoid"), L.Dense(2, "hard_sigmoid")),
    "bidirectional concat": lambda: chain(L.Bidirectional(gru()), L.Dense(2)),
    "bidirectional sum": lambda: chain(L.Bidirectional(gru(), merge_mode="sum"), L.Dense(2)),
    "bidirectional ave": lambda: chain(L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="ave")),
    "bidirectional of two layers": lambda: chain(
        L.Bidirectional(gru(2), backward_layer=L.LSTM(2, return_sequences=True, go_backwards=True)), L.Dense(2)),
    "bidirectional ends as output": lambda: chain(L.Bidirectional(L.GRU(4))),
    "bidirectional around a cell": lambda: chain(L.Bidirectional(L.RNN(L.GRUCell(3), return_sequences=True))),
    "cell": lambda: chain(L.RNN(L.LSTMCell(4), return_sequences=True), L.Dense(2)),
    "cells in a row": lambda: chain(L.RNN([L.GRUCell(3), L.SimpleRNNCell(2), L.LSTMCell(4)], go_backwards=True)),
    "last state": lambda: graph(lambda x: L.Dense(2)(L.GRU(4, return_sequences=True, return_state=True)(x)[1])),
    "last state and last step": lambda: graph(both_states),
    "last step": lambda: chain(gru(), L.LSTM(3), L.Dense(2)),
    "first step": lambda: chain(gru(go_backwards=True), L.GRU(3, go_backwards=False), L.Dense(2)),
    "end first": lambda: chain(gru(go_backwards=True), L.Dense(2)),
    "backwards and flipped": lambda: graph(lambda x: ops.flip(gru(go_backwards=True)(x), 1)),
    "state of zeros": lambda: graph(from_zeros),
    "time distributed": lambda: chain(gru(), L.TimeDistributed(L.Dense(2, "tanh"))),
    "time distributed model": lambda: chain(
        gru(), L.TimeDistributed(keras.Sequential([L.Dense(3), L.BatchNormalization(), L.ReLU()]))),
    "nested": lambda: chain(keras.Sequential([gru(), L.Dense(3)]), keras.Sequential([L.BatchNormalization(), gru(2)])),
    "shared layer": lambda: graph(shared),
    "masking": lambda: chain(L.Masking(9.0), gru()),
    "embedding": lambda: chain(L.Embedding(7, 3), gru(), L.Dense(7), shape=(None,)),
    "a series without a feature axis": lambda: chain(L.Reshape((-1, 1)), gru(), shape=(9,)),
    "identities": lambda: chain(
        L.Dropout(0.5), L.GaussianNoise(0.1), gru(), L.ActivityRegularization(0.1), L.SpatialDropout1D(0.1)),
    "activations": lambda: chain(
        L.Dense(3), L.ReLU(max_value=1), L.Dense(3, activation=L.LeakyReLU(0.2)), L.PReLU(shared_axes=[1]),
        L.Activation("hard_sigmoid"), L.Dense(3, "relu6"), L.ReLU(negative_slope=0.3)),
    "normalization around": lambda: chain(
        L.Normalization(), L.Rescaling(2.0, 1.0), gru(), L.BatchNormalization(), L.Dense(2), L.BatchNormalization()),
    "normalization that is undone": lambda: chain(gru(3), L.Normalization(invert=True)),
    "residual": lambda: graph(lambda x: L.Dense(2)(L.Add()([x, gru(3)(x)]))),
    "softmax": lambda: chain(gru(), L.Dense(3, "softmax")),
    "softmax layer": lambda: chain(gru(), L.Dense(3), L.Softmax()),
    "pieces": lambda: graph(lambda x: L.Cropping1D(0)(L.Permute((1, 2))(gru()(x)))[:, :, 1:3]),
    "limits": lambda: graph(lambda x: ops.clip(gru()(x * 2.0), -0.25, 0.5)),
    "mixed precision": mixed,
}  # fmt: skip


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("name", TAKEN)
def test_form_equals_keras_in_both_formats(name, ending, tmp_path):
    keras.utils.set_random_seed(5)
    net = drawn(TAKEN[name]())
    net.save(tmp_path / f"net.{ending}")
    model = load(tmp_path / f"net.{ending}")
    rng = np.random.default_rng(2)
    steps, *features = net.input_shape[1:]
    size = (2, steps or 12, *features)
    x = rng.integers(0, 7, size) if name == "embedding" else rng.normal(size=size)
    given = x[..., None] if not features and name != "embedding" else data(model, x)
    got, want = arranged(model, model.run(given), "softmax" in name), answer(net, x)
    if name == "mixed precision":  # Keras in float16; the check has run a float64 copy
        assert np.abs(got - want).max() < 1e-2
    else:
        assert equal(got, want)
    if ending == "h5" and "Unknown layer" in model.notes[-1]:  # Keras cannot read its own operators
        assert model.not_compared
    else:
        assert "checked against Keras" in model.notes[-1] and not model.not_compared


REFUSED = {
    "merge mode": (lambda: chain(L.Bidirectional(gru(), merge_mode="mul")), "bidirectional.*merge_mode 'mul' is not"),
    "ends read by a layer": (lambda: chain(L.Bidirectional(L.GRU(4)), L.Dense(2)), r"dense.*return_sequences=False.*Use y"),
    "ends summed": (lambda: chain(L.Bidirectional(L.GRU(4), merge_mode="sum")), "bidirectional.*use return_sequences=True"),
    "start state": (lambda: graph(lambda x: gru()(x, initial_state=ops.ones((2, 4)))), "gru.*initial_state.*starts from zeros"),
    "cell state": (lambda: graph(lambda x: L.LSTM(4, return_state=True)(x)[2]), "lstm.*cell state is read"),
    "layer normalization": (lambda: chain(gru(), L.LayerNormalization()), "layer_normalization.*train with BatchNormalization"),
    "lambda": (lambda: chain(gru(), L.Lambda(lambda y: y * 2)), "lambda.*Python code.*build it of layers"),
    "convolution": (lambda: chain(L.Conv1D(3, 3), gru()), r"conv1d.*for the host"),
    "gate": (lambda: graph(lambda x: L.Multiply()([x, gru(3)(x)])), "multiply.*multiplies or divides"),
    "softmax inside": (lambda: chain(L.Softmax(), gru()), "softmax is not at the end"),
    "activation": (lambda: chain(gru(), L.Dense(2, "gelu")), "dense.*activation 'gelu' is not supported"),
    "two inputs": (lambda: keras.Model([x := keras.Input((None, 3)), z := keras.Input((None, 2))],
                                       L.Concatenate()([gru()(x), z])), "has 2 inputs.*give one tensor"),
    "fixed step": (lambda: graph(lambda x: gru()(x)[:, 6]), "depends on the number of steps|holds steps"),
    "all steps at once": (lambda: chain(gru(), L.Flatten(), L.Dense(2), shape=(9, 3)), "dense.*reads different steps"),
    "some steps": (lambda: chain(gru(), L.Cropping1D(2), shape=(9, 3)), "the output holds steps"),
    "no steps": (lambda: chain(L.Dense(2), shape=(3,)), r"expected \(batch, steps, features\)"),
    "per-step slopes": (lambda: chain(L.PReLU(), shape=(9, 3)), "p_re_lu.*differ from step to step"),
    "training": (lambda: graph(lambda x: L.Dropout(0.5)(x, training=True)), "dropout.*training=True"),
    "jump": (lambda: chain(L.ReLU(threshold=0.5)), "re_lu.*jumps"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_form_that_no_core_computes_is_refused_with_the_way_out(name, tmp_path):
    make, message = REFUSED[name]
    drawn(make()).save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "net.keras")


@pytest.mark.parametrize("name", ["cudnn", "nested", "operators", "stacked", "tokens"])
def test_file_of_keras_2_equals_what_it_computed(name):
    """Written by tf_keras 2.21, x and y recorded; cuDNN layers by the plain ones that Keras 2 makes of them."""
    with np.load(DATA / f"keras2_{name}_expected.npz") as recorded:
        x, y = recorded["x"], recorded["y"]
    model = load(DATA / f"keras2_{name}.h5")
    got = arranged(model, model.run(data(model, x)), name == "stacked")
    assert np.abs(got - y).max() < 1e-6 * max(1.0, np.abs(y).max())
    if name in ("nested", "operators"):  # Keras 3 does not read them
        assert model.not_compared
    else:
        assert "checked against Keras 3" in model.notes[-1]


@pytest.mark.parametrize("steps", [1, None])
def test_stateful_streaming_model_equals_keras_over_many_calls(steps, tmp_path):
    net = keras.Sequential([keras.Input((steps, 3), batch_size=1), gru(stateful=True), L.Dense(2)])
    drawn(net).save(tmp_path / "net.keras")
    model = load(tmp_path / "net.keras")
    x = np.random.default_rng(1).normal(size=(1, 12, 3))
    net.reset_states() if hasattr(net, "reset_states") else net.layers[0].reset_states()
    want = np.concatenate([answer(net, x[:, t : t + 1]) for t in range(12)], axis=1)
    assert equal(model.run(x), want)
    assert any("stateful" in note for note in model.notes)


def test_only_the_first_of_several_outputs_is_read_and_said(tmp_path):
    net = drawn(graph(lambda x: [L.Dense(2)(y := gru()(x)), L.Dense(3)(y)]))
    net.save(tmp_path / "net.keras")
    model = load(tmp_path / "net.keras")
    x = np.random.default_rng(1).normal(size=(2, 12, 3))
    assert equal(model.run(x), answer(net, x))
    assert any("first output is read; 1 more" in note for note in model.notes)


def test_files_without_layers_are_refused_with_the_way_out(tmp_path):
    net = drawn(chain(gru()))
    net.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(InputError, match=r"weights only.*model\.save\('model\.keras'\)"):
        load(tmp_path / "net.weights.h5")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"SavedModel.*model\.save\('model\.keras'\)"):
        load(tmp_path / "saved")


def test_a_wrong_fold_is_caught_and_says_where_it_begins(monkeypatch, tmp_path):
    """The reference has not passed through the reader: a fault of the reader shows."""
    drawn(chain(L.Rescaling(2.0), gru())).save(tmp_path / "net.keras")
    monkeypatch.setitem(keras_layers.LAYERS, "Rescaling", keras_layers.LAYERS["Dropout"])
    from gatewright.compiler.frontends import keras as reader

    monkeypatch.setitem(reader.KNOWN, "Rescaling", keras_layers.LAYERS["Dropout"])
    with pytest.raises(
        CheckError, match=r"compared with Keras .* begins in gru_\d+ at step 0; please"
    ):
        load(tmp_path / "net.keras")


def test_an_old_file_with_damaged_nesting_is_refused(tmp_path):
    """Arrays of an inner model that do not add up are not dealt out."""
    path = tmp_path / "net.h5"
    path.write_bytes((DATA / "keras2_nested.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/front"]
        group.attrs["weight_names"] = group.attrs["weight_names"][:-1]
    with pytest.raises(InputError, match="front: 9 weight arrays in the file, expected 10"):
        load(path)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_the_activation_of_an_lstm_is_that_of_its_output_too(tmp_path, activation):
    net = drawn(
        keras.Sequential(
            [keras.Input((None, 3)), L.LSTM(4, activation=activation, return_sequences=True)]
        )
    )
    net.save(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 9, 3))
    model = load(tmp_path / "net.keras")
    assert model.layers[0].output == activation
    assert equal(model.run(x), answer(net, x))
