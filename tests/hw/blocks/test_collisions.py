"""Reads that collide with writes: undefined for the synthesizer, garbage in simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from gatewright.hw.blocks.collisions import memory, release
from gatewright.hw.blocks.memory import Ram
from gatewright.sim.collisions import simulator
from gatewright.sim.netlist import synthesize

OLD, NEW = 0x35A, 0x0F1


@pytest.mark.parametrize("loose", [True, False])
def test_what_a_colliding_read_gives(loose: bool) -> None:
    m = Module()
    made: Any = memory(shape=10, depth=4) if loose else Memory(shape=10, depth=4, init=[])
    m.submodules.memory = made
    write, read = made.write_port(), made.read_port()
    seen = []

    async def bench(ctx: Any) -> None:
        ctx.set(write.en, 1)
        for address, word in ((1, OLD), (1, NEW), (2, OLD)):
            ctx.set(write.addr, address)
            ctx.set(write.data, word)
            ctx.set(read.addr, 1)
            await ctx.tick()
            seen.append(ctx.get(read.data))

    sim = simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert seen[1:] == [OLD ^ 0x3FF if loose else OLD, NEW]


@pytest.mark.parametrize("family", ["ice40up", "ecp5", "gowin"])
def test_nothing_is_built_around_a_memory(family: str, tmp_path: Path) -> None:
    text = rtlil.convert(Ram(banks=2, width=14, depth=1024, reads=2), name="ram", emit_src=False)
    (tmp_path / "ram.il").write_text(release(text))
    cells = synthesize("read_rtlil ram.il", "ram", family, tmp_path).cells
    assert not [name for name in cells if "LUT" in name or name.startswith("MUX")], cells


def test_only_marked_memories_are_released() -> None:
    m = Module()
    for name, made in (("a", memory(shape=4, depth=8)), ("b", Memory(shape=4, depth=8, init=[]))):
        m.submodules[name] = made
        made.write_port()
        made.read_port()
    text = release(rtlil.convert(m, name="top", ports=[], emit_src=False))
    assert text.count("COLLISION_X_MASK 1'1") == 1 and text.count("COLLISION_X_MASK 1'0") == 1
