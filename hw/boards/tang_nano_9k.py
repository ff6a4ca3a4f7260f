"""Sipeed Tang Nano 9K."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "tang-nano-9k", "Sipeed Tang Nano 9K, GW1NR-9", 70,
        "amaranth_boards.tang_nano_9k:TangNano9kPlatform", "GW1NR-9C",
        clock=27_000_000, typical_clock=120_000_000, pll="rPLL", price=(13, 20),
        programmer_args=("--board", "tangnano9k"), usb="0403:6010", jtag="GW1N(R)-9C",
    ),
)  # fmt: skip
