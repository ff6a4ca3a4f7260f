"""Data to calibrate on, and data to evaluate on that no choice of formats has seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import InputError

__all__ = ["Part", "hold_out"]


class Part(NamedTuple):
    """Sequences.

    Parameters
    ----------
    x : ndarray of float64, shape (N, T, I)
    lengths : ndarray of int, shape (N,), optional
    labels : ndarray, optional
        Classes (N,), or wanted outputs (N, T, outputs).
    """

    x: FloatArray
    lengths: npt.NDArray[np.int64] | None = None
    labels: npt.NDArray[Any] | None = None


def hold_out(data: Part, seed: int) -> tuple[Part, Part, str]:
    """Split data into a half to calibrate on and one to evaluate on.

    Sequences are drawn by a seeded permutation; a single one is cut in the middle.

    Returns
    -------
    (Part, Part, str)
        Both halves, and how the split was made, for people.

    Raises
    ------
    InputError
        Another number of labels than sequences, or a single step.
    """
    x, lengths, labels = data
    n, steps = x.shape[:2]
    if labels is not None and len(labels) != n:
        raise InputError(f"{len(labels)} labels for {n} sequences; give one for each")
    if n > 1:
        order, half = np.random.default_rng(seed).permutation(n), (n + 1) // 2

        def pick(at: npt.NDArray[np.int64]) -> Part:
            return Part(x[at], *(None if v is None else v[at] for v in (lengths, labels)))

        text = f"calibrated on {half} of {n} sequences, evaluated on the other {n - half} (seed {seed})"
        return pick(np.sort(order[:half])), pick(np.sort(order[half:])), text
    if steps < 2:
        raise InputError("a sequence of one step cannot be split; give calibration= as well")
    if labels is not None and labels.ndim == 1:
        raise InputError("one labelled sequence cannot be split; give calibration= as well")
    half = steps // 2
    ends = (None, None)
    if lengths is not None:
        ends = (np.minimum(lengths, half), np.maximum(lengths - half, 0))
    wanted = (None, None) if labels is None else (labels[:, :half], labels[:, half:])
    text = f"calibrated on the first {half} of {steps} steps, evaluated on the other {steps - half}"
    return Part(x[:, :half], ends[0], wanted[0]), Part(x[:, half:], ends[1], wanted[1]), text
