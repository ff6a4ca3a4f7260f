"""The shape of the engine: lanes, split and beat, and how the compiler chooses them."""

from __future__ import annotations

from typing import NamedTuple

from ..arrays import ceil_div
from ..ir.network import QNetwork
from .latency import Timing

__all__ = ["Geometry", "choose_geometry", "choose_lanes", "estimate_cycles"]


class Geometry(NamedTuple):
    """Shape of the engine.

    Parameters
    ----------
    lanes : int
        P, lanes asked for.
    split : int
        S, operand elements broadcast a cycle. Each row is computed by S lanes.
    beat : int
        E, rows the elementwise unit takes a cycle; divides ``split`` unless one.
    """

    lanes: int
    split: int
    beat: int

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return self.lanes // self.split // self.beat * self.beat


def choose_geometry(network: QNetwork, lanes: int) -> Geometry:
    """Choose split and beat for a number of lanes: little hardware, and nearly the fewest cycles.

    A wider split wastes fewer lanes where the rows do not fill the last tile; it costs a wider
    operand memory, and is taken for 1 %. A wider beat drains tiles faster where there are
    more lanes than columns; it costs multipliers and a table, and must gain 3 %.
    """
    shapes = [Geometry(lanes, s, e) for e in (1, 2, 4) for s in range(e, 17, e)]
    cycles = {g: estimate_cycles(network, g) for g in shapes if g.rows}
    for beat in (1, 2, 4):
        fastest = min((c for g, c in cycles.items() if g.beat == beat), default=0.0)
        if beat == 4 or fastest <= 1.03 * min(cycles.values()):
            break
    return next(g for g in cycles if g.beat == beat and cycles[g] <= fastest * 1.01)


def choose_lanes(network: QNetwork, limit: int) -> int:
    """Choose the fewest lanes up to ``limit`` that come within 2 % of the fastest."""
    cycles = {p: estimate_cycles(network, choose_geometry(network, p)) for p in range(1, limit + 1)}
    fastest = min(cycles.values())
    return min(p for p, c in cycles.items() if c <= fastest * 1.02)


def estimate_cycles(network: QNetwork, geometry: Geometry) -> float:
    """Estimate the cycles of a step, without building the schedule."""
    s, e, rows = geometry.split, geometry.beat, geometry.rows
    total, tail = 0, 0
    for layer in network.layers:
        for block in layer.blocks:
            taken = sum(g.gate.source == "acc" for g in block) * ceil_div(layer.size, e) * e
            columns = 0
            if any(g.gate.input and g.gate.source == "acc" for g in block):
                columns += sum(ceil_div(network.size(name), s) for name in layer.inputs)
            if any(g.gate.recurrent and g.gate.source == "acc" for g in block):
                columns += ceil_div(layer.size, s)
            tiles = ceil_div(taken, rows)
            total += tiles * max(columns, 1, min(rows, taken) // e)
            # What a lone tile cannot hide: the next walk waits for the end of this one.
            tail = max(0, Timing.VISIBLE + Timing.MAC + min(rows, taken) // e - columns)
        total += tail if layer.recurrent else 0
    return float(max(total, network.input_size, network.elements))
