"""Counters, identity and digest in one memory: every event counted, nothing lost by a reset or a digest."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal
from gatewright.host.wire.identity import IDENTITY_BYTES, Identity
from gatewright.host.wire.protocol import COUNTERS, DIGEST_BYTES
from gatewright.hw.link import ledger
from gatewright.hw.link.ledger import COUNTER_BYTES, SIZE, Ledger
from gatewright.sim.collisions import simulator

IDENTITY = Identity(
    1, 9, 1, 300, 2, 4, 12, 9, 70_000, 48_000_000, bytes(range(1, 9)), bytes(range(101, 109))
)


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_identity(seed: int) -> None:
    rng = random.Random(seed)
    reset, dut = Signal(), Ledger(identity=IDENTITY)

    async def read(ctx: Any, places: range) -> bytes:
        got = []
        for place in places:
            ctx.set(dut.place, place)
            await ctx.tick()
            while not ctx.get(dut.there):
                await ctx.tick()
            got.append(ctx.get(dut.byte))
            for _ in range(rng.randrange(3)):
                await ctx.tick()
        return bytes(got)

    async def counts(ctx: Any) -> list[int]:
        raw, found = await read(ctx, range(COUNTER_BYTES)), []
        for size in COUNTERS.values():
            found.append(int.from_bytes(raw[:size], "little"))
            raw = raw[size:]
        return found

    async def bench(ctx: Any) -> None:
        digest = list(IDENTITY.program)
        for turn in range(3):
            counted = [0] * len(COUNTERS)
            chances = [1.0, rng.random(), 0.02]
            for _ in range(rng.randrange(1, 3000)):
                events = [rng.random() < chance for chance in chances]
                ctx.set(dut.events, sum(e << k for k, e in enumerate(events)))
                counted = [c + e for c, e in zip(counted, events, strict=True)]
                write = rng.random() < 0.1
                ctx.set(dut.digest_en, write)
                if write:
                    place, byte = rng.randrange(DIGEST_BYTES), rng.randrange(256)
                    ctx.set(dut.digest_place, place)
                    ctx.set(dut.digest, byte)
                    digest[place] = byte
                await ctx.tick()
            ctx.set(dut.events, 0)
            ctx.set(dut.digest_en, 0)
            assert await counts(ctx) == counted, f"seed {seed}, turn {turn}"
            identity = await read(ctx, range(COUNTER_BYTES, SIZE))
            assert identity == IDENTITY._replace(program=bytes(digest)).pack()
            # A reset, with a byte of a digest written while it lasts.
            ctx.set(reset, 1)
            ctx.set(dut.digest_en, 1)
            ctx.set(dut.digest_place, turn)
            ctx.set(dut.digest, 7)
            digest[turn] = 7
            await ctx.tick()
            ctx.set(dut.digest_en, 0)
            ctx.set(reset, 0)
            # The identity is there at once, the counters are cleared by the first walk.
            first = range(COUNTER_BYTES, COUNTER_BYTES + 1)
            assert await read(ctx, first) == IDENTITY.pack()[:1]

    sim = simulator(ResetInserter(reset)(dut))
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


def test_carries_over_all_bytes() -> None:
    """A counter of 16 bits and more: events in every cycle for longer than 2**16 cycles."""
    dut = Ledger(identity=IDENTITY)
    cycles, got = 66_000, []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.events, 1)
        await ctx.tick().repeat(cycles)
        ctx.set(dut.events, 0)
        for place in range(6):
            ctx.set(dut.place, place)
            await ctx.tick()
            while not ctx.get(dut.there):
                await ctx.tick()
            got.append(ctx.get(dut.byte))

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert int.from_bytes(bytes(got), "little") == cycles


def test_a_byte_is_offered_once_while_a_digest_is_written() -> None:
    rng = random.Random(3)
    dut = Ledger(identity=IDENTITY)
    places = range(COUNTER_BYTES, SIZE - DIGEST_BYTES)
    got = []

    async def bench(ctx: Any) -> None:
        for place in places:
            ctx.set(dut.place, place)
            there = False
            while not there:
                ctx.set(dut.digest_en, rng.random() < 0.5)
                await ctx.tick()
                there = bool(ctx.get(dut.there))
            got.append(ctx.get(dut.byte))
            ctx.set(dut.digest_en, 1)
            await ctx.tick()
            assert not ctx.get(dut.there)

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert bytes(got) == IDENTITY.pack()[: len(places)]


def test_a_counter_that_overflows_leaves_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last counter's carry goes nowhere; here it has one byte in place of four."""
    short = dict.fromkeys(COUNTERS, 1)
    monkeypatch.setattr(ledger, "COUNTERS", short)
    monkeypatch.setattr(ledger, "COUNTER_BYTES", len(short))
    monkeypatch.setattr(ledger, "SIZE", len(short) + IDENTITY_BYTES)
    dut = Ledger(identity=IDENTITY)
    got = set()

    async def bench(ctx: Any) -> None:
        ctx.set(dut.events, 1 << len(short) - 1)
        ctx.set(dut.place, len(short))
        await ctx.tick().repeat(100)
        for _ in range(1000):
            await ctx.tick()
            if ctx.get(dut.there):
                got.add(ctx.get(dut.byte))

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert got == {IDENTITY.pack()[0]}
