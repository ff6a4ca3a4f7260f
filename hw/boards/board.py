"""What is known of a board."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ...compiler.target.devices import DEVICES, Device

__all__ = ["Board"]


@dataclass(frozen=True)
class Board:
    """A board: its device, its pins by an Amaranth platform, and how to write it.

    Parameters
    ----------
    name : str
        As ``--board`` takes it.
    title : str
    platform : str
        ``module:class`` of the Amaranth platform that has the pins; clock, device, package and
        speed grade are read from it.
    device : str
        Key of :data:`~gatewright.compiler.target.devices.DEVICES`.
    clock : int
        Frequency of the board's oscillator, hertz.
    usual : int
        Clock that a whole top usually reaches, hertz: the first place and route aims at it, and
        rates are planned with it.
    pll : str
        PLL primitive: ``SB_PLL40_PAD``, ``SB_PLL40_CORE``, ``EHXPLLL`` or ``rPLL``.
    price : str
        Class of price in US dollars as of 2025.
    loader : tuple of str
        Arguments of openFPGALoader that name board or cable.
    usb : str
        ``vendor:product`` of the USB bridge, hexadecimal.
    jtag : str
        Model that openFPGALoader reads at the JTAG port; empty where there is none to read.
    sram : bool
        The bitstream can be loaded without writing the flash.
    flash_offset : int
        Byte of the SPI flash behind the bitstream, where weights are put.
    uart : tuple of str
        Pins (rx, tx) and their I/O type, where the platform names none.
    note : str
        What a user has to know about the link.
    """

    name: str
    title: str
    platform: str
    device: str
    clock: int
    usual: int
    pll: str
    price: str
    loader: tuple[str, ...]
    usb: str
    jtag: str = ""
    sram: bool = True
    flash_offset: int | None = None
    uart: tuple[str, ...] = field(default=())
    note: str = ""

    @property
    def capacity(self) -> Device:
        """What the device has."""
        return DEVICES[self.device]

    @property
    def family(self) -> str:
        """Family of the device, as the core knows it."""
        return self.capacity.family

    def make_platform(self) -> Any:
        """Return a fresh Amaranth platform; each can be built once."""
        from amaranth.build import Attrs
        from amaranth_boards.resources import UARTResource

        module, name = self.platform.split(":")
        base = "gatewright.hw.boards" if module.startswith(".") else None
        platform = getattr(import_module(module, base), name)()
        if self.uart:
            rx, tx, io_type = self.uart
            platform.add_resources([UARTResource(0, rx=rx, tx=tx, attrs=Attrs(IO_TYPE=io_type))])
        return platform
