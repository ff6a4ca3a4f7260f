"""One way in: a module, tensors or a file of any supported kind becomes a float model."""

from __future__ import annotations

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
from ..files.npy import npz_keys, read_npz
from ..ir.model import Model
from .pytorch import from_module, from_state_dict

if TYPE_CHECKING:
    import torch

__all__ = ["load"]

ZIPPED = (".pt", ".pth", ".pt2", ".npz", ".keras")


def load(
    source: torch.nn.Module | Mapping[str, Any] | str | os.PathLike[str],
    example: Any = None,
    *,
    check: bool = True,
    memory: int | None = None,
    **options: Any,
) -> Model:
    """Read a float model.

    Parameters
    ----------
    source : torch.nn.Module, mapping of str -> array, or path
        Files by their ending: ``.pt``/``.pth`` (a state_dict or a checkpoint of tensors; code in
        a pickle is never run), ``.safetensors``, ``.npz`` (a state_dict of arrays, or RNNoise
        0.1), ``.onnx``, ``.keras``/``.h5``, ``.json`` (RTNeural), ``.pt2`` (``torch.export``).
        Up to 1 GiB.
    example : torch.Tensor, optional
        Of a module: an input such as ``torch.zeros(1, 5, 3)``, for which ``forward`` is traced.
    check : bool
        Compare with the framework's own evaluation where that is installed.
    memory : int, optional
        Bytes that reading may take, default 2 GiB (:data:`~..files.budget.MEMORY`).
    **options
        Passed to the reader: of a state_dict those of :func:`~.from_torch.from_state_dict`
        (``ignore``, ``order``, ``key``, ``nonlinearity``, ``activations``).

    Raises
    ------
    InputError
        The file is missing, not readable, too large, damaged, or holds what is not supported.
    MissingToolError
        A package that is needed to read it is not installed.
    """
    with memory_limit(memory), one_import():
        return _load(source, example, check, options)


def _load(source: Any, example: Any, check: bool, options: dict[str, Any]) -> Model:
    """Choose the reader by what is given."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        options |= {} if example is None else {"example": example}
        return _call(from_module, source, type(source).__name__, check, options)
    if example is not None:
        raise InputError("an example belongs to a module only: gw.load(net, torch.zeros(1, 5, 3))")
    if isinstance(source, Mapping):
        return _call(from_state_dict, source, "state_dict", check, options)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"a model is a torch.nn.Module, a dict of arrays or a path, not {type(source).__name__}"
        )
    path = pathlib.Path(source)
    reader = _reader(path)
    _check_size(path)
    return _call(reader, path, path.name, check, options)


def _call(
    reader: Callable[..., Model], source: Any, name: str, check: bool, options: dict[str, Any]
) -> Model:
    """Call a reader; an option it does not have is the user's mistake."""
    try:
        inspect.signature(reader).bind(source, check=check, **options)
    except TypeError as error:
        raise InputError(f"{name}: option not known: {error}") from None
    return reader(source, check=check, **options)


def _reader(path: pathlib.Path) -> Callable[..., Model]:
    """Choose a reader by the ending of the name."""
    if path.is_dir():
        if (path / "program.json").is_file():
            raise InputError(
                f"{path.name} is a quantized program, not a float model: use Program.load, or "
                "quantize the model file it was made from"
            )
        raise InputError(f"{path} is a folder without a program.json: name a model file")
    if path.suffix.lower() not in READERS:
        raise InputError(
            f"{path.name}: ending {path.suffix!r} is not known; use one of {', '.join(READERS)}"
        )
    return READERS[path.suffix.lower()]


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
    if "vad_gru_weights" in npz_keys(path, path.name):
        from .rnnoise import load_rnnoise

        return load_rnnoise(path, check=check, **options)
    values = read_npz(path, name=path.name, kinds="fiubcSU", way_out="leave it out")
    return _call(from_state_dict, values, path.name, check, options | {"source": path.name})


def _onnx(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    from .onnx import load_onnx

    return load_onnx(path, check=check, **options)


def _keras(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    from .keras import load_keras

    return load_keras(path, check=check, **options)


def _rtneural(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    from .rtneural import load_rtneural

    return load_rtneural(path, check=check, **options)


def _pt2(path: pathlib.Path, *, check: bool = True, **options: Any) -> Model:
    from .pytorch_export import load_pt2

    return load_pt2(path, check=check, **options)


READERS: dict[str, Callable[..., Model]] = {
    ".pt": _pt,
    ".pth": _pt,
    ".pt2": _pt2,
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".onnx": _onnx,
    ".keras": _keras,
    ".h5": _keras,
    ".json": _rtneural,
}
