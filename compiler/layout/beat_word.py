"""The word of a beat: its fields, their values, and their places in memory.

A field gets just the bits its values need, and none if it is the same in every beat. The hardware
slices the word by the same :class:`Layout`. The word has a part for each of :attr:`.Timing.PARTS`,
read when the beat gets there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import IntArray, ceil_div
from ..numerics.fixed import bits_signed, bits_unsigned
from .latency import Timing
from .planes import CHUNK
from .schedule import Schedule
from .tables import NUMERIC

__all__ = [
    "Field", "Layout", "arrange", "beat_field", "check_layout", "columns", "parts", "ranges",
    "row_field", "uses",
]  # fmt: skip

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
    t = Timing
    keep = t.WRITE if {b.keep for b in schedule.beats} <= {0, 2} else t.KEEP
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


def beat_field(schedule: Schedule, name: str) -> IntArray:
    """Return one field of the beat table, shape (beats,).

    What does not matter is what makes a constant the likeliest: ``word_end`` of beats that make no
    operand, ``swap`` of beats without a reset product.
    """
    values = [getattr(b, name) for b in schedule.beats]
    if name == "word_end":
        values = [v or not b.operand for v, b in zip(values, schedule.beats, strict=True)]
    if name == "swap":
        usual = next((b.swap for b in schedule.beats if b.reset), 0)
        values = [b.swap if b.reset else usual for b in schedule.beats]
    return np.array(values, np.int64)


def row_field(schedule: Schedule, name: str) -> IntArray:
    """Return one per-row field, shape (beats, beat).

    ``bias_first``, ``shift_second`` and so on follow the order of the walk. Biases hold the
    halves of the two roundings: that of the sum, and of the part a reset gate multiplies.
    Where no row has a reset product, ``bias_first`` is that of both parts, ``bias_second`` zero.
    """
    n = schedule.network.numbers
    kind, part = name.split("_")
    merged = kind == "bias" and not schedule.has_reset
    out = np.zeros((len(schedule.beats), schedule.geometry.beat), np.int64)
    for i, b in enumerate(schedule.beats):
        if not b.take or (merged and part == "second"):
            continue
        which = "recurrent" if (part == "second") != bool(b.swap) else "input"
        for k, (g, neuron) in enumerate(b.lanes):
            for source in ("input", "recurrent") if merged else (which,):
                out[i, k] += getattr(g, f"{kind}_{source}")[neuron]
                if kind == "bias" and source == "input":
                    out[i, k] += 1 << n.sum_shift >> 1
                if kind == "bias" and source == "recurrent" and b.reset:
                    out[i, k] += 1 << n.hidden_shift >> 1
    return out


def columns(schedule: Schedule) -> list[tuple[str, IntArray, bool]]:
    """Return name, values and signedness of every field of the beat table."""
    values: list[tuple[str, IntArray, bool]] = [
        (n, beat_field(schedule, n), False) for n in NUMERIC
    ]
    values += [(twin, beat_field(schedule, name), False) for twin, name in TWINS.items()]
    for name in ROW_FIELDS:
        rows = row_field(schedule, name)
        values += [(f"{name}[{i}]", rows[:, i], "bias" in name) for i in range(rows.shape[1])]
    has_reset = schedule.has_reset
    return [c for c in values if has_reset or c[0].split("[")[0] not in RESET_FIELDS]


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
    for name, values, signed in columns(schedule):
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
