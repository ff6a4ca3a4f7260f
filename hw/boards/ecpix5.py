"""LambdaConcept ECPIX-5 with two sizes of ECP5-5G."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]


def _board(size: int, typical_clock: int, price: tuple[int, int]) -> Board:
    return Board(
        f"ecpix-5-{size}f", f"LambdaConcept ECPIX-5, ECP5-5G-{size}", 64,
        f"amaranth_boards.ecpix5:ECPIX5{size}Platform", f"LFE5UM5G-{size}F",
        clock=100_000_000, typical_clock=typical_clock, pll="EHXPLLL", price=price,
        programmer_args=("--board", "ecpix5"), usb="0403:6010", jtag=f"LFE5UM5G-{size}",
    )  # fmt: skip


BOARDS = (_board(45, 210_000_000, (140, 220)), _board(85, 155_000_000, (180, 300)))
