"""Choice of lanes, split and beat by the exact cycles of the schedule."""

from __future__ import annotations

import weakref
from typing import ClassVar

import numpy as np

from ..arrays import IntArray
from ..ir.network import QNetwork
from .bound import fewest_cycles
from .geometry import BEATS, WIDEST, Geometry, shapes
from .schedule import Schedule

__all__ = ["Choice", "choose_geometry", "choose_lanes", "fewest_lanes"]

SPLIT_GAIN, BEAT_GAIN = 1.01, 1.03
"""What a wider split and a wider beat must gain."""
LANES_GAIN = 1.02
"""What more lanes must gain, where the compiler chooses how many."""


class Choice:
    """Geometries of a network: bounds of their cycles at once, exact cycles where they matter.

    A geometry's cycles depend on split, beat and the rows of a tile only, so one schedule serves
    every number of lanes that gives these.

    Parameters
    ----------
    network : QNetwork
    streams : int
        As of :class:`~.schedule.Schedule`.
    """

    _known: ClassVar[weakref.WeakKeyDictionary[QNetwork, dict[int, Choice]]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, network: QNetwork, streams: int = 1) -> None:
        self._network, self.streams = weakref.ref(network), streams
        gates = [
            sum(g.gate.source == "acc" for g in block) * layer.size
            for layer in network.layers for block in layer.blocks
        ]  # fmt: skip
        self._most = max(gates) + max(BEATS)  # more rows than this are one tile as well
        self._bounds: dict[tuple[int, int], IntArray] = {}
        self._limit, self._least = 0, np.zeros(0, np.int64)
        self._cycles: dict[tuple[int, int, int], int] = {}
        self._picked: dict[int, Geometry] = {}

    @classmethod
    def of(cls, network: QNetwork, streams: int = 1) -> Choice:
        """Return the one of a network and its streams, with all that is known by now."""
        known = cls._known.setdefault(network, {})
        if streams not in known:
            known[streams] = cls(network, streams)
        return known[streams]

    @property
    def network(self) -> QNetwork:
        """The network."""
        network = self._network()
        if network is None:
            raise ReferenceError("the network of this choice is gone")
        return network

    # -- cycles ---------------------------------------------------------------

    def cycles(self, g: Geometry) -> int:
        """Return the exact cycles of a step."""
        key = g.split, g.beat, self._rows(g)
        if key not in self._cycles:
            self._cycles[key] = Schedule(self.network, g, self.streams).cycles()[0]
        return self._cycles[key]

    def bound(self, g: Geometry) -> int:
        """Return a number of cycles that no step of this geometry goes below."""
        self._prepare(g.lanes)
        return int(self._bounds[g.split, g.beat][self._rows(g) // g.beat - 1])

    def least(self, lanes: int) -> IntArray:
        """Return the bound of every number of lanes from 0 (no step ends) to ``lanes``."""
        self._prepare(lanes)
        return self._least[: lanes + 1]

    def _rows(self, g: Geometry) -> int:
        return min(g.rows, self._most // g.beat * g.beat)

    def _prepare(self, lanes: int) -> None:
        """Compute the bounds of all geometries up to a number of lanes."""
        if lanes <= self._limit:
            return
        p = np.arange(lanes + 1)
        self._limit, self._least = lanes, np.full(lanes + 1, np.iinfo(np.int64).max)
        for beat in (b for b in BEATS if b * b <= lanes):
            splits = [s for s in range(beat, WIDEST + 1, beat) if s * beat <= lanes]
            tops = [min(lanes // s, self._most) // beat for s in splits]
            rows = beat * np.concatenate([np.arange(1, top + 1) for top in tops])
            found = fewest_cycles(self.network, beat, np.repeat(splits, tops), rows, self.streams)
            for s, end, top in zip(splits, np.cumsum(tops), tops, strict=True):
                bounds = found[end - top : end]
                self._bounds[s, beat] = bounds
                index = np.minimum(p // s // beat, top) - 1
                own = np.where(index < 0, self._least, bounds[index])
                self._least = np.minimum(self._least, own)

    # -- choices --------------------------------------------------------------

    def geometry(self, lanes: int) -> Geometry:
        """Return the geometry for so many lanes, or for fewer of them where that is faster."""
        best = self._pick(lanes)
        least = self.least(min(lanes, WIDEST * self._most))  # more lanes change nothing
        for p in np.flatnonzero(least < self.cycles(best)).tolist()[::-1]:
            if least[p] < self.cycles(best):
                best = min(best, self._pick(p), key=self.cycles)
        return best

    def _pick(self, lanes: int) -> Geometry:
        """Choose split and beat for a number of lanes: little hardware, and nearly the fewest cycles.

        A wider split wastes fewer lanes where the rows do not fill the last tile; it costs a wider
        operand memory. A wider beat drains tiles faster where there are more lanes than columns; it
        costs multipliers and a table.
        """
        if lanes not in self._picked:
            every = list(shapes(lanes))
            limit = BEAT_GAIN * self._fewest(every)
            for beat in BEATS:
                own = [g for g in every if g.beat == beat]
                if (fastest := self._fewest(own)) <= limit:
                    break
            self._picked[lanes] = next(
                g for g in own
                if self.bound(g) <= SPLIT_GAIN * fastest and self.cycles(g) <= SPLIT_GAIN * fastest
            )  # fmt: skip
        return self._picked[lanes]

    def _fewest(self, geometries: list[Geometry]) -> float:
        """Return the fewest cycles of any of these."""
        fewest = float("inf")
        for bound, g in sorted((self.bound(g), g) for g in geometries):
            if bound >= fewest:
                break
            fewest = min(fewest, self.cycles(g))
        return fewest


def choose_geometry(network: QNetwork, lanes: int, streams: int = 1) -> Geometry:
    """Choose split and beat for up to so many lanes; more lanes are never slower than fewer."""
    return Choice.of(network, streams).geometry(lanes)


def choose_lanes(network: QNetwork, limit: int, streams: int = 1) -> int:
    """Choose the fewest lanes up to ``limit`` that come within 2 % of the fastest."""
    choice = Choice.of(network, streams)
    most = LANES_GAIN * choice.cycles(choice.geometry(limit))
    return fewest_lanes(network, most, limit, streams)


def fewest_lanes(network: QNetwork, budget: float, limit: int, streams: int = 1) -> int:
    """Return the fewest lanes up to ``limit`` whose step takes at most ``budget`` cycles; 0 if none do."""
    choice = Choice.of(network, streams)
    for p in np.flatnonzero(choice.least(limit) <= budget).tolist():
        if choice.cycles(choice.geometry(p)) <= budget:
            return int(p)
    return 0
