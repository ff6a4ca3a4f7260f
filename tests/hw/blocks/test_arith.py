"""The gateware's rounding, shifting and saturation against the integer functions, code by code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed
from amaranth.sim import Simulator
from gatewright.compiler.numerics import fixed
from gatewright.hw.blocks import arith


def evaluate(width: int, codes: list[int], functions: list[Callable[[Value], Value]]) -> np.ndarray:
    """Return what each function of a signed input gives for each code, (functions, codes)."""
    m = Module()
    x = Signal(signed(width))
    made = [f(x) for f in functions]
    results = [Signal(v.shape(), name=f"result{i}") for i, v in enumerate(made)]
    m.d.comb += [r.eq(v) for r, v in zip(results, made, strict=True)]
    out = np.zeros((len(functions), len(codes)), np.int64)

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for k, code in enumerate(codes):
            ctx.set(x, code)
            out[:, k] = [ctx.get(r) for r in results]

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    return out


def sample(width: int) -> list[int]:
    """Return every code of a narrow width, edges and random codes of a wide one."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    if width <= 9:
        return list(range(low, high + 1))
    edges = {s * (1 << k) + d for k in range(width - 1) for s in (1, -1) for d in (-1, 0, 1)}
    drawn = np.random.default_rng(width).integers(low, high, 300, endpoint=True).tolist()
    return sorted(e for e in {*edges, *drawn, low, high} if low <= e <= high)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 40])
def test_arithmetic_equals_the_integer_functions(width: int) -> None:
    codes = sample(width)
    amounts = range(width + 2)
    moves = range(-5, width + 2)
    widths = range(1, width + 2)
    out = evaluate(
        width,
        codes,
        [
            *(lambda v, a=a: arith.round_shift(v, a) for a in amounts),
            *(lambda v, a=a: arith.shift(v, a) for a in moves),
            *(lambda v, b=b: arith.saturate(v, b) for b in widths),
        ],
    )
    x = np.array(codes, np.int64)
    expected = [
        *(fixed.round_shift(x, a) for a in amounts),
        *(fixed.shift(x, a) for a in moves),
        *(fixed.saturate(x, b)[0] for b in widths),
    ]
    assert (out == np.array(expected)).all()


def test_count_never_has_zero_bits() -> None:
    assert [len(Signal(arith.count(n))) for n in (0, 1, 2, 3, 4, 5)] == [1, 1, 1, 2, 2, 3]


def test_a_tree_adds_every_value_once() -> None:
    for number in range(1, 10):
        out = evaluate(
            4, [-8, -1, 5], [lambda v, n=number: arith.tree([v * k for k in range(1, n + 1)])]
        )
        assert out[0].tolist() == [code * number * (number + 1) // 2 for code in (-8, -1, 5)]


def test_delay_line() -> None:
    m = Module()
    x = Signal(8)
    line = arith.Delay(m, x, 2)
    now, later = line.at(2), line.at(5)
    assert line.at(5) is later
    with pytest.raises(ValueError, match="from cycle 2, not 1"):
        line.at(1)
    seen = []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for k in range(12):
            ctx.set(x, k)
            seen.append((ctx.get(now), ctx.get(later)))
            await ctx.tick()

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert seen == [(k, max(0, k - 3)) for k in range(12)]
