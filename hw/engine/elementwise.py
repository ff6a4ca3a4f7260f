"""The elementwise unit: from drained rows to gates, states, operands and outputs.

One pipeline serves every cell. The beat table says, for each group of rows, which sum to
form, which activation to apply, and which operation of :data:`~gatewright.compiler.layout.schedule.POSTS`
follows. This file starts beats and carries their fields along; a row's numbers go through
:mod:`.preactivation`, :mod:`.activation` and :mod:`.update`. ``docs/engine.md`` has the cycle of
each stage.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.layout.beat_word import Field
from ...compiler.layout.images import MemoryImages
from ...compiler.layout.latency import Timing
from ...compiler.layout.schedule import Schedule
from ...compiler.layout.tables import POSTS
from ...compiler.numerics.activation import ACTIVATIONS
from ..blocks.arith import Delay, count, round_shift, saturate
from ..blocks.memory import Ram
from ..vendor.family import FABRIC, VendorFamily
from .activation import ActivationUnit
from .beats import AHEAD, Beats
from .options import CoreOptions
from .preactivation import PreActivation
from .trace import Taps
from .turn import stream_turn
from .update import Update

__all__ = ["Elementwise"]


class Elementwise(wiring.Component):
    """Process the beat table, one beat a cycle.

    Parameters
    ----------
    schedule : Schedule
    images : MemoryImages
        Contents and layout of the beat table.
    acc_bits, sum_bits : int
        Widths from ``QNetwork.bounds``.
    options : CoreOptions
        The unit takes its multipliers first, up to three a row; the lanes get the rest.

    Attributes
    ----------
    beats : Beats
        A submodule; the core serves its memory.
    taps : Taps, optional
        Values for a waveform.

    Members
    -------
    first, second : In(signed(acc_bits)).array(beat)
        The rows of the beat that was taken two cycles before.
    chain_next, chain_reset : In(1)
        A beat may be taken in the next cycle; in this one, that its step started from the reset state.
    take, release : Out(1)
        A beat is taken; it was the last of its tile.
    output_room : In(2)
        Another beat of outputs may be started; and another one after it.
    output_start : Out(1)
        A beat with outputs is started (it will be written ``Timing.WRITE`` cycles later).
    o_valid, o_count, o_data : Out
        Outputs: element count less one, one code an element.
    w_en, w_addr, w_bank, w_data : Out
        Operand write (address without parity), one code a row.
    word_done : Out(1)
        The operand word is complete, a cycle before its last write.
    step_end : Out(1)
        With the operand write of the last beat of a step.
    held : In(1)
        The state port has the state memory.
    load_en, load_addr, load_data, read_addr : In, read_data : Out
        Its access, above an address the stream; ``read_data`` follows by two cycles.
    idle : Out(1)
        No beat is on its way (a cycle late).
    """

    first: Any
    second: Any
    chain_next: Signal
    chain_reset: Signal
    take: Signal
    release: Signal
    output_room: Signal
    output_start: Signal
    o_valid: Signal
    o_count: Signal
    o_data: Any
    w_en: Signal
    w_addr: Signal
    w_bank: Signal
    w_data: Any
    word_done: Signal
    step_end: Signal
    idle: Signal
    held: Signal
    load_en: Signal
    load_addr: Signal
    load_data: Signal
    read_addr: Signal
    read_data: Any

    def __init__(
        self, *, schedule: Schedule, images: MemoryImages, acc_bits: int, sum_bits: int,
        options: CoreOptions,
    ) -> None:  # fmt: skip
        self.schedule, self.images = schedule, images
        self.acc_bits, self.sum_bits = acc_bits, sum_bits
        self.family, self.hard = options.family, options.multipliers
        self.beats = Beats(images=images, options=options)
        n = schedule.network.numbers
        e = schedule.geometry.beat
        self.has_cell = any(layer.has_cell_state for layer in schedule.network.layers)
        self.state_bits = max(n.state_bits, n.cell_bits) if self.has_cell else n.state_bits
        words = max(2, schedule.memory_words)
        self.taps: Taps | None = None
        if options.trace:
            value_bits = max(n.tables.gate_bits + 1, n.tables.result_bits)
            self.taps = Taps(n.tables.pre_bits, value_bits, self.state_bits)
        banks = schedule.geometry.split // e
        self.streams = schedule.streams
        states, stream = count(max(2, schedule.state_words)), range(self.streams)
        address = len(Signal(states)) + len(Signal(stream))
        super().__init__({
            "first": In(signed(acc_bits)).array(e), "second": In(signed(acc_bits)).array(e),
            "chain_next": In(1), "chain_reset": In(1), "take": Out(1), "release": Out(1),
            "output_room": In(2), "output_start": Out(1),
            "o_valid": Out(1), "o_count": Out(count(e)), "o_data": Out(signed(n.state_bits)).array(e),
            "w_en": Out(1), "w_addr": Out(count(words)), "w_bank": Out(count(banks)),
            "w_data": Out(signed(n.activation_bits)).array(e),
            "word_done": Out(1), "step_end": Out(1), "idle": Out(1), "held": In(1),
            "load_en": In(e), "load_addr": In(address), "load_data": In(signed(self.state_bits)),
            "read_addr": In(address), "read_data": Out(signed(self.state_bits)).array(e),
        })  # fmt: skip

    @property
    def _needs(self) -> tuple[bool, bool, bool]:
        """Which multipliers a row has: reset product, operation after the activation, table."""
        beats = [b for b in self.schedule.beats if b.lanes]
        curved = {ACTIVATIONS[b.act] for b in beats} & {"tanh", "sigmoid"}
        tables = self.schedule.network.numbers.tables
        return (
            any(b.reset for b in beats),
            any(POSTS[b.post] != "pass" for b in beats),
            bool(curved) and tables.kind != "direct" and tables.fraction_bits > 0,
        )

    @property
    def multipliers(self) -> int:
        """Multipliers of the device that are used."""
        wanted = sum(self._needs) * self.schedule.geometry.beat
        return wanted if self.hard is None else min(wanted, self.hard)

    def _unit(self, row: int, k: int) -> VendorFamily:
        """Return the family of a row's multiplier: the device's while there are some."""
        rank = sum(self._needs) * row + sum(self._needs[:k])
        return FABRIC if self.hard is not None and rank >= self.hard else self.family

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s, e = self.schedule, self.schedule.geometry.beat
        acts = {ACTIVATIONS[b.act] for b in s.beats if b.lanes}
        posts = {POSTS[b.post] for b in s.beats if b.lanes}

        m.submodules.beats = beats = self.beats
        busy_now = Signal()
        m.d.comb += beats.next.eq(busy_now)
        self._fields = {name: self._field(m, name) for name in self.images.layout}
        fresh = self._start(m, busy_now)
        kept, states = self._memories(m)
        for i in range(e):
            self._row(m, i, acts, posts, fresh, kept, states)
        self._write(m)
        return m

    def _start(self, m: Module, busy_now: Signal) -> Delay:
        """Start a beat when its rows and its place at the output are there.

        Whether it starts is decided a cycle ahead, for both cases: that a beat is started now, and
        that none is. Returns whether its step starts from the reset state.
        """
        beats = self.beats
        take, sends = self._fields["take"].at(0), self._fields["output"].at(0)
        m.d.comb += [
            self.take.eq(busy_now & take),
            self.release.eq(busy_now & take & self._fields["tile_end"].at(0)),
            self.output_start.eq(busy_now & sends),
        ]

        def may(start: Value, takes: Value, outputs: Value, room: Value) -> Value:
            return start & (~takes | self.chain_next) & (~outputs | room)

        after_take, after_sends = (
            self._slice(beats.following, self.images.layout[name]) for name in ("take", "output")
        )
        moves = busy_now | ~beats.valid
        room = Mux(self.output_start, self.output_room[1], self.output_room[0])
        m.d.sync += busy_now.eq(
            Mux(moves, may(beats.follows, after_take, after_sends, room),
                may(beats.valid, take, sends, self.output_room[0]))
        )  # fmt: skip
        self._busy = Delay(m, busy_now, reset_less=False)
        m.d.comb += beats.reach.eq(Cat(self._busy.at(c - AHEAD) for c in Timing.PARTS[1:]))
        reset = Signal()
        now_reset = Mux(take, self.chain_reset, reset)
        with m.If(busy_now):
            m.d.sync += reset.eq(now_reset)
        fresh = Delay(m, now_reset)

        open_ = Signal()
        with m.If(busy_now):
            m.d.sync += open_.eq(~beats.last)
        self._ends = Delay(m, busy_now & beats.last, reset_less=False)
        running = Cat(self._busy.at(i) for i in range(1, Timing.VISIBLE + 1)).any()
        m.d.sync += self.idle.eq(~busy_now & ~open_ & ~running)
        return fresh

    def _flag(self, name: str, cycle: int) -> Value:
        """Return whether there is a beat in a cycle that has a field set."""
        return self._busy.at(cycle) & self._fields[name].at(cycle).any()

    def _memories(self, m: Module) -> tuple[Ram, Ram]:
        """Place kept gates and states; an address is followed by its word after two cycles."""
        s, e = self.schedule, self.schedule.geometry.beat
        # Kept gates are sigmoids, unsigned and up to 1; an LSTM keeps products as well.
        w = Timing.WRITE
        m.submodules.kept = kept_ram = Ram(
            banks=e, width=s.keep_bits, depth=s.kept_depth, reads=2, family=self.family
        )
        m.submodules.state = state_ram = Ram(
            banks=e,
            width=self.state_bits,
            depth=s.state_depth,
            reads=2 if self.has_cell else 1,
            family=self.family,
        )
        store = self._flag("store", w)
        # An activation is kept as soon as it is there, a result when it is written. The schedule
        # keeps the two writes apart.
        kinds = {b.keep for b in s.beats}
        early = Timing.KEEP if 1 in kinds else w
        kept = self._fields["keep"]
        self._keeps_result = self._busy.at(w) & (kept.at(w) == 2) if 2 in kinds else Const(0)
        keeps_act = self._busy.at(early) & (kept.at(early) == 1) if 1 in kinds else Const(0)
        if "early" in self._fields:
            m.d.comb += kept_ram.r_addr[0].eq(self._fields["early"].at(Timing.EARLY))
        m.d.comb += [
            kept_ram.r_addr[1].eq(self._fields["kept"].at(Timing.LATE)),
            kept_ram.w_en.eq(Mux(keeps_act | self._keeps_result, (1 << e) - 1, 0)),
            kept_ram.w_addr.eq(
                Mux(self._keeps_result, *(self._fields["kept_write"].at(c) for c in (w, early)))
            ),
            state_ram.r_addr[0].eq(
                Mux(self.held, self.read_addr, self._state(m, "state", Timing.LATE))
            ),
            state_ram.w_en.eq(Mux(self.held, self.load_en, Mux(store, (1 << e) - 1, 0))),
            state_ram.w_addr.eq(Mux(self.held, self.load_addr, self._state(m, "state_write", w))),
        ]
        if self.has_cell:
            m.d.comb += state_ram.r_addr[1].eq(self._state(m, "cell", Timing.CELL))
        return kept_ram, state_ram

    def _state(self, m: Module, name: str, cycle: int) -> Value:
        """Return an address in state memory: a field of the beat in a cycle, above it its stream."""
        word = self._fields[name].at(cycle)
        if self.streams == 1:
            return word
        stream = stream_turn(m, self.streams, self._ends.at(cycle), name)
        bits = len(self.read_addr) - len(stream)
        return Cat(word.as_unsigned()[:bits], Const(0, max(0, bits - len(word))), stream)

    def _row(
        self, m: Module, i: int, acts: set[str], posts: set[str], fresh: Delay, kept_ram: Ram,
        state_ram: Ram,
    ) -> None:  # fmt: skip
        """Compute a row of a beat: sum, activation, and what the cell does with them."""
        s, n, w = self.schedule, self.schedule.network.numbers, Timing.WRITE
        units = [self._unit(i, k) for k in range(3)]
        m.submodules[f"preactivation_{i}"] = pre = PreActivation(
            schedule=s, acc_bits=self.acc_bits, sum_bits=self.sum_bits, family=units[0]
        )
        for part in ("first", "second"):
            m.d.comb += [
                getattr(pre, part).eq(getattr(self, part)[i]),
                getattr(pre, f"shift_{part}").eq(
                    self._fields[f"shift_{part}[{i}]"].at(Timing.SHIFT)
                ),
            ]
        m.d.comb += [
            pre.bias_first.eq(self._fields[f"bias_first[{i}]"].at(Timing.SHIFT + pre.bias_cycle)),
            pre.source_c.eq(self._fields["source_c"].at(Timing.SOURCE)),
        ]
        if pre.has_reset:
            m.d.comb += [
                pre.bias_second.eq(
                    self._fields[f"bias_second[{i}]"].at(Timing.SHIFT + pre.bias_cycle)
                ),
                pre.swap.eq(self._fields["swap"].at(Timing.EARLY)),
                pre.use_reset.eq(self._fields["reset"].at(Timing.EARLY)),
                pre.gate.eq(kept_ram.r_data[0][i]),
            ]
        if self.has_cell:
            m.d.comb += pre.cell.eq(state_ram.r_data[1][i])
        at_pre = Timing.SHIFT + pre.latency
        m.submodules[f"activation_{i}"] = unit = ActivationUnit(
            tables=n.tables, used=acts, family=self.family, multiplier=units[2]
        )
        m.d.comb += [unit.act.eq(self._fields["act"].at(Timing.ACT)), unit.pre.eq(pre.result)]
        at_act = at_pre + unit.latency
        k = kept_ram.r_data[1][i]
        m.submodules[f"update_{i}"] = update = Update(
            network=s.network, posts=posts, acts=acts, keep_bits=s.keep_bits,
            state_bits=self.state_bits, family=units[1],
        )  # fmt: skip
        m.d.comb += [
            update.act.eq(self._fields["act"].at(at_act)),
            update.post.eq(self._fields["post"].at(at_act)),
            update.a.eq(unit.result),
            update.kept.eq(k),
            update.old.eq(Mux(fresh.at(at_act), 0, state_ram.r_data[0][i])),
        ]
        result = update.result
        kept = Mux(self._keeps_result, result, unit.result)
        m.d.comb += [
            kept_ram.w_data[i].eq(kept),
            state_ram.w_data[i].eq(Mux(self.held, self.load_data, result)),
            self.read_data[i].eq(state_ram.r_data[0][i].as_signed()),
            self.o_data[i].eq(result),
        ]
        # The operand is rounded on the way and written a cycle later.
        m.d.sync += self.w_data[i].eq(
            saturate(round_shift(result, n.operand_shift), n.activation_bits)
        )
        if i == 0 and self.taps is not None:
            m.d.comb += [
                self.taps.valid.eq(self._busy.at(w)), self.taps.result.eq(result),
                self.taps.pre.eq(Delay(m, pre.result, at_pre).at(w)),
                self.taps.value.eq(Delay(m, unit.result, at_act).at(w)),
            ]  # fmt: skip
        ends = (at_pre, at_act, at_act + update.latency)
        if ends != (Timing.ACT, Timing.KEEP, w):
            raise RuntimeError("the pipeline and compiler.timing disagree")

    def _write(self, m: Module) -> None:
        """Write operands and outputs of a beat."""
        beats, w = self.beats, Timing.WRITE
        operand = self._flag("operand", w)
        # `word_done` crosses the die. Where the beat table has an output register, it is taken from the
        # stage before, to save a cycle.
        ends_word = [self.images.layout[name] for name in ("operand", "word_end")]
        if beats.bridged and all(not f.width or Timing.PARTS[f.part] == w for f in ends_word):
            both = [self._slice(beats.ahead, f).any() for f in ends_word]
            m.d.sync += self.word_done.eq(self._busy.at(w - 1) & both[0] & both[1])
        else:
            m.d.comb += self.word_done.eq(operand & self._fields["word_end"].at(w))
        step_end = Delay(m, beats.ending, Timing.PARTS[-1] - AHEAD + 1, reset_less=False)
        m.d.sync += self.w_en.eq(operand)
        m.d.comb += [
            self.o_valid.eq(self._flag("output_write", w)),
            self.o_count.eq(self._fields["count"].at(w)),
            self.w_addr.eq(self._fields["word"].at(w + 1)),
            self.w_bank.eq(self._fields["bank"].at(w + 1)),
            self.step_end.eq(step_end.at(w + 1)),
        ]

    def _field(self, m: Module, name: str) -> Delay:
        """Slice a field out of the beat's word, to be carried along from where its part is there."""
        f = self.images.layout[name]
        return Delay(m, self._slice(self.beats.word, f), Timing.PARTS[f.part] if f.width else 0)

    @staticmethod
    def _slice(word: Value, f: Field) -> Value:
        """Return the value of a field of a beat's word; one that is the same in all beats is a constant."""
        if f.width == 0:
            return Const(f.base)
        bits = word[f.offset : f.offset + f.width]
        return bits.as_signed() if f.signed else bits + f.base if f.base else bits
