"""RNNoise v0.1 against features, gains and states recorded from its C reference."""

import pathlib

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.rnnoise import load_rnnoise
from gatewright.examples.rnnoise import suppressor

DATA = pathlib.Path(__file__).parents[2] / "data"
WEIGHTS = pathlib.Path(suppressor.__file__).parent / "rnnoise_v0.1_int8.npz"


@pytest.fixture(scope="module")
def arrays():
    with np.load(WEIGHTS) as data:
        return {k: data[k] for k in data.files if k != "tansig_table"}


def c_text(arrays, layers=""):
    """Write the arrays as C text of the form of ``rnn_data.c``."""
    text = '/* weights, machine written */\n#include "rnn.h"\n'
    for name, array in arrays.items():
        rows = ",\n   ".join(
            ", ".join(str(v) for v in array[i : i + 8]) for i in range(0, len(array), 8)
        )
        text += f"static const rnn_weight {name}[{len(array)}] = {{\n   {rows}\n}};\n\n"
    return text + layers


def test_recorded():
    """The C code's 201-entry tanh table and float32 leave 2e-5; exact functions are used here."""
    model = load_rnnoise(WEIGHTS)
    with np.load(DATA / "rnnoise_expected_300.npz") as data:
        expected = {k: data[k] for k in data.files}
    trace = {}
    y = model.run(expected["features"], trace=trace)
    np.testing.assert_allclose(y[:, :22], expected["gains"], atol=5e-6, rtol=0)
    np.testing.assert_allclose(y[:, 22], expected["vad"], atol=1e-5, rtol=0)
    for name in ("vad", "noise", "denoise"):
        h = np.concatenate(trace[f"{name}_gru"])
        np.testing.assert_allclose(h, expected[f"h_{name}"], atol=3e-5, rtol=0)


def test_description():
    model = load_rnnoise(WEIGHTS)
    assert (model.input_size, model.output_size) == (42, 23)
    assert model.outputs == ("denoise_output", "vad_output")
    assert model.parameters - 3 * (24 + 48 + 96) == 87_503  # one bias a gate in the file
    assert {layer.cell for layer in model.layers[1::2][:1]} == {"gru_reset_before"}


def test_c_text(arrays, tmp_path):
    path = tmp_path / "rnn_data.c"
    path.write_text(c_text(arrays))
    x = np.random.default_rng(1).normal(size=(20, 42))
    np.testing.assert_array_equal(load_rnnoise(path).run(x), load_rnnoise(WEIGHTS).run(x))


def test_c_text_states_activation(arrays, tmp_path):
    """A network trained anew names its activations in the layer structures."""
    struct = (
        "const GRULayer vad_gru = {\n vad_gru_bias,\n vad_gru_weights,\n"
        " vad_gru_recurrent_weights,\n 24, 24, ACTIVATION_TANH\n};\n"
    )
    path = tmp_path / "rnn_data.c"
    path.write_text(c_text(arrays, struct))
    candidates = {la.name: la.candidate for la in load_rnnoise(path).layers if "gru" in la.name}
    assert candidates == {"vad_gru": "tanh", "noise_gru": "relu", "denoise_gru": "relu"}
    path.write_text(c_text(arrays, struct.replace("TANH", "SWISH")))
    with pytest.raises(InputError, match="ACTIVATION_SWISH"):
        load_rnnoise(path)


def test_what_an_npz_does_not_say_is_named_until_it_is_said():
    (assumed,) = load_rnnoise(WEIGHTS).not_compared
    assert "noise_gru RELU" in assumed and "vad_output SIGMOID" in assumed
    said = {
        "input_dense": "tanh", "vad_gru": "relu", "vad_output": "sigmoid", "noise_gru": "tanh",
        "denoise_gru": "relu", "denoise_output": "sigmoid",
    }  # fmt: skip
    model = load_rnnoise(WEIGHTS, activations=said)
    assert model.not_compared == ()
    assert model.layers[3].candidate == "tanh"
    with pytest.raises(InputError, match=r"activations names \['fc'\]"):
        load_rnnoise(WEIGHTS, activations={"fc": "relu"})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vad_gru_bias", None, "no array 'vad_gru_bias'"),
        ("vad_gru_bias", lambda a: a[:-1], "vad_gru"),
        ("vad_gru_weights", lambda a: a[:-72], "takes 23 inputs"),
        ("vad_gru_recurrent_weights", lambda a: a[:-72], "no GRU"),
        ("vad_output_bias", lambda a: a.astype(int) + 300, "no 8-bit integers"),
        ("vad_output_bias", lambda a: a + 0.5, "no 8-bit integers"),
        ("vad_output_bias", lambda a: a[:0], "no 8-bit integers"),
    ],
)
def test_refused_arrays(arrays, tmp_path, name, change, message):
    edited = dict(arrays)
    if change is None:
        del edited[name]
    else:
        edited[name] = change(arrays[name])
    path = tmp_path / "edited.npz"
    np.savez(path, **edited)
    with pytest.raises(InputError, match=message):
        load_rnnoise(path)


def test_refused_c_text(arrays, tmp_path):
    path = tmp_path / "rnn_data.c"
    path.write_text("static const rnn_weight input_dense_bias[3] = { 1, 2 };")
    with pytest.raises(InputError, match="declared with 3 entries but has 2"):
        load_rnnoise(path)
    path.write_text("static const rnn_weight input_dense_bias[2] = { 1 2, 3 };")
    with pytest.raises(InputError, match="not a list of integers"):
        load_rnnoise(path)
    path.write_text("int main() { return 0; }")
    with pytest.raises(InputError, match=r"RNNoise v0\.1"):
        load_rnnoise(path)


def test_refused_npz(tmp_path, monkeypatch):
    path = tmp_path / "bad.npz"
    path.write_bytes(WEIGHTS.read_bytes()[:50_000])
    with pytest.raises(InputError, match="not a file of plain arrays"):
        load_rnnoise(path)
    np.savez(path, vad_gru_bias=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="has dtype object"):
        load_rnnoise(path)
    np.savez_compressed(path, vad_gru_bias=np.zeros(3 << 20))
    with pytest.raises(InputError, match="the limit is"):
        load_rnnoise(path)
