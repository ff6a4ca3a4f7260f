"""CRC-32 as zip and Ethernet have it, a bit a cycle: frames, images in flash, what memories hold."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

__all__ = ["CRC_BITS", "CRC_RESIDUE", "crc_step"]

CRC_BITS = 32
CRC_POLYNOMIAL = 0xEDB88320
"""The CRC's polynomial, reflected: bits go in least significant first."""
CRC_RESIDUE = 0xDEBB20E3
"""What a register that began with all ones holds after data and its CRC."""


def crc_step(crc: Value, bit: Value) -> Value:
    """Return the CRC register after one more bit; one bit a cycle takes one LUT a bit."""
    return Mux(crc[0] ^ bit, (crc >> 1) ^ CRC_POLYNOMIAL, crc >> 1)[:CRC_BITS]
