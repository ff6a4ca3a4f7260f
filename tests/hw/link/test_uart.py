"""The serial line: every ratio of clock and rate, senders that are off, noise on the line."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from gatewright.compiler.errors import InputError
from gatewright.hw.link.uart import BitTime, UartReceiver, UartTransmitter

RATIOS = [4.0, 4.166, 4.9, 8.0, 8.333, 9.7, 17.361]


@pytest.mark.parametrize("clock", [12e6, 25e6, 27e6, 48e6, 50.25e6, 187.5e6, 200e6])
@pytest.mark.parametrize("baud", [9600, 115200, 1e6, 2e6, 3e6])
def test_rates_are_kept_within_a_thousandth(clock: float, baud: float) -> None:
    time = BitTime.of(clock, baud)
    cycles = time.whole + time.part / 2**time.bits
    assert cycles == pytest.approx(clock / baud, rel=1e-3)
    assert time.error == pytest.approx(cycles * baud / clock - 1, abs=1e-12)
    assert time.bits == 0 or abs(time.part) < 2**time.bits


@pytest.mark.parametrize(
    ("clock", "baud", "word"),
    [(12e6, 3.1e6, "3.87 cycles a bit"), (200e6, 1200, "4 to 65536"), (12e6, 0, "positive")],
)
def test_rates_that_cannot_work_are_refused(clock: float, baud: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        BitTime.of(clock, baud)


def receive(levels: list[int], time: BitTime) -> tuple[list[int], int]:
    """Play levels, one a cycle; return the bytes, and how many were broken."""
    dut = UartReceiver(time)
    got: list[int] = []
    broken = 0

    async def bench(ctx):
        nonlocal broken
        for level in [1] * 8 + levels + [1] * 8:
            ctx.set(dut.rx, level)
            await ctx.tick()
            if ctx.get(dut.valid):
                got.append(ctx.get(dut.data))
            broken += ctx.get(dut.broken)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return got, broken


def levels_of(data: bytes, cycles: float, phase: float = 0.0, stop: int = 1) -> list[int]:
    """Return the line's level in each cycle: bytes without a gap, edges on true time."""
    bits = [b for byte in data for b in (0, *(byte >> k & 1 for k in range(8)), *[1] * stop)]
    count = int(len(bits) * cycles + phase)
    return [1 if t < phase else bits[int((t - phase) / cycles)] for t in range(count)]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("skew", [0.98, 1.0, 1.02])
def test_receiver(ratio: float, skew: float) -> None:
    seed = int(ratio * 1000 * skew)
    data = random.Random(seed).randbytes(24) + b"\x00\xff\x55"
    for phase in (0.0, 0.3, 0.7):
        levels = levels_of(data, ratio * skew, phase)
        assert receive(levels, BitTime.of(ratio, 1)) == (list(data), 0), (seed, phase)


@pytest.mark.parametrize("ratio", RATIOS)
def test_transmitter(ratio: float) -> None:
    """Bytes with and without pauses; every bit is sampled in its middle by true time."""
    seed = int(ratio * 1000)
    rng = random.Random(seed)
    data = rng.randbytes(16) + b"\x00\xff"
    dut = UartTransmitter(BitTime.of(ratio, 1))
    line: list[int] = []
    done = False

    async def source(ctx):
        nonlocal done
        for byte in data:
            for _ in range(rng.choice([0, 0, 0, 30])):
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(int(12 * ratio))
        done = True

    async def watch(ctx):
        while not done:
            line.append(ctx.get(dut.tx))
            await ctx.tick()
            assert len(line) < 60 * ratio * len(data), f"hangs, seed {seed}"

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(watch, background=True)
    sim.run()
    got, at = [], 0
    while 0 in line[at:]:
        at += line[at:].index(0)
        bits = [line[at + int((k + 0.5) * ratio)] for k in range(10)]
        assert (bits[0], bits[9]) == (0, 1)
        got.append(sum(bit << k for k, bit in enumerate(bits[1:9])))
        at += int(9.5 * ratio)
    assert bytes(got) == data


def test_noise_shorter_than_half_a_start_bit_is_no_byte() -> None:
    levels = [0] * 3 + [1] * 40 + levels_of(b"A", 8.0) + [0] * 2 + [1] * 20 + levels_of(b"B", 8.0)
    assert receive(levels, BitTime.of(8, 1)) == ([0x41, 0x42], 0)


def test_a_byte_without_stop_bit_is_broken() -> None:
    got, broken = receive([0] * 8 * 10 + [1] * 80 + levels_of(b"C", 8.0), BitTime.of(8, 1))
    assert (got, broken) == ([0x43], 1)


def test_line_is_idle_high() -> None:
    m = Module()
    m.submodules.dut = dut = UartTransmitter(BitTime.of(8, 1))

    async def bench(ctx):
        for _ in range(40):
            assert ctx.get(dut.tx) == 1
            await ctx.tick()

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
