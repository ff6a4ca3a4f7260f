"""Muse Lab iCESugar."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "icesugar", "Muse Lab iCESugar, iCE40 UP5K", 12,
        "amaranth_boards.icesugar:ICESugarPlatform", "iCE40UP5K",
        clock=12_000_000, typical_clock=42_000_000, pll="SB_PLL40_PAD", price=(35, 60),
        programmer_args=(), usb="1d50:602b", sram=False,
        note="copy top.bin to the drive iCELink that the board shows, or use icesprog",
    ),
)  # fmt: skip
