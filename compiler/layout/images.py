"""Memory images: weights and beat table as packed words, and their text files.

Weights are cut into :mod:`.planes`, beats into the parts of :mod:`.beat_word`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import ceil_div
from ..errors import InputError
from .beat_word import Layout, columns, parts, ranges
from .latency import Timing
from .planes import CHUNK, Plane, offsets, pack, split
from .schedule import Schedule

__all__ = [
    "CHUNK", "MemoryImages", "beats_file", "build", "chunks", "hex_files", "hex_lines",
    "weights_file",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """Contents of the memories.

    Parameters
    ----------
    planes : tuple of Plane
        The weights, one word a cycle of the lanes, as they are stored.
    beats : list of int
    beat_width : int
    layout : Layout
        Fields of a beat; row fields are named ``bias_first[0]`` and so on.
    """

    planes: tuple[Plane, ...]
    beats: list[int]
    beat_width: int
    layout: Layout

    @property
    def beat_parts(self) -> dict[int, tuple[int, int]]:
        """Offset and width in a beat's word of each part that has bits, and of part 0."""
        return parts(self.layout)

    @property
    def beat_bits(self) -> int:
        """Bits that a beat takes in memory: those of its parts."""
        return sum(width for _, width in self.beat_parts.values())

    def beat_part(self, part: int) -> list[int]:
        """Return the words of one part of the beat table."""
        offset, width = self.beat_parts[part]
        return [word >> offset & ((1 << width) - 1) for word in self.beats]

    @property
    def weight_bits(self) -> int:
        """Bits of memory that the weights take."""
        return sum(plane.size for plane in self.planes)

    @property
    def weight_offsets(self) -> tuple[int, ...]:
        """First bit of each plane in a word of :attr:`weights`: a multiple of :data:`CHUNK`."""
        return offsets(self.planes)

    @property
    def weight_width(self) -> int:
        """Bits of a word of :attr:`weights`."""
        return self.weight_offsets[-1] + self.planes[-1].width

    @cached_property
    def weights(self) -> list[int]:
        """Words of all planes side by side, as they are loaded and read over the state port.

        Where a plane has no word, its bits are zero.
        """
        words = [0] * self.planes[0].end
        for plane, offset in zip(self.planes, self.weight_offsets, strict=True):
            mask = (1 << plane.address_bits) - 1
            for address in range(plane.start, plane.end):
                words[address] |= plane.words[address & mask] << offset
        return words

    @cached_property
    def contents(self) -> bytes:
        """Chunks of the beat table, then of the weights, as 16-bit words: in flash, and under the CRC."""
        words = [*chunks(self.beats, self.beat_width), *chunks(self.weights, self.weight_width)]
        return np.array(words, "<u2").tobytes()

    @property
    def chunk_counts(self) -> tuple[int, int]:
        """Chunks of the beat table, and of the weights."""
        return (
            len(self.beats) * ceil_div(self.beat_width, CHUNK),
            self.planes[0].end * ceil_div(self.weight_width, CHUNK),
        )

    @property
    def verify_cycles(self) -> int:
        """Cycles from the core's taking of ``VERIFY`` to its verdict, if the CRC is there in time.

        A bit a cycle, of all chunks of beat table and weights.
        """
        return Timing.VERIFY + CHUNK * sum(self.chunk_counts)


def build(schedule: Schedule, layout: Layout | None = None) -> MemoryImages:
    """Pack the weights and the beat table of a schedule.

    Parameters
    ----------
    schedule : Schedule
    layout : Layout, optional
        Default: :func:`ranges` of the schedule.

    Raises
    ------
    InputError
        A value does not fit in its field.
    """
    layout = layout or ranges(schedule)
    fields = {name: values for name, values, _ in columns(schedule)}
    if set(fields) != set(layout):
        raise InputError(
            f"beats have the fields {', '.join(sorted(fields))}, the hardware has "
            f"{', '.join(sorted(layout))}; build a new bitstream"
        )
    width = max(offset + bits for offset, bits in parts(layout).values())
    beats = np.zeros((len(schedule.beats), width), np.int64)
    for name, field in layout.items():
        values = fields[name]
        low = -(1 << field.width >> 1) if field.signed else field.base
        high = low + (1 << field.width) - 1
        if values.min() < low or values.max() > high:
            raise InputError(
                f"{name} takes values from {values.min()} to {values.max()}, the hardware has room for "
                f"{low} to {high}; build a new bitstream, or quantize the first program with more "
                "spare= bits"
            )
        bits = (values - field.base)[:, None] >> np.arange(field.width) & 1
        beats[:, field.offset : field.offset + field.width] = bits
    return MemoryImages(split(schedule), pack(beats), width, layout)


def hex_lines(words: Sequence[int], width: int) -> str:
    """Return words as a ``$readmemh`` file: one a line, most significant digit first."""
    digits = ceil_div(width, 4)
    return "".join(f"{word:0{digits}x}\n" for word in words)


def hex_files(images: MemoryImages) -> dict[str, str]:
    """Return the ``$readmemh`` files by name, each of two words at least.

    ``weights.hex`` is plane 0, ``weights_1.hex`` the next one if there is one, and so on;
    ``beats.hex`` is part 0 of the beat table, ``beats_1.hex`` part 1, and so on.
    """
    tables = {weights_file(k): (p.words, p.width) for k, p in enumerate(images.planes)}
    tables |= {beats_file(k): (images.beat_part(k), w) for k, (_, w) in images.beat_parts.items()}
    return {
        name: hex_lines([*words, *[0] * (2 - len(words))], width)
        for name, (words, width) in tables.items()
    }


def weights_file(plane: int) -> str:
    """Return the name of a plane's file."""
    return f"weights_{plane}.hex" if plane else "weights.hex"


def beats_file(part: int) -> str:
    """Return the name of the file of a part of the beat table."""
    return f"beats_{part}.hex" if part else "beats.hex"


def chunks(words: list[int], width: int) -> list[int]:
    """Return memory words as the state port carries them: 16-bit chunks, low chunk first."""
    number = ceil_div(width, CHUNK)
    return [word >> (CHUNK * k) & ((1 << CHUNK) - 1) for word in words for k in range(number)]
