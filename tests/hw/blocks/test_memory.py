"""Tables against lists: read in any order with stalls, written in chunks."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator
from gatewright.hw.blocks.memory import CHUNK, Table

SHAPES = [(1, 1), (16, 2), (17, 5), (40, 33)]


@pytest.mark.parametrize("loadable", [False, True])
@pytest.mark.parametrize(("width", "depth"), SHAPES)
def test_table_vs_list(width: int, depth: int, loadable: bool) -> None:
    """What is read stays while ``en`` and ``out_en`` are low; what is written is read later."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    words = [rng.randrange(1 << width) for _ in range(depth)]
    dut = Table(words=list(words), width=width, loadable=loadable)

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        read = shown = None  # unknown until the first word went through
        for _ in range(400):
            at, chunk, data = (
                rng.randrange(depth),
                rng.randrange(dut.chunks),
                rng.randrange(1 << CHUNK),
            )
            write = loadable and rng.random() < 0.3
            en, out_en = not write and rng.random() < 0.7, rng.random() < 0.7
            ctx.set(dut.addr, at)
            ctx.set(dut.en, en)
            ctx.set(dut.out_en, out_en)
            ctx.set(dut.w_en, write << chunk)
            ctx.set(dut.w_data, data)
            await ctx.tick()
            shown = read if out_en else shown
            read = words[at] if en else read
            if write:
                mask = ((1 << CHUNK) - 1) << CHUNK * chunk
                words[at] = (words[at] & ~mask | data << CHUNK * chunk) & ((1 << width) - 1)
            if shown is not None:
                assert ctx.get(dut.data) == shown

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
