"""Colorlight i5 v7.0 on Muse Lab's extension board.

Pins: github.com/wuxx/Colorlight-FPGA-Projects, README.md (device, clock, LED) and
schematic/i5_v6.0-extboard.pdf (serial port of the on-board DAPLink).
"""

from __future__ import annotations

from typing import Any

from .board import Board

__all__ = ["BOARDS"]


def _platform() -> Any:
    """Return the platform's class: clock, LED and serial port. amaranth-boards has none."""
    from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
    from amaranth.vendor import LatticeECP5Platform
    from amaranth_boards.resources import UARTResource

    io = Attrs(IO_TYPE="LVCMOS33")

    class ColorlightI5Platform(LatticeECP5Platform):
        device, package, speed = "LFE5U-25F", "BG381", "6"
        default_clk: Any = "clk25"
        resources: Any = [  # noqa: RUF012
            Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), io),
            Resource("led", 0, PinsN("U16", dir="o"), io),
            UARTResource(0, rx="H18", tx="J17", attrs=io),
        ]
        connectors: Any = []  # noqa: RUF012

    return ColorlightI5Platform


BOARDS = (
    Board(
        "colorlight-i5", "Colorlight i5 v7.0 with Muse Lab's extension board, ECP5-25", 50,
        _platform, "LFE5U-25F",
        clock=25_000_000, typical_clock=167_000_000, pll="EHXPLLL", price=(40, 60),
        programmer_args=("--board", "colorlight-i5"), usb="0d28:0204", jtag="LFE5U-25",
    ),
)  # fmt: skip
