"""The check of an ONNX import, and files that are damaged or divided."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.onnx import list_nodes, load_onnx
from onnx import TensorProto, numpy_helper
from support.onnx_graphs import (
    GTCRN,
    directed,
    in_kind,
    random,
    recurrent,
)


def test_check_finds_a_wrong_import(load, monkeypatch):
    """A gate order that is wrong would be noticed."""
    from gatewright.compiler.frontends import onnx_cells

    monkeypatch.setitem(onnx_cells.RECURRENT_OPS, "GRU", ("r", "z", "n"))
    model = recurrent("GRU", linear_before_reset=1)
    with pytest.raises(CheckError, match="'Y' differs from"):
        load(model)
    load(model, check=False)


def test_check_names_the_node_and_the_step_where_a_difference_begins(load, monkeypatch):
    """A state that is cut at a later step is no fault of the file."""
    from gatewright.compiler.ir import model as ir

    walk = ir._walk

    def cut(layer, x, start, lengths, every_gate):
        made, state = walk(layer, x, start, lengths, every_gate)
        made[layer.name][:, 2:] *= 0.99
        return made, state

    monkeypatch.setattr(ir, "_walk", cut)
    text = r"from step 2 on; the difference begins in cell at step 2$"
    with pytest.raises(CheckError, match=text):
        load(recurrent("GRU", linear_before_reset=1))


def test_check_is_in_float64_or_bounded_by_measured_noise(load, monkeypatch):
    model = recurrent("GRU", linear_before_reset=1)
    assert "onnx.reference in float64" in load(model).notes[-1]
    relu = recurrent("RNN", activations=["Relu"])  # of which the reference takes no notice
    imported = load(relu)
    assert "onnxruntime in float32" in imported.notes[-1]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert load(model).not_compared == ()
    imported = load(relu)
    assert "ModuleNotFoundError" in imported.not_compared[0]


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", ["GRU", "LSTM"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_graphs_of_other_precisions_pass_the_check(load, op, direction, kind):
    plain = directed(op, direction)
    imported = load(in_kind(plain, kind))
    assert imported.not_compared == ()
    x = np.random.default_rng(1).normal(size=(9, imported.input_size))
    np.testing.assert_allclose(imported.run(x), load(plain).run(x), atol=5e-3)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_large_weights_pass_the_check(load, direction):
    """Rounding grows from step to step there: a fixed bound calls a right import wrong."""
    model = directed("GRU", direction)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array * 60, tensor.name))
    assert load(model).not_compared == ()


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08" + bytes(100)])
def test_not_a_model(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx: not a"):
        load_onnx(path)


def test_cut_file(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(GTCRN.read_bytes()[:300_000])
    with pytest.raises(InputError, match=r"cut\.onnx: not a"):
        list_nodes(path)


def test_external_data_beside_the_model(tmp_path, load):
    """The onnx package writes it as torch.onnx.export does; what is read is the same model."""
    model = recurrent("GRU", linear_before_reset=1)
    path, x = tmp_path / "two.onnx", random(9, 3)
    onnx.save_model(
        model, path, save_as_external_data=True, location="two.onnx.data", size_threshold=0
    )
    assert (tmp_path / "two.onnx.data").stat().st_size >= 4 * (36 + 48 + 24)
    one = load(recurrent("GRU", linear_before_reset=1))
    np.testing.assert_array_equal(load_onnx(path).run(x), one.run(x))
    (tmp_path / "two.onnx.data").write_bytes(b"short")
    with pytest.raises(
        InputError, match=r"takes \d+ bytes at '\d+' of 'two.onnx.data', which has 5"
    ):
        load_onnx(path)
    (tmp_path / "two.onnx.data").unlink()
    with pytest.raises(InputError, match="is not there: copy it beside the model"):
        load_onnx(path)
    (tmp_path / "two.onnx.data").symlink_to(__file__)
    with pytest.raises(InputError, match="is not there"):
        load_onnx(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_external_data_elsewhere_is_refused(load, name):
    model = recurrent("GRU")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    with pytest.raises(InputError, match=r"W is stored in .*external_data=False"):
        load(model)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-1"), ("offset", "9" * 30), ("length", "3"), ("length", "x")]
)
def test_external_data_of_a_wrong_size_is_refused(tmp_path, key, value):
    model, path = recurrent("GRU"), tmp_path / "m.onnx"
    tensor = model.graph.initializer[0]
    (tmp_path / "m.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.data")
    tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="takes 144 bytes"):
        load_onnx(path)


def test_old_opset(load):
    model = recurrent("RNN")
    model.opset_import[0].version = 1
    with pytest.raises(InputError, match=r"opset 1|not a valid"):
        load(model)


def test_huge_input(load):
    model = recurrent("GRU")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40
    with pytest.raises(InputError, match="input 'X' has shape"):
        load(model)


def test_malformed_attribute(load):
    """ONNX's checker accepts an initializer whose bytes do not fill its shape."""
    model = recurrent("GRU")
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:20]
    with pytest.raises(InputError, match=r"model\.onnx: (malformed|not a valid)"):
        load(model)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:overflow")
def test_damaged_bytes(tmp_path):
    """Files with changed bytes are read or refused, never a crash of another kind."""
    data, rng = (
        recurrent("GRU", linear_before_reset=1).SerializeToString(),
        np.random.default_rng(9),
    )
    path = tmp_path / "damaged.onnx"
    for _ in range(1000):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_onnx(path)
        except (InputError, CheckError):
            pass
