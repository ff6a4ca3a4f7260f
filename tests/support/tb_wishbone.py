"""Cocotb bench of the Wishbone registers: a bus master that plays a job as a CPU would."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout

IDENTITY, CONTROL, LEVELS, INPUT, OUTPUT, COMMAND, STATE_IN, STATE_OUT = 0, 5, 6, 7, 8, 9, 10, 11
ROOM, THERE, IRQ, OVERRUN, UNDERRUN, COMMAND_BUSY, STATE_BUSY, STATE_THERE = (
    1 << k for k in range(8)
)


class Master:
    """A Wishbone B4 classic master that pauses at random between accesses."""

    def __init__(self, dut: Any, rng: random.Random, pause: float) -> None:
        self.dut, self.rng, self.pause = dut, rng, pause
        for name in ("cyc", "stb", "we", "sel", "adr", "dat"):
            getattr(dut, f"wb_{name}_i").value = 0

    async def _access(self, address: int, data: int, write: bool, select: int) -> int:
        dut = self.dut
        while self.rng.random() < self.pause:
            dut.wb_cyc_i.value = dut.wb_stb_i.value = 0
            await RisingEdge(dut.clk)
        dut.wb_cyc_i.value = dut.wb_stb_i.value = 1
        dut.wb_we_i.value, dut.wb_sel_i.value = int(write), select
        dut.wb_adr_i.value, dut.wb_dat_i.value = address, data
        for _ in range(8):
            await RisingEdge(dut.clk)
            if dut.wb_ack_o.value == 1:
                got = dut.wb_dat_o.value.to_unsigned()
                # Strobe falls, or the next access follows at once.
                dut.wb_stb_i.value = 0
                dut.wb_cyc_i.value = int(self.rng.random() < 0.5)
                return got
        raise AssertionError(f"no acknowledge from register {address}")

    async def read(self, address: int, select: int = 15) -> int:
        return await self._access(address, self.rng.getrandbits(32), False, select)

    async def write(self, address: int, data: int, select: int = 15) -> None:
        await self._access(address, data & 0xFFFFFFFF, True, select)


def signed(code: int, bits: int) -> int:
    code &= (1 << bits) - 1
    return code - (1 << bits) if code >> (bits - 1) else code


async def play(bus: Master, job: Any) -> tuple[np.ndarray, np.ndarray]:
    """Load, run and read as the job says; return outputs and state."""
    load, codes, first = job["load"], job["codes"], job["first"]
    shift = int(job["command_bits"])
    for stream, words in enumerate(load.tolist()):
        await bus.write(COMMAND, 1 | stream << shift)
        for word in words:
            while await bus.read(CONTROL) & STATE_BUSY:
                pass
            await bus.write(STATE_IN, word)
        while await bus.read(CONTROL) & (STATE_BUSY | COMMAND_BUSY):
            pass
    todo = [
        code & 0xFFFF | int(fresh and k == 0) << 16 | bus.rng.getrandbits(15) << 17
        for row, fresh in zip(codes.tolist(), first.tolist(), strict=True)
        for k, code in enumerate(row)
    ]
    outputs = np.zeros((len(codes), int(job["outputs"])), np.int64)
    taken = 0
    while taken < outputs.size:
        levels = await bus.read(LEVELS)
        for _ in range(min(levels & 0xFFFF, len(todo))):
            await bus.write(INPUT, todo.pop(0))
        for _ in range(levels >> 16):
            word = await bus.read(OUTPUT)
            k = taken % outputs.shape[1]
            assert word >> 31, "the level promised an output"
            turn = taken // outputs.shape[1] % int(job["streams"]) << 2
            ends = int(k == 0) | int(k == outputs.shape[1] - 1) << 1
            assert word >> 16 & 0x7FFF == ends | turn, f"{word:x}"
            outputs.flat[taken] = signed(word, 16)
            taken += 1
    words, streams = int(job["state_words"]), int(job["streams"])
    state = np.zeros(streams * words, np.int64)
    for stream in range(streams if words else 0):
        await bus.write(COMMAND, stream << shift)
        for k in range(stream * words, (stream + 1) * words):
            word = 0
            while not word >> 31:
                if await bus.read(CONTROL) & STATE_THERE:
                    word = await bus.read(STATE_OUT)
            state[k] = signed(word, 24)
    return outputs, state


async def overfill(bus: Master, job: Any, outputs: np.ndarray) -> None:
    """Offer elements without looking for room; those that are not refused give their outputs."""
    codes, first = job["codes"], job["first"].copy()
    first[: int(job["streams"])] = True  # the job again and again
    inputs, accepted, refused = codes.shape[1], 0, 0
    while refused < 3:
        step, k = divmod(accepted, inputs)
        step %= len(codes)
        word = int(codes[step, k]) & 0xFFFF | int(first[step] and k == 0) << 16
        room = await bus.read(LEVELS) & 0xFFFF  # the core may make more, nobody takes any
        await bus.write(INPUT, word)
        if await bus.read(CONTROL) & OVERRUN:
            assert room == 0
            await bus.write(CONTROL, 4 | 8)
            refused += 1
        else:
            accepted += 1
    # The last outputs stay there, for the interrupt.
    for k in range((accepted // inputs - 1) * outputs.shape[1]):
        word = 0
        while not word >> 31:
            word = await bus.read(OUTPUT)
        if job["first"][0]:
            assert signed(word, 16) == outputs.flat[k % outputs.size], f"output {k} after a refusal"
    await ClockCycles(bus.dut.clk, 300)


async def run_all(dut: Any, job: Any) -> None:
    rng = random.Random(int(job["seed"]))
    bus = Master(dut, rng, float(job["stall"]))
    registers = [await bus.read(k) for k in range(5)]
    assert await bus.read(CONTROL) == ROOM
    outputs, state = await play(bus, job)
    assert await bus.read(CONTROL) & (OVERRUN | UNDERRUN) == 0

    # What cannot be done is said, changes nothing, and is said until it is cleared.
    assert await bus.read(OUTPUT) == 0 and await bus.read(STATE_OUT) == 0
    assert await bus.read(CONTROL) & UNDERRUN
    await bus.write(CONTROL, 8)
    assert await bus.read(CONTROL) == ROOM
    await bus.write(INPUT, 1, select=1)  # not a whole word: no effect
    assert await bus.read(LEVELS) == 64
    await bus.write(CONTROL, 4)  # interrupts
    await overfill(bus, job, outputs)
    assert dut.irq.value == 1

    # A reset forgets all of that: the same job again gives the same.
    await bus.write(CONTROL, 1 | 8)
    assert await bus.read(CONTROL) == ROOM and await bus.read(LEVELS) == 64
    assert dut.irq.value == 0
    again, state_again = await play(bus, job)
    assert (again == outputs).all() and (state_again == state).all()
    ends = np.zeros(len(outputs), np.int64)
    np.savez("result.npz", outputs=outputs, ends=ends, state=state, registers=registers)


@cocotb.test()
async def run(dut: Any) -> None:
    with np.load("job.npz") as job:
        job = dict(job)
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    bus = ("cyc", "stb", "we", "sel", "adr", "dat")
    for name in bus:
        getattr(dut, f"wb_{name}_i").value = 0
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)
    await with_timeout(cocotb.start_soon(run_all(dut, job)), 100 * int(job["budget"]) * 10, "ns")
