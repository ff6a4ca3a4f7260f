"""Weights cut into planes: nothing is lost, and nothing is stored that no gate needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout import planes
from gatewright.compiler.layout.planes import Plane, expand, plan, split
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from support.randoms import program, recurrent


def stack(widths: dict[str, int], lanes: int = 24, h: int = 32, bits: int = 8) -> Program:
    """Return GRU 16 -> h and Linear h -> 10 with these weight widths."""
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "gru", "gru", ("x",), 16, h),
        Linear("head", ("gru",), rng.normal(size=(10, h))),
    )
    return quantize(
        Model(16, layers), None, Config(bits, weight_widths=widths, lanes=lanes, rounding="nearest")
    )


def check(p: Program, made: tuple[Plane, ...]) -> None:
    codes = p.schedule.weights
    some = range(len(codes)) if len(codes) < 400 else range(0, len(codes), len(codes) // 400)
    for address in some:
        assert expand(made, codes.shape[1], address) == codes[address].tolist(), address


@pytest.mark.parametrize("worth", [0, 200, planes.WORTH])
@pytest.mark.parametrize("seed", range(12))
def test_every_weight_comes_back(seed: int, worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "WORTH", worth)
    p = program(seed, cells=tuple(CELLS), largest=12)
    made = split(p.schedule)
    check(p, made)
    for plane in made:
        assert len(plane.words) == plane.depth and max(plane.words) < 1 << plane.width
        assert plane.end - plane.start <= plane.depth <= p.schedule.words or plane.start
    every = [where for plane in made for where in plane.bits]
    assert len(every) == len(set(every))
    assert (made[0].start, made[0].end) == (0, p.schedule.words)


def test_one_width_is_one_memory_of_whole_words() -> None:
    p = stack({}, lanes=6)
    (plane,) = split(p.schedule)
    codes = p.schedule.weights & 255
    assert plane.words == [sum(int(c) << 8 * i for i, c in enumerate(row)) for row in codes]


@pytest.mark.parametrize(("lanes", "h"), [(24, 64), (30, 70), (48, 128)])
def test_a_lane_serves_one_gate_and_is_as_wide_as_that(lanes: int, h: int) -> None:
    p = stack({"gru.r": 4, "gru.z": 5, "gru.n": 6, "head": 2}, lanes, h)
    rows, split = p.geometry.rows, p.geometry.split
    made = planes.split(p.schedule)
    check(p, made)
    widths = [sum(lane == k for plane in made for lane, _ in plane.bits) for k in range(lanes)]
    expected = ([4] * (rows // 3) + [5] * (rows // 3) + [6] * (rows // 3)) * split
    off = np.flatnonzero(np.array(widths) != expected)
    assert len(off) <= (3 * split if h % (rows // 3) else 0), widths  # the last group is shorter
    # It costs the idle beats of one group, at the end of a step.
    alike = stack({"gru": 6, "head": 2}, lanes, h)
    assert p.summary["cycles_per_step"] <= 1.06 * alike.summary["cycles_per_step"]
    stored = [sum(plane.size for plane in split_of(q)) for q in (p, alike)]
    print(f"{lanes} lanes, H {h}: {stored[0]} bits of weights against {stored[1]}")
    assert stored[0] < 0.9 * stored[1]


def split_of(p: Program) -> tuple[Plane, ...]:
    return split(p.schedule)


def test_upper_bits_are_stored_for_the_layers_that_need_them() -> None:
    p = stack({"head": 8, "gru": 4}, h=64)
    low, high = split(p.schedule)
    head = p.schedule.blocks[1]
    first = p.schedule.words - head.tiles * head.columns
    assert (low.width, low.depth) == (24 * 4, p.schedule.words)
    # The head has ten rows, each in ``split`` lanes; the others need no upper bits.
    width = 10 * p.geometry.split * 4
    assert (high.start, high.end, high.width) == (first, p.schedule.words, width)
    check(p, (low, high))


@pytest.mark.parametrize(("start", "end"), [(0, 5), (3, 8), (3, 9), (7, 8), (100, 164), (96, 128)])
def test_low_address_bits_tell_the_words_of_a_plane_apart(start: int, end: int) -> None:
    plane = Plane(start, end, ((0, 0),))
    at = [a & ((1 << plane.address_bits) - 1) for a in range(start, end)]
    assert len(set(at)) == end - start and max(at) < plane.depth <= 2 * (end - start)
    assert Plane(0, end, ((0, 0),)).depth == end


def test_a_plane_must_save_a_block_of_memory() -> None:
    """The same shape, smaller: the split would save less than 4,096 bits and is not made."""
    widths = {"gru": 8, "head": 4}
    large, small = stack(widths, h=128), stack(widths, h=16)
    assert len(plan(large.schedule)) == 2 and len(plan(small.schedule)) == 1


def test_the_plan_does_not_depend_on_the_weights() -> None:
    one = stack({"gru.n": 6})
    layers = tuple(
        replace(x, gates=tuple(replace(g, w=0 * g.w, u=None if g.u is None else 0 * g.u) for g in x.gates))
        for x in one.network.layers
    )  # fmt: skip
    other = Program(replace(one.network, layers=layers), one.config)
    assert [p.bits for p in plan(one.schedule)] == [p.bits for p in plan(other.schedule)]
