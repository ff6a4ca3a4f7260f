"""Memory images: weights and beat table as packed words, and their text files.

A field of the beat table gets just the bits its values need, and none where it is the
same in every beat. The hardware slices the word by the same :class:`Layout`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fixed import IntArray, bits_signed, bits_unsigned
from .schedule import NUMERIC, Schedule

__all__ = ["Field", "Images", "Layout", "build", "hex_lines"]

ROW_FIELDS = ("bias_input", "bias_recurrent", "shift_input", "shift_recurrent")


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
    weights : list of int
        One word a cycle of the lanes; lane 0 in the lowest bits.
    weight_width : int
    beats : list of int
    beat_width : int
    layout : Layout
        Fields of a beat; row fields are named ``bias_input[0]`` and so on.
    """

    weights: list[int]
    weight_width: int
    beats: list[int]
    beat_width: int
    layout: Layout


def _pack(columns: list[tuple[IntArray, int]]) -> list[int]:
    """Join columns of non-negative values, lowest first, into Python integers."""
    depth = len(columns[0][0])
    bits = np.concatenate(
        [(c[:, None] >> np.arange(w)) & 1 for c, w in columns if w], axis=1
    ).astype(np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    return [int.from_bytes(packed[i].tobytes(), "little") for i in range(depth)]


def build(schedule: Schedule) -> Images:
    """Pack the weights and the beat table of a schedule."""
    bits = schedule.network.numbers.weight_bits
    codes = schedule.weights & ((1 << bits) - 1)
    lanes = codes.shape[1]
    weights = []
    for start in range(0, len(codes), 4096):  # bounded memory for large networks
        part = codes[start : start + 4096]
        weights += _pack([(part[:, i], bits) for i in range(lanes)])
    columns: list[tuple[str, IntArray, bool]] = [(n, schedule.table(n), False) for n in NUMERIC]
    for name in ROW_FIELDS:
        rows = schedule.row_table(name)
        columns += [(f"{name}[{i}]", rows[:, i], "bias" in name) for i in range(rows.shape[1])]
    layout: Layout = {}
    packed, offset = [], 0
    for name, values, signed in columns:
        low, high = int(values.min()), int(values.max())
        signed = signed and low != high
        base = 0 if signed else low
        width = bits_signed(low, high) if signed else bits_unsigned(high - low)
        layout[name] = Field(offset, width, base, signed)
        packed.append(((values - base) & ((1 << width) - 1), width))
        offset += width
    beats = _pack(packed) if offset else [0] * len(schedule.beats)
    return Images(weights, lanes * bits, beats, max(1, offset), layout)


def hex_lines(words: list[int], width: int) -> str:
    """Return words as a ``$readmemh`` file: one a line, most significant digit first."""
    digits = -(-width // 4)
    return "".join(f"{word:0{digits}x}\n" for word in words)
