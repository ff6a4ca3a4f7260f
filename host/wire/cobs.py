"""COBS and CRC-32 on the host: the software side of :mod:`.framing`. No Amaranth here."""

from __future__ import annotations

import binascii

from .protocol import CRC_BYTES

__all__ = ["cobs_decode", "cobs_encode", "decode", "encode"]


def crc(data: bytes) -> bytes:
    """Return the CRC-32 (ISO-HDLC, that of zip and Ethernet), least significant byte first."""
    return binascii.crc32(data).to_bytes(CRC_BYTES, "little")


def cobs_encode(data: bytes) -> bytes:
    """Encode so that no zero byte is left; without the zero at the frame's end."""
    out = bytearray()
    blocks = data.split(b"\0")
    for k, block in enumerate(blocks):
        while len(block) >= 254:
            out += b"\xff" + block[:254]
            block = block[254:]
            # A full block implies no zero: one that ends the data needs no empty block after it.
            if not block and k == len(blocks) - 1:
                return bytes(out)
        out += bytes([len(block) + 1]) + block
    return bytes(out)


def cobs_decode(raw: bytes) -> bytes | None:
    """Decode what :func:`cobs_encode` made; None where it is cut or damaged."""
    out = bytearray()
    at = 0
    while at < len(raw):
        code = raw[at]
        block = raw[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out += block
        at += code
        if code < 255 and at < len(raw):
            out.append(0)
    return bytes(out)


def encode(data: bytes) -> bytes:
    """Return a frame of header and payload, with the zero byte at its end."""
    return cobs_encode(data + crc(data)) + b"\0"


def decode(raw: bytes) -> bytes | None:
    """Return header and payload of a frame without its zero byte; None where it is damaged."""
    data = cobs_decode(raw)
    if data is None or len(data) < CRC_BYTES or crc(data[:-CRC_BYTES]) != data[-CRC_BYTES:]:
        return None
    return data[:-CRC_BYTES]
