"""Narrowing, sums and operations of the datapath against the integers they stand for, for all inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Const, Fragment, Module, Mux, Signal, Value, signed
from gatewright.compiler.numerics import fixed
from gatewright.hw.blocks import arith
from gatewright.hw.blocks.multiplier import LATENCY
from gatewright.hw.engine.lanes import LaneArray, Lanes
from gatewright.hw.engine.preactivation import add_rounded
from support.formal import Memories, Refuted, free_inputs, named, prove

full = pytest.mark.full
WIDTHS = [1, 3, 8, *(pytest.param(width, marks=full) for width in (2, 17, 33, 48))]
"""Small ones, an operand made of a state, and sums of the largest programs."""


def amounts(width: int) -> list[int]:
    return sorted({0, 1, 2, width // 2, max(0, width - 1), width, width + 3})


@pytest.mark.parametrize("width", WIDTHS)
def test_requantizer(width: int, tmp_path: Path) -> None:
    """What rounding half up *is*: result r of v by n bits has r - 1/2 <= v / 2**n < r + 1/2.

    The function of the golden model, given the same signal, is the same number too.
    """
    v = Signal(signed(width), name="v")
    m = Module()
    for n in amounts(width):
        rounded = arith.round_shift(v, n)
        wide = (rounded << n).as_signed() if n else rounded
        half = 1 << n >> 1
        m.d.comb += [
            Assert(wide - half <= v), Assert(v < wide + half + (n == 0)),
            Assert(rounded == fixed.round_shift(v, n)), Assert(arith.shift(v, n) == rounded),
            Assert(arith.shift(v, -n) == v * (1 << n)),
        ]  # fmt: skip
        for bits in {1, 2, max(1, width // 2), width, width + 2}:
            # To a format of so many bits: the nearest code there is.
            low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
            code = arith.saturate(rounded, bits)
            nearest = Mux(rounded < low, low, Mux(rounded > high, high, rounded))
            m.d.comb += Assert(code == nearest)
    assert prove(m, [v], tmp_path, depth=1) == 1


@pytest.mark.parametrize(
    ("value_bits", "product_bits"),
    [(3, 4), pytest.param(8, 11, marks=full), pytest.param(48, 34, marks=full)],
)
def test_one_adder_rounds_and_adds(value_bits: int, product_bits: int, tmp_path: Path) -> None:
    """``value + shift(product)`` in one sum, wherever the sum fits, as the bounds of a program say."""
    value = Signal(signed(value_bits), name="value")
    product = Signal(signed(product_bits), name="product")
    m = Module()
    for n in (-3, 0, 1, 2, product_bits // 2, product_bits - 1):
        bits = value_bits + 1
        exact = value + arith.shift(product, n)
        fits = (exact >= -(1 << (bits - 1))) & (exact < 1 << (bits - 1))
        m.d.comb += Assert(~fits | (add_rounded(value, product, n, bits) == exact))
        if n > 0:
            m.d.comb += Assert(exact == value + fixed.shift(product, n))
    assert prove(m, [value, product], tmp_path, depth=1) == 1


# -- accumulators ---------------------------------------------------------------------------


def accumulators(folder: Path, split: int, weight_bits: int, operand_bits: int, short: int) -> int:
    """Prove that lanes hold exact sums, and that these fit together, if weights keep their bound.

    ``QNetwork.bounds`` chooses ``acc_bits`` so that the magnitudes of the weights of a row's part, times the
    largest operand, fit. That is all that is assumed: of any number of words, weights and operands.
    """
    acc_bits, largest = weight_bits + operand_bits, 1 << (operand_bits - 1)
    array = LaneArray(1, split, 1, weight_bits, operand_bits, acc_bits - short)
    lanes, memories = Lanes(array=array), Memories()
    inside = Fragment.get(lanes, memories)
    m = Module()
    m.submodules.dut = inside
    # In the cycle in which a lane adds.
    add = arith.Delay(m, lanes.valid, reset_less=False).at(LATENCY)
    fresh = arith.Delay(m, lanes.tile_first | lanes.part_first).at(LATENCY)
    used: list[Signal] = []
    spent: Value = Const(0)
    for k in range(split):
        given = lanes.weight.word_select(k, weight_bits).as_signed()
        weight = arith.Delay(m, given).at(LATENCY)
        operand = arith.Delay(m, lanes.operand[k]).at(LATENCY)
        exact = Signal(signed(acc_bits + 4), name=f"exact_{k}", reset_less=True)
        used.append(Signal(acc_bits + 2, name=f"used_{k}", reset_less=True))
        after = Mux(fresh, 0, used[k]) + abs(weight)
        spent = spent + after
        with m.If(add):
            m.d.sync += [exact.eq(Mux(fresh, 0, exact) + weight * operand), used[k].eq(after)]
        m.d.comb += [
            Assert(named(inside, f"acc_{k}_0") == exact), Assert(abs(exact) <= used[k] * largest),
        ]  # fmt: skip
    most = ((1 << (acc_bits - 1)) - 1) // largest
    m.d.comb += Assume(~add | (spent <= most))
    total = sum((named(inside, f"acc_{k}_0") for k in range(split)), start=Const(0, signed(1)))
    limit = 1 << (acc_bits - 1)
    m.d.comb += [
        Assert(sum(used, start=Const(0)) <= most), Assert((total < limit) & (total >= -limit)),
    ]  # fmt: skip
    return prove(m, free_inputs(lanes), folder, depth=8, memories=memories)


@pytest.mark.parametrize(
    ("split", "weight_bits", "operand_bits"), [(1, 2, 2), (1, 4, 3), (2, 3, 3)]
)
def test_accumulators_never_overflow(
    split: int, weight_bits: int, operand_bits: int, tmp_path: Path
) -> None:
    assert accumulators(tmp_path, split, weight_bits, operand_bits, 0) <= LATENCY + 2


def test_one_bit_less_would_overflow(tmp_path: Path) -> None:
    with pytest.raises(Refuted):
        accumulators(tmp_path, 1, 3, 3, 1)
