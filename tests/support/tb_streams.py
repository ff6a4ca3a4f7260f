"""Cocotb bench of the stream drivers: on queues that keep the rule of a stream, and that break it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from gatewright.sim.streams import StreamChecker, StreamSink, StreamSource


async def play(dut: Any, name: str, stalls: tuple[float, float], seed: int) -> str:
    """Send 200 payloads through a queue; return the first fault that a driver or the checker saw."""
    faults: list[str] = []
    payloads = [(k * 37 + seed) % 256 for k in range(200)]
    source = StreamSource(dut, f"{name}_i", stall=stalls[0], seed=seed)
    sink = StreamSink(dut, f"{name}_o", stall=stalls[1], seed=seed + 1)

    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await RisingEdge(dut.clk)

    async def watch() -> None:
        try:
            await StreamChecker(dut, f"{name}_o").watch()
        except AssertionError as fault:
            faults.append(f"checker {fault}")

    async def receive() -> None:
        got = [await sink.receive() for _ in payloads]
        sink.stop()
        times = [transfer.time for transfer in got]
        assert times == sorted(set(times)), "one transfer a cycle"
        assert [transfer.payload for transfer in got] == payloads

    checker = cocotb.start_soon(watch())
    sender = cocotb.start_soon(source.send_all(payloads))
    try:
        await with_timeout(cocotb.start_soon(receive()), 100, "us")
    except AssertionError as fault:
        faults.append(f"sink {fault}")
    for task in (checker, sender):
        task.cancel()
    return "; ".join(sorted(faults))


@cocotb.test()
async def run(dut: Any) -> None:
    Clock(dut.clk, 10, unit="ns").start()
    found = {}
    for name in ("good", "withdraws", "changes"):
        for stalls in ((0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.4, 0.4)):
            found[f"{name} {stalls}"] = await play(dut, name, stalls, 5)
    Path("found.json").write_text(json.dumps(found))
