"""The CRC of weights and beat table in the core: what it finds, what it takes, what it leaves alone."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout import planes
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.engine.core import Core
from gatewright.hw.engine.port import VERIFY, chunks
from gatewright.sim.collisions import simulator
from support.boards import gru_program
from support.randoms import extreme_codes, program, recurrent
from support.upsets import loadable_tables


def crc(p: Program) -> int:
    """Return the CRC of what the state port carries, beat table first."""
    i = p.images
    words = chunks(i.beats, i.beat_width) + chunks(i.weights, i.weight_width)
    return zlib.crc32(b"".join(word.to_bytes(2, "little") for word in words))


class Driver:
    """A loadable core with steps and verifications, one after the other.

    A flip is (number of a table, address, bit) of ``tables``.
    """

    def __init__(self, p: Program, tables: list[Any], *, stall: float = 0.0, seed: int = 0) -> None:
        self.p, self.tables, self.stall = p, tables, stall
        self.core = Core(p, loadable=True)
        self.verdicts: list[int] = []
        self.cycles: list[int] = []
        self.outputs: list[int] = []
        self.rng = random.Random(seed)

    def play(self, job: list[tuple[str, Any]]) -> None:
        """Play ``steps`` (codes, with a flag: from the reset state), ``verify`` (crc) and ``flip``."""
        self.job = job
        sim = simulator(self.core)
        sim.add_clock(1e-6)
        sim.add_testbench(self._watch, background=True)
        sim.add_testbench(self._work)
        sim.run()

    async def _watch(self, ctx: Any) -> None:
        for _ in range(400_000):
            await ctx.tick()
        raise CheckError("the core hangs")

    async def _pause(self, ctx: Any) -> None:
        while self.stall and self.rng.random() < self.stall:
            await ctx.tick()

    async def _send(self, ctx: Any, port: Any, payload: Any) -> None:
        await self._pause(ctx)
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def _take(self, ctx: Any, port: Any) -> Any:
        await self._pause(ctx)
        ctx.set(port.ready, 1)
        (payload,) = await ctx.tick().sample(port.payload).until(port.valid)
        ctx.set(port.ready, 0)
        return payload

    async def _work(self, ctx: Any) -> None:
        for kind, value in self.job:
            if kind == "steps":
                codes, first = value
                for t, row in enumerate(codes):
                    for k, code in enumerate(row):
                        fresh = int(first and t == k == 0)
                        await self._send(ctx, self.core.i, {"data": code, "first": fresh})
                    for _ in range(self.p.network.output_size):
                        self.outputs.append((await self._take(ctx, self.core.o)).data)
            elif kind == "verify":
                await self._verify(ctx, value)
            else:
                table, address, bit = value
                row = self.tables[table][1].data[address]
                ctx.set(row, ctx.get(row) ^ 1 << bit)

    async def _verify(self, ctx: Any, expected: int) -> None:
        """Verify; without stalls count the cycles from the transfer of the command to the offer."""
        core = self.core
        await self._send(ctx, core.c, VERIFY)
        if self.stall:
            for half in (expected & 0xFFFF, expected >> 16):
                await self._send(ctx, core.s_i, half)
            self.verdicts.append(await self._take(ctx, core.s_o))
            return
        ctx.set(core.s_i.payload, expected & 0xFFFF)
        ctx.set(core.s_i.valid, 1)
        # An input element waits all the while: no step begins.
        ctx.set(core.i.valid, 1)
        cycles, taken, offered = 0, 0, 0
        while not offered:
            _, _, offered, ready, begun = await ctx.tick().sample(
                core.s_o.valid, core.s_i.ready, core.i.ready
            )
            cycles += 1
            assert not begun
            taken += ready
            ctx.set(core.s_i.payload, expected >> 16 if taken else expected & 0xFFFF)
            ctx.set(core.s_i.valid, taken < 2)
        ctx.set(core.i.valid, 0)
        assert taken == 2
        self.cycles.append(cycles)
        self.verdicts.append(await self._take(ctx, core.s_o))


def check(p: Program, driver: Driver, seed: int, flips: int = 0) -> None:
    """Steps, verifications and bits that turn over, and back; then steps again.

    ``flips`` in each table, or one in one of them.
    """
    rng = np.random.default_rng(seed)
    x = extreme_codes(p, rng, 1, 4)[0].tolist()
    job: list[tuple[str, Any]] = [
        ("steps", (x[:2], True)), ("verify", crc(p)), ("steps", (x[2:3], False)),
    ]  # fmt: skip
    kinds: list[tuple[list[int], int]] = [
        (list(plane.words), plane.width) for plane in p.images.planes
    ]
    drawn = []
    used = [range(len(words)) for words, _ in kinds]
    for k, plane in enumerate(p.images.planes):
        mask = (1 << plane.address_bits) - 1
        used[k] = sorted({a & mask for a in range(plane.start, plane.end)})  # type: ignore[call-overload]
    tables = [(len(kinds) + k, range(len(p.images.beats)), w)
              for k, (_, w) in enumerate(p.images.beat_parts.values())]  # fmt: skip
    tables += [(k, used[k], w) for k, (_, w) in enumerate(kinds)]
    tables = [row for row in tables if row[2]]
    if not flips:
        tables = [tables[int(rng.integers(len(tables)))]]
    for table, addresses, width in tables:
        for _ in range(max(1, flips)):
            flip = (table, int(rng.choice(addresses)), int(rng.integers(width)))
            drawn.append(flip)
            job += [("flip", flip), ("verify", crc(p)), ("flip", flip)]
    if flips:
        job += [("verify", crc(p)), ("verify", crc(p) ^ 1 << seed % 32)]
    job += [("steps", (x[3:], False))]
    driver.play(job)
    wrong = [f for f, v in zip(drawn, driver.verdicts[1:], strict=False) if not v]
    assert not wrong, f"seed {seed}: not found: {wrong}"
    assert driver.verdicts == [0] + [1] * len(drawn) + [0, 1] * bool(flips), f"seed {seed}"
    got = np.array(driver.outputs).reshape(4, -1)
    ordered = np.zeros_like(got)
    ordered[:, p.schedule.output_order] = got
    assert (ordered == golden.run(p.network, np.array([x])).outputs[0]).all(), f"seed {seed}"


def ordered_tables(p: Program, found: list[Any]) -> list[Any]:
    """Return weight planes, then beat parts, whatever the order of elaboration."""
    beats = [p.images.beat_part(k) for k in p.images.beat_parts]
    own = [t for t in found if list(t[0].words) in beats and t[0].width in
           [w for _, w in p.images.beat_parts.values()]]  # fmt: skip
    return [t for t in found if t not in own] + own


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return loadable_tables(monkeypatch)


class Lazy:
    """Tables in order, which are there once the core is elaborated."""

    def __init__(self, p: Program, found: list[Any]) -> None:
        self.p, self.found = p, found

    def __getitem__(self, k: int) -> Any:
        return ordered_tables(self.p, self.found)[k]


def planed() -> Program:
    """Return a program with gates of other widths, whose weights lie in several planes."""
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 3, 3),
        Linear("y", ("a",), rng.normal(size=(2, 3))),
    )
    widths = {"a.r": 3, "a.z": 5, "y": 6}
    return quantize(Model(3, layers), None, Config(7, weight_widths=widths, lanes=3))


@pytest.mark.parametrize("make", [gru_program, planed])
def test_an_upset_in_any_memory_is_found_in_the_cycles_that_are_stated(
    make: Callable[[], Program], found: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "WORTH", 0)
    p = make()
    assert len(p.images.planes) > 1 or make is gru_program
    driver = Driver(p, Lazy(p, found))  # type: ignore[arg-type]
    check(p, driver, 1, flips=1)
    assert set(driver.cycles) == {p.images.verify_cycles}


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(s, marks=pytest.mark.full) for s in range(2, 200))]
)
def test_no_false_alarm(seed: int, found: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Random programs of all cells with as many planes as there can be; both sides stall in some."""
    monkeypatch.setattr(planes, "WORTH", 0 if seed % 2 else planes.WORTH)
    p = program(seed, largest=4, most_lanes=4)
    driver = Driver(p, Lazy(p, found), stall=0.3 * (seed % 3 == 0), seed=seed)  # type: ignore[arg-type]
    check(p, driver, seed)
    assert set(driver.cycles) <= {p.images.verify_cycles}


def test_a_core_may_go_without() -> None:
    """It has the state machine of a core that is loaded, and no CRC register."""
    p = gru_program()
    texts = [rtlil.convert(Core(p, loadable=True, verify=v), emit_src=False) for v in (True, False)]
    assert ["crc" in text for text in texts] == [True, False]
    fixed = [rtlil.convert(Core(p, verify=v), emit_src=False) for v in (True, False)]
    assert fixed[0] == fixed[1]
