"""Memory images: weights and beat table as packed words, and their text files.

A field of the beat table gets just the bits its values need, and none where it is the
same in every beat. The hardware slices the word by the same :class:`Layout`. Weights are cut into :mod:`.planes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import InputError
from .fixed import IntArray, bits_signed, bits_unsigned
from .planes import CHUNK, Plane, offsets, pack, split
from .schedule import NUMERIC, Schedule

__all__ = [
    "CHUNK",
    "Field",
    "Images",
    "Layout",
    "build",
    "hex_files",
    "hex_lines",
    "ranges",
    "weights_file",
]

ROW_FIELDS = ("shift_first", "shift_second", "bias_first", "bias_second")


@dataclass(frozen=True)
class Field:
    """Where a field is in a word: ``width`` bits from ``offset``; the value is ``base`` + bits.

    ``signed`` fields are two's complement and have base zero.
    """

    offset: int
    width: int
    base: int
    signed: bool


Layout = dict[str, Field]


@dataclass(frozen=True, eq=False)
class Images:
    """Contents of the memories.

    Parameters
    ----------
    planes : tuple of Plane
        The weights, one word a cycle of the lanes, as they are stored.
    beats : list of int
    beat_width : int
    layout : Layout
        Fields of a beat; row fields are named ``bias_input[0]`` and so on.
    """

    planes: tuple[Plane, ...]
    beats: list[int]
    beat_width: int
    layout: Layout

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


def _pack(columns: list[tuple[IntArray, int]]) -> list[int]:
    """Join columns of non-negative values, lowest first, into Python integers."""
    return pack(np.concatenate([(c[:, None] >> np.arange(w)) & 1 for c, w in columns if w], axis=1))


def _columns(schedule: Schedule) -> list[tuple[str, IntArray, bool]]:
    """Return name, values and signedness of every field of the beat table."""
    columns: list[tuple[str, IntArray, bool]] = [(n, schedule.table(n), False) for n in NUMERIC]
    for name in ROW_FIELDS:
        rows = schedule.row_table(name)
        columns += [(f"{name}[{i}]", rows[:, i], "bias" in name) for i in range(rows.shape[1])]
    return columns


def ranges(schedule: Schedule, spare: int = 0) -> Layout:
    """Lay out the beat table: just the bits its values need.

    Parameters
    ----------
    schedule : Schedule
    spare : int
        Extra range for the weights of another model: biases get twice as many bits more, and
        shifts reach so many further.
    """
    layout: Layout = {}
    offset = 0
    for name, values, signed in _columns(schedule):
        low, high = int(values.min()), int(values.max())
        if spare and "shift" in name:
            low, high = 0, high + spare
        signed = signed and (low != high or spare > 0)
        base = 0 if signed else low
        width = bits_signed(low, high) + 2 * spare if signed else bits_unsigned(high - low)
        layout[name] = Field(offset, width, base, signed)
        offset += width
    return layout


def build(schedule: Schedule, layout: Layout | None = None) -> Images:
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
    packed, width = [], 0
    columns = {name: values for name, values, _ in _columns(schedule)}
    if set(columns) != set(layout):
        raise InputError(
            f"beats have the fields {', '.join(sorted(columns))}, the hardware has "
            f"{', '.join(sorted(layout))}; build a new bitstream"
        )
    for name, field in layout.items():
        values = columns[name]
        low = -(1 << field.width >> 1) if field.signed else field.base
        high = low + (1 << field.width) - 1
        if values.min() < low or values.max() > high:
            raise InputError(
                f"{name} takes values from {values.min()} to {values.max()}, the hardware has room for "
                f"{low} to {high}; build a new bitstream, or quantize the first program with more "
                "--spare bits"
            )
        packed.append(((values - field.base) & ((1 << field.width) - 1), field.width))
        width += field.width
    beats = _pack(packed) if width else [0] * len(schedule.beats)
    return Images(split(schedule), beats, max(1, width), layout)


def hex_lines(words: Sequence[int], width: int) -> str:
    """Return words as a ``$readmemh`` file: one a line, most significant digit first."""
    digits = -(-width // 4)
    return "".join(f"{word:0{digits}x}\n" for word in words)


def hex_files(images: Images) -> dict[str, str]:
    """Return the ``$readmemh`` files by name, each of two words at least.

    ``weights.hex`` is plane 0, ``weights_1.hex`` the next one if there is one, and so on;
    ``beats.hex`` is the beat table.
    """
    tables = {weights_file(k): (p.words, p.width) for k, p in enumerate(images.planes)}
    tables["beats.hex"] = (images.beats, images.beat_width)
    return {
        name: hex_lines([*words, *[0] * (2 - len(words))], width)
        for name, (words, width) in tables.items()
    }


def weights_file(plane: int) -> str:
    """Return the name of a plane's file."""
    return f"weights_{plane}.hex" if plane else "weights.hex"
