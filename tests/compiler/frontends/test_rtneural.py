"""RTNeural JSON against the input and output recordings that RTNeural ships."""

import copy
import json
import pathlib

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.rtneural import load_rtneural

DATA = pathlib.Path(__file__).parents[2] / "data"


@pytest.fixture
def edited(tmp_path):
    """Load gru.json after an edit of its contents."""

    def load(edit):
        data = copy.deepcopy(json.loads((DATA / "rtneural_gru.json").read_text()))
        edit(data)
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(data))
        return load_rtneural(path)

    return load


@pytest.mark.parametrize("name", ["gru", "gru_1d"])
def test_recorded(name):
    """RTNeural's own tests allow 5e-6 and 1e-6; float64 here leaves the recording's rounding."""
    model = load_rtneural(DATA / f"rtneural_{name}.json")
    x = np.loadtxt(DATA / f"rtneural_{name}_x.csv")[:, None]
    y = np.loadtxt(DATA / f"rtneural_{name}_y.csv")
    np.testing.assert_allclose(model.run(x)[:, 0], y, atol=1e-6, rtol=0)


def test_layers():
    model = load_rtneural(DATA / "rtneural_gru.json")
    assert [layer.name for layer in model.layers] == ["dense_0", "gru_1", "dense_2", "dense_3"]
    assert [model.layers[i].activation for i in (0, 2, 3)] == ["tanh", "sigmoid", "none"]


@pytest.mark.parametrize(("name", "inputs", "state"), [("", 3, 16), ("_50", 1, 8)])
def test_kloncentaur(name, inputs, state):
    """The pedal's gain stage at one knob position, and a larger one with the knobs as inputs."""
    model = load_rtneural(DATA / f"kloncentaur{name}.json")
    assert model.input_size == inputs and model.output_size == 1
    assert max(model.sizes.values()) == state
    assert any("no activation" in note for note in model.notes)
    out = model.run(np.random.default_rng(1).normal(size=(50, inputs)))
    assert np.isfinite(out).all() and np.ptp(out) > 0


def test_activation_layer(edited):
    def edit(data):
        data["layers"][2]["activation"] = ""
        data["layers"].insert(3, {"type": "activation", "activation": "sigmoid", "shape": [8]})

    x = np.random.default_rng(2).normal(size=(20, 1))
    np.testing.assert_array_equal(edited(edit).run(x), edited(lambda data: None).run(x))


def test_activation_after_recurrent(edited):
    model = edited(
        lambda data: data["layers"].insert(2, {"type": "activation", "activation": "relu"})
    )
    trace = {}
    model.run(np.random.default_rng(3).normal(size=(20, 1)), trace=trace)
    for h, y in zip(trace["gru_1"], trace["activation_2"], strict=True):
        np.testing.assert_array_equal(np.maximum(h, 0), y)


def test_in_skip_adds_the_input(edited):
    """AIDA-X: ``y = net(x) + x``; a network that ends in a layer without bias of its own too."""
    x = np.random.default_rng(4).normal(size=(20, 1))
    plain = edited(lambda data: None).run(x)
    np.testing.assert_allclose(edited(lambda d: d.update(in_skip=1)).run(x), plain + x, atol=1e-14)

    def bounded(data):
        data["layers"][-1]["activation"] = "tanh"
        data["in_skip"] = 1

    np.testing.assert_allclose(edited(bounded).run(x), np.tanh(plain) + x, atol=1e-14)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["layers"][1].update(type="conv1d"), "layer 1 has type 'conv1d'"),
        (lambda d: d["layers"][0].update(activation="elu"), "dense_0: activation 'elu'"),
        (lambda d: d["layers"][1].update(activation="relu"), "gru_1: activation 'relu'"),
        (lambda d: d["layers"][1].update(shape=[None, None, 9]), "gru_1: shape says 9 units"),
        (lambda d: d["layers"][1]["weights"].pop(), "gru_1: 'weights' must hold 3"),
        (lambda d: d["layers"][1]["weights"][1].pop(), r"gru_1: u\[r\] has shape"),
        (lambda d: d["layers"][1]["weights"][2].pop(), "gru_1: bias has shape"),
        (lambda d: d["layers"][0]["weights"][0][0].append(1.0), "dense_0: bias has shape"),
        (lambda d: d["layers"][0]["weights"][0].append([1.0] * 8), "for 1 inputs"),
        (lambda d: d["layers"][0]["weights"].__setitem__(1, [[1.0]]), r"weights\[1\]"),
        (lambda d: d["layers"][0]["weights"].__setitem__(1, ["a"] * 8), r"weights\[1\]"),
        (lambda d: d["layers"][0]["weights"][1].__setitem__(0, float("nan")), "finite"),
        (lambda d: d["layers"].clear(), "no layers"),
        (lambda d: d["layers"].append(3), "layer 4 has type None"),
        (lambda d: d.update(in_skip=2), "in_skip is '?2"),
        (lambda d: d.update(in_shape=None), "in_shape"),
        (lambda d: d.pop("layers"), "not RTNeural's JSON"),
    ],
)
def test_refused(edited, edit, message):
    with pytest.raises(InputError, match=message):
        edited(edit)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"layers": 3}'])
def test_not_a_model(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        load_rtneural(path)
