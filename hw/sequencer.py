"""The sequencer: which operand and weight word the lanes take next, and when they may."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.schedule import Schedule
from .arith import count

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Walk the schedule's segments, one operand word a cycle, for step after step.

    A word is issued when it is there: input words are counted by the loader, state words
    by the elementwise unit. Both counts are relative to the step being issued.

    Parameters
    ----------
    schedule : Schedule

    Members
    -------
    input_word : In(1)
        An input word has been completed.
    state_word : In(1)
        An operand word has been produced; it may be read in the next cycle but one.
    released : In(1)
        The elementwise unit took the last rows of a tile.
    fresh : In(1)
        The step about to be issued starts from the reset state.
    valid : Out(1)
        A word is issued: the addresses are valid in this cycle.
    is_input, old, shift, second, tile_first, tile_last, reset : Out
        Describe the word.
    address : Out, operand word (with ``parity`` above it)
    parity : Out(1)
        Which half of input and operand memory this step uses.
    weight_address : Out
    step_done : Out(1)
        The last word of the step is issued.
    idle : Out(1)
        No step has begun and no tile is on its way.

    Timing: a word a cycle unless it must wait; state words wait ``Timing.VISIBLE`` cycles
    from the beat that made them.
    """

    input_word: Signal
    state_word: Signal
    released: Signal
    fresh: Signal
    valid: Signal
    is_input: Signal
    old: Signal
    shift: Signal
    part_first: Signal
    tile_first: Signal
    tile_last: Signal
    reset: Signal
    address: Signal
    parity: Signal
    weight_address: Signal
    step_done: Signal
    idle: Signal

    def __init__(self, *, schedule: Schedule) -> None:
        self.schedule = schedule
        s = schedule
        words = max(s.memory_words, s.input_words)
        shifts = [seg.shift for b in s.blocks for seg in b.segments]
        super().__init__({
            "input_word": In(1), "state_word": In(1), "released": In(1), "fresh": In(1),
            "valid": Out(1), "is_input": Out(1), "old": Out(1), "shift": Out(count(max(shifts) + 1)),
            "part_first": Out(1), "tile_first": Out(1), "tile_last": Out(1), "reset": Out(1),
            "address": Out(count(words)), "parity": Out(1),
            "weight_address": Out(count(s.words)), "step_done": Out(1), "idle": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s = self.schedule
        segments = [(b, i, seg) for b in s.blocks for i, seg in enumerate(b.segments)]
        starts = [sum(len(b.segments) for b in s.blocks[:i]) for i in range(len(s.blocks))]

        # The segment table, as logic: it is a few lines long.
        index = Signal(count(len(segments)))
        words = Signal(count(max(seg.words for _, _, seg in segments)))
        base = Signal.like(self.address)
        limit = s.produced + max((seg.words for _, _, seg in segments), default=0)
        need = Signal(range(-limit - 1, limit + 1))
        tiles = Signal(count(max(b.tiles for b in s.blocks)))
        block_start = Signal.like(index)
        first_segment, last_segment, last_block = Signal(), Signal(), Signal()
        first_word = Signal()
        with m.Switch(index):
            block_index = -1
            for n, (block, i, seg) in enumerate(segments):
                block_index += i == 0
                parts = [q.second for q in block.segments[:i]]
                with m.Case(n):
                    m.d.comb += [
                        words.eq(seg.words - 1),
                        base.eq(seg.base),
                        need.eq(seg.need),
                        tiles.eq(block.tiles - 1),
                        block_start.eq(starts[block_index]),
                        self.is_input.eq(seg.is_input),
                        self.old.eq(seg.old),
                        self.shift.eq(seg.shift),
                        first_segment.eq(i == 0),
                        last_segment.eq(i == len(block.segments) - 1),
                        last_block.eq(block_index == len(s.blocks) - 1),
                    ]
                    crossing = seg.second and not any(parts)
                    m.d.comb += self.part_first.eq(first_word & int(crossing))

        word = Signal.like(words)
        tile = Signal.like(tiles)
        begun = Signal()  # some word of this step has been issued
        m.d.comb += [
            first_word.eq(word == 0),
            self.tile_first.eq(first_segment & first_word),
            self.tile_last.eq(last_segment & (word == words)),
            self.address.eq(base + word),
            self.reset.eq(self.fresh),
        ]

        # What is there to read: counts relative to this step.
        inputs = Signal(range(2 * s.input_words + 1))
        produced = Signal(range(-s.produced - 1, 2 * s.produced + 2))
        outstanding = Signal(range(3))
        there = Signal()
        with m.If(self.is_input):
            m.d.comb += there.eq(inputs > word)
        with m.Else():
            m.d.comb += there.eq(produced > need + word)
        issue = self.valid
        m.d.comb += issue.eq(
            there & (begun | (inputs != 0)) & (~self.tile_first | (outstanding != 2))
        )
        last = Signal()
        m.d.comb += [
            last.eq(self.tile_last & (tile == tiles) & last_block),
            self.step_done.eq(issue & last),
            self.idle.eq(~begun & (outstanding == 0)),
        ]
        done = self.step_done
        m.d.sync += [
            inputs.eq(inputs + self.input_word - done * s.input_words),
            produced.eq(produced + self.state_word - done * s.produced),
            outstanding.eq(outstanding + (issue & self.tile_first) - self.released),
        ]

        with m.If(issue):
            m.d.sync += [
                begun.eq(~last),
                word.eq(word + 1),
                self.weight_address.eq(self.weight_address + 1),
            ]
            with m.If(word == words):
                m.d.sync += [word.eq(0), index.eq(index + 1)]
                with m.If(last_segment):
                    m.d.sync += [tile.eq(tile + 1), index.eq(block_start)]
                    with m.If(tile == tiles):
                        m.d.sync += [tile.eq(0), index.eq(index + 1)]
                        with m.If(last_block):
                            m.d.sync += [
                                index.eq(0),
                                self.weight_address.eq(0),
                                self.parity.eq(~self.parity),
                            ]
        return m
