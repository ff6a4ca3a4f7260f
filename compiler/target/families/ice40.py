"""Lattice iCE40 UltraPlus and iCE40 HX.

Ref: FPGA-DS-02008 (UltraPlus), FPGA-DS-02029 (LP/HX).
"""

from __future__ import annotations

from ..family import Device, Family, LutFit

__all__ = ["DEVICES", "HX", "ULTRA_PLUS"]

MODES = ((16, 256), (8, 512), (4, 1024), (2, 2048))

ULTRA_PLUS = Family(
    "ice40up", half_bits=8, block_bits=16, blocks_used=8, modes=MODES, block_cost=64, lut_ram=0,
    fill=0.93, half_clock=200, crowded=("luts",), link_rams=4, luts=LutFit(2510.0, 4.8, 42.0, 0.0, 2.6),
)  # fmt: skip
HX = Family(
    "ice40hx", half_bits=0, block_bits=0, blocks_used=0, modes=MODES, block_cost=64, lut_ram=0,
    fill=0.93, half_clock=200, crowded=("luts",), link_rams=4, luts=LutFit(2280.0, 4.8, 42.0, 0.0, 2.6),
)  # fmt: skip

DEVICES = (
    Device("iCE40UP5K", ULTRA_PLUS, 5280, 8, 30, large_rams=4),
    Device("iCE40HX8K", HX, 7680, 0, 32),
)
