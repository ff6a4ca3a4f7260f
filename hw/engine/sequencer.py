"""The sequencer: which operand and weight word the lanes take next, and when they may."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...compiler.layout.schedule import Schedule
from ..blocks.arith import count
from .turn import half_turn

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Walk the schedule's segments, one operand word a cycle, for step after step.

    Three registers in a row: segments of tiles (``line``, ``tiles``), words of a segment, and
    the word that is offered to the lanes. It is issued when what it reads is there: input words
    are counted by the loader, state words by the elementwise unit. Each register carries by how much
    the counts exceed what it needs, which grows with the counts and shrinks with the words that go by:
    the sign is all that is asked. Whether the lanes can take another tile is asked a cycle ahead as
    well: ``valid`` is a register.

    Parameters
    ----------
    schedule : Schedule

    Members
    -------
    input_word : In(1)
        An input word is being written.
    state_word : In(1)
        An operand word is written in this cycle or the next.
    released : In(1)
        The elementwise unit took the last rows of a tile.
    fresh : In(1)
        The step about to be issued starts from the reset state.
    valid : Out(1)
        A word is issued: the addresses are valid in this cycle.
    is_input, old, shift, part_first, tile_first, tile_last, reset : Out
        Describe the word.
    address : Out, operand word (with ``parity`` above it)
    parity : Out(1)
        Which half of input and operand memory this step uses.
    half : Out(unsigned)
        Only of several streams: the half of operand memory, see :class:`~.turn.Turn`.
    weight_address, weight_next : Out
        Of the word that is offered; of the one in the next cycle.
    step_done : Out(1)
        The last word of the step is issued.
    idle : Out(1)
        No step has begun and no tile is on its way.

    Timing: a word a cycle unless it must wait; a word is issued ``Timing.INPUT`` cycles after
    ``input_word`` or ``state_word`` at the earliest.
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
    weight_next: Signal
    step_done: Signal
    idle: Signal
    half: Signal

    def __init__(self, *, schedule: Schedule) -> None:
        self.schedule = schedule
        s = schedule
        words = max(s.memory_words, s.input_words)
        shifts = [seg.shift for b in s.blocks for seg in b.segments]
        halves = {"half": Out(1 + len(Signal(range(s.streams))))} if s.streams > 1 else {}
        super().__init__({
            "input_word": In(1), "state_word": In(1), "released": In(1), "fresh": In(1),
            "valid": Out(1), "is_input": Out(1), "old": Out(1), "shift": Out(count(max(shifts) + 1)),
            "part_first": Out(1), "tile_first": Out(1), "tile_last": Out(1), "reset": Out(1),
            "address": Out(count(words)), "parity": Out(1),
            "weight_address": Out(count(s.words)), "weight_next": Out(count(s.words)),
            "step_done": Out(1), "idle": Out(1), **halves,
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s = self.schedule
        # A count differs from what a word needs by less than a step of each stream, two more, and one segment.
        longest = max(seg.words for b in s.blocks for seg in b.segments)
        in_shape, made_shape = (
            signed(((s.streams + 2) * words + longest).bit_length() + 1)
            for words in (s.input_words, s.produced)
        )

        # -- Segments. The table is logic: it is a few lines long. A line names those that may follow it,
        # so that the register holds a whole line.
        lines = self._lines()
        index = count(len(lines))
        layout = data.StructLayout({
            "words": count(longest), "single": 1, "base": self.address.shape(),
            "is_input": 1, "old": 1, "shift": self.shift.shape(), "crossing": 1, "begins": 1,
            "ends": 1, "closes": 1, "tiles": count(max(b.tiles for b in s.blocks)),
            "again": index, "after": index, "lack": made_shape, "lack_again": made_shape,
        })  # fmt: skip
        line: Any = Signal(layout, init=lines[0])  # type: ignore[arg-type]
        following: Any = Signal(layout)
        single = lines[0]["tiles"] == 0
        tiles, last_tile = Signal.like(line.tiles, init=lines[0]["tiles"]), Signal(init=single)
        first, last = Signal(init=1), Signal(init=single & lines[0]["closes"])  # of the step
        next_segment, parity = Signal(), Signal()
        repeats, next_last_tile = line.ends & ~last_tile, Signal()
        m.d.comb += next_last_tile.eq(
            Mux(repeats, tiles == 1, Mux(line.ends, following.tiles == 0, last_tile))
        )
        with m.Switch(Mux(repeats, line.again, line.after)):
            for n, values in enumerate(lines):
                with m.Case(n):
                    m.d.comb += following.eq(layout.const(values))  # type: ignore[arg-type]
        with m.If(next_segment):
            m.d.sync += [
                line.eq(following), first.eq(last), last_tile.eq(next_last_tile),
                last.eq(following.closes & next_last_tile), parity.eq(parity ^ last),
            ]  # fmt: skip
            with m.If(line.ends):
                m.d.sync += tiles.eq(Mux(last_tile, following.tiles, tiles - 1))
        # Words that were counted since the begin of the line's step; more than its first word needs.
        step_ends = next_segment & last
        if s.streams > 1:
            half, w_half = half_turn(m, s.streams, step_ends, "line"), Signal.like(self.half)
            with m.If(next_segment):
                m.d.sync += w_half.eq(half)
        more_inputs, more_made = Signal(in_shape), Signal(made_shape)
        line_made = Signal(made_shape, init=-s.blocks[0].segments[0].need - 1)
        m.d.sync += [
            line_made.eq(
                Mux(next_segment, more_made, line_made)
                + Mux(next_segment, Mux(repeats, line.lack_again, line.lack), 0)
                + self.state_word
            ),
            more_inputs.eq(more_inputs + self.input_word - Mux(step_ends, s.input_words, 0)),
            more_made.eq(more_made + self.state_word - Mux(step_ends, s.produced, 0)),
        ]

        # -- Words of a segment.
        # The word goes on to the lanes' register; two cycles after a reset there is a first one.
        fills, move, at_end = Signal(init=1), Signal(init=1), Signal(init=1)
        left = Signal.like(line.words)
        w_address, w_parity = Signal.like(self.address), Signal()
        # More than the word needs; until there is one, it needs what cannot be there.
        w_inputs, w_made = Signal(in_shape, init=-1), Signal(made_shape)
        w_is_input, w_old, w_shift = Signal(), Signal(), Signal.like(self.shift)
        w_part, w_tile, w_ends, w_last = (Signal() for _ in range(4))
        # A step begins with its first input word, whatever it reads first.
        w_no_input = Signal()
        m.d.comb += next_segment.eq(move & at_end)
        with m.If(move):
            m.d.sync += [
                w_address.eq(w_address + 1), left.eq(left - 1), at_end.eq(left == 1),
                w_part.eq(0), w_tile.eq(0), w_no_input.eq(~w_is_input),
            ]  # fmt: skip
        with m.If(next_segment):
            m.d.sync += [
                left.eq(line.words), at_end.eq(line.single), w_address.eq(line.base),
                w_parity.eq(parity), w_is_input.eq(line.is_input), w_old.eq(line.old),
                w_shift.eq(line.shift), w_part.eq(line.crossing), w_tile.eq(line.begins),
                w_no_input.eq(~line.is_input & ~first), w_ends.eq(line.ends), w_last.eq(last),
            ]  # fmt: skip
        goes = next_segment | move
        m.d.sync += [
            w_inputs.eq(Mux(next_segment, more_inputs, w_inputs) - goes + self.input_word),
            w_made.eq(Mux(next_segment, line_made, w_made) - (move & ~at_end) + self.state_word),
        ]

        # -- The word that is offered.
        step_last, no_input = Signal(), Signal()
        inputs, made = Signal.like(w_inputs), Signal.like(w_made)
        outstanding, will_be = Signal(range(3)), Signal(range(3))  # tiles that the lanes are at
        m.d.comb += [
            self.step_done.eq(self.valid & step_last),
            self.reset.eq(self.fresh),
            will_be.eq(outstanding + (self.valid & self.tile_first) - self.released),
        ]
        # Whether what it reads is there and the lanes can begin its tile: of the word that comes
        # next where one moves, of the one that stays where none does.
        next_there = (~w_inputs[-1] | w_no_input) & (~w_made[-1] | w_is_input)
        same_there = (~inputs[-1] | no_input) & (~made[-1] | self.is_input)
        valid = Mux(
            move,
            next_there & ~(w_tile & will_be[1]),
            same_there & ~(self.tile_first & will_be[1]),
        )
        m.d.sync += [self.valid.eq(valid), move.eq(valid), fills.eq(0)]
        with m.If(fills):  # as a register's set input, not as a gate
            m.d.sync += move.eq(1)
        with m.If(move):
            m.d.sync += [
                self.address.eq(w_address), self.parity.eq(w_parity),
                self.is_input.eq(w_is_input), self.old.eq(w_old), self.shift.eq(w_shift),
                self.part_first.eq(w_part), self.tile_first.eq(w_tile),
                self.tile_last.eq(w_ends & at_end), step_last.eq(w_last & at_end), no_input.eq(w_no_input),
            ]  # fmt: skip
        if s.streams > 1:
            with m.If(move):
                m.d.sync += self.half.eq(w_half)
        behind = Mux(step_last, 0, self.weight_address + 1)
        m.d.comb += self.weight_next.eq(Mux(self.valid, behind, self.weight_address))
        m.d.sync += self.weight_address.eq(self.weight_next)
        begun = Signal()  # some word of this step has been issued
        with m.If(self.valid):
            m.d.sync += begun.eq(~step_last)
        m.d.comb += self.idle.eq(~begun & (outstanding == 0))
        m.d.sync += [
            inputs.eq(Mux(move, w_inputs, inputs) + self.input_word),
            made.eq(Mux(move, w_made, made) + self.state_word),
            outstanding.eq(will_be),
        ]
        return m

    def _lines(self) -> list[dict[str, int]]:
        """Return the lines of the table of segments."""
        blocks = self.schedule.blocks
        # By this much no state word at all falls short of what the first word of a line needs.
        lacks = [-seg.need - 1 for block in blocks for seg in block.segments]
        lines: list[dict[str, int]] = []
        for block in blocks:
            start = len(lines)
            for i, seg in enumerate(block.segments):
                ends = i == len(block.segments) - 1
                closes = ends and block is blocks[-1]
                after = 0 if closes else len(lines) + 1
                lines.append({
                    "words": seg.words - 1, "single": seg.words == 1, "base": seg.base,
                    "is_input": seg.is_input, "old": seg.old, "shift": seg.shift,
                    "crossing": seg.second and not any(q.second for q in block.segments[:i]),
                    "begins": i == 0, "ends": ends, "closes": closes, "tiles": block.tiles - 1,
                    "again": start, "lack_again": lacks[start], "after": after,
                    "lack": lacks[after] - closes * self.schedule.produced,
                })  # fmt: skip
        return lines
