"""Gowin LittleBee and Arora.

Ref: DS117 (GW1NR), DS102 (GW2A), DS226 (GW2AR).
"""

from __future__ import annotations

from ..family import Device, Family, FlipFlopFit, LutFit

__all__ = ["DEVICES", "GOWIN"]

GOWIN = Family(
    "gowin", half_bits=9, block_bits=18, blocks_used=None,
    modes=((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)),
    block_cost=128, lut_ram=0, fill=0.75, half_clock=60, crowded=("luts",), link_rams=3,
    luts=LutFit(750.0, 6.4, 71.0, 0.0, 2.5),  # with those that only pass a signal on to a flip-flop
    flip_flops=FlipFlopFit(645.0, 5.4, 59.5),
)  # fmt: skip

DEVICES = (
    Device("GW1NR-9C", GOWIN, 8640, 20, 26, flip_flops=6480),
    Device("GW2A-18C", GOWIN, 20736, 48, 46, flip_flops=15552),
    Device("GW2AR-18C", GOWIN, 20736, 48, 46, flip_flops=15552),
)
