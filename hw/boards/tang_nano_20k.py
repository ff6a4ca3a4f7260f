"""Sipeed Tang Nano 20K.

Pins: wiki.sipeed.com/hardware/en/tang/tang-nano-20k/nano-20k.html and its schematic
(clock on pin 4, serial port of the on-board BL616 on pins 69 and 70, LEDs on 15 to 20).
"""

from __future__ import annotations

from typing import Any

from .board import Board

__all__ = ["BOARDS"]


def _platform() -> Any:
    """Return the platform's class: clock, LEDs and serial port. amaranth-boards has none."""
    from amaranth.build import Attrs, Clock, Pins, Resource
    from amaranth.vendor import GowinPlatform
    from amaranth_boards.resources import LEDResources, UARTResource

    io = Attrs(IO_TYPE="LVCMOS33")

    class TangNano20kPlatform(GowinPlatform):
        part, family = "GW2AR-LV18QN88C8/I7", "GW2AR-18C"
        default_clk: Any = "clk27"
        resources: Any = [  # noqa: RUF012
            Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), io),
            *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=io),
            UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
        ]
        connectors: Any = []  # noqa: RUF012

    return TangNano20kPlatform


BOARDS = (
    Board(
        "tang-nano-20k", "Sipeed Tang Nano 20K, GW2AR-18", 80, _platform, "GW2AR-18C",
        clock=27_000_000, typical_clock=180_000_000, pll="rPLL", price=(25, 35),
        programmer_args=("--board", "tangnano20k"), usb="0403:6010", jtag="GW2A(R)-18(C)",
    ),
)  # fmt: skip
