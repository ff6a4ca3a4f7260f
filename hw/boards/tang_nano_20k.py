"""Sipeed Tang Nano 20K.

Pins: wiki.sipeed.com/hardware/en/tang/tang-nano-20k/nano-20k.html and its schematic
(clock on pin 4, serial port of the on-board BL616 on pins 69 and 70, LEDs on 15 to 20).
"""

from __future__ import annotations

from typing import Any

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, UARTResource

__all__ = ["TangNano20kPlatform"]


class TangNano20kPlatform(GowinPlatform):
    """Clock, LEDs and serial port."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk: Any = "clk27"
    resources: Any = [  # noqa: RUF012
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
    ]
    connectors: Any = []  # noqa: RUF012
