"""The weight memory in hardware: planes, narrow lanes, loading; a core that is cut into planes."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout import planes
from gatewright.compiler.layout.planes import plan
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.engine.options import CoreOptions
from gatewright.hw.engine.port import chunks
from gatewright.hw.engine.weights import Weights
from gatewright.sim.collisions import simulator
from gatewright.sim.pysim import record
from gatewright.sim.runner import simulate
from support.randoms import extreme_codes, program, recurrent


def mixed(lanes: int = 8, h: int = 12, seed: int = 0, cell: str = "gru") -> Program:
    """Return two recurrent layers and a head, each of other weight widths."""
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "a", cell, ("x",), 5, h),
        recurrent(rng, "b", "mgu", ("a",), h, 7),
        Linear("y", ("b",), rng.normal(size=(3, 7))),
    )
    gates = [g.name for g in CELLS[cell].weighted]
    widths = {"b": 4, "b.n": 9, "y": 6, **{f"a.{g}": 3 + 2 * k for k, g in enumerate(gates)}}
    return quantize(Model(5, layers), None, Config(5, weight_widths=widths, lanes=lanes))


def weights(p: Program, *, loadable: bool = False) -> Weights:
    lanes = p.geometry.rows * p.geometry.split
    bits = p.network.numbers.weight_bits
    options = CoreOptions(loadable=loadable)
    return Weights(images=p.images, lanes=lanes, bits=bits, options=options)


def walk(dut: Weights, addresses: list[int], load: list[int] = ()) -> tuple[list[int], list[int]]:  # type: ignore[assignment]
    """Load chunks, then read; return ``data`` and ``weight`` of each address."""
    data, weight = [], []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for k, chunk in enumerate(load):
            ctx.set(dut.addr, k // dut.chunks)
            ctx.set(dut.w_en, 1 << k % dut.chunks)
            ctx.set(dut.w_data, chunk)
            await ctx.tick()
        ctx.set(dut.w_en, 0)
        for k in range(len(addresses) + dut.latency):
            if k >= dut.latency:
                data.append(ctx.get(dut.data))
                weight.append(ctx.get(dut.weight))
            if k < len(addresses):
                ctx.set(dut.addr, addresses[k])
            await ctx.tick()

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return data, weight


def joined(row: list[int], bits: int) -> int:
    return sum((v & ((1 << bits) - 1)) << bits * k for k, v in enumerate(row))


@pytest.mark.parametrize("loadable", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_every_lane_gets_its_weight(
    seed: int, loadable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses in any order, one a cycle, over as many planes as there can be."""
    monkeypatch.setattr(planes, "WORTH", 0)
    p = program(seed, cells=tuple(CELLS), largest=7, most_lanes=20)
    codes, bits = p.schedule.weights.tolist(), p.network.numbers.weight_bits
    order = np.random.default_rng(seed).permutation(len(codes)).tolist()[:300]
    data, weight = walk(weights(p, loadable=loadable), order)
    assert weight == [joined(codes[a], bits) for a in order]
    assert data == [p.images.weights[a] for a in order]


def test_loaded_over_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "WORTH", 0)
    p, q = mixed(), mixed(seed=1)
    assert [a.bits for a in p.images.planes] == [b.bits for b in q.images.planes]
    assert len(p.images.planes) > 2
    codes, bits = q.schedule.weights.tolist(), q.network.numbers.weight_bits
    load = chunks(q.images.weights, q.images.weight_width)
    data, weight = walk(weights(p, loadable=True), list(range(len(codes))), load)
    assert data == q.images.weights
    assert weight == [joined(row, bits) for row in codes]


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before", "lstm", "mgu3"])
def test_a_core_of_many_planes_is_exact(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "WORTH", 0)
    p = mixed(cell=cell, lanes=9)
    assert len(plan(p.schedule)) > 1
    x = extreme_codes(p, np.random.default_rng(1), 2, 5)
    expected = golden.run(p.network, x).outputs
    got = record(p, [x[0], x[1]])
    assert (got.outputs == expected.reshape(10, -1)).all()
    assert (got.ends == p.schedule.predict(10)).all()


@pytest.mark.xdist_group("bench")
def test_planes_in_verilog() -> None:
    """Without a lowered threshold: two layers large enough that the planes pay."""
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 4, 48),
        recurrent(rng, "b", "gru", ("a",), 48, 40),
    )
    config = Config(weight_widths={"a": 4, "b.r": 5, "b.z": 6}, lanes=24, rounding="nearest")
    p = quantize(Model(4, layers), None, config)
    assert len(p.images.planes) > 1
    done = simulate(p, rng.normal(size=(6, 4)))
    assert done.bit_exact and done.cycle_exact, done.mismatch
