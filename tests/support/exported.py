"""What an export writes, and a program to export; also imported by processes that tests start."""

from __future__ import annotations

from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.program.program import Program

from .randoms import program

FILES = [
    "core.v",
    "gatewright_axis.v",
    "gatewright_wishbone.v",
    "gatewright_core.core",
    "weights.hex",
    "beats.hex",
    "beats_1.hex",
    "beats_2.hex",
    "gatewright.h",
    "gatewright.svh",
    "gatewright_tb.sv",
    "vectors.hex",
]


def exported(seed: int) -> Program:
    """Return a small random program of any cell."""
    return program(seed, cells=tuple(CELLS), largest=6, layers=2, most_lanes=24)
