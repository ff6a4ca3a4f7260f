"""Cycles and utilization of every cell: ``python bench/cells.py``. Exact counts, no timing.

``python bench/cells.py --streams`` prints what many streams on one core gain, ``--cost`` what they
take of an ECP5 (Yosys, a minute each).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Model, Recurrent
from gatewright.compiler.layout.geometry import Geometry
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.export.verilog import TOP, write_verilog
from gatewright.sim.netlist import synthesize

SIZES = ((16, 32, 12), (64, 64, 24), (64, 128, 96))  # I, H, lanes
SMALL = ((8, 8), (8, 16), (8, 20), (8, 32))  # I, H
STREAMS = (1, 2, 3, 4)


def program(cell: str, i: int, h: int, lanes: int) -> Program:
    """Return a program of one layer with random weights (seed 0)."""
    rng = np.random.default_rng(0)
    gates = CELLS[cell].weighted
    layer = Recurrent(
        cell,
        cell,
        ("x",),
        h,
        i,
        {g.name: rng.normal(0, 0.1, (h, i)) for g in gates if g.input},
        {g.name: rng.normal(0, 0.1, (h, h)) for g in gates if g.recurrent},
    )
    return quantize(Model(i, (layer,)), rng.normal(size=(1, 4, i)), Config(lanes=lanes))


def main() -> None:
    """Print one row a cell and size."""
    print("| cell | I | H | lanes | split x beat | walks: tiles x columns | cycles | utilization |")
    print("|---|---|---|---|---|---|---|---|")
    for cell in CELLS:
        for i, h, lanes in SIZES:
            s = program(cell, i, h, lanes).schedule
            g = s.geometry
            walks = " + ".join(f"{b.tiles} x {b.columns}" for b in s.blocks)
            print(
                f"| `{cell}` | {i} | {h} | {lanes} | {g.split} x {g.beat} | {walks} | "
                f"{s.cycles()[0]} | {100 * s.utilization():.1f} % |"
            )


def main_streams() -> None:
    """Print one row a cell and size: cycles of a step, and the share of useful products."""
    heads = [f"{n} stream{'s' * (n > 1)}" for n in STREAMS]
    print(f"| cell | I | H | {' | '.join(heads)} |")
    print("|---" * (3 + len(STREAMS)) + "|")
    for cell in ("gru", "lstm", "mgu", "rnn"):
        for i, h in SMALL:
            one = program(cell, i, h, 0)
            made = [Program(one.network, replace(one.config, streams=n)) for n in STREAMS]
            cycles = [f"{p.schedule.cycles()[0]} ({p.schedule.utilization():.0%})" for p in made]
            print(f"| `{cell}` | {i} | {h} | {' | '.join(cycles)} |")


def main_cost() -> None:
    """Print one row a number of streams: cells of a core, without the link."""
    kinds = {
        "LUT4": "LUT4", "flip-flops": "TRELLIS_FF", "LUT RAM (16 x 4)": "TRELLIS_DPR16X4",
        "block RAM": "DP16KD",
    }  # fmt: skip
    print(f"| streams | {' | '.join(kinds)} |")
    print("|---" * (1 + len(kinds)) + "|")
    one = program("gru", 8, 16, 24)
    for n in (1, 2):
        p = Program(one.network, replace(one.config, streams=n), geometry=Geometry(24, 1, 1))
        with TemporaryDirectory() as folder:
            write_verilog(p, Path(folder) / "v", family="ecp5")
            cells = synthesize("read_verilog core.v", TOP, "ecp5", Path(folder) / "v").cells
        print(f"| {n} | {' | '.join(f'{cells[kind]:,}' for kind in kinds.values())} |", flush=True)


if __name__ == "__main__":
    sys.exit(
        main_streams()
        if "--streams" in sys.argv
        else main_cost()
        if "--cost" in sys.argv
        else main()
    )
