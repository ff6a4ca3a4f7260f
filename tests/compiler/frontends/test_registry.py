"""Files of every kind: what is read, and that damaged or hostile ones are refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import GatewrightError, InputError
from gatewright.compiler.frontends.registry import load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn


def weights(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    gru, head = nn.GRU(4, 6, num_layers=2), nn.Linear(6, 3)
    values = {f"rnn.{k}": v for k, v in gru.state_dict().items()}
    values |= {f"fc.{k}": v for k, v in head.state_dict().items()}
    return {k: v.to(dtype) for k, v in values.items()}


def same(model, values) -> None:
    """Check that a model has exactly these weights."""
    first, _, head = model.layers
    assert [layer.name for layer in model.layers] == ["gru0", "gru1", "linear0"]
    assert np.array_equal(first.w["r"], values["rnn.weight_ih_l0"][:6].double().numpy())
    assert np.array_equal(first.c["n"], values["rnn.bias_hh_l0"][12:].double().numpy())
    assert np.array_equal(head.w, values["fc.weight"].double().numpy())


@pytest.mark.parametrize("ending", [".pt", ".pth", ".PT"])
def test_pt(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    torch.save(weights(), path)
    model = load(path)
    same(model, weights())
    assert model.source == path.name
    assert str(tmp_path) not in "".join(model.notes)
    same(load(str(path), check=False), weights())


def test_pt_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    torch.save(
        {"epoch": 7, "model_state_dict": weights(), "optimizer": optimizer.state_dict()}, path
    )
    same(load(path), weights())


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_safetensors(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    save_file(weights(dtype), path)
    same(load(path), weights(dtype))


def test_safetensors_sorts_keys_so_their_order_means_nothing(tmp_path):
    path = tmp_path / "model.safetensors"
    values = {f"rnn.{k}": v for k, v in nn.GRU(4, 4).state_dict().items()}
    values |= {f"fc.{k}": v for k, v in nn.Linear(4, 4).state_dict().items()}
    save_file(values, path)
    with pytest.raises(InputError, match="fit in more than one order"):
        load(path)
    model = load(path, order=["rnn", "fc"])
    assert [layer.name for layer in model.layers] == ["gru0", "linear0"]


def test_safetensors_of_integers_is_refused_by_name(tmp_path):
    path = tmp_path / "model.safetensors"
    for dtype in (torch.int8, torch.int64, torch.float8_e4m3fn, torch.bool):
        save_file(weights() | {"rnn.bias_ih_l0": torch.zeros(18).to(dtype)}, path)
        with pytest.raises(InputError, match=r"rnn\.bias_ih_l0 is of type .*[IFB]"):
            load(path)


def test_npz(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **{k: v.numpy() for k, v in weights().items()})
    same(load(path), weights())


def test_npz_in_the_way_of_a_published_amplifier_model(tmp_path):
    """Bias-free GRU and head beside a convolution that is no part of the core."""
    path, rng = tmp_path / "pa.npz", np.random.default_rng(2)
    shapes = {
        "backbone.rnn.weight_ih_l0": (111, 6),
        "backbone.rnn.weight_hh_l0": (111, 37),
        "backbone.fc_out.weight": (2, 37),
        "backbone.tcn.0.weight": (3, 2, 3),
        "backbone.tcn.2.weight": (2, 3, 1),
    }
    values = {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
    np.savez(path, **values)
    with pytest.raises(InputError, match=r"backbone\.tcn\.0\.weight \(3, 2, 3\) \(convolution\)"):
        load(path)
    model = load(path, ignore=("backbone.tcn.*",))
    assert (model.input_size, model.output_size) == (6, 2)
    assert np.array_equal(model.layers[0].u["z"], values["backbone.rnn.weight_hh_l0"][37:74])


def test_npz_of_objects_is_not_unpickled(tmp_path):
    path, trace = tmp_path / "model.npz", tmp_path / "trace"
    np.savez(path, weight=np.array([Hostile(trace)], dtype=object))
    with pytest.raises(InputError, match="weight has dtype object"):
        load(path)
    assert not trace.exists()


def test_module_and_dict():
    values = weights()
    same(load(values), values)
    assert load(nn.GRU(2, 3)).source == "GRU"


class Hostile:
    """Makes a file when unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "nested"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, form):
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Hostile(trace), protocol=2))
    elif form == "nested":
        torch.save({"state_dict": weights(), "hyper": Hostile(trace)}, path)
    else:
        torch.save(Hostile(trace), path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(InputError, match="refused, nothing in it was run") as error:
        load(path)
    assert not trace.exists()
    assert "state_dict" in str(error.value)
    assert error.value.exit_code == 1
    if form == "pickle":  # it does run code where that is not refused
        pickle.loads(path.read_bytes())
        assert trace.exists()


def test_whole_module_and_torchscript_in_pt_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.GRU(2, 3), path)
    with pytest.raises(InputError, match=r"GRU.*torch\.export\.save.*net\.state_dict\(\)"):
        load(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(InputError, match="holds Tensor, not a state_dict"):
        load(path)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.script(nn.Linear(2, 3)).save(str(path))
    with pytest.raises(InputError, match=r"torch\.export\.save.*net\.state_dict\(\)"):
        load(path)


@pytest.mark.parametrize("name", ["no.pt", "no.onnx", "no.keras", "no.h5", "no.json", "no.npz"])
def test_missing_and_empty_files(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(InputError, match=f"{name} does not exist"):
        load(path)
    path.touch()
    with pytest.raises(InputError, match=f"{name} is empty"):
        load(path)


def test_what_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"'\.txt' is not known; use one of \.pt"):
        load(tmp_path / "model.txt")
    with pytest.raises(InputError, match=r"folder without a program\.json"):
        load(tmp_path)
    (tmp_path / "program.json").write_text("{}")
    with pytest.raises(InputError, match=r"Program\.load"):
        load(tmp_path)
    with pytest.raises(InputError, match="not int"):
        load(3)
    with pytest.raises(InputError, match="cannot be read"):
        load("null\0.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(InputError, match="folder"):
        load(tmp_path / "folder.pt")


def test_unknown_option(tmp_path):
    with pytest.raises(InputError, match=r"option not known.*'colour'"):
        load(nn.GRU(2, 3), colour=3)
    path = tmp_path / "model.pt"
    torch.save(weights(), path)
    with pytest.raises(InputError, match=r"option not known.*'colour'"):
        load(path, colour=3)


def test_size_limit_counts_what_a_file_unpacks_to(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    np.savez_compressed(path, weight=np.zeros((100, 1000)))
    monkeypatch.setattr(sys.modules[load.__module__], "FILE_LIMIT", 100_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"unpacks to 8\d+ bytes; the limit is 100000"):
        load(path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(100_001))
    with pytest.raises(InputError, match="the limit is 100000"):
        load(path)


def test_zip_of_an_unknown_version_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, weight=np.zeros((2, 2)))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99  # version needed to extract
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load(path)


def test_npz_that_announces_more_than_it_holds(tmp_path):
    path, header = tmp_path / "model.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight.npy", header.getvalue())
    with pytest.raises(InputError, match="takes 8796093022208 bytes, the file has only 0"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 99]}}).encode(),
        json.dumps({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"w": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}).encode(),
    ],
)
def test_damaged_safetensors(tmp_path, header):
    path = tmp_path / "model.safetensors"
    for length in (len(header), 1 << 62):
        path.write_bytes(struct.pack("<Q", length) + header + bytes(16))
        with pytest.raises(InputError, match="not a safetensors file"):
            load(path)


def test_small_float_types_of_safetensors_do_not_crash(tmp_path):
    path = tmp_path / "model.safetensors"
    header = json.dumps({"weight": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(2))
    with pytest.raises(InputError):
        load(path)


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), ending=st.sampled_from([".pt", ".safetensors", ".npz"]))
def test_damaged_files_never_end_in_a_traceback(tmp_path, data, ending):
    """Cut or changed bytes: a model, or one of our own errors."""
    path = tmp_path / f"model{ending}"
    values = {k: v for k, v in weights().items() if k.startswith("fc")}
    if ending == ".pt":
        torch.save(values, path)
    elif ending == ".safetensors":
        save_file(values, path)
    else:
        np.savez(path, **{k: v.numpy() for k, v in values.items()})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        load(path, check=False)
    except GatewrightError:
        pass
