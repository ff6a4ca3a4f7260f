"""Muse Lab iCESugar-Pro."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "icesugar-pro", "Muse Lab iCESugar-Pro, ECP5-25", 60,
        "amaranth_boards.icesugar_pro:ICESugarProPlatform", "LFE5U-25F",
        clock=25_000_000, typical_clock=167_000_000, pll="EHXPLLL", price=(50, 70),
        programmer_args=("--cable", "cmsisdap"), usb="1d50:602b", jtag="LFE5U-25",
    ),
)  # fmt: skip
