"""A bound of a step's cycles, for many geometries at once.

The replay of :mod:`.replay` with whole blocks of tiles in place of tiles, and with fewer of its
conditions: every time here is one that the replay reaches then or later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays import IntArray
from ..ir.network import QNetwork
from .geometry import Geometry
from .latency import Timing
from .schedule import Schedule

__all__ = ["fewest_cycles"]

ROUNDS = 8
"""Steps of each stream after which they take turns at most."""


class _Block(NamedTuple):
    """A block, as far as its times do not depend on split and rows."""

    segments: list[tuple[str, bool, int]]  # vector, of the step before, elements
    takes: IntArray  # earliest places in the beat table of what drains rows, from the first of them
    beats: int  # all beats where one tile holds the block
    behind: int  # beats behind the last one that drains rows, in a group that no tile shortens
    made: list[tuple[str, int, int, bool]]  # vector, place of its last beat, what is drained by
    # then, whether that beat ends the block


def _blocks(network: QNetwork, beat: int) -> list[_Block]:
    """Return the blocks with their part of the beat table where one tile holds each.

    Where several do, idle beats move forward, between what drains rows. Where gates have weights of
    different widths, or one drains no rows, groups may be others then.
    """
    every = beat * sum(len(b) * (x.size + beat) for x in network.layers for b in x.blocks)
    s = Schedule(network, Geometry(beat * every, beat, beat))
    owner = {word: name for name, word in _last_words(s).items()}
    found, gates = [], [block for layer in network.layers for block in layer.blocks]
    takes = np.flatnonzero([b.take for b in s.beats])
    ends = [n for n, b in enumerate(s.beats) if b.tile_end]
    at = 0
    for block, own_gates, end in zip(s.blocks, gates, ends, strict=True):
        own = takes[(takes >= at) & (takes <= end)]
        first = int(own[0])
        at = next((int(n) for n in takes if n > end), len(s.beats))
        drained = [g for g in own_gates if g.gate.source == "acc"]
        open_order = len(drained) < len(own_gates) or len({g.bits for g in drained}) > 1
        segments = [
            (g.vector, g.old, network.size(g.vector.removesuffix(".rh")) if g.words > 1 else 1)
            for g in block.segments
        ]
        made = [
            (owner[b.word], place, int((own - first <= place).sum()) - 1, place == at - first - 1)
            for place, b in enumerate(s.beats[first:at])
            if b.operand and b.word_end and b.word in owner
        ]
        if open_order:
            made = [(n, place, taken if last else 0, last) for n, place, taken, last in made]
        places = np.arange(len(own)) if open_order else own - first
        behind = sum(bool(b.lanes) for b in s.beats[end + 1 : at])
        if len({g.bits for g in drained}) > 1:
            behind = min(behind, 1)
        found.append(_Block(segments, places, at - first, behind, made))
    return found


def _last_words(s: Schedule) -> dict[str, int]:
    """Return the last operand word of each vector."""
    starts = [*s.bases.values(), s.memory_words]
    return {name: end - 1 for name, end in zip(s.bases, starts[1:], strict=True)}


def fewest_cycles(
    network: QNetwork, beat: int, split: IntArray, rows: IntArray, streams: int = 1
) -> IntArray:
    """Return a number of cycles that no step goes below.

    Parameters
    ----------
    network : QNetwork
    beat : int
    split, rows : ndarray of int64, shape (n,)
        Parts of a row, and rows of a tile, of each geometry.
    streams : int
        As of :class:`~.schedule.Schedule`.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    blocks, chunk = _blocks(network, beat), rows // beat
    zero = np.zeros(len(split), np.int64)
    visible: dict[str, IntArray] = {name: zero - 1 for b in blocks for name, *_ in b.made}
    issue, free, accepted = zero, zero, zero - 1
    drained, finished = [zero - 1] * 2, [zero - 1] * 2
    ends = []
    made_before = [dict(visible) for _ in range(streams)]  # by the last step of each stream
    for _ in range(ROUNDS * streams):
        start = np.maximum(accepted, finished[0])
        accepted = start + network.input_size
        issue = np.maximum(issue, start + np.minimum(split, network.input_size) + Timing.INPUT)
        before = made_before.pop(0)
        for b in blocks:
            tiles = -(-len(b.takes) // chunk)
            first, columns = np.maximum(issue, drained[0] + 1), zero
            for name, old, size in b.segments:
                words = -(-size // split)
                there = (
                    accepted + Timing.INPUT if name == "x" else (before if old else visible)[name]
                )
                first = np.maximum(first, there - (words - 1)) + words
                columns = columns + words
            begin = np.maximum(free, first - 1 + Timing.MAC)
            # The last tile: behind the walks of all, two of which wait for the drain of the tile
            # before them, and behind the drain of the last but two.
            pair = np.maximum(2 * columns, columns + Timing.MAC + chunk - 1)
            issue = first + (tiles - 1) // 2 * pair + (tiles - 1) % 2 * columns
            third = begin + b.takes[np.maximum((tiles - 2) * chunk - 1, 0)]
            issue = np.where(tiles > 2, np.maximum(issue, third + 1 + columns), issue)
            at = (tiles - 1) * chunk
            place = b.takes[at]
            last = np.maximum(begin + place, issue - 1 + Timing.MAC)
            left = np.where(tiles > 1, len(b.takes) - at + np.minimum(b.behind, chunk), b.beats)
            for name, where, taken, ends_block in b.made:
                tile = taken // chunk
                own = first + tile // 2 * pair + tile % 2 * columns - 1 + Timing.MAC
                own = np.maximum(own, begin + b.takes[tile * chunk]) + taken - tile * chunk
                when = last + left - 1 if ends_block else own
                visible[name] = np.where(tiles > 1, when, begin + where) + Timing.VISIBLE
            free = last + left
            second = begin + b.takes[np.maximum(at - 1, 0)]
            drained = [np.where(tiles > 1, second, drained[1]), last + len(b.takes) - 1 - at]
        finished = [finished[1], issue - 1]
        made_before.append(dict(visible))
        ends.append(free)
    rounds = np.subtract(ends[streams:], ends[:-streams])[-3 * streams :].min(axis=0)
    return np.maximum(-(-rounds // streams), max(network.input_size, network.elements))
