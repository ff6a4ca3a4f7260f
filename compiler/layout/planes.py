"""Planes of the weight memory: each lane as wide as it must be, upper bits only if a word needs them.

A lane's weights are as wide as those of the gates whose rows it computes, and that differs from
layer to layer. Bits of all lanes that are needed over the same addresses make a *plane*, a memory
of its own: plane 0 has every address, the others a part of them. Where a plane holds nothing, its
bits are copies of the next lower bit of the same lane, which is what sign extension means.

Word ``a`` of a plane is at address ``a`` modulo a power of two that its range fits in, so the
hardware takes the low bits of its one address counter; see :class:`gatewright.hw.engine.weights.Weights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import IntArray, ceil_div
from .schedule import Schedule

__all__ = ["CHUNK", "Plane", "expand", "offsets", "pack", "plan", "split"]

CHUNK = 16
"""Bits in which memories are loaded and read over the state port."""
WORTH = 4096
"""Bits a further plane must save: a block RAM of the families where they are smallest."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Bits of the weight words that are stored in one memory.

    Parameters
    ----------
    start, end : int
        Addresses ``start`` to ``end - 1`` of the weight memory are in it.
    bits : tuple of (lane, bit)
        Which bits of which lane, from bit 0 of the plane's word up.
    words : list of int
        Contents; address ``a`` is at ``a % 2**address_bits``.
    """

    start: int
    end: int
    bits: tuple[tuple[int, int], ...]
    words: Sequence[int] = ()

    @property
    def width(self) -> int:
        """Bits of a word."""
        return len(self.bits)

    @property
    def runs(self) -> list[list[int]]:
        """The bits in short: lane, lowest bit and number of bits, for each lane."""
        found: dict[int, list[int]] = {}
        for lane, bit in self.bits:
            found.setdefault(lane, [lane, bit, 0])[2] += 1
        return list(found.values())

    @property
    def address_bits(self) -> int:
        """Low bits of the address that tell its words apart."""
        return (self.end - self.start - 1).bit_length()

    @property
    def depth(self) -> int:
        """Words stored; more than are used where the range wraps around a power of two."""
        size = 1 << self.address_bits
        if self.start // size != (self.end - 1) // size:
            return size
        return (self.end - 1) % size + 1

    @property
    def size(self) -> int:
        """Bits stored."""
        return self.width * self.depth


def plan(schedule: Schedule) -> tuple[Plane, ...]:
    """Decide which bit of which lane goes to which plane; contents are left out.

    It depends on the widths of gates and on the layout, not on the weights.
    """
    widths, starts = _lane_widths(schedule)
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for lane, column in enumerate(widths.T):
        for bit in range(int(column.max())):
            need = np.flatnonzero(column > bit)
            span = (starts[need[0]], starts[need[-1] + 1])
            groups.setdefault(span, []).append((lane, bit))
    whole = (0, starts[-1])
    first = groups.pop(whole, [])
    planes = [Plane(*whole, tuple(first))]
    for span in sorted(groups, key=lambda s: (s[0] - s[1], s)):
        own = Plane(*span, tuple(groups[span]))
        fit = [k for k, p in enumerate(planes) if p.start <= own.start and own.end <= p.end]
        k = min(fit, key=lambda k: planes[k].depth)
        if own.width * (planes[k].depth - own.depth) >= WORTH and planes[0].bits:
            planes.append(own)
        else:
            planes[k] = replace(planes[k], bits=planes[k].bits + own.bits)
    return tuple(replace(p, bits=tuple(sorted(p.bits))) for p in planes)


def _lane_widths(schedule: Schedule) -> tuple[IntArray, list[int]]:
    """Return the widest weight of every block and lane, and the blocks' first addresses."""
    rows, split = schedule.geometry.rows, schedule.geometry.split
    widths, starts = [], [0]
    for block, taken in zip(schedule.blocks, schedule.rows, strict=True):
        bits = [0 if row is None or row[0].w is row[0].u is None else row[0].bits for row in taken]
        widths.append(np.tile(np.reshape(bits, (block.tiles, rows)).max(axis=0), split))
        starts.append(starts[-1] + block.tiles * block.columns)
    return np.array(widths), starts


def offsets(planes: Sequence[Plane]) -> tuple[int, ...]:
    """Return the first bit of each plane in a word of all: a multiple of :data:`CHUNK`."""
    chunks = [ceil_div(plane.width, CHUNK) for plane in planes]
    return tuple(CHUNK * sum(chunks[:k]) for k in range(len(chunks)))


def split(schedule: Schedule) -> tuple[Plane, ...]:
    """Cut the weights of a schedule into planes."""
    codes = schedule.weights
    made = []
    for plane in plan(schedule):
        words = [0] * plane.depth
        lanes, bits = np.reshape(plane.bits, (-1, 2)).T
        mask = (1 << plane.address_bits) - 1
        for at in range(plane.start, plane.end, 4096):  # bounded memory for large networks
            end = min(at + 4096, plane.end)
            for k, word in enumerate(pack((codes[at:end, lanes] >> bits) & 1)):
                words[at + k & mask] = word
        made.append(replace(plane, words=words))
    return tuple(made)


def pack(bits: IntArray) -> list[int]:
    """Join rows of bits, shape (words, width), lowest first, into Python integers."""
    packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def expand(planes: Sequence[Plane], lanes: int, address: int) -> list[int]:
    """Return the weights of all lanes at an address, as the hardware makes them from the planes."""
    found: dict[tuple[int, int], int] = {}
    for plane in planes:
        if plane.start <= address < plane.end:
            word = plane.words[address & ((1 << plane.address_bits) - 1)]
            found |= {where: word >> k & 1 for k, where in enumerate(plane.bits)}
    tops = dict.fromkeys(range(lanes), -1)
    for plane in planes:
        for lane, bit in plane.bits:
            tops[lane] = max(tops[lane], bit)
    made = []
    for lane, top in tops.items():
        value = below = 0
        for bit in range(top + 1):
            below = found.get((lane, bit), below)
            value |= below << bit
        made.append(value - (below << top + 1))
    return made
