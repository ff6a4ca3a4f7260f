"""Keras files against what Keras 3.15 computed for them, recorded beside each file."""

import dataclasses
import json
import pathlib
import shutil
import sys
import types
import zipfile

import h5py
import numpy as np
import pytest
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.keras import load_keras
from gatewright.compiler.ir.model import Model

DATA = pathlib.Path(__file__).parents[2] / "data"
GRU = DATA / "keras_gru.keras"
LSTM = DATA / "keras_lstm.h5"
SLEEP = DATA / "sleepecg_wrn-gru-mesa.keras"


def recorded(name):
    with np.load(DATA / f"{name}_expected.npz") as data:
        return {key: data[key] for key in data.files}


def softmax(y):
    e = np.exp(y - y.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def edited(tmp_path):
    """Copy a file, edit its configuration, load it."""

    def load(path, edit, version=None):
        copy = tmp_path / path.name
        if path.suffix == ".h5":
            shutil.copy(path, copy)
            with h5py.File(copy, "r+") as file:
                config = json.loads(file.attrs["model_config"])
                edit(config["config"])
                file.attrs["model_config"] = json.dumps(config)
                file.attrs["keras_version"] = version or file.attrs["keras_version"]
            return load_keras(copy, check=False)
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                text = old.read(name)
                if name == "config.json":
                    config = json.loads(text)
                    edit(config["config"])
                    text = json.dumps(config).encode()
                if name == "metadata.json" and version:
                    text = json.dumps({"keras_version": version}).encode()
                new.writestr(name, text)
        return load_keras(copy, check=False)

    return load


@pytest.mark.parametrize("name", ["gru", "functional"])
def test_recorded(name):
    """Both GRU forms, LSTM, hard sigmoid, every place a normalization can be folded to."""
    model = load_keras(DATA / f"keras_{name}.keras", check=False)
    data = recorded(f"keras_{name}")
    np.testing.assert_allclose(model.run(data["x"]), data["y"], atol=1e-6, rtol=0)


def test_recorded_h5():
    """The older container, SimpleRNN, a last-step head and a final softmax."""
    model = load_keras(LSTM, check=False)
    data = recorded("keras_lstm")
    y = softmax(model.run(data["x"])[:, -1])
    np.testing.assert_allclose(y, data["y"], atol=1e-6, rtol=0)
    assert any("last step" in note for note in model.notes)
    assert any("softmax left out" in note for note in model.notes)


def test_sleepecg():
    """A published model: a normalization folded, two bidirectional layers, a softmax."""
    model = load_keras(SLEEP, check=False)
    data, trace = recorded("sleepecg"), {}
    y = model.run(data["x"], trace=trace)
    for name, expected in (("bidirectional", "bigru1"), ("bidirectional_1", "bigru2")):
        halves = [np.stack(trace[name + end], axis=1) for end in ("", "_reverse")]
        np.testing.assert_allclose(np.concatenate(halves, 2), data[expected], atol=2e-6, rtol=0)
    np.testing.assert_allclose(softmax(y), data["y"], atol=2e-6, rtol=0)


def test_recorded_bidirectional():
    """Layers after one with go_backwards walk the other way; the last step is then the first."""
    model = load_keras(DATA / "keras_bidirectional.keras", check=False)
    assert [getattr(layer, "reverse", None) for layer in model.layers] == [
        False, True, True, None, True, False, True, None,
    ]  # fmt: skip
    data = recorded("keras_bidirectional")
    np.testing.assert_allclose(model.run(data["x"])[:, 0], data["y"], atol=1e-6, rtol=0)
    assert any("the first step only" in note for note in model.notes)


def test_recorded_backwards_h5():
    """The older container; Keras leaves the outputs of go_backwards end first."""
    model = load_keras(DATA / "keras_backwards.h5", check=False)
    data = recorded("keras_backwards")
    np.testing.assert_allclose(model.run(data["x"])[:, ::-1], data["y"], atol=1e-6, rtol=0)
    assert any("last step first" in note for note in model.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(merge_mode="mul"), "bidirectional: merge_mode 'mul' is not supported"),
        (lambda c: c.update(merge_mode=None), "reads 2 tensors, one is due in a Sequential"),
        (lambda c: c.update(layer=3), "bidirectional: Bidirectional has no setting 'layer'"),
        (lambda c: c["layer"].update(class_name="ConvLSTM1D"), "supported around GRU"),
        (lambda c: c["layer"]["config"].update(return_sequences=False), "reads a tensor of 2 axes"),
        (lambda c: c["layer"]["config"].update(go_backwards=True), "both of its layers walk in one direction"),
        (lambda c: c["backward_layer"]["config"].update(units=9, use_bias=False),
         "bidirectional_reverse: 3 weight arrays in the file, expected 2"),
    ],
)  # fmt: skip
def test_bidirectional_refused(edited, change, message):
    with pytest.raises(InputError, match=message):
        edited(SLEEP, lambda c: change(layer(c, "Bidirectional")))


