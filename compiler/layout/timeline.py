"""One step of the steady state, or a round of streams, cycle by cycle: what lanes and elementwise unit do, and wait for."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from ..ir.network import QGate
from .replay import record
from .schedule import Schedule

__all__ = ["Beats", "Timeline", "Wait", "Words", "timeline"]

SETTLED, SEEN = 16, 8
"""Steps until the handshakes repeat themselves, and steps after them that are looked at."""

UNIT = "the elementwise unit"


class Words(NamedTuple):
    """Operand words that the lanes took one a cycle.

    Parameters
    ----------
    start, cycles : int
        First cycle, from the begin of the step, and how many.
    layer, vector : str
        Layer that is computed, and vector that is walked.
    tile : int
        Tile of the step, from 0.
    """

    start: int
    cycles: int
    layer: str
    vector: str
    tile: int


class Wait(NamedTuple):
    """Cycles in which the lanes waited; ``cause`` is a vector or the elementwise unit."""

    start: int
    cycles: int
    cause: str


class Beats(NamedTuple):
    """Beats of one gate that were started one a cycle; no layer and gate: nothing was computed."""

    start: int
    cycles: int
    layer: str
    gate: str


class Timeline(NamedTuple):
    """A step of the steady state; of several streams a round, a step of each.

    The elementwise unit is behind the lanes: the first of its beats belong to the step before.

    Parameters
    ----------
    cycles : int
        Length of the step, as :meth:`~.schedule.Schedule.cycles` gives it; or of the round.
    words : list of Words
    waits : list of Wait
        With ``words``, every cycle once.
    beats : list of Beats
    """

    cycles: int
    words: list[Words]
    waits: list[Wait]
    beats: list[Beats]


def timeline(schedule: Schedule) -> Timeline:
    """Return what happens in a step (a round) of the steady state, as the replay of the handshakes has it.

    It begins where the lanes take its first word and ends where they take that of the next one. Where
    steps take turns at being longer and shorter, it is a longest one.
    """
    streams = schedule.streams
    steps = record(schedule, (SETTLED + SEEN) * streams)
    begins = [int(walks[0].cycles[0]) for walks, _ in steps]
    lengths = np.subtract(begins[streams:], begins[:-streams])[SETTLED * streams :]
    longest = int(np.argmax(lengths)) + SETTLED * streams
    begin, end = begins[longest], begins[longest + streams]
    layers = [b.layer for b in schedule.blocks for _ in range(b.tiles)]
    words: list[Words] = []
    waits: list[Wait] = []
    shown = [walk for walks, _ in steps[longest : longest + streams] for walk in walks]
    for walk in [*shown, steps[longest + streams][0][0]]:
        free, drained, there = (
            min(max(cycle, begin), end) for cycle in (walk.free, walk.drained, int(walk.cycles[0]))
        )
        drained = min(drained, there)
        waits += [
            Wait(a - begin, b - a, cause)
            for a, b, cause in ((free, drained, UNIT), (drained, there, walk.segment.vector))
            if b > a
        ]
        if walk.cycles[0] >= end:
            break
        runs = np.split(walk.cycles, np.flatnonzero(np.diff(walk.cycles) > 1) + 1)
        for before, after in itertools.pairwise(runs):
            at = int(before[-1]) + 1
            waits.append(Wait(at - begin, int(after[0]) - at, walk.segment.vector))
        for run in runs:
            layer = layers[walk.tile]
            words.append(
                Words(int(run[0]) - begin, len(run), layer, walk.segment.vector, walk.tile)
            )
    started = {
        when: _gate(schedule, beat.lanes)
        for _, starts in steps
        for when, beat in zip(starts, schedule.beats, strict=True)
        if begin <= when < end
    }
    return Timeline(end - begin, words, waits, _runs(started, begin))


def _gate(schedule: Schedule, rows: tuple[tuple[QGate, int], ...]) -> tuple[str, str]:
    """Return layer and gate of the rows of a beat."""
    if not rows:
        return "", ""
    own = rows[0][0]
    layer = next(x.name for x in schedule.network.layers if any(g is own for g in x.gates))
    return layer, own.gate.name


def _runs(started: dict[int, tuple[str, str]], begin: int) -> list[Beats]:
    """Join beats of one gate that follow each other."""
    made: list[Beats] = []
    for when, (layer, gate) in sorted(started.items()):
        last = made[-1] if made else None
        if last and last[2:] == (layer, gate) and last.start + last.cycles == when - begin:
            made[-1] = last._replace(cycles=last.cycles + 1)
        else:
            made.append(Beats(when - begin, 1, layer, gate))
    return made
