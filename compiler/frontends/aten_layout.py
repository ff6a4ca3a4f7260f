"""Operators of ``torch.export`` that move elements, in NumPy: on element numbers and constants alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError

__all__ = ["LAYOUT"]

ELEMENTS_LIMIT = 1 << 24
Args = Mapping[str, Any]


def _slice(v: Any, a: Args) -> Any:
    index = [slice(None)] * v.ndim
    index[a.get("dim", 0)] = slice(a.get("start"), a.get("end"), a.get("step", 1))
    return v[tuple(index)]


def _chunks(v: Any, size: int, axis: int) -> list[Any]:
    return np.split(v, range(size, v.shape[axis], size), axis)


def _squeeze(v: Any, a: Args) -> Any:
    axes = a.get("dim", tuple(range(v.ndim)))
    axes = [axes] if isinstance(axes, int) else axes
    return np.squeeze(v, tuple(k % v.ndim for k in axes if v.shape[k] == 1))


def _flatten(v: Any, a: Args) -> Any:
    start, end = (a.get(key, k) % v.ndim for key, k in (("start_dim", 0), ("end_dim", -1)))
    return v.reshape(*v.shape[:start], -1, *v.shape[end + 1 :])


def _unflatten(v: Any, a: Args) -> Any:
    axis = a["dim"] % v.ndim
    return v.reshape(*v.shape[:axis], *a["sizes"], *v.shape[axis + 1 :])


def _expand(v: Any, a: Args) -> Any:
    lead = len(a["size"]) - v.ndim
    sizes = [v.shape[k - lead] if n == -1 else n for k, n in enumerate(a["size"])]
    if np.prod(np.array(sizes, float)) > ELEMENTS_LIMIT:
        raise InputError(f"expand makes {sizes} elements")
    return np.broadcast_to(v, sizes)


def _same(v: Any, a: Args) -> Any:
    return v


LAYOUT: dict[str, Callable[[Any, Args], Any]] = {
    "transpose.int": lambda v, a: np.swapaxes(v, a["dim0"], a["dim1"]),
    "permute.default": lambda v, a: np.transpose(v, a["dims"]),
    "t.default": lambda v, a: v.T,
    "numpy_T.default": lambda v, a: v.T,
    "movedim.int": lambda v, a: np.moveaxis(v, a["source"], a["destination"]),
    "view.default": lambda v, a: v.reshape(a["size"]),
    "_unsafe_view.default": lambda v, a: v.reshape(a["size"]),
    "reshape.default": lambda v, a: v.reshape(a["shape"]),
    "flatten.using_ints": _flatten,
    "unflatten.int": _unflatten,
    "squeeze.default": _squeeze,
    "squeeze.dim": _squeeze,
    "squeeze.dims": _squeeze,
    "unsqueeze.default": lambda v, a: np.expand_dims(v, a["dim"]),
    "select.int": lambda v, a: np.take(v, a["index"], a["dim"]),
    "slice.Tensor": _slice,
    "narrow.default": lambda v, a: _slice(v, {**a, "end": a["start"] + a["length"]}),
    "flip.default": lambda v, a: np.flip(v, a["dims"]),
    "unbind.int": lambda v, a: list(np.moveaxis(v, a.get("dim", 0), 0)),
    "split.Tensor": lambda v, a: _chunks(v, a["split_size"], a.get("dim", 0)),
    "split_with_sizes.default": lambda v, a: np.split(v, np.cumsum(a["split_sizes"])[:-1], a.get("dim", 0)),
    "chunk.default": lambda v, a: _chunks(v, -(-v.shape[a.get("dim", 0)] // a["chunks"]), a.get("dim", 0)),
    "expand.default": _expand,
    **{
        f"{name}.default": _same
        for name in ("contiguous", "clone", "alias", "detach", "detach_", "lift_fresh_copy", "_to_copy",
                     "dropout", "feature_dropout", "alpha_dropout", "dropout_")
    },
    **{f"to.{form}": _same for form in ("dtype", "dtype_layout", "device", "other")},
    "type_as.default": _same,
}  # fmt: skip
