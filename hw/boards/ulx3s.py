"""Radiona ULX3S with four sizes of ECP5."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]


def _board(size: int, typical_clock: int, price: tuple[int, int]) -> Board:
    return Board(
        f"ulx3s-{size}f", f"Radiona ULX3S, ECP5-{size}", 30,
        f"amaranth_boards.ulx3s:ULX3S_{size}F_Platform", f"LFE5U-{size}F",
        clock=25_000_000, typical_clock=typical_clock, pll="EHXPLLL", price=price,
        programmer_args=("--board", "ulx3s"), usb="0403:6015", jtag=f"LFE5U-{size}",
    )  # fmt: skip


BOARDS = (
    _board(12, 167_000_000, (115, 155)),
    _board(25, 167_000_000, (115, 155)),
    _board(45, 150_000_000, (115, 155)),
    _board(85, 125_000_000, (155, 215)),
)