@pytest.mark.parametrize("name", ["graph", "branches"])
def test_graphs_equal_what_keras_recorded(name):
    """Normalization, Rescaling, RNN of a cell, both merge modes, Add and Concatenate."""
    model = load_keras(DATA / f"keras_{name}.keras", check=False)
    data = recorded(f"keras_{name}")
    y = model.run(data["x"])
    np.testing.assert_allclose(y if data["y"].ndim == 3 else y[:, -1], data["y"], atol=1e-6, rtol=0)


def test_hard_sigmoid_of_keras_2_equals_its_published_equations(edited):
    """A GRU with ``clip(0.2 x + 0.5, 0, 1)`` for its gates, as Keras 2 had it."""
    model = edited(GRU, lambda c: None, version="2.2.4")
    (index,) = [k for k, la in enumerate(model.layers) if getattr(la, "gate", "") == "hard_sigmoid"]
    cell = model.layers[index]
    x = np.random.default_rng(5).normal(size=(12, cell.input_size))

    def gate(v):
        return np.clip(0.2 * v + 0.5, 0, 1)

    h, want = np.zeros(cell.size), []
    for row in x:
        u = {g: cell.w[g] @ row + cell.b[g] for g in "zrn"}
        z, r = (gate(u[g] + cell.u[g] @ h + cell.c[g]) for g in "zr")
        if cell.cell == "gru":
            n = np.tanh(u["n"] + r * (cell.u["n"] @ h + cell.c["n"]))
        else:
            n = np.tanh(u["n"] + cell.u["n"] @ (r * h) + cell.c["n"])
        h = z * h + (1 - z) * n
        want.append(h)
    alone = Model(cell.input_size, (dataclasses.replace(cell, inputs=("x",)),))
    np.testing.assert_allclose(alone.run(x), want, atol=1e-12)


def test_hard_sigmoid_follows_version(edited):
    slopes = [
        next(la.slope for la in model.layers if getattr(la, "gate", "") == "hard_sigmoid")
        for model in (
            edited(GRU, lambda c: None),
            edited(GRU, lambda c: None, version="2.15.0"),
        )
    ]
    assert slopes == [1 / 6, 0.2]


def test_masking_is_noted(edited):
    def edit(config):
        mask = {"class_name": "Masking", "config": {"name": "m", "mask_value": 0.0}}
        config["layers"].insert(1, mask)

    assert any("m: steps that equal 0.0" in note for note in edited(GRU, edit).notes)


