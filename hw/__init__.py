"""Gateware in Amaranth: the engine, its link, its export as Verilog, and bitstreams for boards.

Amaranth is loaded when a name that needs it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..host.device import Device
    from .engine.core import Core
    from .export.verilog import core_verilog, write_verilog
    from .export.verilog import core_verilog as verilog
    from .link.system import System

__all__ = ["Core", "Device", "System", "core_verilog", "verilog", "write_verilog"]

_PLACES = {
    "Core": (".engine.core", "Core"),
    "Device": ("..host.device", "Device"),
    "System": (".link.system", "System"),
    "core_verilog": (".export.verilog", "core_verilog"),
    "verilog": (".export.verilog", "core_verilog"),
    "write_verilog": (".export.verilog", "write_verilog"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module, __name__), attribute)
