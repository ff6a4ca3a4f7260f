"""Error and clipping of a quantization on its calibration data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray
from ..ir.network import QNetwork
from ..numerics.fixed import Format
from .calibration import Cuts

__all__ = ["clipped_inputs", "clipping_cost", "measured_quality"]

ROOM = 8
"""Bits at the top of each format while nothing is clipped."""


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


def clipping_cost(network: QNetwork, cuts: Cuts) -> dict[str, float]:
    """Say how far clipping moves the outputs, and how exact they would be without.

    Parameters
    ----------
    network : QNetwork
    cuts : Cuts
        Pieces of the calibration data, about 10,000 steps.

    Returns
    -------
    dict
        ``moved``: largest change of an output; ``max`` and ``mean``: error of the outputs with and
        ``max_without``, ``mean_without``: the error where every format has :data:`ROOM` more bits
        at its top and nothing else is other.
    """
    start, fmt = golden.State.encode(network, cuts.state), network.input_format
    clipped = golden.run(network, fmt.quantize(cuts.x), start).outputs
    wide = Format(fmt.bits + ROOM, fmt.frac, fmt.signed)
    free = golden.reference(network, wide.quantize(cuts.x), start, room=ROOM).outputs
    step = network.output_steps
    have, without = (
        np.abs(outputs * step - cuts.reference)[cuts.valid] for outputs in (clipped, free)
    )
    return {
        "moved": float(np.abs((clipped - free) * step)[cuts.valid].max(initial=0.0)),
        "max": float(have.max(initial=0.0)),
        "mean": float(have.mean()),
        "max_without": float(without.max(initial=0.0)),
        "mean_without": float(without.mean()),
    }


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
