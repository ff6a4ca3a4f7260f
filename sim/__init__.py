"""Simulation: cocotb and C++ benches on Verilog, and the Amaranth simulator as a fast tier.

A bench inside a simulator imports :mod:`.streams` from here: nothing else is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench import Bench
    from .runner import Simulation, simulate
    from .simulators import SIMULATORS

__all__ = ["SIMULATORS", "Bench", "Simulation", "simulate"]

_PLACES = {
    "SIMULATORS": ".simulators",
    "Bench": ".bench",
    "Simulation": ".runner",
    "simulate": ".runner",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
