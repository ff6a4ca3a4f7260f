"""Small files that ask for much, or for what is not theirs: refused, by name, in little memory."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.files.budget import BudgetError, memory_limit, one_import, spend
from gatewright.compiler.files.json_file import read_json
from gatewright.compiler.files.npy import read_npy, read_npz
from gatewright.compiler.files.recording import read_x
from gatewright.compiler.frontends import keras_file
from gatewright.compiler.frontends.registry import load
from support.fuzz_files import KINDS, findings, fuzz


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(autouse=True)
def in_little_memory():
    """No file here may take more than 600 MB beyond what the process had."""
    before = peak()
    yield
    assert peak() - before < 600 << 10


# -- tensors ------------------------------------------------------------------------

PLAIN = torch.arange(12.0).reshape(3, 4)


def sparse_outside_its_shape() -> torch.Tensor:
    made = torch.sparse_coo_tensor(torch.tensor([[0, 1], [0, 1]]), torch.ones(2), (3, 4))
    made._indices()[:] = 1 << 40
    return made


HOSTILE = {
    "sparse": (sparse_outside_its_shape, "_rebuild_sparse_tensor"),
    "csr": (lambda: PLAIN.to_sparse_csr(), "_rebuild_sparse_tensor"),
    "stride 0": (lambda: torch.zeros(1).expand(30000, 30000), "repeats its elements"),
    "overlap": (lambda: torch.zeros(8).as_strided((3, 2), (1, 1)), "overlap"),
    "quantized": (
        lambda: torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.qint8), "_rebuild_qtensor",
    ),
    "nested": (lambda: torch.nested.nested_tensor([PLAIN, PLAIN]), "_rebuild_nested_tensor"),
    "meta": (lambda: torch.zeros(1 << 20, 1 << 20, device="meta"), "_rebuild_meta_tensor"),
    "complex": (lambda: PLAIN.to(torch.complex64), "torch.complex64"),
    "bytes": (lambda: bytearray(3), "bytearray"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_only_plain_tensors_leave_a_checkpoint(tmp_path, name, zipped):
    make, message = HOSTILE[name]
    path = tmp_path / "model.pt"
    weight = {"fc.weight": torch.zeros(2, 3), "more": [{"deep": (make(),)}]}
    torch.save(weight, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=message):
        load(path, check=False)


def test_a_transposed_tensor_and_tied_ones_are_plain(tmp_path):
    path, weight = tmp_path / "model.pt", torch.randn(3, 2)
    torch.save({"fc.weight": weight.T, "optimizer": {"again": [weight, weight]}}, path)
    assert np.array_equal(
        load(path, ignore=("optimizer",), forward="fc").layers[0].w, weight.T.double().numpy()
    )


def test_a_dict_that_contains_itself_is_refused(tmp_path):
    values: dict = {"fc.weight": torch.zeros(2, 3)}
    values["model"] = values
    torch.save(values, tmp_path / "model.pt")
    with pytest.raises(InputError, match="model contains itself"):
        load(tmp_path / "model.pt")


def test_sparse_tensors_of_a_dict_are_refused_untouched():
    with pytest.raises(InputError, match="is sparse"):
        load({"fc.weight": sparse_outside_its_shape()}, check=False)


# -- sizes --------------------------------------------------------------------------


def bomb(path: Path, key: str, shape: tuple[int, ...], dtype: str = "<f8") -> None:
    """An .npz of zeros that packs to a thousandth."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    left = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with zipfile.ZipFile(path, "w", 8) as archive:
        with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            while left > 0:
                file.write(bytes(min(left, 1 << 24)))
                left -= 1 << 24


def test_a_recording_of_zeros_is_refused_before_it_is_unpacked(tmp_path):
    bomb(tmp_path / "x.npz", "x", (1, 1 << 27, 1), "|i1")
    assert (tmp_path / "x.npz").stat().st_size < 200_000
    with pytest.raises(BudgetError, match="--memory GIB"):
        read_x(tmp_path / "x.npz")


def test_the_budget_is_one_for_an_import_and_can_be_raised():
    with one_import(), pytest.raises(BudgetError, match="with what was read before"):
        for _ in range(3):
            spend(1 << 30, "an array")
    spend(2 << 30, "an array")
    with memory_limit(4 << 30), one_import():
        for _ in range(4):
            spend(1 << 30, "an array")
    with memory_limit(1 << 20), pytest.raises(BudgetError, match="limit of an import is 1,048,576"):
        spend((1 << 20) + 1, "an array")


