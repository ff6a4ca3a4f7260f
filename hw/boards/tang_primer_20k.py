"""Sipeed Tang Primer 20K on its dock."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "tang-primer-20k", "Sipeed Tang Primer 20K on its dock, GW2A-18", 90,
        "amaranth_boards.tang_primer_20k:TangPrimer20kPlatform", "GW2A-18C",
        clock=27_000_000, typical_clock=180_000_000, pll="rPLL", price=(25, 60),
        programmer_args=("--board", "tangprimer20k"), usb="0403:6010", jtag="GW2A(R)-18(C)",
    ),
)  # fmt: skip
