"""Icepi Zero, revision 1.3."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "icepi-zero", "Icepi Zero 1.3, ECP5-25", 62,
        "amaranth_boards.icepi_zero:IcepiZero1_3Platform", "LFE5U-25F",
        clock=50_000_000, typical_clock=167_000_000, pll="EHXPLLL", price=(65, 90),
        programmer_args=("--board", "icepi-zero"), usb="0403:6015", jtag="LFE5U-25",
    ),
)  # fmt: skip