def test_load_takes_memory(tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.zeros((100, 100))})
    load(tmp_path / "m.npz", check=False, forward="fc")
    with pytest.raises(BudgetError):
        load(tmp_path / "m.npz", check=False, forward="fc", memory=1000)


def test_onnx_that_makes_constants_is_refused(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *dims: object) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    def save(nodes: list, inits: dict[str, list[int]]) -> Path:
        arrays = [numpy_helper.from_array(np.array(v), k) for k, v in inits.items()]
        graph = helper.make_graph(
            nodes, "g", [value("x", "t", 1, 3)], [value("out", "t", 1, 3)], arrays
        )
        path = tmp_path / "m.onnx"
        path.write_bytes(
            helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", 17)]
            ).SerializeToString()
        )
        return path

    many = [helper.make_node("ConstantOfShape", ["s"], [f"c{k}"]) for k in range(40)]
    end = helper.make_node("Add", ["x", "c0"], ["out"])
    with pytest.raises(InputError, match="the limit of an import"):
        load(save([*many, end], {"s": [1 << 25]}), check=False)
    both = [
        helper.make_node("ConstantOfShape", ["a"], ["c"]),
        helper.make_node("Expand", ["c", "b"], ["c0"]),
    ]
    with pytest.raises(InputError, match="Expand makes"):
        load(save([*both, end], {"a": [1 << 16, 1], "b": [1, 1 << 24]}), check=False)
    twice = [
        helper.make_node("ConstantOfShape", ["a"], ["c"]),
        helper.make_node("Concat", ["c"] * 900, ["c0"], axis=0),
    ]
    with pytest.raises(InputError):
        load(save([*twice, end], {"a": [1 << 20]}), check=False)


def test_hdf5_that_stores_less_than_it_says_is_refused(tmp_path):
    import h5py

    path = tmp_path / "m.h5"
    for chunks in (None, (1024, 1024)):
        path.write_bytes(KINDS["h5"][1]()[0])
        with h5py.File(path, "a") as file:
            del file["model_weights/gru/gru/w0"]
            file.create_dataset(
                "model_weights/gru/gru/w0", (1 << 13, 1 << 13), "f8", chunks=chunks, fillvalue=1.0
            )
        assert path.stat().st_size < 40_000
        with pytest.raises(InputError, match="only 0 are stored"):
            load(path, check=False)


def test_hdf5_that_hangs_or_crashes_its_library_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    path.write_bytes(KINDS["h5"][1]()[0])
    for code, message in (
        ("while True: pass", "busy for more than 1 s"),
        ("os.abort()", "crashes"),
    ):
        monkeypatch.setattr(keras_file, "CPU_SECONDS", 1)
        limit = "resource.setrlimit(resource.RLIMIT_CPU, (1, 2))"
        script = tmp_path / "python"
        script.write_text(
            f"#!/bin/sh\nexec {sys.executable} -c 'import os, resource\n{limit}\n{code}'\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(keras_file.sys, "executable", str(script))
        with pytest.raises(InputError, match=message):
            load(path, check=False)
        monkeypatch.undo()


# -- parsers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is not a JSON file"),
        ("1" + "0" * 400, "beyond the range of 64 bits"),
        ("1e400", "beyond the range"),
        ("NaN", "no finite number"),
        (b"\xff\xfe", "is not a JSON file"),
        ("", "is not a JSON file"),
    ],
)
def test_json_that_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_json(text, "m.json", "export again")


@pytest.mark.parametrize("text", ["{'descr': '<f8', 'a': (", "(" * 5000, "'" * 9, "{" + "[" * 900])
def test_headers_of_numpy_that_python_cannot_read(tmp_path, text):
    raw = text.encode().ljust(118)[:60000]
    path = tmp_path / "state.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw)
    with pytest.raises(InputError, match="no NumPy array or is damaged"):
        read_npy(path)


def test_damaged_deflate_is_an_input_error(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(40, 3)))
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(range(200, 230))
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_npz(path)
    with pytest.raises(zlib.error):
        zlib.decompress(bytes(content[60:90]))


# -- programs -----------------------------------------------------------------------


@pytest.mark.parametrize("fd", [">&-", ">/dev/full"])
def test_a_closed_output_is_an_error_without_a_traceback(tmp_path, fd):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m gatewright supported {fd}"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error:") and "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_fuzzed_files_are_read_or_refused(kind):
    """A few seconds of each; ``python -m support.fuzz_files`` runs as long as is wanted."""
    found = fuzz(kind, 3.0, limit=80)
    assert findings(found) == []
    assert found["tried"] >= 20 and found["refused"]
