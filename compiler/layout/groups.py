"""Groups of beats: the gates of a block take turns, group by group, on the elementwise unit."""

from __future__ import annotations

import itertools

import numpy as np

from ..arrays import ceil_div
from ..ir.network import QGate
from .geometry import Geometry
from .latency import Timing

__all__ = ["group_edges", "kept_at", "reads"]

BEAT_BITS = 48  # about the width of a beat table's word
GROUP, CELL_GROUP = 10, 12  # beats of one gate before the next gate's, which hides the latency of
# a kept reset gate, or that of the cell state


def _group(block: tuple[QGate, ...]) -> int:
    """Return the least beats of a gate in a group."""
    return CELL_GROUP if any(g.gate.source == "c" for g in block) else GROUP


def kept_at(g: QGate) -> int:
    """Return the cycle of a beat in which it writes what the gate keeps: an activation, or a result."""
    return Timing.WRITE if g.gate.keep == "post" else Timing.KEEP


def _idle(block: tuple[QGate, ...], length: int) -> list[int]:
    """Return the idle beats before each gate, in a group of ``length`` beats of every gate of a block."""
    there: dict[tuple[str, int], int] = {}
    at, found = 0, []
    for g in block:
        start = at
        for b in range(length):
            for name, latency in reads(g):
                at = max(at, there.get((name, b), at + latency) - latency)
            there[g.gate.name, b] = at + kept_at(g) + 1
            if g.gate.to == "c":
                there["c", b] = at + Timing.WRITE + 1
            at += 1
        found.append(at - start - length)
    return found


def reads(g: QGate) -> tuple[tuple[str, int], ...]:
    """Return what a beat of a gate reads of earlier beats of the same neurons, and when."""
    return (
        (g.gate.reset, Timing.EARLY), (g.gate.by, Timing.LATE),
        ("c" if g.gate.source == "c" else "", Timing.CELL),
    )  # fmt: skip


def group_edges(
    block: tuple[QGate, ...], beats: int, columns: int, geometry: Geometry
) -> list[int]:
    """Cut the beats of a gate into groups; return where they begin, and the end.

    What is left when the lanes are done is the step's longest wait: where a gate drains no rows (the
    output of an LSTM), the last group is as short as a tile, if the idle beats that it needs fit
    between the tiles.

    Where gates have weights of different widths, groups that fill just one tile let each lane
    serve one gate, and be as narrow as that. Shorter groups need more idle beats; they are
    taken if a tile still drains while the next one is computed, and if more bits of weights
    are saved than the idle beats take.

    Parameters
    ----------
    block : tuple of QGate
        Gates that share a walk.
    beats : int
        Beats of each gate.
    columns : int
        Operand words that a tile of the block walks.
    geometry : Geometry
    """
    e, rows, split = geometry.beat, geometry.rows, geometry.split
    groups = max(1, beats // _group(block))
    usual = [beats * i // groups for i in range(groups + 1)]
    taken = [g for g in block if g.gate.source == "acc"]
    last = rows // e
    rest = usual[-1] - usual[-2] - last
    if len(taken) < len(block) and rest >= last:
        if max(_idle(block, last) + _idle(block, rest)) <= columns - last:
            usual.insert(-1, beats - last)
    length, rest = divmod(rows, e * len(taken))
    if len({g.bits for g in taken}) < 2 or rest or not length or length >= beats:
        return usual
    idle = sum(_idle(block, length))
    if len(block) * length + idle > columns:
        return usual
    mixed = np.zeros(rows, np.int64)
    for at, g in enumerate(
        g for first, end in itertools.pairwise(usual) for g in taken
        for _ in range(e * (end - first))
    ):  # fmt: skip
        mixed[at % rows] = max(mixed[at % rows], g.bits)
    words = ceil_div(e * beats * len(taken), rows) * columns
    saved = split * words * int(mixed.sum() - e * length * sum(g.bits for g in taken))
    short = [*range(0, beats, length), beats]
    more = idle * len(short) - sum(_idle(block, beats // groups)) * groups
    return short if saved > BEAT_BITS * more else usual
