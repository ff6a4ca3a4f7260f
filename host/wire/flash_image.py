"""Weights in a board's SPI flash, read at power-up: the layout. No Amaranth here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cobs import crc
from .identity import digest_id, hardware_id, memories

if TYPE_CHECKING:
    from ...compiler.program.program import Program

__all__ = ["MAGIC", "flash_header", "flash_image"]

MAGIC = b"GWF1"


def flash_header(program: Program) -> bytes:
    """Return what the gateware compares: magic, and the digest of the hardware."""
    return MAGIC + hardware_id(program, loadable=True)


def flash_image(program: Program) -> bytes:
    """Return what is written to flash for :class:`.flash_loader.FlashLoader`.

    Magic, hardware digest, program digest; beat table, then weights, in 16-bit chunks as the
    core takes them; CRC-32 of all that.
    """
    words = [part for _name, part in memories(program)]
    data = b"".join(part.astype("<u2").tobytes() for part in words)
    image = flash_header(program) + digest_id(program.digest) + data
    return image + crc(image)
