"""Run a core in the Amaranth simulator: the fast tier, no Verilog and no other tool."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from ..compiler.errors import CheckError
from ..compiler.fixed import IntArray
from ..compiler.program import Program
from ..hw.core import Core

__all__ = ["Recording", "record"]


@dataclass
class Recording:
    """What a core emitted.

    Attributes
    ----------
    outputs : ndarray of int64, shape (steps, outputs)
        Codes in the order of the program's outputs.
    ends : ndarray of int64, shape (steps,)
        Cycle in which each step's last element was transferred; 0 is the first input transfer.
    """

    outputs: IntArray
    ends: IntArray


def record(
    program: Program,
    sequences: list[IntArray],
    *,
    stall: float = 0.0,
    seed: int = 0,
    wave: str | Path | None = None,
) -> Recording:
    """Feed sequences of input codes to a core and collect its outputs.

    Parameters
    ----------
    program : Program
    sequences : list of ndarray (T, I)
        Each starts from the reset state.
    stall : float
        Chance of a pause before each transfer, on both sides.
    seed : int
        Seed of the pauses.
    wave : path, optional
        Write a waveform (VCD) there.

    Raises
    ------
    CheckError
        The core hangs, or breaks the framing of a step.
    """
    core = Core(program)
    steps = sum(len(s) for s in sequences)
    size = program.network.output_size
    outputs = np.zeros((steps, size), np.int64)
    order = program.schedule.output_order
    ends: list[int] = []
    cycle = {"now": 0, "first": -1}

    async def source(ctx: Any) -> None:
        rng = random.Random(seed)  # noqa: S311
        for sequence in sequences:
            for t, row in enumerate(sequence):
                for k, code in enumerate(row.tolist()):
                    while stall and rng.random() < stall:
                        await ctx.tick()
                    ctx.set(core.i.payload, {"data": code, "first": int(t == 0 and k == 0)})
                    ctx.set(core.i.valid, 1)
                    await ctx.tick().until(core.i.ready)
                    if cycle["first"] < 0:
                        cycle["first"] = cycle["now"] - 1
                    ctx.set(core.i.valid, 0)

    async def sink(ctx: Any) -> None:
        rng = random.Random(seed + 1)  # noqa: S311
        for step in range(steps):
            for k in range(size):
                while True:
                    ctx.set(core.o.ready, not stall or rng.random() >= stall)
                    _, _, valid, ready, payload = await ctx.tick().sample(
                        core.o.valid, core.o.ready, core.o.payload
                    )
                    if valid and ready:
                        break
                outputs[step, order[k]] = payload.data
                if (payload.first, payload.last) != (k == 0, k == size - 1):
                    raise CheckError(f"step {step} element {k}: first/last are {payload}")
            ends.append(cycle["now"] - 1)

    async def clock(ctx: Any) -> None:
        budget = 2000 + int(
            (steps + 4)
            * (program.schedule.words + 400 + 4 * size + 2 * program.network.input_size)
            * (1 if not stall else 4 / (1 - stall))
        )
        while True:
            cycle["now"] += 1
            if cycle["now"] > budget:
                raise CheckError(
                    f"the core hangs: {len(ends)} of {steps} steps in {budget} cycles, seed {seed}"
                )
            await ctx.tick()

    sim = Simulator(core)
    sim.add_clock(1e-6)
    sim.add_testbench(clock, background=True)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    with sim.write_vcd(str(wave)) if wave else contextlib.nullcontext():
        sim.run()
    return Recording(outputs, np.array(ends, np.int64) - cycle["first"])
