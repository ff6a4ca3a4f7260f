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
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_steps

from .streams import StreamSink, StreamSource

PERIOD = 10  # ns


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
        self.streams, self.command_bits = int(job["streams"]), int(job["command_bits"])
        self.budget = int(job["budget"])
        stall, seed = float(job["stall"]), int(job["seed"])
        rng = random.Random(seed)  # noqa: S311
        self.i, self.c, self.s_i = (
            StreamSource(dut, prefix + name, stall=stall, seed=rng) for name in ("i", "c", "s_i")
        )
        self.s_o = StreamSink(dut, f"{prefix}s_o", stall=stall, seed=rng)
        self.o = StreamSink(dut, f"{prefix}o", stall=stall, seed=seed + 1)
        self.start = -1
        self.outputs = np.zeros((len(self.codes), int(job["outputs"])), np.int64)
        self.ends = np.zeros(len(self.codes), np.int64)
        self.state = np.zeros(self.streams * self.words, np.int64)

    async def _source(self) -> None:
        for stream, words in enumerate(self.load.tolist()):
            await self.c.send(1 | stream << self.command_bits)
            self.c.stop()
            for code in words:
                await self.s_i.send(code & ((1 << self.state_bits) - 1))
            self.s_i.stop()
        mask, bit = (1 << self.data_bits) - 1, 1 << self.data_bits
        for row, fresh in zip(self.codes.tolist(), self.first.tolist(), strict=True):
            for k, code in enumerate(row):
                sent = await self.i.send((code & mask) | (bit if fresh and k == 0 else 0))
                if self.start < 0:
                    self.start = sent.time
        self.i.stop()

    async def _sink(self) -> None:
        sign = 1 << (self.out_bits - 1)
        steps, size = self.outputs.shape
        for step in range(steps):
            for k in range(size):
                code, time = await self.o.receive()
                self.outputs[step, k] = ((code & (2 * sign - 1)) ^ sign) - sign
                framing = code >> self.out_bits
                place = step % self.streams << 2
                if framing != int(k == 0) | int(k == size - 1) << 1 | place:
                    raise AssertionError(f"step {step} element {k}: first/last are {framing}")
            self.ends[step] = time
        self.o.stop()

    async def _finish(self) -> None:
        cocotb.start_soon(self._source())
        await cocotb.start_soon(self._sink())
        for stream in range(self.streams if self.words else 0):
            sign = 1 << (self.state_bits - 1)
            await self.c.send(stream << self.command_bits)
            self.c.stop()
            for k in range(self.words):
                code, _ = await self.s_o.receive()
                self.state[stream * self.words + k] = (code ^ sign) - sign
            self.s_o.stop()

    async def play(self, result: str) -> None:
        """Load states where the job has them, run its steps, read the states; write ``result``."""
        task = cocotb.start_soon(self._finish())
        await cocotb.triggers.with_timeout(task, self.budget * PERIOD, "ns")
        ends = (self.ends - self.start) // get_sim_steps(PERIOD, "ns")
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
