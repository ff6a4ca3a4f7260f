"""Colorlight i5 v7.0 on Muse Lab's extension board.

Pins: github.com/wuxx/Colorlight-FPGA-Projects, README.md (device, clock, LED) and
schematic/i5_v6.0-extboard.pdf (serial port of the on-board DAPLink).
"""

from __future__ import annotations

from typing import Any

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import UARTResource

__all__ = ["ColorlightI5Platform"]


class ColorlightI5Platform(LatticeECP5Platform):
    """Clock, LED and serial port."""

    device = "LFE5U-25F"
    package = "BG381"
    speed = "6"
    default_clk: Any = "clk25"
    resources: Any = [  # noqa: RUF012
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        Resource("led", 0, PinsN("U16", dir="o"), Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33")),
    ]
    connectors: Any = []  # noqa: RUF012
