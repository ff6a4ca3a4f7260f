"""Multipliers are exact and take as long as they say, however they are made.

The vendors' cells themselves are simulated in ``test_netlist.py``: a core's netlist of every family.
"""

from __future__ import annotations

import itertools
import random

import pytest
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.sim import Simulator
from gatewright.hw.blocks import multiplier
from gatewright.hw.blocks.multiplier import LATENCY, Multiplier
from gatewright.hw.vendor import find_family
from gatewright.hw.vendor.family import FABRIC, VendorFamily

SHAPES = [
    (unsigned(16), signed(18)), (signed(8), signed(12)), (unsigned(13), unsigned(11)),
    (signed(17), signed(19)), (unsigned(16), signed(17)), (signed(2), signed(2)),
    (signed(18), unsigned(16)), (signed(8), signed(26)),
]  # fmt: skip


def model(m: Module, family: VendorFamily, a, b, plus=None):  # type: ignore[no-untyped-def]
    """The vendor-neutral model of a primitive: three registers, and the bridging one."""
    value = a * b
    p = [Signal(Shape(len(a) + len(b), value.shape().signed)) for _ in range(LATENCY)]
    m.d.sync += [p[0].eq(value), *(y.eq(x) for x, y in itertools.pairwise(p))]
    if plus is not None:
        m.d.sync += p[2].eq(p[1] + plus)
    return p[-1]


def ends(shape: Shape) -> list[int]:
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    return [low, low + 1, 0, 1, low + (1 << shape.width) - 1]


@pytest.mark.parametrize("family", ["generic", "fabric", "ice40hx", "ice40up", "ecp5", "gowin"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products_are_exact(
    family: str, shapes: tuple[Shape, Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplier, "_primitive", model)
    check(Multiplier(*shapes, family=FABRIC if family == "fabric" else find_family(family)))


def check(dut: Multiplier) -> None:
    shapes = dut.shapes
    rng = random.Random(1)
    pairs = [(a, b) for a in ends(shapes[0]) for b in ends(shapes[1])]
    for _ in range(100):
        pairs.append(tuple(rng.randint(ends(s)[0], ends(s)[-1]) for s in shapes))  # type: ignore[arg-type]
    got: list[int] = []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for a, b in pairs + [(0, 0)] * LATENCY:
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            _, _, p = await ctx.tick().sample(dut.p)
            got.append(p)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert got[LATENCY:] == [a * b for a, b in pairs], shapes
