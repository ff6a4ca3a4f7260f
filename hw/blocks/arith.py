"""Rounding, saturation and delay lines: the gateware side of :mod:`gatewright.compiler.numerics.fixed`."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Signal, Value, ValueLike

__all__ = ["Delay", "count", "round_shift", "saturate", "shift", "tree"]


def count(n: int) -> range:
    """Return the shape of a counter of ``n`` values: never zero bits wide.

    A zero-width signal becomes ``[-1:0]`` in Verilog, which is two bits.
    """
    return range(max(2, n))


def tree(values: Sequence[Value]) -> Value:
    """Add values in a balanced tree."""
    terms = list(values)
    while len(terms) > 1:
        terms = [sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
    return terms[0]


def round_shift(value: Value, amount: int) -> Value:
    """Drop ``amount`` bits, rounding half up; equals ``compiler.numerics.fixed.round_shift``."""
    if amount == 0:
        return value
    return (value + (1 << (amount - 1))) >> amount


def shift(value: Value, amount: int) -> Value:
    """Round away ``amount`` bits, or append ``-amount`` zeros; equals ``compiler.numerics.fixed.shift``."""
    if amount >= 0:
        return round_shift(value, amount)
    moved = value.shift_left(-amount)
    return moved.as_signed() if value.shape().signed else moved


def saturate(value: Value, bits: int) -> Value:
    """Clip a signed value to ``bits`` signed bits; equals ``compiler.numerics.fixed.saturate``."""
    if len(value) <= bits:
        return value
    # In range where all bits from the sign position up are equal.
    top = value[bits - 1 :]
    fits = top.all() | ~top.any()
    high = Const((1 << (bits - 1)) - 1, bits)
    low = Const(1 << (bits - 1), bits)
    return Mux(fits, value[:bits], Mux(value[-1], low, high)).as_signed()


class Delay:
    """A value carried along a pipeline; registers are made for the cycles that are asked for.

    Parameters
    ----------
    m : Module
    value : ValueLike
        The value in cycle ``start``. A constant takes no registers.
    start : int
        Cycle of ``value`` in the pipeline's count.
    reset_less : bool
        Data needs no reset, valid bits do.
    """

    def __init__(
        self, m: Module, value: ValueLike, start: int = 0, *, reset_less: bool = True
    ) -> None:
        self._m, self._start, self._reset_less = m, start, reset_less
        self._values = [Value.cast(value)]

    def at(self, cycle: int) -> Value:
        """Return the value as it arrives in ``cycle``."""
        if cycle < self._start:
            raise ValueError(f"value exists from cycle {self._start}, not {cycle}")
        if isinstance(self._values[0], Const):
            return self._values[0]
        if len(self._values) <= cycle - self._start and self._m.domain._depth:
            raise RuntimeError(
                "ask for a delayed value outside of If and Switch: its register runs always"
            )
        while len(self._values) <= cycle - self._start:
            previous = self._values[-1]
            register = Signal(previous.shape(), reset_less=self._reset_less)
            self._m.d.sync += register.eq(previous)
            self._values.append(register)
        return self._values[cycle - self._start]
