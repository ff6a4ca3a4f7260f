"""The engine in Amaranth, and its export as Verilog."""

from __future__ import annotations

from .core import Core
from .export import core_verilog, write_verilog

verilog = core_verilog

__all__ = ["Core", "core_verilog", "verilog", "write_verilog"]
