"""tinyVision pico-ice, with the firmware that its RP2040 is delivered with.

Pins: github.com/tinyvision-ai-inc/pico-ice-sdk, rtl/pico_ice.pcf. Clock of 12 MHz from the RP2040 and
the serial line through it: github.com/tinyvision-ai-inc/pico-ice, Firmware/pico-ice-default/README.md.
"""

from __future__ import annotations

from typing import Any

from .board import Board

__all__ = ["BOARDS"]


def _platform() -> Any:
    """Return the platform's class: clock, LED and serial port. amaranth-boards has none."""
    from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
    from amaranth.vendor import LatticeICE40Platform
    from amaranth_boards.resources import UARTResource

    io = Attrs(IO_STANDARD="SB_LVCMOS")

    class PicoIcePlatform(LatticeICE40Platform):
        device, package = "iCE40UP5K", "SG48"
        default_clk: Any = "clk12"
        resources: Any = [  # noqa: RUF012
            Resource("clk12", 0, Pins("35", dir="i"), Clock(12e6), Attrs(GLOBAL=True, IO_STANDARD="SB_LVCMOS")),
            Resource("led", 0, PinsN("39", dir="o"), io),
            UARTResource(0, rx="27", tx="25", attrs=io),
        ]  # fmt: skip
        connectors: Any = []  # noqa: RUF012

    return PicoIcePlatform


BOARDS = (
    Board(
        "pico-ice", "tinyVision pico-ice, iCE40 UP5K and RP2040", 14, _platform, "iCE40UP5K",
        clock=12_000_000, typical_clock=42_000_000, pll="SB_PLL40_PAD", price=(30, 50),
        programmer_args=(), usb="1209:b1c0", sram=False,
        note="write it with dfu-util -d 1209:b1c0 -a 0 -D top.bin; the link is the second serial port of "
        "its default firmware",
    ),
)  # fmt: skip
