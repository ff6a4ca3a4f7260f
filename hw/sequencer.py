"""The sequencer: which operand and weight word the lanes take next, and when they may."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.schedule import Schedule
from .arith import count

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Walk the schedule's segments, one operand word a cycle, for step after step.

    Three registers in a row: segments of tiles (``index``, ``tile``), words of a segment, and
    the word that is offered to the lanes. It is issued when what it reads is there: input words
    are counted by the loader, state words by the elementwise unit. Both counts run on from step
    to step, modulo a power of two, and are compared with the count that the word needs in the
    cycle before, as is whether the lanes can take another tile: ``valid`` is a register.

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
    weight_address : Out
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
        # A count differs from what a word needs by less than three steps, and one segment.
        longest = max(seg.words for _, _, seg in segments)
        in_bits = (3 * s.input_words + longest).bit_length() + 1
        made_bits = (3 * s.produced + longest).bit_length() + 1

        # -- Segments. The table is logic: it is a few lines long.
        index = Signal(count(len(segments)))
        tile = Signal(count(max(b.tiles for b in s.blocks)))
        tiles, block_start = Signal.like(tile), Signal.like(index)
        words = Signal(count(longest))
        base = Signal.like(self.address)
        need = Signal(made_bits)
        is_input, old, shift = Signal(), Signal(), Signal.like(self.shift)
        crossing, begins, ends, last_block = Signal(), Signal(), Signal(), Signal()
        first_tile = Signal()
        with m.Switch(index):
            block_index = -1
            for n, (block, i, seg) in enumerate(segments):
                block_index += i == 0
                parts = [q.second for q in block.segments[:i]]
                with m.Case(n):
                    m.d.comb += [
                        words.eq(seg.words - 1), base.eq(seg.base),
                        need.eq(seg.need % (1 << made_bits)), tiles.eq(block.tiles - 1),
                        block_start.eq(starts[block_index]), is_input.eq(seg.is_input),
                        old.eq(seg.old), shift.eq(seg.shift), begins.eq(i == 0),
                        ends.eq(i == len(block.segments) - 1),
                        last_block.eq(block_index == len(s.blocks) - 1),
                        crossing.eq(seg.second and not any(parts)),
                    ]  # fmt: skip
        m.d.comb += first_tile.eq((index == 0) & (tile == 0))
        parity = Signal()
        in_base, made_base = Signal(in_bits), Signal(made_bits)  # counts at the step's begin
        next_segment, last_tile = Signal(), Signal()
        m.d.comb += last_tile.eq(tile == tiles)
        with m.If(next_segment):
            m.d.sync += index.eq(index + 1)
            with m.If(ends):
                m.d.sync += [tile.eq(tile + 1), index.eq(block_start)]
                with m.If(last_tile):
                    m.d.sync += [tile.eq(0), index.eq(index + 1)]
                    with m.If(last_block):
                        m.d.sync += [
                            index.eq(0), parity.eq(~parity), in_base.eq(in_base + s.input_words),
                            made_base.eq(made_base + s.produced),
                        ]  # fmt: skip

        # -- Words of a segment.
        have, at_end = Signal(), Signal()
        left = Signal.like(words)
        w_address, w_parity = Signal.like(self.address), Signal()
        w_in, w_made = Signal(in_bits), Signal(made_bits)  # counts that the word needs
        w_is_input, w_old, w_shift = Signal(), Signal(), Signal.like(self.shift)
        w_part, w_tile, w_ends, w_last = (Signal() for _ in range(4))
        # A step begins with its first input word, whatever it reads first.
        w_no_input = Signal()
        move = Signal()  # the word goes on to the lanes' register
        m.d.comb += next_segment.eq(~have | (move & at_end))
        with m.If(move):
            m.d.sync += [
                w_address.eq(w_address + 1), w_in.eq(w_in + 1), w_made.eq(w_made + 1),
                left.eq(left - 1), at_end.eq(left == 1),
                w_part.eq(0), w_tile.eq(0), w_no_input.eq(~w_is_input),
            ]  # fmt: skip
        with m.If(next_segment):
            m.d.sync += [
                have.eq(1), left.eq(words), at_end.eq(words == 0), w_address.eq(base),
                w_parity.eq(parity), w_in.eq(in_base + 1), w_made.eq(made_base + need + 1),
                w_is_input.eq(is_input), w_old.eq(old), w_shift.eq(shift), w_part.eq(crossing),
                w_tile.eq(begins), w_no_input.eq(~is_input & ~first_tile), w_ends.eq(ends),
                w_last.eq(ends & last_tile & last_block),
            ]  # fmt: skip

        # -- The word that is offered.
        inputs, made = Signal(in_bits), Signal(made_bits)
        offered, last, no_input = Signal(), Signal(), Signal()
        # Until the first word is offered, one is asked for that cannot be there.
        in_need, made_need = Signal(in_bits, init=1), Signal(made_bits)
        outstanding, will_be = Signal(range(3)), Signal(range(3))  # tiles that the lanes are at

        def there(have: Value, need: Value) -> Value:
            return ~(have - need)[len(have) - 1]

        m.d.comb += [
            move.eq(have & (self.valid | ~offered)),
            self.step_done.eq(self.valid & last),
            self.reset.eq(self.fresh),
            will_be.eq(outstanding + (self.valid & self.tile_first) - self.released),
        ]
        # Whether what it reads is there and the lanes can begin its tile: of the word that comes
        # next where one moves, of the one that stays where none does.
        next_there = (there(inputs, w_in) | w_no_input) & (there(made, w_made) | w_is_input)
        same_there = (there(inputs, in_need) | no_input) & (there(made, made_need) | self.is_input)
        m.d.sync += self.valid.eq(
            Mux(
                move,
                next_there & ~(w_tile & will_be[1]),
                same_there & ~(self.tile_first & will_be[1]),
            )
        )
        with m.If(move):
            m.d.sync += [
                offered.eq(1), self.address.eq(w_address), self.parity.eq(w_parity),
                self.is_input.eq(w_is_input), self.old.eq(w_old), self.shift.eq(w_shift),
                self.part_first.eq(w_part), self.tile_first.eq(w_tile),
                self.tile_last.eq(w_ends & at_end), last.eq(w_last & at_end), no_input.eq(w_no_input),
                in_need.eq(w_in), made_need.eq(w_made),
            ]  # fmt: skip
        with m.If(self.valid):
            m.d.sync += self.weight_address.eq(Mux(last, 0, self.weight_address + 1))
        begun = Signal()  # some word of this step has been issued
        with m.If(self.valid):
            m.d.sync += begun.eq(~last)
        m.d.comb += self.idle.eq(~begun & (outstanding == 0))
        m.d.sync += [
            inputs.eq(inputs + self.input_word),
            made.eq(made + self.state_word),
            outstanding.eq(will_be),
        ]
        return m
