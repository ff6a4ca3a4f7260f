"""One sweep of a chain, and the step from its output codes to the next one's input codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import IntArray
from ..numerics.fixed import Format, saturate, shift
from .program import Program

__all__ = ["Stage", "convert"]


def convert(codes: IntArray, frac: int, target: Format) -> tuple[IntArray, int]:
    """Bring codes of ``frac`` fraction bits to a format: round half up, then saturate.

    Returns
    -------
    (ndarray of int64, int)
        Codes of the format, and how many were clipped. As with operands inside a network,
        rounding up to one beyond the top code does not count.
    """
    moved = shift(codes, frac - target.frac)
    made, _ = saturate(moved, target.bits)
    return made, int(np.count_nonzero(np.abs(moved - made) > 1))


@dataclass(frozen=True, eq=False)
class Stage:
    """One pass of a chain.

    Parameters
    ----------
    program : Program
    reads : tuple of str
        Vectors that are joined to make its input: ``x``, or what earlier passes hand out.
    reverse : bool
        Sequences are given end first, so its outputs come end first as well.
    """

    program: Program
    reads: tuple[str, ...]
    reverse: bool
