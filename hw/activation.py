"""Sigmoid, tanh and the piecewise linear activations, pipelined."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.activation import ACTIVATIONS, GUARD, SLOPE_FRAC, Activation
from .arith import Delay, round_shift, saturate, shift
from .memory import Rom

__all__ = ["ActivationUnit"]


class ActivationUnit(wiring.Component):
    """Apply the activation ``act`` to ``pre``; equals :class:`~gatewright.compiler.activation.Activation`.

    Parameters
    ----------
    tables : Activation
        Formats and table contents.
    used : set of str
        Activations the program has; hardware is made for those only.

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
    latency = 5

    def __init__(self, *, tables: Activation, used: set[str]) -> None:
        self.tables, self.used = tables, used
        super().__init__({
            "act": In(range(len(ACTIVATIONS))),
            "pre": In(signed(tables.pre_bits)),
            "result": Out(signed(max(tables.gate_bits + 1, tables.result_bits))),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        t = self.tables
        pre, act = Delay(m, self.pre), Delay(m, self.act)
        choices: dict[str, object] = {}

        top = (1 << t.gate_frac) - 1
        if self.used & {"tanh", "sigmoid"}:
            # Cycle 0: magnitude, doubled for tanh, clipped to the table's range.
            magnitude = Signal(t.pre_bits + 1)
            m.d.comb += magnitude.eq(abs(pre.at(0)) << (act.at(0) == ACTIVATIONS.index("tanh")))
            argument = Signal(t.argument_bits, reset_less=True)
            limit = (1 << t.argument_bits) - 1
            m.d.sync += argument.eq(Mux(magnitude > limit, limit, magnitude))
            one = 1 << (t.gate_frac + GUARD)
            value = Signal(range(one + 1), reset_less=True)  # in cycle 4
            base, slope = (table.tolist() for table in t.table)
            base_bits = max(base).bit_length()
            if t.kind == "direct":
                # Nearest entry: the rounded argument may pass the last one.
                index = round_shift(argument, t.fraction_bits)
                if t.fraction_bits:
                    index = Mux(index > len(base) - 1, len(base) - 1, index)
                m.submodules.rom = rom = Rom(words=base, width=base_bits)
                m.d.comb += rom.addr.eq(index)
                m.d.comb += value.eq(Delay(m, rom.data, 2).at(4))
            else:
                slope_bits = max(max(slope).bit_length(), 1)
                words = [b | s << base_bits for b, s in zip(base, slope, strict=True)]
                m.submodules.rom = rom = Rom(words=words, width=base_bits + slope_bits)
                m.d.comb += rom.addr.eq(argument >> t.fraction_bits)
                start = Delay(m, rom.data[:base_bits], 2).at(3)
                if t.fraction_bits:
                    # Cycle 2: slope times the rest of the argument. Cycle 3: add and round.
                    rest = Delay(m, argument[: t.fraction_bits], 1).at(2)
                    product = Signal(slope_bits + t.fraction_bits, reset_less=True)
                    m.d.sync += product.eq(rom.data[base_bits:] * rest)
                    start = start + round_shift(product, t.fraction_bits)
                m.d.sync += value.eq(start)
            # Cycle 4: sign, scale, clip.
            negative = pre.at(4)[-1]
            rounded = round_shift(value, GUARD)
            size = Mux(rounded > top, top, rounded)
            choices["tanh"] = Mux(negative, -size, size)
            half = round_shift(Mux(negative, one - value, one + value)[: len(value) + 1], GUARD + 1)
            choices["sigmoid"] = half
        if "hard_tanh" in self.used:
            choices["hard_tanh"] = saturate(shift(pre.at(4), t.pre_frac - t.gate_frac), t.gate_bits)
        if "hard_sigmoid" in self.used:
            scaled = Signal(signed(t.pre_bits + SLOPE_FRAC + 1), reset_less=True)
            m.d.sync += scaled.eq(pre.at(3) * t.slope_code)
            line = shift(scaled, t.pre_frac + SLOPE_FRAC - t.gate_frac) + (1 << t.gate_frac >> 1)
            choices["hard_sigmoid"] = Mux(line < 0, 0, Mux(line > top, top + 1, line))
        choices["relu"] = saturate(Mux(pre.at(4)[-1], 0, pre.at(4)).as_signed(), t.result_bits)
        choices["none"] = saturate(pre.at(4), t.result_bits)

        with m.Switch(act.at(4)):
            for number, name in enumerate(ACTIVATIONS):
                if name in self.used:
                    with m.Case(number):
                        m.d.sync += self.result.eq(choices[name])
        return m
