"""Simulation: cocotb benches on Verilog, and the Amaranth simulator as a fast tier."""

from __future__ import annotations

from .runner import SIMULATORS, Bench, Simulation, simulate

__all__ = ["SIMULATORS", "Bench", "Simulation", "simulate"]
