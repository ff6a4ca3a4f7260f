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
        ``i``, ``o``, ``c``, ``s_i`` or ``s_o``.
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


@cocotb.test()
async def run(dut: Any) -> None:
    """Run one job: state commands and steps in the order the job lists them."""
    with np.load("job.npz") as job:
        codes, first = job["codes"], job["first"]
        data_bits, out_bits, outputs = (
            int(job["data_bits"]),
            int(job["out_bits"]),
            int(job["outputs"]),
        )
        stall, seed, budget = float(job["stall"]), int(job["seed"]), int(job["budget"])
        load, state_bits, words = job["load"], int(job["state_bits"]), int(job["state_words"])
    rng = random.Random(seed)  # noqa: S311
    i = Stream(dut, "i", stall, rng)
    o = Stream(dut, "o", stall, random.Random(seed + 1))  # noqa: S311
    c, s_i, s_o = (Stream(dut, name, stall, rng) for name in ("c", "s_i", "s_o"))
    for stream in (i, c, s_i):
        stream.valid.value = 0
        stream.payload.value = 0
    o.ready.value = 0
    s_o.ready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0

    steps, _size = codes.shape
    mask, bit = (1 << data_bits) - 1, 1 << data_bits
    started: list[int] = []
    recorded = np.zeros((steps, outputs), np.int64)
    ends = np.zeros(steps, np.int64)
    state = np.zeros(words, np.int64)

    async def source() -> None:
        if len(load):
            await c.send(1)
            c.stop()
            for code in load.tolist():
                await s_i.send(code & ((1 << state_bits) - 1))
            s_i.stop()
        for row, fresh in zip(codes.tolist(), first.tolist(), strict=True):
            for k, code in enumerate(row):
                cycle = await i.send((code & mask) | (bit if fresh and k == 0 else 0))
                if not started:
                    started.append(cycle)
        i.stop()

    async def sink() -> None:
        sign = 1 << (out_bits - 1)
        for step in range(steps):
            for k in range(outputs):
                code, cycle = await o.receive()
                recorded[step, k] = ((code & (2 * sign - 1)) ^ sign) - sign
                framing = code >> out_bits
                expected = int(k == 0) | int(k == outputs - 1) << 1
                if framing != expected:
                    raise AssertionError(f"step {step} element {k}: first/last are {framing}")
            ends[step] = cycle
        o.ready.value = 0

    async def finish() -> None:
        cocotb.start_soon(source())
        await cocotb.start_soon(sink())
        if words:
            sign = 1 << (state_bits - 1)
            await c.send(0)
            c.stop()
            for k in range(words):
                code, _ = await s_o.receive()
                state[k] = (code ^ sign) - sign

    task = cocotb.start_soon(finish())
    await cocotb.triggers.with_timeout(task, budget * PERIOD, "ns")
    np.savez("result.npz", outputs=recorded, ends=ends - started[0], state=state)
