"""Multipliers with registers before, inside and behind: portable, or a family's own.

Every variant takes ``LATENCY`` cycles and is exact; which one is used never shows in a result.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..vendor.family import FABRIC, GENERIC, VendorFamily
from .arith import Delay, tree

__all__ = ["LATENCY", "Multiplier", "products"]

LATENCY = 4
"""Cycles: a primitive has three registers, and one in the fabric bridges the way to it or from it."""


class Multiplier(wiring.Component):
    """``p = a * b``, ``LATENCY`` cycles later, a product a cycle.

    Parameters
    ----------
    a, b : Shape
    family : VendorFamily
        Operands that are wider than the family's multiplier are cut, and the low bits multiplied by
        adders.

    Members
    -------
    a, b : In
    p : Out
        Wide enough for every product.
    """

    a: Signal
    b: Signal
    p: Signal
    latency = LATENCY

    def __init__(self, a: Shape, b: Shape, *, family: VendorFamily = GENERIC) -> None:
        self.shapes, self.family = (Shape.cast(a), Shape.cast(b)), family
        width = self.shapes[0].width + self.shapes[1].width
        sign = self.shapes[0].signed or self.shapes[1].signed
        super().__init__({"a": In(a), "b": In(b), "p": Out(Shape(width, sign))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.family.multiplier_bits:
            self._cut(m, self.family.multiplier_bits)
        elif not self.family.infers_multipliers:
            self._fabric(m)
        else:
            a, b = (Signal.like(v, reset_less=True) for v in (self.a, self.b))
            inside, behind = (Signal.like(self.p, reset_less=True) for _ in range(2))
            m.d.sync += [a.eq(self.a), b.eq(self.b), inside.eq(a * b)]
            m.d.sync += [behind.eq(inside), self.p.eq(behind)]
        return m

    def _cut(self, m: Module, limit: int) -> None:
        """Multiply the high bits by the primitive and what is cut off by adders beside it."""
        a, b = Value.cast(self.a), Value.cast(self.b)
        cut = [max(0, len(v) - limit) for v in (a, b)]
        high = [_part(v, k) for v, k in zip((a, b), cut, strict=True)]
        if not sum(cut):
            m.d.comb += self.p.eq(_primitive(m, self.family, high[0], high[1]))
            return
        # a b = (ah bh << both) + al b + (ah << cut_a) bl, with al and bl of a few bits.
        adds = self.family.multiplier_adds  # what is above the cut
        start = 1 if adds else 2
        a1, b1 = Delay(m, a).at(start), Delay(m, b).at(start)
        terms: list[Any] = [Mux(a1[i], b1 << i, 0) for i in range(cut[0])]
        terms += [Mux(b1[i], _part(a1, cut[0]) << (cut[0] + i), 0) for i in range(cut[1])]
        rest = Signal(signed(max(len(b) + cut[0], len(a) + cut[1]) + 2), reset_less=True)
        m.d.sync += rest.eq(tree(terms))
        late = Delay(m, rest, start + 1)
        if adds:
            product = _primitive(m, self.family, high[0], high[1], rest >> sum(cut))
            m.d.comb += self.p.eq(Cat(late.at(LATENCY)[: sum(cut)], product))
        else:
            product = _primitive(m, self.family, high[0], high[1])
            m.d.comb += self.p.eq((product << sum(cut)) + late.at(LATENCY))

    def _fabric(self, m: Module) -> None:
        """Add rows of partial products: eight and then all of them; the last row of a signed b counts negative."""
        a, b = (Signal.like(v, reset_less=True) for v in (self.a, self.b))
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        if len(b) > len(a):
            a, b = b, a
        rows: list[Any] = []
        for i in range(len(b)):
            row = Mux(b[i], a, 0)
            negative = b.shape().signed and i == len(b) - 1
            rows.append((-row if negative else row) << i)
        groups = []
        for i in range(0, len(rows), 4):
            total = tree(rows[i : i + 4])
            group = Signal(total.shape(), name=f"rows_{i}", reset_less=True)
            m.d.sync += group.eq(total)
            groups.append(group)
        total = Signal.like(self.p, reset_less=True)
        m.d.sync += [total.eq(tree(groups)), self.p.eq(total)]


def _part(value: Value, cut: int) -> Value:
    """Drop the lowest bits, keeping the sign."""
    return value[cut:].as_signed() if value.shape().signed else value[cut:]


def _primitive(
    m: Module, family: VendorFamily, a: Value, b: Value, plus: Value | None = None
) -> Value:  # fmt: skip
    """Place one multiplier of a family; it adds ``plus``, which comes two cycles after a and b."""
    p = Signal(Shape(len(a) + len(b), a.shape().signed or b.shape().signed))
    if family.multiplier_adds:
        # The bridging register lies where there are fewer bits.
        m.submodules += family.multiply(Delay(m, a).at(1), Delay(m, b).at(1), p, plus)
        return p
    m.submodules += family.multiply(a, b, p)
    return Delay(m, p).at(1)


def products(
    m: Module, factors: list[tuple[Value, Value]], *, family: VendorFamily, hard: int | None = None
) -> list[Value]:
    """Multiply many pairs, the first ``hard`` of them by the family's own multipliers.

    Parameters
    ----------
    factors : list of (signed Value, signed Value)
        All of the same widths.
    hard : int, optional
        Multipliers of the device that may be used; the others are made of adders.

    Returns
    -------
    list of Value
        Products, ``LATENCY`` cycles later. Two pairs share one multiplier where the family can.
    """
    a_bits, b_bits = len(factors[0][0]), len(factors[0][1])
    results: list[Value] = []
    left = len(factors) if hard is None else hard
    if max(a_bits, b_bits) <= family.pair_bits:
        early: dict[int, Value] = {}

        def before(value: Value) -> Value:
            """Return the bridging register of an operand, one for all that share it."""
            return early.setdefault(id(value), Delay(m, value).at(1))

        while left and len(results) < len(factors):
            pair = [(before(x), before(y)) for x, y in factors[len(results) : len(results) + 2]]
            outputs = [
                Signal(signed(a_bits + b_bits), name=f"dual_{len(results) + i}") for i in (0, 1)
            ]
            m.submodules += family.multiply_pair(pair, outputs)
            results += outputs[: len(pair)]
            left -= 1
    for k in range(len(results), len(factors)):
        a, b = factors[k]
        use = family if left > 0 else FABRIC
        left -= 1
        m.submodules[f"multiplier_{k}"] = unit = Multiplier(a.shape(), b.shape(), family=use)
        m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
        results.append(unit.p)
    return results
