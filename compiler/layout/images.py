"""Memory images: weights and beat table as packed words, and their text files.

A field of the beat table gets just the bits its values need, and none where it is the
same in every beat. The hardware slices the word by the same :class:`Layout`. The word has a part for each
of :attr:`.Timing.PARTS`, read when the beat gets there. Weights are cut into :mod:`.planes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..arrays import IntArray, ceil_div
from ..errors import InputError
from ..numerics.fixed import bits_signed, bits_unsigned
from .latency import Timing
from .planes import CHUNK, Plane, offsets, pack, split
from .schedule import Schedule
from .tables import NUMERIC

__all__ = [
    "CHUNK",
    "Field",
    "Layout",
    "MemoryImages",
    "arrange",
    "beats_file",
    "build",
    "check_layout",
    "chunks",
    "hex_files",
    "hex_lines",
    "parts",
    "ranges",
    "uses",
    "weights_file",
]

ROW_FIELDS = ("shift_first", "shift_second", "bias_first", "bias_second")
RESET_FIELDS = ("swap", "reset", "early", "bias_second")
"""Fields that only reset products need."""
TWINS = {"kept_write": "kept", "state_write": "state", "output_write": "output"}
"""Second uses of a field, many cycles after the first: read again, or carried along."""
BLOCK_DEPTH = 256
WIDEST = 1024
"""Bits of a beat's word at most."""
COLUMN = 128
"""Flip-flops that a block RAM of 16 bits is worth: an UP5K has 176 logic cells for each."""


def uses(schedule: Schedule) -> dict[str, int]:
    """Return the cycle in which each field of a beat is used, see ``docs/engine.md``."""
    t, keep = Timing, schedule.keep_cycle
    return {
        "take": 0, "tile_end": 0, "output": 0, "shift_first": t.SHIFT, "shift_second": t.SHIFT,
        "bias_first": t.PARTS[1], "bias_second": t.PARTS[1], "early": t.EARLY, "swap": t.EARLY,
        "reset": t.EARLY, "cell": t.CELL, "source_c": t.SOURCE, "act": t.ACT, "kept": t.LATE,
        "state": t.LATE, "post": t.KEEP, "keep": keep, "kept_write": keep, "state_write": t.WRITE,
        "output_write": t.WRITE, "store": t.WRITE, "operand": t.WRITE, "word_end": t.WRITE,
        "count": t.WRITE, "word": t.WRITE + 1, "bank": t.WRITE + 1,
    }  # fmt: skip


@dataclass(frozen=True)
class Field:
    """Place of a field in a word: ``width`` bits from ``offset``; the value is ``base`` + bits.

    ``signed`` fields are two's complement and have base zero. ``part`` is an index into
    :attr:`.Timing.PARTS`; each part begins at a multiple of :data:`CHUNK`.
    """

    offset: int
    width: int
    base: int
    signed: bool
    part: int = 0


Layout = dict[str, Field]


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


def parts(layout: Layout) -> dict[int, tuple[int, int]]:
    """Return offset and width in a beat's word of each part that has bits, and of part 0."""
    found = {0: (0, 1)}
    for part in range(len(Timing.PARTS)):
        own = [f for f in layout.values() if f.part == part and f.width]
        if own:
            start = min(f.offset for f in own)
            found[part] = start, max(f.offset + f.width for f in own) - start
    return found


def check_layout(layout: Layout) -> None:
    """Check a layout that was read from a file.

    Raises
    ------
    ValueError
        A field is out of range, or two share bits.
    """
    taken: dict[int, str] = {}
    for name, f in layout.items():
        ends = f.offset + f.width
        if not (
            0 <= f.width <= 64
            and 0 <= f.offset
            and ends <= WIDEST
            and 0 <= f.part < len(Timing.PARTS)
        ):
            raise ValueError(f"field {name} has {f.width} bits at {f.offset} in part {f.part}")
        for bit in range(f.offset, ends):
            other = taken.setdefault(bit, name)
            same = layout[other] == f and name in TWINS and TWINS[name] == other
            if other != name and not same:
                raise ValueError(f"fields {name} and {other} share bit {bit}")
    starts = {part: start for part, (start, _) in parts(layout).items()}
    for f in layout.values():
        owner = max((p for p in starts if starts[p] <= f.offset), default=0)
        if (f.width and owner != f.part) or starts[f.part if f.width else 0] % CHUNK:
            raise ValueError(f"parts of a beat's word overlap, or begin at no multiple of {CHUNK}")


