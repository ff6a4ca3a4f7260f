"""Quantization of ``x`` to input codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray, as_values
from ..errors import InputError
from ..numerics.fixed import Format

__all__ = ["encode", "read_exponents"]


def encode(x: npt.ArrayLike, size: int, fmt: Format, exponents: tuple[int, ...] = ()) -> IntArray:
    """Quantize values (N, T, size) or (T, size) to codes (N, T, size).

    Feature i is divided by ``2**exponents[i]`` first, where there are exponents.

    Raises
    ------
    InputError
        Another shape, or a value that is not finite.
    """
    data = as_values(x, "x")
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3 or data.shape[2] != size:
        raise InputError(
            f"x has shape {np.shape(x)}, expected (steps, {size}) or (sequences, steps, {size})"
        )
    if not np.isfinite(data).all():
        index = [int(i) for i in np.argwhere(~np.isfinite(data))[0]]
        raise InputError(f"x holds {data[tuple(index)]} at {index}; inputs must be finite")
    return fmt.quantize(data * 2.0 ** -np.array(exponents) if exponents else data)


def read_exponents(data: dict[str, Any]) -> tuple[int, ...]:
    """Read the exponents of the features from a description."""
    exponents = tuple(int(e) for e in data["input"]["exponents"])
    if len(exponents) not in (0, int(data["input"]["size"])):
        raise ValueError(f"{len(exponents)} exponents for {data['input']['size']} features")
    return exponents
