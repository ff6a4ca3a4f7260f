"""OrangeCrab r0.2 with two sizes of ECP5."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]


def _board(size: int, typical_clock: int, price: tuple[int, int]) -> Board:
    return Board(
        f"orangecrab-{size}f", f"OrangeCrab r0.2, ECP5-{size}", 40,
        f"amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_{size}FPlatform", f"LFE5U-{size}F",
        clock=48_000_000, typical_clock=typical_clock, pll="EHXPLLL", price=price,
        programmer_args=("--board", "orangeCrab"), usb="1209:5af0", sram=False,
        # I/O 0 and 1 of the header, which a Feather has as RX and TX.
        uart=("N17", "M18", "LVCMOS33"),
        note="the link is on header pins 0 (rx) and 1 (tx): connect a 3.3 V USB-serial adapter; "
        "hold the button while plugging in to reach the bootloader",
    )  # fmt: skip


BOARDS = (_board(25, 216_000_000, (130, 200)), _board(85, 155_000_000, (190, 250)))
