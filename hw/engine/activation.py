"""Sigmoid, tanh and the piecewise linear activations, pipelined."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.numerics.activation import ACTIVATIONS, GUARD, SLOPE_FRAC, Activation
from ..blocks.arith import Delay, round_shift, saturate, shift
from ..blocks.memory import Table
from ..blocks.multiplier import LATENCY, Multiplier
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["ActivationUnit"]


class ActivationUnit(wiring.Component):
    """Apply the activation ``act`` to ``pre``; equals :class:`~gatewright.compiler.numerics.activation.Activation`.

    Parameters
    ----------
    tables : Activation
        Formats and table contents.
    used : set of str
        Activations the program has; hardware is made for those only.
    family, multiplier : VendorFamily
        Of the table, and of its multiplier where that is another.

    Members
    -------
    act : In(3)
        Index into ``ACTIVATIONS``.
    pre : In(signed(tables.pre_bits))
    result : Out(signed)
        Gate format for bounded activations (a sigmoid may be exactly 1), ``tables.result_bits``
        for ``none`` and ``relu``.

    Timing: ``latency`` cycles, one value a cycle, no stall.
    Numerics: exact for every input code (tested exhaustively).
    """

    act: Signal
    pre: Signal
    result: Signal
    SIGN = 5 + LATENCY  # cycle in which a curve's magnitude is there
    latency = SIGN + 2

    def __init__(
        self,
        *,
        tables: Activation,
        used: set[str],
        family: VendorFamily = GENERIC,
        multiplier: VendorFamily | None = None,
    ) -> None:
        self.tables, self.used, self.family = tables, used, family
        self.multiplier = multiplier or family
        super().__init__({
            "act": In(range(len(ACTIVATIONS))),
            "pre": In(signed(tables.pre_bits)),
            "result": Out(signed(max(tables.gate_bits + 1, tables.result_bits))),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        t = self.tables
        pre, act = Delay(m, self.pre), Delay(m, self.act)
        choices: dict[str, Value] = {}
        if self.used & {"tanh", "sigmoid"}:
            self._curves(m, pre, act, choices)
        top = (1 << t.gate_frac) - 1
        if "hard_tanh" in self.used:
            choices["hard_tanh"] = saturate(
                shift(pre.at(self.SIGN), t.pre_frac - t.gate_frac), t.gate_bits
            )
        if "hard_sigmoid" in self.used:
            scaled = Signal(signed(t.pre_bits + SLOPE_FRAC + 1), reset_less=True)
            m.d.sync += scaled.eq(pre.at(self.SIGN - 2) * t.slope_code)
            line = Signal(signed(len(scaled) + 2), reset_less=True)
            m.d.sync += line.eq(
                shift(scaled, t.pre_frac + SLOPE_FRAC - t.gate_frac) + (1 << t.gate_frac >> 1)
            )
            choices["hard_sigmoid"] = Mux(line < 0, 0, Mux(line > top, top + 1, line))
        if self.used & {"relu", "none"}:
            x = pre.at(self.SIGN)
            choices["relu"] = saturate(Mux(x[-1], 0, x).as_signed(), t.result_bits)
            choices["none"] = saturate(x, t.result_bits)
        # Piecewise linear functions are ready in cycle SIGN, curves a cycle later: choose.
        late = act.at(self.SIGN + 1)
        ready = {
            name: value if name in ("tanh", "sigmoid") else Delay(m, value).at(1)
            for name, value in choices.items()
        }
        with m.Switch(late):
            for name in (names := sorted(self.used)):
                with m.Default() if name == names[-1] else m.Case(ACTIVATIONS.index(name)):
                    m.d.sync += self.result.eq(ready[name])
        return m

    def _curves(self, m: Module, pre: Delay, act: Delay, choices: dict[str, Value]) -> None:
        """Tanh and sigmoid, ready in cycle ``SIGN + 1``."""
        t = self.tables
        tanh = ACTIVATIONS.index("tanh")
        # Cycle 0: magnitude. Cycle 1: doubled for tanh, clipped to the table's range.
        magnitude = Signal(t.pre_bits, reset_less=True)
        m.d.sync += magnitude.eq(abs(pre.at(0)))
        argument = Signal(t.argument_bits, reset_less=True)
        doubled = Mux(act.at(1) == tanh, magnitude << 1, magnitude)
        m.d.sync += argument.eq(
            Mux(doubled[t.argument_bits :].any(), (1 << t.argument_bits) - 1, doubled)
        )
        # Cycles 2 and 3: the table. Its entries are GUARD / 2 higher, as tanh rounds them.
        half = 1 << GUARD >> 1
        one = 1 << (t.gate_frac + GUARD)
        base, slope = (table.tolist() for table in t.table)
        base = [entry + half for entry in base]
        base_bits = max(base).bit_length()
        value = Signal(range(one + half + 1), reset_less=True)  # in cycle SIGN
        slope_bits = max(max(slope).bit_length(), 1)
        interpolated = t.kind != "direct" and t.fraction_bits > 0
        words = [b | s << base_bits for b, s in zip(base, slope, strict=True)]
        m.submodules.table = table = Table(
            words=words if interpolated else base,
            width=base_bits + (slope_bits if interpolated else 0), family=self.family,
        )  # fmt: skip
        m.d.comb += [table.en.eq(1), table.out_en.eq(1)]
        if not interpolated:
            # Nearest entry: the rounded argument may pass the last one.
            index = round_shift(argument, t.fraction_bits)
            last = len(base) - 1
            m.d.comb += table.addr.eq(Mux(index > last, last, index) if t.fraction_bits else index)
            m.d.comb += value.eq(Delay(m, table.data, 4).at(self.SIGN))
        else:
            m.d.comb += table.addr.eq(argument >> t.fraction_bits)
            # From cycle 4 on: slope times the rest of the argument. Then add and round.
            m.submodules.multiplier = unit = Multiplier(
                unsigned(slope_bits), unsigned(t.fraction_bits), family=self.multiplier
            )
            m.d.comb += [
                unit.a.eq(table.data[base_bits:]),
                unit.b.eq(Delay(m, argument[: t.fraction_bits], 2).at(4)),
            ]
            start = Delay(m, table.data[:base_bits], 4).at(4 + LATENCY)
            nearest = Const(1 << (t.fraction_bits - 1), t.fraction_bits)
            m.d.sync += value.eq((Cat(nearest, start) + unit.p) >> t.fraction_bits)
        # Cycle SIGN: tanh is cut and gets its sign, a sigmoid is (1 + tanh) / 2, rounded.
        top = (1 << t.gate_frac) - 1
        negative = pre.at(self.SIGN)[-1]
        size = value >> GUARD
        cut = Mux(size > top, top, size)
        is_tanh = Delay(m, act.at(self.SIGN - 1) == tanh).at(1)
        magnitude_ = Mux(is_tanh, cut, value)
        flipped = magnitude_ ^ negative.replicate(len(magnitude_))
        signed_value = Cat(flipped, negative).as_signed()
        # minus x is the complement and one; the half of the table's entries counts both ways.
        offset = Mux(is_tanh, negative, Mux(negative, one + 3 * half + 1, one + half))
        total = Signal(signed(len(value) + 3), reset_less=True)
        m.d.sync += total.eq(signed_value + Cat(offset, Const(0, 1)).as_signed())
        choices["tanh"] = total[: t.gate_bits + 1].as_signed()
        choices["sigmoid"] = (total >> (GUARD + 1))[: t.gate_bits + 1]
