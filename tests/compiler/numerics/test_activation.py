"""Integer activations against floating point, and the gateware against the integer ones."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from amaranth.sim import Simulator
from gatewright.compiler.errors import InputError
from gatewright.compiler.numerics.activation import ACTIVATIONS, Activation, float_activation
from gatewright.hw.engine.activation import ActivationUnit

TABLED = ("tanh", "sigmoid")
HARD = ("hard_tanh", "hard_sigmoid")


def every_code(tables: Activation) -> np.ndarray:
    half = 1 << (tables.pre_bits - 1)
    return np.arange(-half, half)


@functools.cache
def evaluated(tables: Activation, name: str) -> np.ndarray:
    return tables(name, every_code(tables))[0]


def error_lsb(tables: Activation, name: str) -> float:
    """Return the largest error over every pre-activation code, in steps of the gate format."""
    x = every_code(tables) / 2.0**tables.pre_frac
    return float(
        np.abs(
            evaluated(tables, name)
            - float_activation(name, x, tables.slope) * 2.0**tables.gate_frac
        ).max()
    )


# Bounds in steps of the gate format. Half a step is rounding itself; one step more at the top,
# where 1.0 has no code.
@pytest.mark.parametrize("name", TABLED)
@pytest.mark.parametrize(
    ("kind", "gate_bits", "bound"),
    [
        ("interpolated", 2, 1.0), ("interpolated", 4, 1.0), ("interpolated", 8, 1.0),
        ("interpolated", 12, 1.0), ("interpolated", 14, 1.4), ("interpolated", 16, 2.8),
        ("direct", 4, 1.0), ("direct", 8, 1.1), ("direct", 12, 8.6), ("direct", 16, 130.0),
    ],
)  # fmt: skip
def test_table_error_over_every_code(kind: str, gate_bits: int, bound: float, name: str) -> None:
    worst = error_lsb(Activation(kind, gate_bits), name)
    print(f"{kind} {gate_bits} bits {name}: {worst:.3f} LSB")
    assert worst <= bound


@pytest.mark.parametrize("kind", ["interpolated", "direct"])
@pytest.mark.parametrize("gate_bits", [2, 8, 16])
def test_table_entries_are_the_nearest_codes(kind: str, gate_bits: int) -> None:
    tables = Activation(kind, gate_bits)
    one = 1 << (gate_bits + 1)  # two guard bits below a gate of gate_bits - 1 fraction bits
    base, slope = tables.table
    step = 8 / len(base)
    for k, (code, rise) in enumerate(zip(base.tolist(), slope.tolist(), strict=True)):
        y = math.tanh(k * step)
        if kind == "interpolated":
            y += step * step / 16 * 2 * y * (1 - y * y)  # half of the chord's largest error
        assert abs(code - min(y * one, one - 1)) <= 0.5 + 1e-9, k
        assert k + 1 == len(base) or rise == base[k + 1] - code


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("slope", [0.2, 1 / 6])
@pytest.mark.parametrize("gate_bits", [2, 4, 8, 12, 16])
def test_hard_error_over_every_code(gate_bits: int, slope: float, name: str) -> None:
    worst = error_lsb(Activation("hard", gate_bits, slope=slope), name)
    print(f"{gate_bits} bits {name} slope {slope:.3f}: {worst:.3f} LSB")
    # 15 fraction bits of the slope leave 0.4 steps of 16 bits where the sigmoid meets one.
    assert worst <= (1.41 if gate_bits == 16 else 1.15)


@pytest.mark.parametrize("kind", ["interpolated", "direct"])
@pytest.mark.parametrize("gate_bits", [*range(2, 17)])
def test_monotone_and_symmetric(kind: str, gate_bits: int) -> None:
    tables = Activation(kind, gate_bits)
    top = (1 << tables.gate_frac) - 1
    for name in (*TABLED, *HARD):
        y = evaluated(tables, name)
        assert (np.diff(y) >= 0).all(), name
        assert y.max() == (top if "tanh" in name else top + 1), name
        assert y.min() >= (-top - 1 if "tanh" in name else 0), name
    tanh = evaluated(tables, "tanh")
    assert (tanh[1:] == -tanh[:0:-1]).all()
    assert tanh[len(tanh) // 2] == 0
    sigmoid = evaluated(tables, "sigmoid")
    # s(-x) = 1 - s(x); both ties round up: one step apart at most.
    assert np.abs(sigmoid[1:] + sigmoid[:0:-1] - top - 1).max() <= 1
    assert sigmoid[len(sigmoid) // 2] == 1 << tables.gate_frac >> 1


def test_unbounded_results_count_what_they_clip() -> None:
    tables = Activation(gate_bits=8, result_bits=8)
    pre = np.array([-1000, -129, -128, -1, 0, 127, 128, 1000])
    result, clipped = tables("none", pre)
    assert (result.tolist(), clipped) == ([-128, -128, -128, -1, 0, 127, 127, 127], 4)
    result, clipped = tables("relu", pre)
    assert (result.tolist(), clipped) == ([0, 0, 0, 0, 0, 127, 127, 127], 2)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="interpolated, direct, hard, not 'cubic'"):
        Activation("cubic")
    with pytest.raises(InputError, match="'gelu' is not supported; use one of none, relu"):
        float_activation("gelu", np.zeros(1))


def unit_results(tables: Activation, used: set[str], jobs: list[tuple[str, int]]) -> np.ndarray:
    """Return what the unit gives for (activation, code), one a cycle, ``latency`` cycles later."""
    unit = ActivationUnit(tables=tables, used=used)
    out = np.zeros(len(jobs), np.int64)

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for k in range(len(jobs) + unit.latency):
            if k < len(jobs):
                ctx.set(unit.act, ACTIVATIONS.index(jobs[k][0]))
                ctx.set(unit.pre, jobs[k][1])
            if k >= unit.latency:
                out[k - unit.latency] = ctx.get(unit.result)
            await ctx.tick()

    sim = Simulator(unit)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return out


def codes_of(tables: Activation, most: int) -> np.ndarray:
    """Return every code, or edges, bends and a stride where there are more than ``most``."""
    codes = every_code(tables)
    if len(codes) <= most:
        return codes
    half, bend = len(codes) // 2, 1 << tables.fraction_bits
    near = np.arange(-4, 5)
    bends = np.array([0, 1, 2, 3, 127, 128, 255, 256]) * bend // 2
    centres = np.concatenate([bends, [half, 1 << tables.pre_frac, 8 << tables.pre_frac]])
    edges = (np.concatenate([centres, -centres])[:, None] + near).ravel()
    picked = np.concatenate([codes[:: len(codes) // (most - 500) | 1], edges])
    return np.unique(picked[(picked >= -half) & (picked < half)])


@functools.cache
def unit_and_function(
    kind: str, gate_bits: int, result_bits: int, slope: float, most: int
) -> tuple[int, str]:
    """Return how many results differ, and the first of them."""
    tables = Activation(kind, gate_bits, result_bits, slope)
    names = [n for n in ACTIVATIONS if kind != "hard" or n not in TABLED]
    codes = codes_of(tables, most)
    # Shuffled, so that neighbours in the pipeline have nothing in common.
    order = np.random.default_rng(0).permutation(len(codes) * len(names))
    jobs = [(names[at % len(names)], int(codes[at // len(names)])) for at in order]
    got = np.zeros(len(order), np.int64)
    got[order] = unit_results(tables, set(names), jobs)
    got = got.reshape(len(codes), len(names))
    expected = np.stack([tables(name, codes)[0] for name in names], axis=1)
    wrong = np.argwhere(got != expected)
    if not len(wrong):
        return 0, ""
    k, n = wrong[0]
    return len(wrong), f"{names[n]}({codes[k]}) is {got[k, n]}, expected {expected[k, n]}"


@pytest.mark.parametrize("kind", ["interpolated", "direct", "hard"])
@pytest.mark.parametrize(
    ("gate_bits", "result_bits", "slope"),
    [(2, 2, 0.2), (4, 8, 1 / 6), (8, 8, 0.2), (16, 16, 1 / 6)],
)
def test_unit_equals_function(kind: str, gate_bits: int, result_bits: int, slope: float) -> None:
    assert unit_and_function(kind, gate_bits, result_bits, slope, 2500) == (0, "")
