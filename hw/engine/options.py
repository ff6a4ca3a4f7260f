"""Ways to realize a core that change neither its results nor its cycles."""

from __future__ import annotations

from dataclasses import dataclass

from ..vendor.family import GENERIC, VendorFamily

__all__ = ["CoreOptions"]


@dataclass(frozen=True)
class CoreOptions:
    """Options of a core and its memories.

    Parameters
    ----------
    family : VendorFamily
    loadable : bool
        Weights and beat table are RAM, read and loaded over the state port.
    rom_files : bool
        Read weights and beat table from hexadecimal files,
        :func:`~gatewright.compiler.layout.images.hex_files`; otherwise they are part of the design.
    multipliers : int, optional
        Multiplier blocks that may be used, all unless given; further ones are made of adders.
    trace : bool
        Add the tracks of :mod:`.trace`, for a waveform.
    """

    family: VendorFamily = GENERIC
    loadable: bool = False
    rom_files: bool = False
    multipliers: int | None = None
    trace: bool = False
