"""One way in: a module, tensors or a file of any supported kind becomes a float model."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.boundary import parsing
from ..files.budget import FILE_LIMIT, memory_limit, one_import, spend
from ..files.npy import read_npz
from ..ir.model import Model
from . import description, guitarml, keras, nam, onnx, pytorch_export, rnnoise, rtneural
from .expected import Expected
from .format import Format
from .pytorch import from_module
from .tensors import from_state_dict

if TYPE_CHECKING:
    import torch

__all__ = ["load"]

ZIPPED = (".pt", ".pth", ".pt2", ".npz", ".keras")


def load(
    source: torch.nn.Module | Mapping[str, Any] | str | os.PathLike[str],
    example: Any = None,
    *,
    check: bool = True,
    expect: str | os.PathLike[str] | Mapping[str, Any] | tuple[Any, Any] | None = None,
    memory: int | None = None,
    **options: Any,
) -> Model:
    """Read a float model.

    Parameters
    ----------
    source : torch.nn.Module, mapping of str -> array, or path
        Files by their ending: ``.pt``/``.pth``/``.ckpt`` (a state_dict or a checkpoint of tensors;
        code in a pickle is never run), ``.safetensors``, ``.npz`` (a state_dict of arrays, or RNNoise
        0.1), ``.onnx``, ``.keras``/``.h5``, ``.json`` (RTNeural), ``.toml`` (a description by hand), ``.pt2`` (``torch.export``).
        Up to 1 GiB.
    example : torch.Tensor, optional
        Of a module: an input such as ``torch.zeros(1, 5, 3)``, for which ``forward`` is traced.
    check : bool
        Compare with the framework's own evaluation where that is installed.
    expect : path of an .npz, mapping or pair, optional
        Recorded input x (N, T, I) and the model's own outputs y, (N, T, O) or (N, O) of the last
        step: the model must give them. Of a state_dict they also choose the computation.
    memory : int, optional
        Bytes that reading may take, default 2 GiB (:data:`~..files.budget.MEMORY`).
    **options
        Passed to the reader: of a state_dict those of :func:`~.tensors.from_state_dict`
        (``forward``, ``ignore``, ``order``, ``key``, ``nonlinearity``, ``activations``).

    Raises
    ------
    InputError
        The file is missing, not readable, too large, damaged, or holds what is not supported.
    CheckError
        The model gives other outputs than its framework, or than those recorded.
    MissingToolError
        A package that is needed to read it is not installed.
    """
    with memory_limit(memory), one_import():
        expected = None if expect is None else Expected.of(expect)
        model = _load(source, example, check, options, expected)
    if expected is None:
        return model
    notes = (*model.notes, expected.prove(model))
    return dataclasses.replace(model, notes=notes, not_compared=())


def _load(
    source: Any, example: Any, check: bool, options: dict[str, Any], expected: Expected | None
) -> Model:
    """Choose the reader by what is given."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        options |= {} if example is None else {"example": example}
        return _call(from_module, source, type(source).__name__, check, options)
    if example is not None:
        raise InputError("an example belongs to a module only: gw.load(net, torch.zeros(1, 5, 3))")
    if isinstance(source, Mapping):
        return _call(from_state_dict, source, "state_dict", check, options | {"expected": expected})
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"a model is a torch.nn.Module, a dict of arrays or a path, not {type(source).__name__}"
        )
    path = pathlib.Path(source)
    reader = _reader(path)
    if reader in [each.read for each in TENSORS]:
        options = options | {"expected": expected}
    return _call(reader, path, path.name, check, options)


def _call(
    reader: Callable[..., Model], source: Any, name: str, check: bool, options: dict[str, Any]
) -> Model:
    """Call a reader; an option it does not have is the user's mistake."""
    try:
        inspect.signature(reader).bind(source, check=check, **options)
    except TypeError as error:
        raise InputError(f"{name}: option not known: {error}") from None
    model = reader(source, check=check, **options)
    if check:
        return model
    open_ = (*model.not_compared, "anything: the check is off")
    return dataclasses.replace(model, not_compared=open_)


