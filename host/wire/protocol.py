"""The link's protocol: constants and layouts that gateware and host share. No Amaranth here.

A frame is COBS-encoded and ends with a zero byte; inside are a header, up to
:data:`MAX_PAYLOAD` bytes of payload and a CRC-32, little-endian. Payloads are pieces of two
byte streams, one down to the board and one up from it; every piece says where in its stream
it belongs. What the bytes of the streams mean is in :class:`Op`. See ``docs/link.md``.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

__all__ = [
    "COUNTERS",
    "CRC_BYTES",
    "DIGEST_BYTES",
    "MAX_PAYLOAD",
    "PROTOCOL",
    "PROTOCOL_STREAMS",
    "STREAMS_PLACE",
    "WINDOW_MARGIN",
    "Contents",
    "DownHeader",
    "Flag",
    "Op",
    "Status",
    "UpHeader",
    "pack",
    "size",
    "unpack",
]

PROTOCOL, PROTOCOL_STREAMS = 1, 2
"""Versions of this protocol; a host refuses others. The second is spoken by boards with several
streams: a byte that names the stream follows ``READ_STATE`` and ``LOAD_STATE``, and nothing else differs."""
STREAMS_PLACE = 2
"""Bit of the contents in an identity from which on is the number of streams less one."""
MAX_PAYLOAD = 224
"""Bytes of a stream in one frame. With header and CRC a frame stays below 254 bytes, so that a
COBS block never reaches its longest form and the gateware needs not know it."""
WINDOW_MARGIN = 8
"""Bytes of the board's buffer that a host leaves free: the CRC of a frame is written there too."""
CRC_BYTES = 4
DIGEST_BYTES = 8
"""Bytes of a digest on the link: the 16 digits that messages show."""


class Flag(IntFlag):
    """Flags of a frame to the board."""

    OPEN = 1  # begin a session: both streams at 0, core and commands reset
    RESEND = 2  # send the up stream again from the acknowledged byte


class Status(IntFlag):
    """Status in every frame from the board."""

    LOADED = 1  # weights are there: steps are taken
    REFUSED = 2  # an unknown command, or steps without weights: all is discarded until OPEN
    BOOTING = 4  # the weights are being read from flash
    FLASH_BAD = 8  # what lies in flash is not for this hardware, or damaged


class Contents(IntFlag):
    """Properties of a board's weight and beat memories, in its identity."""

    LOADABLE = 1  # they can be exchanged
    VERIFIABLE = 2  # the board knows VERIFY


class Op(IntEnum):
    """Commands in the down stream. Replies come in the up stream, in order.

    Elements, state words and memory words are little-endian two's complement of the whole
    bytes that :class:`.identity.Sizes` says.
    """

    STEP = 0x10  # one step follows, goes on from the state -> its outputs
    STEP_FIRST = 0x11  # one step follows, starts from the reset state -> its outputs
    READ_STATE = 0x20  # (a stream follows) -> state words
    LOAD_STATE = 0x21  # (a stream and) state words follow
    READ_WEIGHTS = 0x22  # -> memory words
    LOAD_WEIGHTS = 0x23  # memory words follow; the board is not loaded from then on
    READ_BEATS = 0x24
    LOAD_BEATS = 0x25
    VERIFY = 0x26  # CRC of the memories follows -> a word, 0: they hold what has that CRC
    IDENTIFY = 0x40  # -> Identity
    COUNTERS = 0x41  # -> counters
    LOADED = 0x42  # a digest follows: weights and beats are those of this program


COUNTERS = {"cycles": 6, "stalls": 6, "steps": 4}
"""Performance counters since the session was opened, and their bytes.

cycles
    With a step in the core.
stalls
    Of these, cycles in which the core waited for the link: for input, or to give a result.
steps
    Steps whose results were given out.
"""


class DownHeader(NamedTuple):
    """Header of a frame to the board.

    Parameters
    ----------
    flags : int
        Of :class:`Flag`.
    session : int
        1 to 255, chosen by the host; the board takes only frames of the session that is open.
    tag : int
        0 to 255; the board's next frame repeats it.
    seq : int
        Offset of the payload in the down stream, modulo 2**16.
    ack : int
        Offset of the first byte of the up stream that the host has not got.
    """

    flags: int
    session: int
    tag: int
    seq: int
    ack: int


class UpHeader(NamedTuple):
    """Header of a frame from the board.

    Parameters
    ----------
    tag : int
        Tag of the last good frame when this one was begun.
    session : int
        0: none was opened since the board started.
    status : int
        Of :class:`Status`.
    errors : int
        Bad frames seen by the board, modulo 256.
    received : int
        Offset of the first byte of the down stream that the board has not got.
    consumed : int
        Offset of the first byte that still takes room in its buffer.
    seq : int
        Offset of the payload in the up stream, modulo 2**16.
    """

    tag: int
    session: int
    status: int
    errors: int
    received: int
    consumed: int
    seq: int


FORMATS: dict[type, str] = {DownHeader: "<BBBHH", UpHeader: "<BBBBHHH"}


def pack(record: DownHeader | UpHeader) -> bytes:
    """Return the bytes of a header."""
    return struct.pack(FORMATS[type(record)], *record)


def size(kind: type[DownHeader | UpHeader]) -> int:
    """Return the number of bytes of a header."""
    return struct.calcsize(FORMATS[kind])


def unpack(raw: bytes) -> tuple[UpHeader, bytes] | None:
    """Take a frame from the board apart into header and payload; None where it is too short."""
    length = size(UpHeader)
    if len(raw) < length:
        return None
    return UpHeader(*struct.unpack_from(FORMATS[UpHeader], raw)), raw[length:]
