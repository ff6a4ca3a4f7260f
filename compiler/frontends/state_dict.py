"""Names and shapes of PyTorch tensors as modules, without torch."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from .parts import GATES, Part, some, understood
from .suspects import refuse_rewritten, why

__all__ = ["leave_out", "recognize", "refuse_projection", "unwrap"]

VALUES_LIMIT = 1 << 28  # weights in one model; stops small files of views that pretend to be huge
PARTS_LIMIT = 64
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")

_RECURRENT = re.compile(
    r"(?P<path>.*?[._/]|)(?P<name>(?:weight|bias)_(?:ih|hh|hr)(?:_l[0-9]{1,4})?(?:_reverse)?)"
)
_LINEAR = re.compile(r"(?P<path>.*\.|)(?P<name>weight|bias)")


def unwrap(
    values: Mapping[str, Any], key: str | None, source: str
) -> tuple[Mapping[str, Any], list[str]]:
    """Find the state_dict inside a checkpoint, under ``key`` or a usual name."""
    notes: list[str] = []
    while True:
        held = [str(k) for k, v in values.items() if isinstance(v, Mapping)]
        nested = [k for k in held if k in NESTED]
        if key is not None and not notes:
            if key not in held:
                raise InputError(
                    f"{source}: no entry {key!r} that holds a state_dict; there are: {some(held) or 'none'}"
                )
            nested = [key]
        if len(nested) > 1:
            raise InputError(f"{source} holds several state_dicts, {nested}: choose one by key=")
        if not nested:
            return values, notes
        others = [str(k) for k in values if k != nested[0]]
        notes.append(f"read from {nested[0]!r}" + (f"; not used: {some(others)}" if others else ""))
        values = values[nested[0]]


def leave_out(
    values: Mapping[str, Any], ignore: Sequence[str], source: str
) -> tuple[dict[str, Any], list[str]]:
    """Drop the tensors that match a pattern; a pattern that matches none is a mistake."""
    kept = {str(name): value for name, value in values.items()}
    notes = []
    for pattern in ignore:
        dropped = [name for name in kept if fnmatchcase(name, pattern)]
        if not dropped:
            raise InputError(f"{source}: ignore={pattern!r} matches none of: {some(list(kept))}")
        notes.append(f"ignored, not part of the model: {some(dropped)}")
        kept = {name: value for name, value in kept.items() if name not in dropped}
    return kept, notes


def recognize(
    values: Mapping[str, Any], source: str = "state_dict", nonlinearity: str = "tanh"
) -> list[Part]:
    """Group tensors by module, in the order of their keys.

    Parameters
    ----------
    values : mapping of str -> array or torch.Tensor
        Recurrent: ``weight_ih_l{k}`` (GH, I), ``weight_hh_l{k}`` (GH, H) with G = 3 (GRU),
        4 (LSTM) or 1 (RNN), biases (GH,); cells without ``_l{k}``. Linear: ``weight`` (O, I).
    source : str
        For messages.
    nonlinearity : {'tanh', 'relu'}
        Of plain RNNs.

    Raises
    ------
    InputError
        A tensor that belongs to no supported module is refused by name.
    """
    refuse_rewritten(values, source)
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    left: dict[str, Any] = {}
    for key, value in values.items():
        _refuse_without_values(key, value)
        recurrent = _RECURRENT.fullmatch(key)
        match = recurrent or _LINEAR.fullmatch(key)
        if match is None or _shape(value) is None:
            left[key] = value
        else:
            groups.setdefault((match["path"], recurrent is not None), {})[match["name"]] = value
    shapes = [_shape(value) or () for group in groups.values() for value in group.values()]
    if (count := sum(math.prod(shape) for shape in shapes)) > VALUES_LIMIT:
        raise InputError(f"{source} holds {count} weights; the limit is {VALUES_LIMIT}")
    parts = []
    for (prefix, is_recurrent), group in groups.items():
        if is_recurrent:
            parts.append(_recurrent(prefix, group, nonlinearity))
        elif len(_shape(group.get("weight")) or ()) == 2:
            arrays = {name: _array(prefix + name, value) for name, value in group.items()}
            parts.append(Part(prefix.rstrip("."), "linear", arrays))
        else:
            left |= {prefix + name: value for name, value in group.items()}
    if left:
        raise InputError(
            f"{source}: not understood: {some([why(k, _shape(v), type(v).__name__) for k, v in left.items()])}; "
            f"{understood(parts)}. Supported are GRU, LSTM, RNN and linear layers in one chain; "
            "give a file that holds the computation, .pt2 or .onnx; or leave them out, if the model is "
            "right without, by --ignore (Python: ignore=)"
        )
    if not parts:
        raise InputError(f"{source} holds no weights: save the state_dict of a model")
    if len(parts) > PARTS_LIMIT:
        raise InputError(f"{source} holds {len(parts)} modules; the limit is {PARTS_LIMIT}")
    return parts


def _loaded_torch() -> Any:
    """Give torch without importing it: a tensor can only come from a torch that is loaded."""
    return sys.modules.get("torch")


def _refuse_without_values(name: str, value: Any) -> None:
    torch = _loaded_torch()
    if torch is not None and isinstance(value, torch.Tensor):
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            raise InputError(f"{name} has no values yet: run the model once, then import it")


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _array(name: str, value: Any) -> FloatArray:
    """Convert one tensor of a floating-point type to float64."""
    torch = _loaded_torch()
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_quantized or not value.is_floating_point():
            raise InputError(f"{name} is of type {value.dtype}: weights must be floating point")
        if value.layout is not torch.strided:  # its indices may lie outside its shape
            raise InputError(f"{name} is sparse ({value.layout}): give its to_dense()")
        array = value.detach().to("cpu", torch.float64).numpy().copy()
    else:
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise InputError(f"{name} is of type {array.dtype}: weights must be floating point")
        array = array.astype(np.float64)
    if 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}: a size of zero is not supported")
    return array


def refuse_projection(path: str) -> None:
    """Refuse by name an LSTM whose state is not its output."""
    raise InputError(
        f"{path or 'the model'} projects its state (weight_hr): train with proj_size=0 and, "
        "if it must be small, a smaller hidden_size"
    )


def _recurrent(prefix: str, group: Mapping[str, Any], nonlinearity: str) -> Part:
    """Check names and shapes of one GRU, LSTM or RNN, or of a cell."""
    path = prefix.rstrip("._/")
    if any(name.startswith("weight_hr") for name in group):
        refuse_projection(path)
    arrays = {
        name if "_l" in name else f"{name}_l0": _array(prefix + name, value)
        for name, value in group.items()
    }
    depth = 1 + max(int(name.removesuffix("_reverse").rpartition("_l")[2]) for name in arrays)
    ways = ("", "_reverse") if any(name.endswith("_reverse") for name in arrays) else ("",)
    what = ("weight", "bias") if any(name.startswith("bias") for name in arrays) else ("weight",)
    expected = [
        f"{w}_{side}_l{k}{way}"
        for k in range(depth) for way in ways for w in what for side in ("ih", "hh")
    ]  # fmt: skip
    if sorted(expected) != sorted(arrays) or len(arrays) != len(group):
        missing = [name for name in expected if name not in arrays]
        wrong = (
            f"{some(missing)} is missing" if missing else f"{some(list(group))}: one is there twice"
        )
        raise InputError(f"{path or 'recurrent layer'}: {wrong}")
    rows, h = (*arrays["weight_hh_l0"].shape, 1, 1)[:2]
    kind = next((kind for kind, gates in GATES.items() if rows == len(gates) * h), None)
    if kind is None:
        raise InputError(
            f"{prefix}weight_hh_l0 has shape {arrays['weight_hh_l0'].shape}; known are (3H, H) of "
            "a GRU, (4H, H) of an LSTM and (H, H) of an RNN"
        )
    i = arrays["weight_ih_l0"].shape[-1]
    for name in expected:
        columns: tuple[int, ...] = () if name.startswith("bias") else (h,)
        if name.startswith("weight_ih"):
            columns = (i if "_l0" in name else h * len(ways),)
        if arrays[name].shape != (rows, *columns):
            raise InputError(
                f"{prefix}{name} has shape {arrays[name].shape}, expected {(rows, *columns)}"
            )
    return Part(path, kind, arrays, nonlinearity if kind == "rnn" else "none")
