"""Memories in which a read in the cycle of a write to the same word may give anything.

For Amaranth such a read gives the old word. Block RAM promises nothing of the kind, so a synthesizer
that is held to it surrounds every memory with registers, comparators and multiplexers. Where no
result depends on such a read, :func:`memory` says so, by an attribute that Yosys knows from Verilog;
RTLIL has a parameter for it, which Amaranth does not set: :func:`release` does. Simulators of
:mod:`gatewright.sim.collisions` give garbage in its place.
"""

from __future__ import annotations

import re
from typing import Any

from amaranth.lib.memory import Memory

__all__ = ["ATTRIBUTE", "memory", "release"]

ATTRIBUTE = "no_rw_check"


def memory(*, shape: Any, depth: int, init: Any = (), **attributes: Any) -> Any:
    """Return a memory whose colliding reads are not defined, with attributes for the synthesizer."""
    return Memory(shape=shape, depth=depth, init=init, attrs={ATTRIBUTE: 1} | attributes)


def release(rtlil: str) -> str:
    """Mark the read ports of memories with :data:`ATTRIBUTE` in a design's RTLIL."""
    return "".join(_release_module(part) for part in re.split(r"(?m)^(?=module )", rtlil))


def _release_module(text: str) -> str:
    for name in re.findall(
        rf"attribute \\{ATTRIBUTE} 1\n(?: *attribute .*\n)* *memory .* \\(\S+)\n", text
    ):
        text = re.sub(
            rf'(MEMID "\\\\{re.escape(name)}"\n(?: *parameter .*\n)*? *parameter \\COLLISION_X_MASK )'
            r"(\d+)'0+\n",
            lambda found: f"{found[1]}{found[2]}'{'1' * int(found[2]) or '0'}\n",
            text,
        )
    return text
