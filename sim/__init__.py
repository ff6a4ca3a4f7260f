"""Simulation: cocotb benches on Verilog, and the Amaranth simulator as a fast tier."""

from __future__ import annotations

from .runner import Bench, Simulation, simulate
from .simulators import SIMULATORS

__all__ = ["SIMULATORS", "Bench", "Simulation", "simulate"]
