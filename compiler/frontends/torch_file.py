"""Files of tensors that torch.save wrote: only plain tensors come out of them.

``weights_only`` keeps code in a pickle from running. It still builds sparse, quantized, nested and
other tensors whose parts nobody has checked, and buffers of any size. So the names in the pickle
are read first, without building anything, and what comes out is judged by its storage.
"""

from __future__ import annotations

import pathlib
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ..errors import InputError, MissingToolError
from ..files.boundary import brief, parsing
from ..files.budget import spend

__all__ = ["check_tensors", "read_torch"]

PICKLE_LIMIT = 64 << 20
"""Bytes of the pickle of a checkpoint; its tensors are stored beside it."""
LEGACY_PICKLES = 4
"""Magic number, protocol, system, and then the checkpoint."""

PLAIN = {
    "collections": ("OrderedDict", "Counter", "defaultdict"),
    "builtins": ("set", "complex"),
    "torch.serialization": ("_get_layout",),
    "torch.nn.parameter": ("Parameter",),
    "torch._utils": (
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    ),
}  # fmt: skip
"""Names that build plain tensors; of other modules none, of torch itself dtypes and storages."""
WAY_OUT = "save model.state_dict() by torch.save again"


def _plain(module: str, name: str) -> bool:
    """Say whether a name in a pickle builds plain tensors, or what surrounds them."""
    if module in ("torch", "torch.cuda"):
        # Lower case: dtypes, of which the tensors are judged later.
        return name.endswith("Storage") or name in ("Size", "device") or name.islower()
    return name in PLAIN.get(module, ())


def _globals(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield module and name of every global that one pickle names, building nothing.

    Other ways than GLOBAL to name one are not in what torch.save writes, and torch refuses them.
    """
    for op, argument, _ in pickletools.genops(file):
        if op.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            yield module, name


def _judge(file: IO[bytes], name: str, pickles: int) -> None:
    """Refuse a file whose pickles name more than plain tensors."""
    for _ in range(pickles):
        for module, attribute in _globals(file):
            if not _plain(module, attribute):
                raise _more(name, f"{module}.{attribute}"[:200])


def _more(name: str, what: str) -> InputError:
    return InputError(
        f"{name} was refused, nothing in it was run: it holds more than plain tensors, {what}. "
        "Where you trust it, load it with PyTorch yourself and give the computation: "
        'torch.export.save(torch.export.export(net, (x,)), "net.pt2"); or save '
        "net.state_dict()"
    )


def read_torch(path: pathlib.Path) -> Mapping[str, Any]:
    """Read a checkpoint.

    Returns
    -------
    mapping
        What was saved; every tensor in it is plain (:func:`check_tensors`).

    Raises
    ------
    InputError
        Damaged, not a mapping, or it holds more than plain tensors.
    MissingToolError
        torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingToolError(
            f"{path.name} needs torch: pip install 'gatewright[torch]', or save as .safetensors"
        ) from None
    spend(path.stat().st_size, path.name)
    with parsing(path.name, "a file of tensors", WAY_OUT):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                named = [i for i in archive.infolist() if i.filename.endswith("data.pkl")]
                for info in named:
                    if info.file_size > PICKLE_LIMIT:
                        raise InputError(
                            f"{path.name}: its pickle has {info.file_size} bytes, up to "
                            f"{PICKLE_LIMIT} are read; {WAY_OUT}"
                        )
                    with archive.open(info) as file:
                        _judge(file, path.name, 1)
        else:
            with path.open("rb") as file:
                _judge(file, path.name, LEGACY_PICKLES)
    try:
        with parsing(path.name, "a file of tensors", WAY_OUT):
            try:
                values = torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                told = [x for x in str(error).splitlines() if "WeightsUnpickler error" in x]
                raise _more(path.name, told[0].strip()[:200] if told else brief(error)) from None
    except MemoryError as error:
        raise InputError(f"{path.name} needs more memory than there is; {WAY_OUT}") from error
    if not isinstance(values, Mapping):
        raise InputError(
            f"{path.name} holds {type(values).__name__}, not a state_dict: save model.state_dict()"
        )
    check_tensors(values, path.name)
    return values


def check_tensors(values: Mapping[Any, Any], source: str) -> None:
    """Check everything that can be reached in a checkpoint.

    Parameters
    ----------
    values : mapping
        Of tensors, mappings, lists and plain values, as deep as may be.
    source : str
        For messages.

    Raises
    ------
    InputError
        It contains itself, or a tensor that is no plain one: sparse, quantized, nested, without
        values, of other than real numbers, or a view that repeats its elements.
    """
    import torch

    done: set[int] = set()
    path: set[int] = {id(values)}
    stack: list[tuple[Any, Iterator[tuple[str, Any]]]] = [(values, _inner(values, ""))]
    while stack:
        holder, rest = stack[-1]
        for name, value in rest:
            if isinstance(value, torch.Tensor):
                if id(value) not in done:
                    _check_tensor(value, f"{source}: {name}")
                    done.add(id(value))
            elif isinstance(value, Mapping | list | tuple | set | frozenset):
                if id(value) in path:
                    raise InputError(f"{source}: {name[:80]} contains itself; {WAY_OUT}")
                if id(value) not in done:
                    path.add(id(value))
                    stack.append((value, _inner(value, name)))
                    break
        else:
            stack.pop()
            path.discard(id(holder))
            done.add(id(holder))


def _inner(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    prefix = f"{name}." if name else ""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return ((f"{prefix}{str(key)[:80]}"[:400], inner) for key, inner in items)


def _check_tensor(value: Any, name: str) -> None:
    """Refuse a tensor that is not strided, real, whole and in memory of its own."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        wrong = f"a {type(value).__name__}"
    elif value.is_meta:
        wrong = "without values (meta)"
    elif value.layout is not torch.strided:
        wrong = f"sparse ({str(value.layout).removeprefix('torch.')})"
    elif value.is_nested:
        wrong = "nested"
    elif value.is_quantized:
        wrong = f"quantized ({value.dtype})"
    elif value.is_complex() or value.device.type != "cpu":
        wrong = f"of type {value.dtype} on {value.device}"
    elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
        wrong = f"a view that repeats its elements (strides {tuple(value.stride())})"
    elif _overlaps(value):
        wrong = f"a view whose elements overlap (strides {tuple(value.stride())})"
    else:
        return
    raise InputError(
        f"{name} is {wrong}: only plain tensors are read; save it by "
        "torch.save({k: v.to_dense().clone() for k, v in model.state_dict().items()}, ...)"
    )


def _overlaps(value: Any) -> bool:
    """Say whether two elements share memory: each stride must step over all smaller ones."""
    reach = 1
    for stride, size in sorted(zip(value.stride(), value.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return True
            reach = stride * size
    return False
