"""The top of a bitstream: the reset after the PLL's lock."""

import random
from fractions import Fraction

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from gatewright.hw.bitstream.top import WAKE_CYCLES, Wake


def test_reset_lasts_after_lock_and_comes_back():
    m = Module()
    m.domains.boot = ClockDomain(reset_less=True)
    m.submodules.wake = wake = Wake()
    sim = Simulator(m)
    sim.add_clock(1e-6, domain="boot")
    rng = random.Random(3)

    async def check(ctx):
        for _ in range(3):
            # A lock that flickers starts the wait anew.
            for _ in range(5):
                ctx.set(wake.locked, 1)
                await ctx.tick("boot").repeat(rng.randrange(1, WAKE_CYCLES))
                assert ctx.get(wake.reset)
                ctx.set(wake.locked, 0)
                await ctx.tick("boot").repeat(4)
            ctx.set(wake.locked, 1)
            cycles = 0
            while ctx.get(wake.reset):
                await ctx.tick("boot")
                cycles += 1
                assert cycles < 2 * WAKE_CYCLES
            assert WAKE_CYCLES <= cycles <= WAKE_CYCLES + 3
            ctx.set(wake.locked, 0)
            await ctx.tick("boot").repeat(4)
            assert ctx.get(wake.reset)

    sim.add_testbench(check)
    sim.run()


def test_wake_is_long_enough_for_block_ram():
    """iCE40 block RAM needs 3 us after configuration, at the fastest clock of its PLL too."""
    assert Fraction(WAKE_CYCLES, 275_000_000) > Fraction(3, 1_000_000)
