"""Colorlight 5A-75B, revision 7.0."""

from __future__ import annotations

from .board import Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        "colorlight-5a-75b", "Colorlight 5A-75B V7.0, ECP5-25", 55,
        "amaranth_boards.colorlight_5a75b_r7_0:Colorlight_5A75B_R70Platform", "LFE5U-25F",
        clock=25_000_000, typical_clock=167_000_000, pll="EHXPLLL", price=(15, 35),
        programmer_args=(), usb="0403:6010", jtag="LFE5U-25",
        note="it has JTAG pads and no USB: solder an adapter and use openFPGALoader --cable CABLE "
        "top.bit; the link is on J19, KEY+ (rx) and DATA_LED- (tx), which LED and button share",
    ),
)  # fmt: skip
