"""LambdaConcept ECPIX-5 with an ECP5-5G of 45,000 cells."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "ecpix-5-45f", "LambdaConcept ECPIX-5, ECP5-5G-45", 64,
        "amaranth_boards.ecpix5:ECPIX545Platform", "LFE5UM5G-45F",
        clock=100_000_000, typical_clock=210_000_000, pll="EHXPLLL", price=(140, 220),
        programmer_args=("--board", "ecpix5"), usb="0403:6010", jtag="LFE5UM5G-45",
    ),
)  # fmt: skip
