"""Weights in a board's SPI flash, read at power-up: the layout. No Amaranth here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cobs import crc
from .identity import contents, digest_id

if TYPE_CHECKING:
    from ...compiler.program.program import Program

__all__ = ["MAGIC", "flash_header", "flash_image"]

MAGIC = b"GWF1"


def flash_header(program: Program) -> bytes:
    """Return what the gateware compares: magic, and the digest of the hardware."""
    return MAGIC + digest_id(program.hardware_digest)


def flash_image(program: Program) -> bytes:
    """Return what is written to flash for :class:`.flash_loader.FlashLoader`.

    Magic, hardware digest, program digest; beat table, then weights, in 16-bit chunks as the
    core takes them; CRC-32 of all that.
    """
    image = flash_header(program) + digest_id(program.digest) + contents(program)
    return image + crc(image)
