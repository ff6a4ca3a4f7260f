"""The elementwise unit: from drained rows to gates, states, operands and outputs.

One pipeline serves every cell. The beat table says, for each group of rows, which sum to
form, which activation to apply, and which operation of :data:`~gatewright.compiler.schedule.POSTS`
follows; see ``docs/engine.md`` for the cycle of each stage.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.activation import ACTIVATIONS
from ..compiler.images import Images
from ..compiler.network import BOUNDED
from ..compiler.schedule import POSTS, Schedule
from ..compiler.timing import Timing
from .activation import ActivationUnit
from .arith import Delay, count, round_shift, saturate, shift
from .beats import Beats
from .memory import Ram

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

    Attributes
    ----------
    beats : Beats
        A submodule; the core serves its memory.

    Members
    -------
    first, second : In(signed(acc_bits)).array(beat)
    chain_valid, chain_reset : In(1)
        Rows at the head of the drain chain; their step started from the reset state.
    shift, release : Out(1)
        Take a beat; it was the last of its tile.
    output_room : In(1)
        Another beat of outputs may be started.
    output_start : Out(1)
        A beat with outputs is started (it will be written ``Timing.WRITE`` cycles later).
    o_valid, o_count, o_data : Out
        Outputs: element count less one, one code an element.
    w_en, w_addr, w_bank, w_data : Out
        Operand write (address without parity), one code a row.
    word_done, step_end : Out(1)
        With an operand write: its word is complete. After the last beat of a step.
    state : Ram ports for load and read, used only while ``idle``
    idle : Out(1)
    """

    first: Any
    second: Any
    chain_valid: Signal
    chain_reset: Signal
    shift: Signal
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
    load_en: Signal
    load_addr: Signal
    load_data: Signal
    read_addr: Signal
    read_data: Any

    def __init__(
        self, *, schedule: Schedule, images: Images, acc_bits: int, sum_bits: int,
        loadable: bool = False, file: str = "",
    ) -> None:  # fmt: skip
        self.schedule, self.images = schedule, images
        self.acc_bits, self.sum_bits = acc_bits, sum_bits
        self.beats = Beats(images=images, loadable=loadable, file=file)
        n = schedule.network.numbers
        e = schedule.geometry.beat
        self.has_cell = any(layer.has_cell_state for layer in schedule.network.layers)
        self.state_bits = max(n.state_bits, n.cell_bits) if self.has_cell else n.state_bits
        words = max(2, schedule.memory_words)
        banks = schedule.geometry.split // e
        states = max(2, schedule.state_words)
        super().__init__({
            "first": In(signed(acc_bits)).array(e), "second": In(signed(acc_bits)).array(e),
            "chain_valid": In(1), "chain_reset": In(1), "shift": Out(1), "release": Out(1),
            "output_room": In(1), "output_start": Out(1),
            "o_valid": Out(1), "o_count": Out(count(e)), "o_data": Out(signed(n.state_bits)).array(e),
            "w_en": Out(1), "w_addr": Out(count(words)), "w_bank": Out(count(banks)),
            "w_data": Out(signed(n.activation_bits)).array(e),
            "word_done": Out(1), "step_end": Out(1), "idle": Out(1),
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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s, n, e = self.schedule, self.schedule.network.numbers, self.schedule.geometry.beat
        tables = n.tables
        acts = {ACTIVATIONS[b.act] for b in s.beats if b.lanes}
        posts = {POSTS[b.post] for b in s.beats if b.lanes}

        m.submodules.beats = beats = self.beats
        word, have, at_last, go = beats.word, beats.valid, beats.last, beats.next

        # -- Cycle 0: start the beat when its rows and its place at the output are there.
        def get(name: str) -> Value:
            return self._field(word, name)

        m.d.comb += [
            go.eq(have & (~get("take") | self.chain_valid) & (~get("output") | self.output_room)),
            self.shift.eq(go & get("take")),
            self.release.eq(go & get("take") & get("tile_end")),
            self.output_start.eq(go & get("output")),
        ]
        reset = Signal()
        now_reset = Mux(get("take"), self.chain_reset, reset)
        with m.If(go):
            m.d.sync += reset.eq(now_reset)

        def carry(name: str, start: int = 0) -> Delay:
            return Delay(m, get(name), start)

        def flag(name: str) -> Delay:
            return Delay(m, go & get(name).any(), reset_less=False)

        swap, use_reset, source_c = carry("swap"), carry("reset"), carry("source_c")
        # Full-width copies: a field that is constant in the table has a narrower one.
        act_now, post_now = Signal(range(len(ACTIVATIONS))), Signal(range(len(POSTS)))
        m.d.comb += [act_now.eq(get("act")), post_now.eq(get("post"))]
        act, post, keep = Delay(m, act_now), Delay(m, post_now), flag("keep")
        keep_value = carry("keep")
        store, operand, output = flag("store"), flag("operand"), flag("output")
        word_end, elements = carry("word_end"), carry("count")
        early, late, kept = carry("early"), carry("late"), carry("kept")
        state, cell = carry("state"), carry("cell")
        out_word, bank = carry("word"), carry("bank")
        fresh = Delay(m, now_reset)
        step_end = Delay(m, go & at_last, reset_less=False)

        open_ = Signal()
        busy = Delay(m, go, reset_less=False)
        with m.If(go):
            m.d.sync += open_.eq(~at_last)
        running = Cat(busy.at(i) for i in range(1, Timing.VISIBLE + 1)).any()
        m.d.comb += self.idle.eq(~open_ & ~running)

        # -- Memories: kept gates, states.
        # Kept gates are sigmoids, unsigned and up to 1; an LSTM keeps products as well.
        has_product = "times_c" in posts
        keep_bits = max(n.gate_bits + 1, n.cell_bits) if has_product else n.gate_bits
        m.submodules.kept = kept_ram = Ram(banks=e, width=keep_bits, depth=s.kept_depth, reads=2)
        m.submodules.state = state_ram = Ram(
            banks=e, width=self.state_bits, depth=s.state_words, reads=2 if self.has_cell else 1
        )
        w = Timing.WRITE
        m.d.comb += [
            kept_ram.r_addr[0].eq(early.at(Timing.EARLY)),
            kept_ram.r_addr[1].eq(late.at(Timing.LATE)),
            kept_ram.w_en.eq(Mux(keep.at(w), (1 << e) - 1, 0)),
            kept_ram.w_addr.eq(kept.at(w)),
            state_ram.r_addr[0].eq(Mux(self.idle, self.read_addr, state.at(Timing.LATE))),
            state_ram.w_en.eq(Mux(self.idle, self.load_en, Mux(store.at(w), (1 << e) - 1, 0))),
            state_ram.w_addr.eq(Mux(self.idle, self.load_addr, state.at(w))),
        ]
        if self.has_cell:
            m.d.comb += state_ram.r_addr[1].eq(cell.at(Timing.CELL))

        is_bounded = Signal()
        with m.Switch(act.at(12)):
            m.Case()
            for i, name in enumerate(ACTIVATIONS):
                if name in BOUNDED:
                    with m.Case(i):
                        m.d.comb += is_bounded.eq(1)

        for i in range(e):
            # Cycle 0: put the parts in their places. A padded row is zero in every field.
            part_in = Signal(signed(self.acc_bits), name=f"part_in_{i}", reset_less=True)
            part_re = Signal(signed(self.acc_bits), name=f"part_re_{i}", reset_less=True)
            m.d.sync += [
                part_in.eq(Mux(swap.at(0), self.second[i], self.first[i])),
                part_re.eq(Mux(swap.at(0), self.first[i], self.second[i])),
            ]
            # Cycle 1: bring both to the resolution of the sum. Cycle 2: add the biases.
            wide = signed(self.sum_bits)
            shifted = []
            for part, name in ((part_in, "input"), (part_re, "recurrent")):
                amount = Delay(m, get(f"shift_{name}[{i}]")).at(1)
                t = Signal(wide, name=f"{name}_shifted_{i}", reset_less=True)
                m.d.sync += t.eq(part << amount)
                bias = Delay(m, get(f"bias_{name}[{i}]")).at(2)
                b = Signal(wide, name=f"{name}_biased_{i}", reset_less=True)
                m.d.sync += b.eq(t + bias)
                shifted.append(b)
            u, v = shifted
            # Cycle 3: sum, or set the recurrent part aside for the reset product.
            total = Signal(wide, name=f"sum_{i}", reset_less=True)  # in cycle 6
            has_reset = any(b.reset for b in s.beats)
            summed = Signal(wide, name=f"summed_{i}", reset_less=True)
            if has_reset:
                hidden = Signal(signed(n.hidden_bits), name=f"hidden_{i}", reset_less=True)
                m.d.sync += [
                    hidden.eq(saturate(round_shift(v, n.hidden_shift), n.hidden_bits)),
                    summed.eq(Mux(use_reset.at(3), u, u + v)),
                ]
                # Cycle 4: the reset product. Cycle 5: add it.
                gate = kept_ram.r_data[0][i][: n.gate_bits]
                product = Signal(
                    signed(n.gate_bits + n.hidden_bits), name=f"reset_product_{i}", reset_less=True
                )
                m.d.sync += product.eq(gate * hidden)
                moved = shift(product, n.gate_frac - n.hidden_shift)
                m.d.sync += total.eq(Delay(m, summed, 4).at(5) + Mux(use_reset.at(5), moved, 0))
            else:
                m.d.sync += [summed.eq(u + v), total.eq(Delay(m, summed, 4).at(5))]
            # Cycle 6: round to the pre-activation.
            pre = Signal(signed(tables.pre_bits), name=f"pre_{i}", reset_less=True)
            rounded = saturate(round_shift(total, n.sum_shift), tables.pre_bits)
            if self.has_cell:
                c = state_ram.r_data[1][i].as_signed()
                from_cell = saturate(shift(c, n.cell_frac - tables.pre_frac), tables.pre_bits)
                m.d.sync += pre.eq(Mux(source_c.at(6), from_cell, rounded))
            else:
                m.d.sync += pre.eq(rounded)
            # Cycles 7 to 11: activation.
            m.submodules[f"activation_{i}"] = unit = ActivationUnit(tables=tables, used=acts)
            m.d.comb += [unit.act.eq(act.at(7)), unit.pre.eq(pre)]
            # Cycle 12: the activation as a value, and the operands of the last product.
            a = unit.result
            value = Mux(is_bounded, shift(a[: n.gate_bits + 1].as_signed(), -n.align), a)
            old = Mux(fresh.at(12), 0, state_ram.r_data[0][i].as_signed())
            k = kept_ram.r_data[1][i]
            k = k.as_signed() if has_product else k
            result = self._post(m, i, posts, post, a, value, old, k)
            # Cycle 15: write; the operand is rounded on the way and written a cycle later.
            m.d.comb += [
                kept_ram.w_data[i].eq(Mux(keep_value.at(w) == 1, Delay(m, a, 12).at(w), result)),
                state_ram.w_data[i].eq(Mux(self.idle, self.load_data, result)),
                self.read_data[i].eq(state_ram.r_data[0][i].as_signed()),
                self.o_data[i].eq(result),
            ]
            m.d.sync += self.w_data[i].eq(
                saturate(round_shift(result, n.operand_shift), n.activation_bits)
            )
        m.d.comb += [
            self.o_valid.eq(output.at(w)),
            self.o_count.eq(elements.at(w)),
            self.w_en.eq(operand.at(w + 1)),
            self.w_addr.eq(out_word.at(w + 1)),
            self.w_bank.eq(bank.at(w + 1)),
            self.word_done.eq(operand.at(w + 1) & word_end.at(w + 1)),
            self.step_end.eq(step_end.at(w + 1)),
        ]
        return m

    def _post(
        self,
        m: Module,
        i: int,
        posts: set[str],
        post: Delay,
        a: Value,
        value: Value,
        old: Value,
        k: Value,
    ) -> Signal:
        """Cycles 12 to 14: ``start + shift(left * right)``, saturated; valid in cycle 15."""
        n = self.schedule.network.numbers
        right_bits = max(len(value), len(old)) + 1
        left = Signal(signed(max(len(k) + 1, len(a))), name=f"left_{i}", reset_less=True)
        right = Signal(signed(right_bits), name=f"right_{i}", reset_less=True)
        start = Signal(signed(max(right_bits, len(k))), name=f"start_{i}", reset_less=True)
        terms: dict[str, tuple[Value, Value, Value]] = {
            "pass": (Const(0), Const(0), value),
            "blend": (k, old - value, value),
            "leak": (k, value - old, old),
            "times_h": (a, old, Const(0)),
            "times_c": (k, a, Const(0)),
            "cell": (a, old, k),
            "times": (k, a, Const(0)),
        }
        shifts = {
            "times_c": 2 * n.gate_frac - n.cell_frac,
            "times": 2 * n.gate_frac - (n.state_bits - 1),
        }
        with m.Switch(post.at(12)):
            for name in sorted(posts):
                with m.Case(POSTS.index(name)):
                    x, y, z = terms[name]
                    m.d.sync += [left.eq(x), right.eq(y), start.eq(z)]
        product = Signal(signed(len(left) + len(right)), name=f"product_{i}", reset_less=True)
        m.d.sync += product.eq(left * right)
        moved = Signal(signed(len(product) + 1), name=f"moved_{i}")
        with m.Switch(post.at(14)):
            for name in sorted(posts):
                with m.Case(POSTS.index(name)):
                    m.d.comb += moved.eq(shift(product, shifts.get(name, n.gate_frac)))
        total = Delay(m, start, 13).at(14) + moved
        result = Signal(signed(self.state_bits), name=f"result_{i}", reset_less=True)
        narrow = saturate(total, n.state_bits)
        if self.has_cell:
            is_cell = (post.at(14) == POSTS.index("cell")) | (post.at(14) == POSTS.index("times_c"))
            narrow = Mux(is_cell, saturate(total, n.cell_bits), narrow)
        m.d.sync += result.eq(narrow)
        return result
