"""The engine in Amaranth, its export as Verilog, whole designs for boards, and the host's side.

Amaranth is loaded when a name that needs it is looked up: a host that only talks to a board
(:mod:`.host`) does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core import Core
    from .export import core_verilog, write_verilog
    from .export import core_verilog as verilog
    from .host import Device
    from .system import System

__all__ = ["Core", "Device", "System", "core_verilog", "verilog", "write_verilog"]

_PLACES = {
    "Core": ("core", "Core"),
    "Device": ("host", "Device"),
    "System": ("system", "System"),
    "core_verilog": ("export", "core_verilog"),
    "verilog": ("export", "core_verilog"),
    "write_verilog": ("export", "write_verilog"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f".{module}", __name__), attribute)
