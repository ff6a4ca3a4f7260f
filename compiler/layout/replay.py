"""Cycles of a step, by a replay of the gateware's handshakes."""

from __future__ import annotations

import itertools
from typing import NamedTuple, Protocol

import numpy as np

from ..arrays import IntArray
from ..ir.network import QNetwork
from .geometry import Geometry
from .latency import Timing
from .tables import Beat, Block, Segment

__all__ = ["Walk", "record", "replay"]


class Tables(Protocol):
    """Tables that a replay walks; :class:`~.schedule.Schedule` is one."""

    network: QNetwork
    geometry: Geometry
    blocks: list[Block]
    beats: list[Beat]
    produced: int
    streams: int

    @property
    def input_words(self) -> int:
        """Operand words of one input vector."""


def replay(schedule: Tables, steps: int) -> IntArray:
    """Replay the handshakes of input buffer, lanes, elementwise unit and output queue.

    Returns
    -------
    ndarray of int64, shape (steps,)
        Cycle in which each step's last output element is transferred; see
        :meth:`~.schedule.Schedule.predict`.
    """
    run = _Replay(schedule)
    ends = np.zeros(steps, np.int64)
    met: dict[tuple[int, ...], int] = {}
    for step in range(steps):
        ends[step] = run.step()
        before = met.setdefault(run.relative(), step)
        if before < step:
            # Nothing but the time has changed since then: all that followed will follow again.
            rounds, places = np.divmod(np.arange(steps - step - 1), step - before)
            ends[step + 1 :] = ends[before + 1 + places] + (ends[step] - ends[before]) * (
                rounds + 1
            )
            break
    return ends + Timing.ARGMAX * schedule.network.argmax


class Walk(NamedTuple):
    """Words of one segment that a tile walked.

    Parameters
    ----------
    segment : Segment
    tile : int
        Of the step, from 0.
    free : int
        Cycle from which on the lanes were free for the first word.
    drained : int
        Cycle from which on accumulators were free for the tile, too.
    cycles : ndarray of int64, shape (words,)
        Cycle in which each word was issued.
    """

    segment: Segment
    tile: int
    free: int
    drained: int
    cycles: IntArray


def record(schedule: Tables, steps: int) -> list[tuple[list[Walk], list[int]]]:
    """Return of each step what the lanes walked, and the cycle in which each beat was started."""
    run = _Replay(schedule, log=True)
    made = []
    for _ in range(steps):
        run.walks, run.starts = [], []
        run.step()
        made.append((run.walks, run.starts))
    return made


class _Replay:
    """Times of the last events of each unit, advanced step by step."""

    def __init__(self, schedule: Tables, log: bool = False) -> None:
        self.s, self.log = schedule, log
        self.walks: list[Walk] = []
        self.starts: list[int] = []
        # Tiles in order: the segments they walk, and their part of the beat table.
        tiles = [b.segments for b in schedule.blocks for _ in range(b.tiles)]
        self.tiles = list(zip(tiles, self._chunks(), strict=True))
        # Operand words of the last step of each stream.
        self.visible = np.full(schedule.streams * schedule.produced, -1, np.int64)
        self.issue = 0  # first cycle in which the lanes may issue
        self.beat = 0  # first cycle in which a beat may start
        self.drained = [-1, -1]  # cycles in which the last two tiles were drained
        self.finished = [-1, -1]  # last issue of the last two steps
        self.accepted = -1  # last input element
        self.pops = [-1] * Timing.FIFO  # last element of each of the last output beats
        self.sent = -1  # last output element

    def relative(self) -> tuple[int, ...]:
        """Return all times that matter, counted from the next issue."""
        times = [self.beat, *self.drained, *self.finished, self.accepted, *self.pops, self.sent]
        there = np.maximum(self.visible - self.issue, 0)
        return (*(t - self.issue for t in times), *there.tolist())

    def step(self) -> int:
        """Advance by one step; return the cycle of its last output element."""
        s, size = self.s, self.s.network.input_size
        # Input: one element a cycle while one of the two buffers is free.
        arrival = max(self.accepted, self.finished[0]) + 1 + np.arange(size)
        self.accepted = int(arrival[-1])
        last = np.minimum(np.arange(1, s.input_words + 1) * s.geometry.split, size) - 1
        input_visible = arrival[last] + Timing.INPUT
        visible = np.concatenate([self.visible, np.full(s.produced, -1, np.int64)])
        before = made = s.streams * s.produced
        free = self.issue
        self.issue = max(self.issue, int(input_visible[0]))
        for tile, (segments, (first, end)) in enumerate(self.tiles):
            drained = max(free, self.drained[0] + 1)
            cycle = max(self.issue, drained)
            for seg in segments:
                at = seg.need + before
                ready = (input_visible if seg.is_input else visible[at:])[: seg.words]
                # Word w is issued no earlier than w cycles after word 0.
                early = ready - np.arange(seg.words)
                if self.log:
                    words = np.maximum.accumulate(np.maximum(early, cycle)) + np.arange(seg.words)
                    self.walks.append(Walk(seg, tile, free, drained, words))
                free = drained = cycle = max(cycle, int(early.max())) + seg.words
            self.issue = cycle
            there = max(cycle - 1 + Timing.MAC, self.drained[1] + 1)
            for beat in s.beats[first:end]:
                when = max(self.beat, there) if beat.take else self.beat
                if beat.output:
                    when = max(when, self.pops[0] + Timing.FREE)
                    self.sent = max(self.sent + 1, when + Timing.OUTPUT) + beat.count
                    self.pops = [*self.pops[1:], self.sent]
                if self.log:
                    self.starts.append(when)
                self.beat = when + 1
                if beat.operand and beat.word_end:
                    visible[made] = when + Timing.VISIBLE
                    made += 1
                if beat.tile_end:
                    self.drained = [self.drained[1], when]
        self.visible = visible[s.produced :]
        self.finished = [self.finished[1], self.issue - 1]
        return self.sent

    def _chunks(self) -> list[tuple[int, int]]:
        """Split the beat table: each tile's beats, and those after it that drain no rows."""
        takes = [i for i, b in enumerate(self.s.beats) if b.take]
        starts = [0]
        for before, after in itertools.pairwise(takes):
            if self.s.beats[before].tile_end:
                starts.append(after)
        return list(zip(starts, [*starts[1:], len(self.s.beats)], strict=True))