def _columns(schedule: Schedule) -> list[tuple[str, IntArray, bool]]:
    """Return name, values and signedness of every field of the beat table."""
    columns: list[tuple[str, IntArray, bool]] = [(n, schedule.table(n), False) for n in NUMERIC]
    columns += [(twin, schedule.table(name), False) for twin, name in TWINS.items()]
    for name in ROW_FIELDS:
        rows = schedule.row_table(name)
        columns += [(f"{name}[{i}]", rows[:, i], "bias" in name) for i in range(rows.shape[1])]
    has_reset = schedule.has_reset
    return [c for c in columns if has_reset or c[0].split("[")[0] not in RESET_FIELDS]


def arrange(widths: dict[str, int], needed: dict[str, int], depth: int) -> dict[str, int]:
    """Choose the part of each field: the last one in time, or an earlier one that has room.

    Weighs flip-flops that carry a field along against columns of block RAM; a twin that is carried along
    with the first use of its field takes no bits (part -1).

    Parameters
    ----------
    widths, needed : dict of str -> int
        Bits and cycle of use.
    depth : int
        Words of the table.
    """
    column = COLUMN * ceil_div(depth, BLOCK_DEPTH)
    cycles = Timing.PARTS
    usual = {n: max(k for k, c in enumerate(cycles) if c <= needed[n]) for n in widths}
    # Only the part that is being filled and the one before matter: keep the cheapest way to each width.
    first = sum(w for n, w in widths.items() if not usual[n])
    ways: dict[int, tuple[int, dict[str, int]]] = {first: (0, {})}
    for k in range(1, len(cycles)):
        both = {(w, 0): way for w, way in ways.items()}
        for name in (n for n in widths if usual[n] == k):
            more: dict[tuple[int, int], tuple[int, dict[str, int]]] = {}
            width = widths[name]
            for (before, now), (cost, moved) in both.items():
                early = width * (cycles[k] - cycles[k - 1])
                choices = [(before, now + width, 0, k), (before + width, now, early, k - 1)]
                if name in TWINS:
                    carried = width * (needed[name] - needed[TWINS[name]])
                    choices.append((before, now, carried, -1))
                for a, b, extra, part in choices:
                    if (a, b) not in more or cost + extra < more[a, b][0]:
                        more[a, b] = cost + extra, moved | {name: part}
            both = more
        ways = {}
        for (before, now), (cost, moved) in both.items():
            cost += column * ceil_div(before, CHUNK)
            if now not in ways or cost < ways[now][0]:
                ways[now] = cost, moved
    last = min(ways, key=lambda w: (ways[w][0] + column * ceil_div(w, CHUNK), w))
    return usual | ways[last][1]


def ranges(schedule: Schedule, spare: int = 0) -> Layout:
    """Lay out the beat table: just the bits its values need.

    Parameters
    ----------
    schedule : Schedule
    spare : int
        Extra range for the weights of another model: biases get twice as many bits more, and
        shifts reach so many further.
    """
    found: Layout = {}
    for name, values, signed in _columns(schedule):
        low, high = int(values.min()), int(values.max())
        if spare and "shift" in name:
            low, high = 0, high + spare
        signed = signed and (low != high or spare > 0)
        base = 0 if signed else low
        width = bits_signed(low, high) + 2 * spare if signed else bits_unsigned(high - low)
        found[name] = Field(0, width, base, signed)
    cycles = uses(schedule)
    chosen = arrange(
        {name: f.width for name, f in found.items() if f.width},
        {name: cycles[name.split("[")[0]] for name in found},
        len(schedule.beats),
    )
    layout = {name: f for name, f in found.items() if not f.width}
    offset = 0
    for part in range(len(Timing.PARTS)):
        offset = ceil_div(offset, CHUNK) * CHUNK
        for name in (n for n, k in chosen.items() if k == part):
            layout[name] = replace(found[name], offset=offset, part=part)
            offset += found[name].width
    layout |= {name: layout[TWINS[name]] for name, k in chosen.items() if k < 0}
    return layout


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
    columns = {name: values for name, values, _ in _columns(schedule)}
    if set(columns) != set(layout):
        raise InputError(
            f"beats have the fields {', '.join(sorted(columns))}, the hardware has "
            f"{', '.join(sorted(layout))}; build a new bitstream"
        )
    width = max(offset + bits for offset, bits in parts(layout).values())
    beats = np.zeros((len(schedule.beats), width), np.int64)
    for name, field in layout.items():
        values = columns[name]
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
