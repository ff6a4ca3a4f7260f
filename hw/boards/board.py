"""Description of a board: its device, clock, pins and programmer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...compiler.target.devices import DEVICES
from ...compiler.target.family import Device

if TYPE_CHECKING:
    from ..vendor.family import VendorFamily

__all__ = ["Board"]


@dataclass(frozen=True)
class Board:
    """A board: its device, its pins by an Amaranth platform, and how to write it.

    Parameters
    ----------
    name : str
        As ``--board`` takes it.
    title : str
    rank : int
        Place in lists: boards of a family stand together.
    platform : str or callable
        ``module:class`` of the Amaranth platform that has the pins, or a function that returns the
        class; clock, device, package and speed grade are read from it.
    device : str
        Key of :data:`~gatewright.compiler.target.devices.DEVICES`.
    clock : int
        Frequency of the board's oscillator, hertz.
    typical_clock : int
        Clock that a whole top usually reaches, hertz: the first place and route aims at it, and
        rates are planned with it.
    pll : str
        PLL primitive: ``SB_PLL40_PAD``, ``SB_PLL40_CORE``, ``EHXPLLL`` or ``rPLL``.
    price : tuple of (int, int)
        Lowest and highest price in US dollars as of 2025.
    programmer_args : tuple of str
        Arguments of openFPGALoader that name board or cable; empty where it cannot write the board,
        and then the note says what can.
    usb : str
        ``vendor:product`` of the USB bridge, hexadecimal.
    jtag : str
        Model that openFPGALoader reads at the JTAG port; empty where there is none to read.
    sram : bool
        The bitstream can be loaded without writing the flash.
    flash_offset : int, optional
        Byte of the SPI flash behind the bitstream, where weights are put.
    uart : tuple of str
        Pins (rx, tx) and their I/O type, where the platform names none.
    note : str
        Advice about the link.
    """

    name: str
    title: str
    rank: int
    platform: str | Callable[[], Any]
    device: str
    clock: int
    typical_clock: int
    pll: str
    price: tuple[int, int]
    programmer_args: tuple[str, ...]
    usb: str
    jtag: str = ""
    sram: bool = True
    flash_offset: int | None = None
    uart: tuple[str, ...] = ()
    note: str = ""

    @property
    def capacity(self) -> Device:
        """Counts of the device."""
        return DEVICES[self.device]

    @property
    def family(self) -> str:
        """Name of the device's family, as the core takes it."""
        return self.capacity.family.name

    @property
    def vendor(self) -> VendorFamily:
        """Primitives, PLL and tools of the family. Loads Amaranth."""
        from ..vendor import find_family

        return find_family(self.family)

    @property
    def price_class(self) -> str:
        """Range of the price, for people."""
        low, high = self.price
        return f"${low}-{high}"

    def make_platform(self) -> Any:
        """Return a fresh Amaranth platform; each can be built once."""
        from amaranth.build import Attrs
        from amaranth_boards.resources import UARTResource

        if isinstance(self.platform, str):
            module, name = self.platform.split(":")
            platform = getattr(import_module(module), name)()
        else:
            platform = self.platform()()
        if self.uart:
            rx, tx, io_type = self.uart
            platform.add_resources([UARTResource(0, rx=rx, tx=tx, attrs=Attrs(IO_TYPE=io_type))])
        return platform
