"""Simulation: cocotb benches on Verilog, and the Amaranth simulator as a fast tier."""

from __future__ import annotations

from .bench import Bench
from .runner import Simulation, simulate
from .simulators import SIMULATORS

__all__ = ["SIMULATORS", "Bench", "Simulation", "simulate"]
