"""Identity of a board, and sizes of what goes over its link. No Amaranth here."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...compiler.arrays import ceil_div
from ...compiler.layout.images import CHUNK, chunks
from ...compiler.program.program import Program
from .protocol import (
    DIGEST_BYTES,
    PROTOCOL,
    PROTOCOL_STREAMS,
    STREAMS_PLACE,
    Contents,
    Op,
)

__all__ = [
    "CHUNK", "IDENTITY_BYTES", "Identity", "Sizes", "contents", "contents_crc", "digest_id",
    "memories",
]  # fmt: skip


class Sizes(NamedTuple):
    """Sizes of what a program's streams carry.

    Parameters
    ----------
    inputs, outputs : int
        Elements of a step.
    input_bytes, output_bytes : int
        Bytes of an element.
    state_words : int
    word_bytes : int
        Bytes of a state or memory word.
    weight_words, beat_words : int
        Words of the memories, zero where they are fixed.
    """

    inputs: int
    outputs: int
    input_bytes: int
    output_bytes: int
    state_words: int
    word_bytes: int
    weight_words: int
    beat_words: int

    @classmethod
    def of(cls, program: Program, loadable: bool) -> Sizes:
        """Return the sizes of a program on a core whose memories are loadable or fixed."""
        net, n = program.network, program.network.numbers
        word = max(net.state_width, CHUNK if loadable else 0)
        beats, weights = program.images.chunk_counts if loadable else (0, 0)
        states = sum(size for _, _, _, size in program.schedule.states)
        return cls(
            net.input_size, net.output_size, ceil_div(n.activation_bits, 8), ceil_div(n.state_bits, 8),
            states, ceil_div(word, 8), weights, beats,
        )  # fmt: skip


class Identity(NamedTuple):
    """Identity of a board.

    Parameters
    ----------
    protocol : int
    window : int
        Bytes of each of the board's two buffers are ``2**window``.
    contents : int
        Of :class:`.protocol.Contents`, and above them the number of streams less one.
    lanes, split, beat : int
        Geometry of the engine.
    inputs, outputs, state_words : int
        As in :class:`Sizes`.
    clock_hz : int
    hardware : bytes
        Digest of all but the contents of the two memories, as ``gatewright inspect`` shows it.
    program : bytes
        Digest of the program; zeros while a loadable board has none. Last, for it may change.
    """

    protocol: int
    window: int
    contents: int
    lanes: int
    split: int
    beat: int
    inputs: int
    outputs: int
    state_words: int
    clock_hz: int
    hardware: bytes
    program: bytes

    @classmethod
    def of(
        cls, program: Program, *, loadable: bool, initialized: bool, window: int, clock_hz: float,
        verifiable: bool,
    ) -> Identity:  # fmt: skip
        """Return the identity of a board with a program, whose weights may yet have to come."""
        sizes, g = Sizes.of(program, loadable), program.geometry
        contents = Contents.LOADABLE * loadable | Contents.VERIFIABLE * verifiable
        contents |= program.streams - 1 << STREAMS_PLACE
        protocol = PROTOCOL if program.streams == 1 else PROTOCOL_STREAMS
        return cls(
            protocol, window, contents, g.lanes, g.split, g.beat, sizes.inputs, sizes.outputs,
            sizes.state_words, round(clock_hz), digest_id(program.hardware_digest),
            digest_id(program.digest) if initialized else bytes(DIGEST_BYTES),
        )  # fmt: skip

    @property
    def streams(self) -> int:
        """Sequences that take steps in turn."""
        return (self.contents >> STREAMS_PLACE) + 1

    def pack(self) -> bytes:
        """Return the bytes that the board sends."""
        return struct.pack(FORMAT, *self)

    @classmethod
    def unpack(cls, raw: bytes) -> Identity:
        """Read what :meth:`pack` made."""
        return cls(*struct.unpack(FORMAT, raw))


def memories(program: Program) -> list[tuple[Op, str, npt.NDArray[np.int64]]]:
    """Return the memories in the order of loading: the command, a name, and the chunks."""
    i = program.images
    made = (
        (Op.LOAD_BEATS, "beat table", chunks(i.beats, i.beat_width)),
        (Op.LOAD_WEIGHTS, "weights", chunks(i.weights, i.weight_width)),
    )
    return [(load, name, np.array(part, np.int64)) for load, name, part in made]


def contents(program: Program) -> bytes:
    """Return all chunks of :func:`memories` as 16-bit words: in flash, and under the CRC."""
    return program.images.contents


def contents_crc(program: Program) -> int:
    """Return the CRC-32 of :func:`contents`, which a board computes of its memories."""
    return zlib.crc32(contents(program))


FORMAT = f"<BBBHBBHHII{DIGEST_BYTES}s{DIGEST_BYTES}s"
IDENTITY_BYTES = struct.calcsize(FORMAT)


def digest_id(digest: str) -> bytes:
    """Return the part of a digest that goes over the link."""
    return bytes.fromhex(digest)[:DIGEST_BYTES]
