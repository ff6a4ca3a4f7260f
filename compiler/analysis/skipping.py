"""Cycles that an engine would save by skipping unchanged columns.

In integers ``W q(t) = W q(t-1) + W (q(t) - q(t-1))`` exactly, so columns whose operand is the one
of the step before need not be walked (delta networks, Neil et al. 2017, arXiv 1612.05571). Here
this is counted, from a run of the golden model; the gateware walks every column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden import Result
from ..program.program import Program

__all__ = ["skipping"]


def skipping(
    program: Program, result: Result, valid: npt.NDArray[np.bool_] | None = None
) -> dict[str, Any] | None:
    """Count the columns that did not change and the cycles their walk took.

    Parameters
    ----------
    program : Program
    result : Result
        Of the golden model, from the reset state.
    valid : ndarray of bool, shape (N, T), optional
        Steps that are not padding.

    Returns
    -------
    dict or None
        ``columns`` (walked a step by a dense engine), ``skipped`` (their share that did not
        change, 0 to 1), ``walk`` (cycles a step on this engine for the walk) and ``saved`` (cycles
        a step that skipping would leave out: operand words of which no column changed, times the
        tiles that walk them). None where the program is dense.
    """
    if not result.changed:
        return None
    split = program.geometry.split
    real = np.ones(result.outputs.shape[:2], bool) if valid is None else valid
    steps = max(1, int(real.sum()))
    kept: dict[str, tuple[float, float]] = {}  # share of columns and words that changed
    columns = changed = 0.0
    for name, flags in result.changed.items():
        seen = flags[real]
        padded = np.pad(seen, ((0, 0), (0, -seen.shape[1] % split)))
        words = padded.reshape(len(seen), -1, split).any(axis=2)
        kept[name] = float(seen.sum()) / steps, float(words.sum()) / steps
        columns += seen.shape[1]
        changed += kept[name][0]
    walk, left = 0, 0.0
    for block in program.schedule.blocks:
        walk += block.tiles * block.columns
        for segment in block.segments:
            name = segment.vector
            if not name.endswith(".rh"):
                name = f"{name}.h" if segment.old else f"{block.layer}<{name}"
            walked = kept.get(name, (0.0, float(segment.words)))[1]
            left += block.tiles * min(walked, segment.words)
    return {
        "threshold_input": program.network.numbers.threshold_input,
        "threshold": program.network.numbers.threshold,
        "columns": int(columns),
        "skipped": 1 - changed / columns if columns else 0.0,
        "walk": walk,
        "saved": walk - left,
    }
