"""The cocotb bench of a design that holds many cores: plays ``job0.npz``, ``job1.npz``, ... at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from gatewright.sim.tb_core import Player, reset


@cocotb.test()
async def run(dut: Any) -> None:
    players = []
    for k in range(len(list(Path().glob("job*.npz")))):
        with np.load(f"job{k}.npz") as job:
            players.append(Player(dut, job, f"k{k}_"))
    await reset(dut)
    tasks = [cocotb.start_soon(p.play(f"result{k}.npz")) for k, p in enumerate(players)]
    for task in tasks:
        await task
