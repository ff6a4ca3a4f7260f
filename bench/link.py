"""Steps a second over the serial line: what the frames cost, and what a simulated board does.

    python bench/link.py PROGRAM [--clock 48] [--steps 300]

The board is simulated in Verilator with its real clock and rates; the host answers at once, so the
line is the limit. A USB bridge adds its latency to a run, and not to each step.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from gatewright.compiler import load_program
from gatewright.host.device import Device
from gatewright.host.wire.identity import Sizes
from gatewright.host.wire.protocol import CRC_BYTES, MAX_PAYLOAD, DownHeader, UpHeader, size
from gatewright.hw.link.system import System
from gatewright.sim.verilated import VerilatedBoard, build_board


def model(sizes: Sizes, baud: float) -> float:
    """Return the steps a second that the line allows: its busier direction, in full frames."""
    down = 1 + sizes.inputs * sizes.input_bytes
    up = sizes.outputs * sizes.output_bytes
    cost = [
        bytes_ * (1 + (size(header) + CRC_BYTES + 2) / MAX_PAYLOAD)
        for bytes_, header in ((down, DownHeader), (up, UpHeader))
    ]
    return baud / 10 / max(cost)


def main() -> None:
    """Print a line for each rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--clock", type=float, default=48.0, help="MHz")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--family", default="ice40up")
    options = parser.parse_args()
    program = load_program(options.program)
    clock = options.clock * 1e6
    core = clock / program.schedule.cycles()[0]
    codes = np.zeros((1, options.steps, program.input_size), np.int64)
    for baud in (1e6, 3e6):
        system = System(program, clock_hz=clock, baud=baud, family=options.family)
        with tempfile.TemporaryDirectory() as folder:
            board = VerilatedBoard(build_board(system, folder), clock_hz=clock, baud=baud)
            device = Device(board, program)
            start = board.cycle
            made = device.run_codes(codes)
            seconds = (board.cycle - start) / clock
            board.close()
        if (made != program.evaluate(codes).outputs).any():
            raise SystemExit("the board is not bit-exact")
        print(
            f"{baud / 1e6:g} Mbaud: {options.steps / seconds:,.0f} steps a second measured, "
            f"{model(device.sizes, baud):,.0f} by the model; the core alone {core:,.0f}"
        )


if __name__ == "__main__":
    main()
