"""The shape of the engine: lanes, split and beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["BEATS", "WIDEST", "Geometry", "shapes"]

BEATS, WIDEST = (1, 2, 4), 16
"""Rows that the elementwise unit may take a cycle; parts that a row may be split into."""


class Geometry(NamedTuple):
    """Shape of the engine.

    Parameters
    ----------
    lanes : int
        P, lanes at most; ``split * rows`` are built.
    split : int
        S, operand elements broadcast a cycle. Each row is computed by S lanes.
    beat : int
        E, rows the elementwise unit takes a cycle; divides ``split`` unless one.
    """

    lanes: int
    split: int
    beat: int

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return self.lanes // self.split // self.beat * self.beat


def shapes(lanes: int) -> Iterator[Geometry]:
    """Yield the geometries of a number of lanes, those with the least hardware first."""
    for beat in BEATS:
        for split in range(beat, WIDEST + 1, beat):
            if (g := Geometry(lanes, split, beat)).rows:
                yield g