def _reader(path: pathlib.Path) -> Callable[..., Model]:
    """Choose a reader by the ending of the name, then by content."""
    if path.is_dir():
        if (path / "program.json").is_file():
            raise InputError(
                f"{path.name} is a quantized program, not a float model: use Program.load, or "
                "quantize the model file it was made from"
            )
        if (path / "saved_model.pb").is_file():
            raise InputError(
                f"{path.name} is a SavedModel of TensorFlow, which holds code: load it with Keras and save "
                "it by model.save('model.keras'), or export it to ONNX"
            )
        raise InputError(f"{path} is a folder without a program.json: name a model file")
    if path.suffix.lower() not in READERS:
        raise InputError(
            f"{path.name}: ending {path.suffix!r} is not known; use one of {', '.join(READERS)}"
        )
    _check_size(path)
    return next(each for each in READERS[path.suffix.lower()] if each.matches(path)).read


def _check_size(path: pathlib.Path) -> None:
    """Refuse what cannot be read, is empty, or is too large, packed or unpacked."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a folder or a device, not a file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
        if path.suffix.lower() in ZIPPED and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(member.file_size for member in archive.infolist()))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except InputError:
        raise
    except Exception as error:  # zipfile raises many types on damaged files
        raise InputError(f"{path} cannot be read: {error}") from None
    if size == 0:
        raise InputError(f"{path} is empty")
    if size > FILE_LIMIT:
        raise InputError(f"{path} is or unpacks to {size} bytes; the limit is {FILE_LIMIT}")


def _pt(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    """Read tensors that torch.save wrote."""
    from .torch_file import read_torch

    values = read_torch(path)
    return _call(from_state_dict, values, path.name, check, options | {"source": path.name})


def _safetensors(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    """Read a safetensors file; its keys are sorted by name, so their order means nothing."""
    import safetensors

    spend(2 * path.stat().st_size, path.name)
    with parsing(path.name, "a safetensors file", "save it again"):
        tensors = safetensors.deserialize(path.read_bytes())
        values = {name: _decode(tensor) for name, tensor in tensors}
    options |= {"source": path.name, "ordered": False}
    return _call(from_state_dict, values, path.name, check, options)


def _decode(tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Give one tensor as an array; of other types than floats only name and shape."""
    name, shape = tensor["dtype"], tensor["shape"]
    if name == "BF16":  # the upper half of a float32
        spend(4 * len(tensor["data"]), "a tensor of bfloat16")
        upper = np.frombuffer(tensor["data"], "<u2").astype("<u4") << 16
        return upper.view("<f4").reshape(shape)
    if name in ("F64", "F32", "F16"):
        return np.frombuffer(tensor["data"], f"<f{int(name[1:]) // 8}").reshape(shape)
    return np.broadcast_to(np.zeros((), np.dtype([(name, "V1")])), shape)


def _npz(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    """Read plain arrays by name."""
    values = read_npz(path, name=path.name, kinds="fiubcSU", way_out="leave it out")
    return _call(from_state_dict, values, path.name, check, options | {"source": path.name})


TENSORS = (
    Format(
        "PyTorch state_dict or checkpoint of tensors; code in it is never run",
        (".pt", ".pth", ".ckpt"), "torch", _pt,
    ),
    Format("state_dict", (".safetensors",), "", _safetensors),
    Format("state_dict of plain arrays", (".npz",), "", _npz),
)  # fmt: skip

FORMATS = (
    TENSORS[0], pytorch_export.FORMAT, TENSORS[1], rnnoise.FORMAT, TENSORS[2], onnx.FORMAT,
    keras.FORMAT, description.FORMAT, guitarml.FORMAT, rtneural.FORMAT, nam.FORMAT,
)  # fmt: skip
"""Every format, in the order in which files are matched: the one list to add a format to."""

READERS: dict[str, tuple[Format, ...]] = {
    ending: tuple(each for each in FORMATS if ending in each.endings)
    for ending in dict.fromkeys(ending for each in FORMATS for ending in each.endings)
}
"""Formats of each ending."""
