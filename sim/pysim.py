"""Run a core in the Amaranth simulator: the fast tier, no Verilog and no other tool."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from amaranth.hdl import ResetInserter, Signal

from ..compiler.arrays import BoolArray, IntArray
from ..compiler.errors import CheckError
from ..compiler.golden import State
from ..compiler.program.program import Program
from ..hw.engine.core import Core
from ..hw.engine.port import LOAD, READ
from .collisions import simulator

__all__ = ["Continue", "Load", "Read", "Recording", "Steps", "record"]


@dataclass(frozen=True)
class Continue:
    """Steps that go on from the state the core is in, shape (T, I)."""

    codes: IntArray


@dataclass(frozen=True)
class Steps:
    """Steps (T, I), and which of them start from the reset state, (T,); streams take them in turn."""

    codes: IntArray
    first: BoolArray


@dataclass(frozen=True)
class Load:
    """Load the state of a stream, in the order of :meth:`.golden.State.flat`, shape (words,)."""

    state: IntArray
    stream: int = 0


@dataclass(frozen=True)
class Read:
    """Read the state of a stream."""

    stream: int = 0


Item: TypeAlias = IntArray | Continue | Steps | Load | Read
"""One item of a job; a bare array is a sequence (T, I) that starts from the reset state."""


@dataclass
class Recording:
    """Outputs of a core.

    Attributes
    ----------
    outputs : ndarray of int64, shape (steps, outputs)
        Codes in the order of the program's outputs.
    ends : ndarray of int64, shape (steps,)
        Cycle in which each step's last element was transferred; 0 is the first input transfer.
    states : list of ndarray of int64, shape (words,)
        The states read.
    """

    outputs: IntArray
    ends: IntArray
    states: list[IntArray]


def record(
    program: Program,
    job: Sequence[Item],
    *,
    stall: float = 0.0,
    seed: int = 0,
    hold: int = 0,
    junk: int = 0,
    wave: str | Path | None = None,
) -> Recording:
    """Run a job on a core and collect what it emits.

    Parameters
    ----------
    program : Program
    job : sequence of Item
        Sequences of input codes and state commands, in order.
    stall : float
        Chance of a pause before each transfer, on every stream.
    seed : int
        Seed of the pauses and of ``junk``.
    hold : int
        Cycles in which no output is taken, at the start.
    junk : int
        Cycles of random traffic on every stream before the job, ended by a reset.
    wave : path, optional
        Write a waveform (VCD) there.

    Raises
    ------
    CheckError
        The core hangs, or breaks the framing of a step.
    """
    core = Core(program, trace=wave is not None)
    reset = Signal()
    size = program.network.output_size
    words = State.zeros(program.network, 1).flat(program.network).shape[1]
    # (codes of a step, whether it starts afresh) or a command
    steps: list[tuple[list[int], bool] | Load | Read] = []
    for item in job:
        if isinstance(item, Load | Read):
            steps.append(item)
        elif isinstance(item, Steps):
            steps += zip(item.codes.tolist(), item.first.tolist(), strict=True)
        else:
            codes = item.codes if isinstance(item, Continue) else item
            fresh = not isinstance(item, Continue)
            steps += [(row, fresh and t == 0) for t, row in enumerate(codes.tolist())]
    count = sum(isinstance(step, tuple) for step in steps)
    outputs = np.zeros((count, size), np.int64)
    order = program.schedule.output_order
    ends: list[int] = []
    states: list[IntArray] = []
    now, first = 0, -1
    started = not junk
    sources, streams = (core.i, core.c, core.s_i), program.streams

    async def pause(ctx: Any, rng: random.Random) -> None:
        while stall and rng.random() < stall:
            await ctx.tick()

    async def send(ctx: Any, rng: random.Random, stream: Any, payload: Any) -> int:
        """Transfer one payload, and return the cycle of the transfer."""
        await pause(ctx, rng)
        ctx.set(stream.payload, payload)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)
        return now - 1

    async def receive(ctx: Any, rng: random.Random, stream: Any) -> Any:
        """Take one payload; it must stay as it is until then."""
        offered = None
        while True:
            ctx.set(stream.ready, not stall or rng.random() >= stall)
            _, _, valid, ready, payload = await ctx.tick().sample(
                stream.valid, stream.ready, stream.payload
            )
            if offered is not None and not (valid and payload == offered):
                raise CheckError(f"{offered} was offered and withdrawn, seed {seed}")
            if valid and ready:
                ctx.set(stream.ready, 0)
                return payload
            offered = payload if valid else None

    async def disturb(ctx: Any, rng: random.Random) -> None:
        """Offer and take at random on every stream, then reset the core."""
        for _ in range(junk):
            for stream in sources:
                ctx.set(stream.valid, rng.random() < 0.8)
            ctx.set(core.i.payload, {"data": rng.getrandbits(1), "first": rng.getrandbits(1)})
            ctx.set(core.c.payload, rng.getrandbits(1))
            ctx.set(core.s_i.payload, rng.getrandbits(1))
            for stream in (core.o, core.s_o):
                ctx.set(stream.ready, rng.random() < 0.8)
            await ctx.tick()
        for stream in sources:
            ctx.set(stream.valid, 0)
        for stream in (core.o, core.s_o):
            ctx.set(stream.ready, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)

    async def source(ctx: Any) -> None:
        nonlocal first, started
        rng = random.Random(seed)  # noqa: S311
        if junk:
            await disturb(ctx, rng)
            started = True
        for step in steps:
            if isinstance(step, tuple):
                row, fresh = step
                for k, code in enumerate(row):
                    payload = {"data": code, "first": int(fresh and k == 0)}
                    cycle = await send(ctx, rng, core.i, payload)
                    first = cycle if first < 0 else first
            elif isinstance(step, Load):
                await send(ctx, rng, core.c, LOAD | step.stream << core.port.code_bits)
                for code in step.state.tolist():
                    await send(ctx, rng, core.s_i, code)
            else:
                await send(ctx, rng, core.c, READ | step.stream << core.port.code_bits)
                state = [await receive(ctx, rng, core.s_o) for _ in range(words)]
                states.append(np.array(state, np.int64))

    async def sink(ctx: Any) -> None:
        rng = random.Random(seed + 1)  # noqa: S311
        while not started:
            await ctx.tick()
        for _ in range(hold):
            await ctx.tick()
        for step in range(count):
            for k in range(size):
                payload = await receive(ctx, rng, core.o)
                outputs[step, order[k]] = payload.data
                if (payload.first, payload.last) != (k == 0, k == size - 1):
                    raise CheckError(f"step {step} element {k}: first/last are {payload}")
                if streams > 1 and payload.stream != step % streams:
                    raise CheckError(f"step {step} element {k}: its stream is {payload.stream}")
            ends.append(now - 1)

    async def clock(ctx: Any) -> None:
        nonlocal now
        per_step = program.schedule.words + 400 + 4 * size + 2 * program.network.input_size
        commands = (len(steps) - count) * (400 + 8 * words)
        slower = 4 / (1 - stall) if stall else 1
        budget = 2000 + hold + junk + int(((count + 4) * per_step + commands) * slower)
        while True:
            now += 1
            if now > budget:
                raise CheckError(
                    f"the core hangs: {len(ends)} of {count} steps in {budget} cycles, seed {seed}"
                )
            await ctx.tick()

    sim = simulator(ResetInserter(reset)(core))
    sim.add_clock(1e-6)
    sim.add_testbench(clock, background=True)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    with sim.write_vcd(str(wave)) if wave else contextlib.nullcontext():
        sim.run()
    return Recording(outputs, np.array(ends, np.int64) - first, states)
