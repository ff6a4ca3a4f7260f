"""Entries of a schedule's tables: operand segments, blocks of tiles, and beats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..ir.network import QGate

__all__ = ["NUMERIC", "POSTS", "Beat", "Block", "Segment"]

POSTS = ("pass", "blend", "leak", "times_h", "times_c", "cell", "times")
"""Operations of the elementwise unit after the activation, in order of their codes.
``times_c`` is ``times`` with a result in the format of the cell state."""


class Segment(NamedTuple):
    """One operand vector (or part of a concatenation) that a block walks.

    ``need`` is the number of state words that must have been produced in this step before
    word 0 may be read (negative: counted back from its begin, over the steps of all streams).
    """

    vector: str
    words: int
    base: int
    old: bool
    second: bool
    shift: int
    need: int

    @property
    def is_input(self) -> bool:
        """True if the words come from the input buffer."""
        return self.vector == "x"


class Block(NamedTuple):
    """Tiles that walk the same segments."""

    layer: str
    segments: tuple[Segment, ...]
    tiles: int
    swap: bool

    @property
    def columns(self) -> int:
        """Operand words a tile walks."""
        return sum(s.words for s in self.segments)


@dataclass(slots=True)
class Beat:
    """One entry of the beat table; ``lanes`` lists the gate and neuron of every row in it."""

    take: int = 0  # drains rows from the lanes
    tile_end: int = 0  # the last rows of a tile
    swap: int = 0  # the recurrent part was walked first
    reset: int = 0  # multiply the recurrent part by the kept value at ``early``
    source_c: int = 0  # pre-activation is the cell state
    act: int = 0
    post: int = 0
    keep: int = 0  # 0 nothing, 1 the activation, 2 the result
    store: int = 0  # result is a state
    operand: int = 0  # result is an operand
    word_end: int = 0  # the operand word is complete
    output: int = 0
    count: int = 0  # output elements in the beat, less one
    early: int = 0  # kept value for the reset product
    kept: int = 0  # kept value for the operation after the activation; where to keep
    state: int = 0  # state memory: old value read, result written
    cell: int = 0  # state memory: new cell state
    word: int = 0  # operand memory word
    bank: int = 0  # first element in that word, in beats
    lanes: tuple[tuple[QGate, int], ...] = field(default=())


NUMERIC = tuple(f for f in Beat.__dataclass_fields__ if f != "lanes")
