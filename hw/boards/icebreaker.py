"""1BitSquared iCEBreaker."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "icebreaker", "1BitSquared iCEBreaker, iCE40 UP5K", 10,
        "amaranth_boards.icebreaker:ICEBreakerPlatform", "iCE40UP5K",
        clock=12_000_000, typical_clock=42_000_000, pll="SB_PLL40_PAD", price=(70, 90),
        programmer_args=("--board", "ice40_generic"), usb="0403:6010", sram=False,
        flash_offset=0x2_0000,
    ),
)  # fmt: skip
