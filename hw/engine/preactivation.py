"""From the two parts of a row to its pre-activation."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.layout.schedule import Schedule
from ..blocks.arith import Delay, saturate, shift
from ..blocks.multiplier import LATENCY, Multiplier
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["PreActivation"]

SHIFT_BITS = 6


class PreActivation(wiring.Component):
    """Shift both parts of a row to one resolution, add biases and parts, round; see ``compiler.network``.

    The parts come in the order of the walk, and so do their shifts and biases. The beat table's
    biases hold the halves that the two roundings add.

    Parameters
    ----------
    schedule : Schedule
    acc_bits, sum_bits : int
    family : VendorFamily
        Of the reset product's multiplier.

    Members
    -------
    first, second : In(signed(acc_bits)), shift_first, shift_second : In
        In cycle 0.
    bias_first, bias_second : In(signed(sum_bits))
        In cycle ``BIAS``, or in cycle ``SUM`` where no row has a reset product: then ``bias_first``
        is that of the sum.
    swap, use_reset : In(1)
        In cycle ``SUM``: the recurrent part came first; it is multiplied by ``gate``.
    gate : In(gate_bits)
        In cycle ``GATE``.
    cell : In(signed(cell_bits))
        In cycle ``latency - 2``, and ``source_c : In(1)`` in cycle ``latency - 1``: it is the
        pre-activation.
    result : Out(signed(pre_bits))

    Timing: ``latency`` cycles, a row a cycle.
    """

    first: Signal
    second: Signal
    shift_first: Signal
    shift_second: Signal
    bias_first: Signal
    bias_second: Signal
    swap: Signal
    use_reset: Signal
    gate: Signal
    cell: Signal
    source_c: Signal
    result: Signal
    BIAS, SUM, GATE = 2, 3, 5
    latency = GATE + LATENCY + 2

    def __init__(
        self, *, schedule: Schedule, acc_bits: int, sum_bits: int, family: VendorFamily = GENERIC
    ) -> None:
        self.schedule, self.acc_bits, self.sum_bits = schedule, acc_bits, sum_bits
        self.family = family
        self.has_reset = schedule.has_reset
        self.bias_cycle = self.BIAS if self.has_reset else self.SUM
        self.has_cell = schedule.network.has_cell_state
        n = schedule.network.numbers
        super().__init__({
            "first": In(signed(acc_bits)), "second": In(signed(acc_bits)),
            "shift_first": In(SHIFT_BITS), "shift_second": In(SHIFT_BITS),
            "bias_first": In(signed(sum_bits)), "bias_second": In(signed(sum_bits)),
            "swap": In(1), "use_reset": In(1), "gate": In(n.gate_bits),
            "cell": In(signed(n.cell_bits)), "source_c": In(1),
            "result": Out(signed(n.tables.pre_bits)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.schedule.network.numbers
        pre_bits, pre_frac = n.tables.pre_bits, n.tables.pre_frac
        u, v = (self._shifted(m, name) for name in ("first", "second"))
        # Cycle 3: sum, or set the recurrent part aside for the reset product.
        summed = Signal(signed(self.sum_bits), reset_less=True)
        if self.has_reset:
            # Cycle 2: biases.
            first, second = u, v
            u, v = (Signal(signed(self.sum_bits), name=x, reset_less=True) for x in ("u", "v"))
            m.d.sync += [u.eq(first + self.bias_first), v.eq(second + self.bias_second)]
            aside = Signal(signed(self.sum_bits), reset_less=True)
            other, recurrent = Mux(self.swap, v, u), Mux(self.swap, u, v)
            m.d.sync += [
                aside.eq(recurrent), summed.eq(other + Mux(self.use_reset, 0, recurrent)),
            ]  # fmt: skip
            # Cycle 4: narrow it. A row without the product multiplies zero.
            hidden = Signal(signed(n.hidden_bits), reset_less=True)
            narrow = saturate(aside >> n.hidden_shift, n.hidden_bits)
            m.d.sync += hidden.eq(Mux(Delay(m, self.use_reset).at(1), narrow, 0))
            # From cycle 5 on: the product. Then it is rounded and added, in one sum.
            m.submodules.multiplier = unit = Multiplier(
                unsigned(n.gate_bits), signed(n.hidden_bits), family=self.family
            )
            m.d.comb += [unit.a.eq(self.gate), unit.b.eq(hidden)]
            total = add_rounded(
                Delay(m, summed, 4).at(self.GATE + LATENCY),
                unit.p,
                n.gate_frac - n.hidden_shift,
                self.sum_bits,
            )
            register = Signal(signed(self.sum_bits), reset_less=True)
            m.d.sync += register.eq(total)
            late: Value = register
        else:
            both = Signal(signed(self.sum_bits), reset_less=True)
            m.d.sync += [both.eq(u + v), summed.eq(both + self.bias_first)]
            late = Delay(m, summed, 4).at(self.latency - 1)
        # Last cycle: round to the pre-activation (the half is in the bias).
        result: Value = saturate(late >> n.sum_shift, pre_bits)
        if self.has_cell:
            from_cell = Signal(signed(pre_bits), reset_less=True)
            m.d.sync += from_cell.eq(saturate(shift(self.cell, n.cell_frac - pre_frac), pre_bits))
            result = Mux(self.source_c, from_cell, result)
        m.d.sync += self.result.eq(result)
        return m

    def _shifted(self, m: Module, name: str) -> Signal:
        """Cycles 0 and 1: shift, by the two low bits and by the rest."""
        wide = signed(self.sum_bits)
        amount = getattr(self, f"shift_{name}")
        fine = Signal(wide, name=f"{name}_fine", reset_less=True)
        coarse = Signal(wide, name=f"{name}_coarse", reset_less=True)
        rest = Delay(m, amount[2:]).at(1)
        value = Mux(amount[0], getattr(self, name) << 1, getattr(self, name))
        m.d.sync += [
            fine.eq(Mux(amount[1], value << 2, value)), coarse.eq(fine << (rest << 2)),
        ]  # fmt: skip
        return coarse


def add_rounded(value: Any, product: Any, amount: int, bits: int) -> Value:
    """Return ``value + shift(product, amount)``, with one adder.

    The half that rounding adds stands below ``value``, where there are no bits of it.
    """
    if amount <= 0:
        return (value + product.shift_left(-amount).as_signed())[:bits].as_signed()
    half = Const(1 << (amount - 1), amount)
    return (Cat(half, value).as_signed() + product)[amount : amount + bits].as_signed()
