"""Figures that are looked at rather than read: a piece of a sequence, classes, histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray

__all__ = ["confusion", "histogram", "piece"]

BINS = 64
PIECE = 240
"""Steps of a sequence that are shown at most."""


def histogram(codes: IntArray, bits: int) -> list[int]:
    """Count codes over the whole range of ``bits`` bits, in at most :data:`BINS` bins.

    A sigmoid of exactly 1 is a code beyond the range: it counts in the last bin.
    """
    levels = 1 << bits
    width = max(1, levels // BINS)
    places = np.minimum((np.asarray(codes).ravel() + levels // 2) // width, levels // width - 1)
    return [int(n) for n in np.bincount(places, minlength=levels // width)]


def piece(
    reference: FloatArray, outputs: FloatArray, valid: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Return one output over time, around the step in which it is the farthest from float.

    Parameters
    ----------
    reference, outputs : ndarray, shape (N, T, outputs)
        Of the float model and of the program.
    valid : ndarray of bool, shape (N, T)
        Steps that are not padding; at least one is there.

    Returns
    -------
    dict
        ``sequence``, ``output`` and ``first`` (step) say where; ``float`` and ``fixed`` are values.
    """
    off = np.where(valid[..., None], np.abs(outputs - reference), -1.0)
    sequence, step, output = (int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
    length = int(valid[sequence].sum())
    first = max(0, min(step - PIECE // 2, length - PIECE))
    shown = slice(first, min(length, first + PIECE))
    return {
        "sequence": sequence,
        "output": output,
        "first": first,
        "float": reference[sequence, shown, output].tolist(),
        "fixed": outputs[sequence, shown, output].tolist(),
    }


def confusion(answers: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int) -> dict[str, Any]:
    """Count answers by class.

    Parameters
    ----------
    answers, labels : ndarray of int, shape (N,)
        Both from 0 to ``classes`` - 1.

    Returns
    -------
    dict
        ``confusion[label][answer]``; of each class ``recall``, the share of its sequences that were
        told, and ``precision``, the share of its answers that were right; None where there is none.
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(labels, int), np.asarray(answers, int)), 1)
    right = np.diag(counts)

    def shares(of: IntArray) -> list[float | None]:
        return [int(r) / int(n) if n else None for r, n in zip(right, of, strict=True)]

    return {
        "confusion": counts.tolist(),
        "recall": shares(counts.sum(axis=1)),
        "precision": shares(counts.sum(axis=0)),
    }
