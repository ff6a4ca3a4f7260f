"""The cocotb bench of a core: feeds codes, records outputs and their cycles.

It judges nothing but the stream rules; :mod:`gatewright.sim.runner` compares what it
recorded with the golden model. Input and output are ``.npz`` files in the folder it runs in.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

PERIOD = 10  # ns


class Stream:
    """One side of a valid/ready stream of the core.

    Parameters
    ----------
    dut : handle
        The core.
    name : str
        ``i``, ``o``, ``c``, ``s_i`` or ``s_o``, after a prefix where the design holds many cores.
    stall : float
        Chance of a pause before each transfer.
    rng : random.Random
    """

    def __init__(self, dut: Any, name: str, stall: float, rng: random.Random) -> None:
        self.clk, self.stall, self.rng = dut.clk, stall, rng
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")

    async def send(self, code: int) -> int:
        """Transfer one payload; return the cycle of the transfer."""
        while self.stall and self.rng.random() < self.stall:
            self.valid.value = 0
            await RisingEdge(self.clk)
        self.payload.value = code
        self.valid.value = 1
        while True:
            await RisingEdge(self.clk)
            if self.ready.value == 1:
                return round(get_sim_time("ns")) // PERIOD

    def stop(self) -> None:
        """Offer nothing more."""
        self.valid.value = 0

    async def receive(self) -> tuple[int, int]:
        """Take one payload; return it with the cycle of the transfer.

        Checks that a payload once offered stays until it is taken.
        """
        offered = None
        while True:
            go = not self.stall or self.rng.random() >= self.stall
            self.ready.value = int(go)
            await RisingEdge(self.clk)
            if self.valid.value == 1:
                code = self.payload.value.to_unsigned()
                if offered not in (None, code):
                    raise AssertionError(
                        f"payload changed from {offered} to {code} while it waited"
                    )
                offered = code
                if go:
                    return code, round(get_sim_time("ns")) // PERIOD
            elif offered is not None:
                raise AssertionError("valid was withdrawn before the transfer")


class Player:
    """Plays one job on one core.

    Parameters
    ----------
    dut : handle
        The design.
    job : mapping
        What :meth:`gatewright.sim.runner.Bench.record` wrote.
    prefix : str
        Prefix of the core's ports.
    """

    def __init__(self, dut: Any, job: Any, prefix: str = "") -> None:
        self.codes, self.first, self.load = job["codes"], job["first"], job["load"]
        self.data_bits, self.out_bits = int(job["data_bits"]), int(job["out_bits"])
        self.state_bits, self.words = int(job["state_bits"]), int(job["state_words"])
        self.budget = int(job["budget"])
        stall, seed = float(job["stall"]), int(job["seed"])
        rng = random.Random(seed)  # noqa: S311
        self.i, self.c, self.s_i, self.s_o = (
            Stream(dut, prefix + name, stall, rng) for name in ("i", "c", "s_i", "s_o")
        )
        self.o = Stream(dut, f"{prefix}o", stall, random.Random(seed + 1))  # noqa: S311
        for stream in (self.i, self.c, self.s_i):
            stream.valid.value = 0
            stream.payload.value = 0
        for stream in (self.o, self.s_o):
            stream.ready.value = 0
        self.started: list[int] = []
        self.outputs = np.zeros((len(self.codes), int(job["outputs"])), np.int64)
        self.ends = np.zeros(len(self.codes), np.int64)
        self.state = np.zeros(self.words, np.int64)

    async def _source(self) -> None:
        if len(self.load):
            await self.c.send(1)
            self.c.stop()
            for code in self.load.tolist():
                await self.s_i.send(code & ((1 << self.state_bits) - 1))
            self.s_i.stop()
        mask, bit = (1 << self.data_bits) - 1, 1 << self.data_bits
        for row, fresh in zip(self.codes.tolist(), self.first.tolist(), strict=True):
            for k, code in enumerate(row):
                cycle = await self.i.send((code & mask) | (bit if fresh and k == 0 else 0))
                if not self.started:
                    self.started.append(cycle)
        self.i.stop()

    async def _sink(self) -> None:
        sign = 1 << (self.out_bits - 1)
        steps, size = self.outputs.shape
        for step in range(steps):
            for k in range(size):
                code, cycle = await self.o.receive()
                self.outputs[step, k] = ((code & (2 * sign - 1)) ^ sign) - sign
                framing = code >> self.out_bits
                if framing != int(k == 0) | int(k == size - 1) << 1:
                    raise AssertionError(f"step {step} element {k}: first/last are {framing}")
            self.ends[step] = cycle
        self.o.ready.value = 0

    async def _finish(self) -> None:
        cocotb.start_soon(self._source())
        await cocotb.start_soon(self._sink())
        if self.words:
            sign = 1 << (self.state_bits - 1)
            await self.c.send(0)
            self.c.stop()
            for k in range(self.words):
                code, _ = await self.s_o.receive()
                self.state[k] = (code ^ sign) - sign

    async def play(self, result: str) -> None:
        """Load a state where the job has one, run its steps, read the state; write ``result``."""
        task = cocotb.start_soon(self._finish())
        await cocotb.triggers.with_timeout(task, self.budget * PERIOD, "ns")
        ends = self.ends - self.started[0]
        np.savez(result, outputs=self.outputs, ends=ends, state=self.state)


async def reset(dut: Any) -> None:
    """Start the clock and reset the design."""
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0


@cocotb.test()
async def run(dut: Any) -> None:
    """Run the job in ``job.npz``."""
    with np.load("job.npz") as job:
        player = Player(dut, job)
    await reset(dut)
    await player.play("result.npz")