def layer(config, kind, number=0):
    return [la for la in config["layers"] if la["class_name"] == kind][number]["config"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda c: layer(c, "GRU").update(return_sequences=False),
            "gru_1: reads a tensor of 2 axes",
        ),
        (lambda c: layer(c, "GRU").update(time_major=True), "time_major"),
        (lambda c: layer(c, "GRU").update(reset_after=False), "bias has shape"),
        (lambda c: layer(c, "GRU").update(use_bias=False), "3 weight arrays in the file"),
        (lambda c: layer(c, "GRU").update(activation="gelu"), "activation 'gelu'"),
        (lambda c: layer(c, "GRU").update(activation=["tanh"]), "activation"),
        (
            lambda c: layer(c, "Dense").update(activation="softmax"),
            "dense: softmax is not at the end",
        ),
        (lambda c: layer(c, "ReLU").update(threshold=1), "threshold 1 jumps"),
        (lambda c: layer(c, "ReLU").update(max_value=0), "ReLU with max_value 0"),
        (
            lambda c: layer(c, "BatchNormalization").update(axis=1),
            "batch_normalization: arrays of 3 values for 7 on axis 1",
        ),
        (lambda c: layer(c, "BatchNormalization").update(epsilon="x"), "variance . epsilon"),
        (
            lambda c: layer(c, "InputLayer").update(batch_shape=[None, None, 5]),
            "arrays of 3 values for 5 on axis",
        ),
        (
            lambda c: layer(c, "TimeDistributed").update(layer=None),
            "time_distributed: TimeDistributed has no setting",
        ),
        (lambda c: c["layers"][2].update(class_name="Conv1D"), "class Conv1D is not supported"),
        (lambda c: c["layers"][2].update(class_name="Lambda"), "class Lambda is not supported"),
        (lambda c: c["layers"][2].update(config=None), "no settings"),
        (lambda c: c["layers"].clear(), "list of layers is empty"),
        (lambda c: c["layers"].insert(0, 3), "list of layers is empty"),
    ],
)
def test_refused(edited, edit, message):
    with pytest.raises(InputError, match=message):
        edited(GRU, edit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda c: c["layers"][2].update(inbound_nodes=[]),
            "'simple_rnn' is read, but is not in the file or reads nothing",
        ),
        (lambda c: c.update(output_layers=[["dense_2", 0, 5]]), "not a Keras model, or is damaged"),
        (
            lambda c: c.update(output_layers=[{"class_name": "__keras_tensor__", "config": {}}]),
            "not a Keras model, or is damaged",
        ),
        (lambda c: c.update(output_layers=[["dense_2", 1, 0]]), "'dense_2' is read, but is not in"),
        (
            lambda c: c["layers"][1]["inbound_nodes"][0]["args"][0]["config"].update(
                keras_history=["dense_2", 0, 0]
            ),
            "reads its own output",
        ),
        (
            lambda c: c["layers"][2].update(class_name="CuDNNLSTM"),
            "simple_rnn: .* do not fit|expected 3",
        ),
    ],
)
def test_refused_functional(edited, edit, message):
    with pytest.raises(InputError, match=message):
        edited(LSTM, edit)


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_not_a_model(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_keras(path)


@pytest.mark.parametrize("source", [GRU, LSTM])
def test_cut_file(tmp_path, source):
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(InputError):
        load_keras(path)


def test_zip_bomb(tmp_path):
    """The size that a member unpacks to is checked before it is unpacked."""
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(17 << 20))
    with pytest.raises(InputError, match=r"config\.json unpacks to"):
        load_keras(path)


@pytest.mark.parametrize("kind", ["huge", "external", "soft", "integer"])
def test_hostile_weights(tmp_path, kind):
    """An array that is huge, or lies in another file, is refused before it is read."""
    path = tmp_path / "model.h5"
    shutil.copy(LSTM, path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/lstm"]
        name = group.attrs["weight_names"][0]
        del group[name]
        if kind == "huge":
            group.create_dataset(name, (1 << 20, 1 << 10), "f4", chunks=True)
        elif kind == "external":
            group[name] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "soft":
            group[name] = h5py.SoftLink("/model_weights/dense_2")
        else:
            group[name] = np.zeros((2, 16), int)
    with pytest.raises(InputError, match="weights "):
        load_keras(path)


def fake_keras(offset, calls):
    """Stand in for Keras: answers with the recorded model, ``offset`` away from it."""

    class Reference:
        input_shape = (None, None, 3)
        layers = ()

        def predict_on_batch(self, x):
            calls.append(x.shape)
            return load_keras(GRU, check=False).run(x) + offset

    module = types.ModuleType("keras")
    module.ops = types.SimpleNamespace(matmul=np.matmul, convert_to_numpy=np.asarray)
    module.config = types.SimpleNamespace(floatx=lambda: "float32", set_floatx=lambda _: None)
    module.saving = types.SimpleNamespace(load_model=lambda *_, **__: Reference())
    module.__version__ = "0"
    return module


def test_check(monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "keras", fake_keras(0.0, calls))
    assert any("checked against Keras 0" in note for note in load_keras(GRU).notes)
    monkeypatch.setitem(sys.modules, "keras", fake_keras(1e-4, calls))
    with pytest.raises(
        CheckError, match=r"differs by 0\.0001, the bound is 1e-07.* step 0; please"
    ):
        load_keras(GRU)
    assert calls == [(2, 40, 3)] * 2


def test_check_never_hands_on_foreign_objects(edited, monkeypatch, tmp_path):
    """Settings that name other modules are not given to Keras, which would import them."""
    calls = []
    monkeypatch.setitem(sys.modules, "keras", fake_keras(0.0, calls))
    evil = {"module": "os", "class_name": "system", "config": "true"}
    edited(GRU, lambda c: layer(c, "GRU").update(kernel_initializer=evil))
    model = load_keras(tmp_path / GRU.name)
    assert any("warning: not checked" in note for note in model.notes) and not calls
