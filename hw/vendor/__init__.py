"""FPGA families: primitives, phase-locked loop and tools of each, one file a family.

A file names its families in ``FAMILIES``, and is found by that. It may read only
:mod:`gatewright.compiler.target` and the two base files, :mod:`.family` and :mod:`.pll`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from .family import GENERIC, VendorFamily

__all__ = ["families", "find_family"]


@cache
def families() -> dict[str, VendorFamily]:
    """Return every family by its name: ``generic`` first, then those with primitives of their own."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    own = [family for module in modules for family in getattr(module, "FAMILIES", ())]
    return {family.name: family for family in (GENERIC, *own)}


def find_family(name: str) -> VendorFamily:
    """Return a family by its name.

    Raises
    ------
    ValueError
        No such family.
    """
    if name not in families():
        raise ValueError(f"family is one of {', '.join(families())}, not {name!r}")
    return families()[name]
