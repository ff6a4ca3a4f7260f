"""The schedule: how a network is laid out on the engine, and how long each step takes.

Three tables, all made at compile time, drive the hardware:

- *segments*: which operand words the lanes walk, block by block. A tile is ``rows`` rows of
  a block; every tile of a block walks the same segments.
- *weights*: one wide word a cycle, in exactly the order in which the lanes consume it.
- *beats*: what the elementwise unit does with each group of ``beat`` rows it drains.

``Schedule.predict`` replays the handshakes between the lanes and the elementwise unit and gives
the cycle of every output, exactly as the hardware will show it.
"""

from __future__ import annotations

import itertools
from functools import cached_property

import numpy as np

from ..arrays import IntArray, ceil_div, power_of_two
from ..ir.network import QGate, QLayer, QNetwork
from ..numerics.activation import ACTIVATIONS
from .geometry import Geometry
from .groups import group_edges, kept_at, reads
from .latency import Timing
from .replay import replay
from .tables import POSTS, Beat, Block, Segment
from .weight_codes import weight_codes

__all__ = ["Schedule"]


class Schedule:
    """Layout of a network on an engine.

    Parameters
    ----------
    network : QNetwork
    geometry : Geometry
    streams : int
        Sequences that take steps in turn: a step reads the state of as many steps before.

    Attributes
    ----------
    blocks : list of Block
    beats : list of Beat
    rows : list of list of ((QGate, neuron) or None)
        Of each block: the rows of its tiles in order; None fills up the last tile.
    produced : int
        Operand words that the elementwise unit makes in one step.
    bases : dict of str -> int
        First operand word of each vector.
    states : list of (layer, 'h' or 'c', base, size)
        Vectors of the state port, in order, with their first beat in state memory.
    keep_bits : int
        Width of what is kept: a sigmoid, or also a product (LSTM).
    output_order : ndarray
        ``outputs[output_order]`` is the order in which the hardware emits a step's outputs.
    """

    def __init__(self, network: QNetwork, geometry: Geometry, streams: int = 1) -> None:
        if geometry.rows < 1:
            raise ValueError(f"{geometry} has no rows")
        self.network, self.geometry, self.streams = network, geometry, streams
        self.blocks: list[Block] = []
        self.beats: list[Beat] = []
        self.produced = 0
        self.bases: dict[str, int] = {}
        self.states: list[tuple[str, str, int, int]] = []
        self.kept_depth = 0
        self._next_word = 0
        self._next_state = 0
        self._need: dict[str, int] = {}  # words of a step produced before each vector
        emitted: list[str] = []
        self.rows: list[list[tuple[QGate, int] | None]] = []
        consumed = {name for layer in network.layers for name in layer.inputs}
        for layer in network.layers:
            if layer.name in network.outputs:
                emitted.append(layer.name)
            self._layer(layer, layer.name in consumed, layer.name in network.outputs)
        n = network.numbers
        product = any(POSTS[beat.post] == "times_c" for beat in self.beats if beat.lanes)
        self.keep_bits = max(n.gate_bits + 1, n.cell_bits) if product else n.gate_bits
        self.memory_words = self._next_word
        self.state_words = self._next_state
        # ``need`` of an old vector counts back from this step: known now that all is laid out.
        self.blocks = [
            b._replace(
                segments=tuple(
                    s._replace(need=s.need - streams * self.produced) if s.old else s
                    for s in b.segments
                )
            )
            for b in self.blocks
        ]
        start, at = {}, 0
        for name in network.outputs:
            start[name] = at
            at += network.size(name)
        self.output_order = np.concatenate(
            [np.arange(start[name], start[name] + network.size(name)) for name in emitted]
        )[: network.output_size]

    # -- layout ---------------------------------------------------------------

    def _allocate(self, vector: str, size: int) -> int:
        """Give a vector its operand words."""
        self.bases[vector] = self._next_word
        self._next_word += ceil_div(size, self.geometry.split)
        return self.bases[vector]

    def _layer(self, layer: QLayer, consumed: bool, output: bool) -> None:
        e = self.geometry.beat
        beats = ceil_div(layer.size, e)
        state = {"h": self._next_state, "c": self._next_state + beats}
        if layer.recurrent:
            self.states.append((layer.name, "h", state["h"], layer.size))
            if layer.has_cell_state:
                self.states.append((layer.name, "c", state["c"], layer.size))
            self._next_state += beats * (1 + layer.has_cell_state)
        gates = [g for block in layer.blocks for g in block]
        vectors = [layer.name] if layer.recurrent or consumed else []
        if any(g.gate.to == "rh" for g in gates):
            vectors.insert(0, f"{layer.name}.rh")
        need = self.produced
        for vector in vectors:
            self._allocate(vector, layer.size)
            self._need[vector] = need
            need += ceil_div(layer.size, self.geometry.split)
        kept: dict[str, int] = {}
        self._kept_next = 0
        # (kept or 'c', beat) -> table position, and the cycle of the write
        self._written: dict[tuple[str, int], tuple[int, int]] = {}
        self._results_kept = -Timing.WRITE  # table position of the last beat that keeps a result
        for index, block in enumerate(layer.blocks):
            later = {
                n for b in layer.blocks[index + 1 :] for g in b for n in (g.gate.by, g.gate.reset)
            }
            self._block(
                layer,
                block,
                beats,
                state,
                kept,
                later,
                bool(vectors) and layer.name in vectors,
                output,
            )
        self.produced = need

    def _segments(
        self, layer: QLayer, block: tuple[QGate, ...]
    ) -> tuple[tuple[Segment, ...], bool]:
        """Return the segments of a block, and whether the recurrent part comes first."""
        s = self.geometry.split

        def segment(vector: str, size: int, old: bool, second: bool, shift: int) -> Segment:
            if vector == "x":
                return Segment("x", ceil_div(size, s), 0, False, second, shift, 0)
            return Segment(
                vector,
                ceil_div(size, s),
                self.bases[vector],
                old,
                second,
                shift,
                self._need[vector],
            )

        inputs = any(g.gate.input for g in block if g.gate.source == "acc")
        recurrent = {g.gate.recurrent for g in block if g.gate.source == "acc"} - {""}
        parts = []
        if inputs:
            shifts = self.network.input_shifts(layer)
            parts.append(
                [
                    (n, self.network.size(n), False, k)
                    for n, k in zip(layer.inputs, shifts, strict=True)
                ]
            )
        for operand in recurrent:
            name = f"{layer.name}.rh" if operand == "rh" else layer.name
            parts.append([(name, layer.size, operand == "h", 0)])
        # Walk what has been there longest first: the old state before a vector of this step,
        # but the input before the old state, whose last elements are still on their way.
        # A lone part stays in the accumulator, where a swapped input part would be.
        swap = bool(inputs) and (not recurrent or (recurrent == {"h"} and layer.inputs != ("x",)))
        if swap:
            parts.reverse()
        made = []
        for second, part in enumerate(parts):
            for name, size, old, k in part:
                made.append(segment(name, size, old, bool(second), k))
        if not made:
            # A gate made of its bias alone: one idle word, once the old state is complete.
            idle = segment(layer.name, layer.size, True, False, 0)
            made.append(idle._replace(words=1, need=idle.need + idle.words - 1))
        return tuple(made), swap

    def _block(
        self, layer: QLayer, block: tuple[QGate, ...], beats: int, state: dict[str, int],
        kept: dict[str, int], later: set[str], operand: bool, output: bool,
    ) -> None:  # fmt: skip
        e, rows = self.geometry.beat, self.geometry.rows
        segments, swap = self._segments(layer, block)
        columns = sum(s.words for s in segments)
        edges = group_edges(block, beats, columns, self.geometry)
        longest = max(b - a for a, b in itertools.pairwise(edges))
        where: dict[str, int] = {}
        for g in block:
            if g.gate.keep:
                if g.gate.by in where and self._readers(layer, g.gate.by) == 1:
                    where[g.gate.name] = where[g.gate.by]  # what it read is not needed any more
                    continue
                where[g.gate.name] = self._kept_next
                self._kept_next += beats if g.gate.name in later else longest
        self.kept_depth = max(self.kept_depth, self._kept_next)
        everywhere = {n for n in where if n in later}

        def address(name: str, beat: int, first: int) -> int:
            if name in kept:
                return kept[name] + beat
            return where[name] + (beat if name in everywhere else beat - first)

        taken: list[tuple[QGate, int] | None] = []
        tiles_at: list[int] = []  # places of the first beats of tiles
        start = len(self.beats)
        for first, end in itertools.pairwise(edges):
            for g in block:
                for b in range(first, end):
                    beat = self._beat(layer, g, b, state, operand, output)
                    if g.gate.reset:
                        beat.early = address(g.gate.reset, b, first)
                    if g.gate.by:
                        beat.kept = address(g.gate.by, b, first)
                    if g.gate.keep:
                        beat.kept = address(g.gate.name, b, first)
                    begins = beat.take and len(taken) % rows == 0
                    if beat.take:
                        beat.swap = int(swap)
                        taken += [
                            (g, b * e + k) if b * e + k < layer.size else None for k in range(e)
                        ]
                    # A value may be read only after it was written.
                    for name, latency in reads(g):
                        if (name, b) in self._written:
                            at, cycle = self._written[name, b]
                            self._wait(at, cycle + 1 - latency, tiles_at, columns)
                    if g.gate.keep == "act":
                        # Both kinds of kept values are written by one port, at different cycles.
                        apart = Timing.WRITE - Timing.KEEP + 1
                        self._wait(self._results_kept, apart, tiles_at, columns)
                    if g.gate.keep == "post":
                        self._results_kept = len(self.beats)
                    if g.gate.keep:
                        self._written[g.gate.name, b] = len(self.beats), kept_at(g)
                    if g.gate.to == "c":
                        self._written["c", b] = len(self.beats), Timing.WRITE
                    if begins:
                        tiles_at.append(len(self.beats))
                    self.beats.append(beat)
        kept.update({n: where[n] for n in everywhere})
        tiles = ceil_div(len(taken), rows)
        # Ends of tiles: every ``rows`` rows taken, and the last.
        count = 0
        drains = [beat for beat in self.beats[start:] if beat.take]
        for i, drain in enumerate(drains):
            count += e
            if count == rows or i == len(drains) - 1:
                drain.tile_end, count = 1, 0
        self.rows.append(taken + [None] * (tiles * rows - len(taken)))
        self.blocks.append(Block(layer.name, segments, tiles, swap))

    def _wait(self, writer: int, distance: int, tiles_at: list[int], columns: int) -> None:
        """Put idle beats behind a writer until the next beat is so far from it.

        As many as fit go before the last tile that begins in between, whose beats wait for its walk
        anyway.
        """
        idle = writer + distance - len(self.beats)
        if idle <= 0:
            return
        early = 0
        if len(tiles_at) > 1 and tiles_at[-1] > writer:
            early = min(idle, max(0, columns - (tiles_at[-1] - tiles_at[-2])))
            at = tiles_at[-1]
            self.beats[at:at] = [Beat() for _ in range(early)]
            self._written = {
                k: (v + early * (v >= at), cycle) for k, (v, cycle) in self._written.items()
            }
            self._results_kept += early * (self._results_kept >= at)
            tiles_at[-1] += early
        self.beats += [Beat() for _ in range(idle - early)]

    @staticmethod
    def _readers(layer: QLayer, name: str) -> int:
        """Return how often what a gate keeps is read."""
        return sum(name in (g.gate.by, g.gate.reset) for g in layer.gates)

    def _beat(
        self, layer: QLayer, g: QGate, b: int, state: dict[str, int], operand: bool, output: bool
    ) -> Beat:
        e, s = self.geometry.beat, self.geometry.split
        gate = g.gate
        post = gate.post if not (gate.post == "times" and gate.keep) else "times_c"
        beat = Beat(
            take=int(gate.source == "acc"),
            reset=int(bool(gate.reset)),
            source_c=int(gate.source == "c"),
            act=ACTIVATIONS.index(g.act),
            post=POSTS.index(post),
            keep={"": 0, "act": 1, "post": 2}[gate.keep],
            lanes=tuple((g, b * e + k) for k in range(e) if b * e + k < layer.size),
        )
        if layer.recurrent:
            which = "c" if gate.to == "c" else "h"
            beat.state, beat.store = state[which] + b, int(gate.to in ("h", "c"))
            beat.cell = state["c"] + b if gate.source == "c" else 0
        vector = f"{layer.name}.rh" if gate.to == "rh" else layer.name
        final = gate.to == "h" or not layer.recurrent
        if gate.to == "rh" or (final and operand):
            beat.operand = 1
            beat.word = self.bases[vector] + b * e // s
            beat.bank = b * e % s // e
            beat.word_end = int((b + 1) * e % s == 0 or (b + 1) * e >= layer.size)
        if final and output:
            beat.output, beat.count = 1, len(beat.lanes) - 1
        return beat

    # -- sizes ----------------------------------------------------------------

    @property
    def words(self) -> int:
        """Weight words, which are cycles of the lanes, in one step."""
        return sum(b.tiles * b.columns for b in self.blocks)

    @property
    def state_depth(self) -> int:
        """Words of state memory: those of each stream begin at a multiple of a power of two."""
        each = power_of_two(max(2, self.state_words))
        return (self.streams - 1) * each + self.state_words

    @property
    def input_words(self) -> int:
        """Operand words of one input vector."""
        return ceil_div(self.network.input_size, self.geometry.split)

    @cached_property
    def weights(self) -> IntArray:
        """Weight codes in order of use, shape (words, split * rows); lane = s * rows + row."""
        return weight_codes(self.network, self.geometry, self.blocks, self.rows)

    @property
    def has_reset(self) -> bool:
        """True if any row has a reset product."""
        return any(b.reset for b in self.beats)

    # -- time -----------------------------------------------------------------

    def predict(self, steps: int) -> IntArray:
        """Predict when each step's last output element is transferred.

        The source always offers and the sink always takes. Cycle 0 is the one in which the
        first input element is transferred.

        Parameters
        ----------
        steps : int

        Returns
        -------
        ndarray of int64, shape (steps,)
        """
        return replay(self, steps)

    def cycles(self) -> tuple[int, int]:
        """Return cycles per step in the steady state, and latency of a lone step.

        Where steps take turns at being longer and shorter, the longest counts. Of streams it is a
        round that counts, a step of each: its cycles over their number, rounded up.
        """
        ends = self.predict(24 * self.streams)
        rounds = (ends[self.streams :] - ends[: -self.streams])[-8 * self.streams :]
        return ceil_div(int(rounds.max()), self.streams), int(ends[0]) + 1

    def utilization(self) -> float:
        """Return the useful multiply-accumulates of a step over lanes times cycles."""
        return self.network.macs / (self.geometry.lanes * self.cycles()[0])
