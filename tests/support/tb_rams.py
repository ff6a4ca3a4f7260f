"""Cocotb bench of RAMs with a port that writes and ports that read: against a list of words."""

from __future__ import annotations

import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

LATENCY = 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def words_come_back(dut: Any) -> None:
    """Write and read at random, near both ends; no word is read in the cycle that writes it."""
    specs = json.loads(Path("specs.json").read_text())
    rng = random.Random(specs["seed"])
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    words: list[dict[int, int]] = [{} for _ in specs["rams"]]
    due: list[deque[int | None]] = [deque([None] * LATENCY) for _ in specs["rams"]]
    checked = [0] * len(words)
    for _ in range(800):
        await FallingEdge(dut.clk)
        for k, (width, depth) in enumerate(specs["rams"]):
            expected = due[k].popleft()
            if expected is not None:
                got = int(getattr(dut, f"r{k}_out").value)
                assert got == expected, f"RAM {width} x {depth}: {got:x}, not {expected:x}"
                checked[k] += 1
            near = [*range(6), *range(depth - 6, depth), depth // 2]
            write, read = rng.choice(near), rng.choice(near)
            enable = rng.random() < 0.6 and read != write
            due[k].append(words[k].get(read))
            code = rng.getrandbits(width)
            if enable:
                words[k][write] = code
            for name, value in (("en", enable), ("w", write), ("in", code), ("r", read)):
                getattr(dut, f"r{k}_{name}").value = int(value)
    assert min(checked) > 300
    Path("done").touch()
