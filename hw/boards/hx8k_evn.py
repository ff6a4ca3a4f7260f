"""Lattice iCE40-HX8K-B-EVN."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "hx8k-evn", "Lattice iCE40-HX8K-B-EVN", 20,
        "amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform", "iCE40HX8K",
        clock=12_000_000, typical_clock=84_000_000, pll="SB_PLL40_CORE", price=(50, 90),
        programmer_args=("--board", "ice40_generic"), usb="0403:6010", sram=False,
    ),
)  # fmt: skip
