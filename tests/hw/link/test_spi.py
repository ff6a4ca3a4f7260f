"""The link over SPI: the same frames, whatever the host's clock does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from gatewright.compiler import golden
from gatewright.host.device import Device
from gatewright.hw.link.spi import LEAST_SPI_CYCLES, Spi
from gatewright.hw.link.system import System
from gatewright.sim.board import SpiBoard
from support.boards import gru_program
from support.c_host import CHost
from support.randoms import extreme_codes


def check(device: Device, steps: int) -> None:
    p = device.program
    x = extreme_codes(p, np.random.default_rng(1), 1, steps)
    once = golden.run(p.network, x)
    assert (device.run_codes(x) == once.outputs).all()
    assert (device.read_state().flat(p.network) == once.state.flat(p.network)).all()


@pytest.mark.parametrize(
    "pauses, steps",
    [(0.2, 1), *(pytest.param(p, 6, marks=pytest.mark.full) for p in (0.0, 0.05, 0.3))],
)
def test_bit_exact(pauses: float, steps: int) -> None:
    """Without a pause each byte follows the one before at once, in both directions."""
    board = SpiBoard(System(gru_program(), clock_hz=12e6, baud=0), pauses=pauses)
    device = Device(board, gru_program())
    check(device, steps)
    counts = device.session.counts
    faults = counts.bad_frames, counts.board_bad_frames, counts.resent, counts.repeats
    assert faults == (0, 0, 0, 0)


@pytest.mark.full
def test_bytes_that_are_cut() -> None:
    board = SpiBoard(System(gru_program(), clock_hz=12e6, baud=0), pauses=0.1, cuts=5e-4, seed=3)
    device = Device(board, gru_program())
    check(device, 12)
    counts = device.session.counts
    assert board.cut > 0 and counts.bad_frames + counts.board_bad_frames > 0


@pytest.mark.full
def test_the_host_in_c(tmp_path: Path) -> None:
    p = gru_program()
    host = CHost(p, tmp_path)
    host.open(SpiBoard(System(p, clock_hz=12e6, baud=0), pauses=0.1, seed=5))
    x = extreme_codes(p, np.random.default_rng(2), 1, 5)
    assert (host.run(x[0]) == golden.run(p.network, x).outputs[0]).all()


@pytest.mark.parametrize("seed", range(4))
def test_each_byte_once_both_ways(seed: int) -> None:
    """Bytes are offered at any moment, and zeros go between; the host clocks at any pace."""
    rng = random.Random(seed)
    up, down = (bytes(rng.randrange(1, 256) for _ in range(60)) for _ in range(2))
    dut, got, heard = Spi(), bytearray(), bytearray()

    async def source(ctx: Any) -> None:
        for byte in up:
            await ctx.tick().repeat(rng.choice([1, 1, 30, rng.randrange(1, 400)]))
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx: Any) -> None:
        while True:
            _, _, valid, byte = await ctx.tick().sample(dut.valid, dut.data)
            if valid:
                got.append(byte)

    async def host(ctx: Any) -> None:
        left = list(down)
        for _ in range(2000):
            ctx.set(dut.cs_n, 0)
            byte, came = left.pop(0) if left and rng.random() < 0.8 else 0, 0
            for k in range(8):
                ctx.set(dut.mosi, byte >> (7 - k) & 1)
                await ctx.tick().repeat(LEAST_SPI_CYCLES // 2 + rng.randrange(2) * rng.randrange(9))
                ctx.set(dut.sck, 1)
                came = came << 1 | ctx.get(dut.miso)
                await ctx.tick().repeat(LEAST_SPI_CYCLES // 2)
                ctx.set(dut.sck, 0)
            heard.append(came)
            if rng.random() < 0.3:
                await ctx.tick().repeat(5)
                ctx.set(dut.cs_n, 1)
                await ctx.tick().repeat(5)
            if not left and len(heard) - heard.count(0) >= len(up):
                return

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source, background=True)
    sim.add_testbench(sink, background=True)
    sim.add_testbench(host)
    sim.run()
    assert bytes(heard).replace(b"\0", b"") == up, f"seed {seed}"
    assert bytes(got).replace(b"\0", b"") == down, f"seed {seed}"
