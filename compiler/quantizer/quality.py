"""Error and clipping of a quantization on its calibration data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray
from ..numerics.fixed import Format

__all__ = ["clipped_inputs", "measured_quality"]


def clipped_inputs(
    x: FloatArray, fmt: Format, valid: npt.NDArray[np.bool_], exponents: tuple[int, ...] = ()
) -> dict[str, list[int]]:
    """Count the elements of x beyond the input format, as saturations are: ``{"x": [clipped, of]}``.

    Parameters
    ----------
    x : ndarray of float64, shape (N, T, I)
    fmt : Format
    valid : ndarray of bool, shape (N, T)
        Steps that are not padding.
    exponents : tuple of int
        As for :func:`~..program.inputs.encode`.

    Returns
    -------
    dict
        Empty where nothing is clipped.
    """
    codes = (x * 2.0 ** -np.array(exponents) if exponents else x)[valid] / fmt.step
    clipped = int(((codes < fmt.low - 0.5) | (codes >= fmt.high + 0.5)).sum())
    return {"x": [clipped, codes.size]} if clipped else {}


def measured_quality(
    difference: FloatArray,
    result: golden.Result,
    synthetic: bool,
    inputs: dict[str, list[int]],
) -> dict[str, Any]:
    """Say how far outputs are from the float model, and what was clipped on the way.

    ``inputs`` are those of :func:`clipped_inputs`.
    """
    return {
        "calibration": "synthetic" if synthetic else "data",
        "error": {"max": float(difference.max(initial=0.0)), "mean": float(difference.mean())},
        "saturations": {
            p: [result.saturations[p], result.narrowings[p]] for p in sorted(result.saturations)
        }
        | inputs,
    }
