"""The elementwise unit: from drained rows to gates, states, operands and outputs.

One pipeline serves every cell. The beat table says, for each group of rows, which sum to
form, which activation to apply, and which operation of :data:`~gatewright.compiler.schedule.POSTS`
follows. This file starts beats and carries their fields along; a row's numbers go through
:mod:`.preactivation`, :mod:`.activation` and :mod:`.update`. ``docs/engine.md`` has the cycle of
each stage.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.activation import ACTIVATIONS
from ..compiler.images import Images
from ..compiler.schedule import POSTS, Schedule
from ..compiler.timing import Timing
from .activation import ActivationUnit
from .arith import Delay, count, round_shift, saturate
from .beats import Beats
from .memory import DelayLine, Ram
from .multiplier import FABRIC
from .preactivation import PreActivation
from .update import Update

__all__ = ["Elementwise"]


class Elementwise(wiring.Component):
    """Process the beat table, one beat a cycle.

    Parameters
    ----------
    schedule : Schedule
    images : Images
        Contents and layout of the beat table.
    acc_bits, sum_bits : int
        Widths from ``Network.bounds``.
    loadable : bool
    file : str
        Of the beat table, see :class:`~.beats.Beats`.
    family : str
    hard : int, optional
        Multipliers of the device that may be used, of three a row; the others are made of adders.

    Attributes
    ----------
    beats : Beats
        A submodule; the core serves its memory.

    Members
    -------
    first, second : In(signed(acc_bits)).array(beat)
        The rows of the beat that was taken two cycles before.
    chain_valid, chain_reset : In(1)
        A beat may be taken; its step started from the reset state.
    take, release : Out(1)
        A beat is taken; it was the last of its tile.
    output_room : In(1)
        Another beat of outputs may be started.
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
        Its access; ``read_data`` follows by two cycles.
    idle : Out(1)
        No beat is on its way (a cycle late).
    """

    first: Any
    second: Any
    chain_valid: Signal
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
        self, *, schedule: Schedule, images: Images, acc_bits: int, sum_bits: int,
        loadable: bool = False, file: str = "", family: str = "generic", hard: int | None = None,
    ) -> None:  # fmt: skip
        self.schedule, self.images = schedule, images
        self.acc_bits, self.sum_bits = acc_bits, sum_bits
        self.family, self.hard = family, hard
        self.beats = Beats(images=images, loadable=loadable, file=file, family=family)
        n = schedule.network.numbers
        e = schedule.geometry.beat
        self.has_cell = any(layer.has_cell_state for layer in schedule.network.layers)
        self.state_bits = max(n.state_bits, n.cell_bits) if self.has_cell else n.state_bits
        words = max(2, schedule.memory_words)
        banks = schedule.geometry.split // e
        states = max(2, schedule.state_words)
        super().__init__({
            "first": In(signed(acc_bits)).array(e), "second": In(signed(acc_bits)).array(e),
            "chain_valid": In(1), "chain_reset": In(1), "take": Out(1), "release": Out(1),
            "output_room": In(1), "output_start": Out(1),
            "o_valid": Out(1), "o_count": Out(count(e)), "o_data": Out(signed(n.state_bits)).array(e),
            "w_en": Out(1), "w_addr": Out(count(words)), "w_bank": Out(count(banks)),
            "w_data": Out(signed(n.activation_bits)).array(e),
            "word_done": Out(1), "step_end": Out(1), "idle": Out(1), "held": In(1),
            "load_en": In(e), "load_addr": In(count(states)), "load_data": In(signed(self.state_bits)),
            "read_addr": In(count(states)), "read_data": Out(signed(self.state_bits)).array(e),
        })  # fmt: skip

    def _field(self, word: Value, name: str) -> Value:
        """Slice a field out of a beat word; one that is the same in all beats is a constant."""
        f = self.images.layout[name]
        if f.width == 0:
            return Const(
                f.base,
                signed(f.base.bit_length() + 1)
                if f.signed or f.base < 0
                else max(1, f.base.bit_length()),
            )
        bits = word[f.offset : f.offset + f.width]
        return bits.as_signed() if f.signed else bits + f.base if f.base else bits

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

    def _unit(self, row: int, k: int) -> str:
        """Return the family of a row's multiplier: the device's while there are some."""
        rank = sum(self._needs) * row + sum(self._needs[:k])
        return FABRIC if self.hard is not None and rank >= self.hard else self.family

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s, n, e = self.schedule, self.schedule.network.numbers, self.schedule.geometry.beat
        acts = {ACTIVATIONS[b.act] for b in s.beats if b.lanes}
        posts = {POSTS[b.post] for b in s.beats if b.lanes}

        m.submodules.beats = beats = self.beats
        word, have, go = beats.word, beats.valid, beats.next

        # -- Cycle 0: start the beat when its rows and its place at the output are there.
        def get(name: str) -> Value:
            return self._field(word, name)

        m.d.comb += [
            go.eq(have & (~get("take") | self.chain_valid) & (~get("output") | self.output_room)),
            self.take.eq(go & get("take")),
            self.release.eq(go & get("take") & get("tile_end")),
            self.output_start.eq(go & get("output")),
        ]
        reset = Signal()
        now_reset = Mux(get("take"), self.chain_reset, reset)
        with m.If(go):
            m.d.sync += reset.eq(now_reset)

        # -- What is needed early travels in registers, the rest in a delay line.
        def carry(name: str) -> Delay:
            return Delay(m, get(name))

        w, entry, exit_ = Timing.WRITE, 1, Timing.LATE - 1
        far: dict[str, Value] = {"post": Signal(range(len(POSTS))), "fresh": now_reset}
        # Full-width copies: a field that is constant in the table has a narrower one.
        act_now = Signal(range(len(ACTIVATIONS)))
        m.d.comb += [act_now.eq(get("act")), far["post"].eq(get("post"))]
        for name in (
            "keep", "store", "operand", "output", "word_end", "count", "late", "kept", "state",
            "word", "bank",
        ):  # fmt: skip
            far[name] = get(name)
        far["step_end"] = beats.last
        moving = {k: v for k, v in far.items() if not isinstance(v, Const)}
        m.submodules.line = line = DelayLine(
            width=sum(len(v) for v in moving.values()), cycles=exit_ - entry,
            block=self.family.startswith("ice40"),
        )  # fmt: skip
        m.d.comb += line.i.eq(Delay(m, Cat(*moving.values())).at(entry))
        at = 0
        late: dict[str, Delay] = {}
        for name, value in far.items():
            if name in moving:
                value = line.o[at : at + len(value)]
                at += len(value)
            late[name] = Delay(m, value, exit_)
        act, swap, use_reset, source_c = (
            Delay(m, act_now), carry("swap"), carry("reset"), carry("source_c")
        )  # fmt: skip
        early, cell = carry("early"), carry("cell")
        busy = Delay(m, go, reset_less=False)

        def flag(name: str) -> Delay:
            return Delay(m, busy.at(exit_) & late[name].at(exit_).any(), exit_, reset_less=False)

        keep, store, operand, output = (flag(k) for k in ("keep", "store", "operand", "output"))
        step_end = flag("step_end")

        open_ = Signal()
        with m.If(go):
            m.d.sync += open_.eq(~beats.last)
        running = Cat(busy.at(i) for i in range(1, Timing.VISIBLE + 1)).any()
        m.d.sync += self.idle.eq(~go & ~open_ & ~running)

        # -- Memories: kept gates, states; an address is followed by its word after two cycles.
        # Kept gates are sigmoids, unsigned and up to 1; an LSTM keeps products as well.
        has_product = "times_c" in posts
        keep_bits = max(n.gate_bits + 1, n.cell_bits) if has_product else n.gate_bits
        m.submodules.kept = kept_ram = Ram(banks=e, width=keep_bits, depth=s.kept_depth, reads=2)
        m.submodules.state = state_ram = Ram(
            banks=e, width=self.state_bits, depth=s.state_words, reads=2 if self.has_cell else 1
        )
        m.d.comb += [
            kept_ram.r_addr[0].eq(early.at(Timing.EARLY)),
            kept_ram.r_addr[1].eq(late["late"].at(Timing.LATE)),
            kept_ram.w_en.eq(Mux(keep.at(s.keep_cycle), (1 << e) - 1, 0)),
            kept_ram.w_addr.eq(late["kept"].at(s.keep_cycle)),
            state_ram.r_addr[0].eq(Mux(self.held, self.read_addr, late["state"].at(Timing.LATE))),
            state_ram.w_en.eq(Mux(self.held, self.load_en, Mux(store.at(w), (1 << e) - 1, 0))),
            state_ram.w_addr.eq(Mux(self.held, self.load_addr, late["state"].at(w))),
        ]
        if self.has_cell:
            m.d.comb += state_ram.r_addr[1].eq(cell.at(Timing.CELL))

        for i in range(e):
            units = [self._unit(i, k) for k in range(3)]
            m.submodules[f"preactivation_{i}"] = pre = PreActivation(
                schedule=s, acc_bits=self.acc_bits, sum_bits=self.sum_bits, family=units[0]
            )
            for part in ("first", "second"):
                bias, amount = get(f"bias_{part}[{i}]"), get(f"shift_{part}[{i}]")
                m.d.comb += [
                    getattr(pre, part).eq(getattr(self, part)[i]),
                    getattr(pre, f"shift_{part}").eq(Delay(m, amount).at(2)),
                    getattr(pre, f"bias_{part}").eq(Delay(m, bias).at(2 + pre.BIAS)),
                ]
            m.d.comb += [
                pre.swap.eq(swap.at(2 + pre.SUM)),
                pre.use_reset.eq(use_reset.at(2 + pre.SUM)),
                pre.gate.eq(kept_ram.r_data[0][i]),
                pre.source_c.eq(source_c.at(2 + pre.latency - 1)),
            ]
            if self.has_cell:
                m.d.comb += pre.cell.eq(state_ram.r_data[1][i])
            at_pre = 2 + pre.latency
            m.submodules[f"activation_{i}"] = unit = ActivationUnit(
                tables=n.tables, used=acts, family=self.family, multiplier=units[2]
            )
            m.d.comb += [unit.act.eq(act.at(at_pre)), unit.pre.eq(pre.result)]
            at_act = at_pre + unit.latency
            k = kept_ram.r_data[1][i]
            m.submodules[f"update_{i}"] = update = Update(
                network=s.network, posts=posts, acts=acts, keep_bits=keep_bits,
                state_bits=self.state_bits, family=units[1],
            )  # fmt: skip
            m.d.comb += [
                update.act.eq(act.at(at_act)),
                update.post.eq(late["post"].at(at_act)),
                update.a.eq(unit.result),
                update.kept.eq(k),
                update.old.eq(Mux(late["fresh"].at(at_act), 0, state_ram.r_data[0][i])),
            ]
            result = update.result
            kept: Value = unit.result
            if s.keep_cycle == w:
                kept = Mux(late["keep"].at(w) == 1, Delay(m, kept, at_act).at(w), result)
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
        if (at_act, at_act + update.latency) != (Timing.KEEP, w):
            raise RuntimeError("the pipeline and compiler.timing disagree")
        m.d.comb += [
            self.o_valid.eq(output.at(w)),
            self.o_count.eq(late["count"].at(w)),
            self.w_en.eq(operand.at(w + 1)),
            self.w_addr.eq(late["word"].at(w + 1)),
            self.w_bank.eq(late["bank"].at(w + 1)),
            self.word_done.eq(operand.at(w) & late["word_end"].at(w)),
            self.step_end.eq(step_end.at(w + 1)),
        ]
        return m
