"""Utilization of the engine for a single GRU layer, from the schedule alone (no simulation).

Utilization is ``3H(I+H) / (lanes * cycles per step)``. Random shapes are held against the goals

- at least 95 % where ``3H(I+H)/P`` is 300 or more,
- at least 85 % where it is 100 or more.

Input and output ports move one element a cycle, so no engine steps faster than ``max(I, H)``.
Shapes whose goal lies beyond that are counted apart as *port-bound*: lanes do not decide there.

Run ``python bench/utilization.py --help``; ``--curve`` prints the curve over H instead.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.network import Datapath, QGate, QLayer, QNetwork
from gatewright.compiler.layout.choice import choose_geometry
from gatewright.compiler.layout.geometry import Geometry, shapes
from gatewright.compiler.layout.schedule import Schedule
from gatewright.compiler.numerics.fixed import Format

GOALS = ((300, 0.95), (100, 0.85))  # useful cycles from which on, utilization


def layer(cell: str, inputs: int, hidden: int) -> QNetwork:
    """Return a layer of zero weights: the schedule depends on the shape only."""
    zero = np.zeros(hidden, np.int64)
    w, u = np.zeros((hidden, inputs), np.int8), np.zeros((hidden, hidden), np.int8)
    acts = {"gate": "sigmoid", "candidate": "tanh", "output": "tanh"}
    gates = tuple(
        QGate(
            g, acts[g.act], w if g.input and g.source == "acc" else None,
            u if g.recurrent and g.source == "acc" else None, *[zero] * 6,
            bits=8 if g.source == "acc" else 0,
        )
        for g in CELLS[cell].gates
    )  # fmt: skip
    made = QLayer(cell, cell, hidden, ("x",), gates, 15)
    numbers = Datapath(8, 12, 16, 16, "interpolated", 0.2, 15, 15, 18, 18, 17)
    return QNetwork(inputs, Format(12, 11), (made,), (cell,), numbers)


class Case(NamedTuple):
    """One shape: useful cycles are those of an engine that never waits or pads."""

    inputs: int
    hidden: int
    lanes: int
    useful: float
    cycles: int
    words: int
    geometry: Geometry

    @property
    def utilization(self) -> float:
        """Useful share of lanes times cycles."""
        return self.useful / self.cycles

    def __str__(self) -> str:
        g = self.geometry
        return (
            f"I={self.inputs:<3} H={self.hidden:<3} P={self.lanes:<3} useful {self.useful:7.1f} "
            f"cycles {self.cycles:5d} (lanes busy {self.words:5d}) {100 * self.utilization:5.1f} %  "
            f"split={g.split} beat={g.beat} rows={g.rows}"
        )


def measure(
    inputs: int, hidden: int, lanes: int, geometry: Geometry | None = None, cell: str = "gru"
) -> Case:
    """Lay out one shape, by default as the compiler would, and predict its cycles per step."""
    network = layer(cell, inputs, hidden)
    schedule = Schedule(network, geometry or choose_geometry(network, lanes))
    return Case(
        inputs, hidden, lanes, network.macs / lanes, schedule.cycles()[0], schedule.words,
        schedule.geometry,
    )  # fmt: skip


def best(case: Case) -> Case:
    """Return the same shape with the split and beat that predict the fewest cycles."""
    tried = [measure(case.inputs, case.hidden, case.lanes, g) for g in shapes(case.lanes)]
    return min(tried, key=lambda c: c.cycles)


def goals(count: int, seed: int, worst: int, exhaustive: bool) -> None:
    """Measure random shapes and print how many miss their goal, and by how much."""
    rng = np.random.default_rng(seed)
    limits = np.array([512, 512, 192])
    # Half of them uniform, half log-uniform: small layers matter as much as large ones.
    uniform = rng.integers(1, limits + 1, (count // 2, 3))
    small = np.exp(rng.random((count - count // 2, 3)) * np.log(limits + 1)).astype(int)
    cases = [measure(*(int(v) for v in shape)) for shape in (*uniform, *small)]
    print(f"{count} random shapes, I and H from 1 to 512, P from 1 to 192, seed {seed}")
    upper = np.inf
    for least, goal in GOALS:
        group = [c for c in cases if least <= c.useful < upper]
        bound = [c for c in group if max(c.inputs, c.hidden) * goal > c.useful]
        free = [c for c in group if max(c.inputs, c.hidden) * goal <= c.useful]
        missed = sorted((c for c in free if c.utilization < goal), key=lambda c: c.utilization)
        values = np.array([c.utilization for c in free])
        share = len(missed) / max(1, len(free))
        print(
            f"\n>= {100 * goal:.0f} % where useful cycles are {least} to {upper}: {len(missed)} of "
            f"{len(free)} miss it ({100 * share:.2f} %); {len(bound)} more are port-bound"
        )
        if len(free):
            marks = " ".join(f"{100 * np.quantile(values, q):.1f}" for q in (0, 0.01, 0.05, 0.5))
            print(f"utilization at quantiles 0, 1, 5, 50 %: {marks}")
        if missed:
            gaps = np.array([goal - c.utilization for c in missed])
            print(
                f"short by {100 * gaps.mean():.1f} points on average, {100 * gaps.max():.1f} most"
            )
            stalled = sum(c.words / c.cycles < 0.99 for c in missed)
            print(f"{stalled} of them wait (lanes idle over 1 % of cycles), the rest only pad rows")
        reached = {id(c): best(c) for c in missed} if exhaustive else {}
        if exhaustive:
            left = sum(c.utilization < goal for c in reached.values())
            print(f"with the best split and beat of each, {left} still miss")
        for case in missed[:worst]:
            print(f"  {case}")
            if exhaustive:
                print(f"    best: {reached[id(case)]}")
        upper = least


def cells(count: int, seed: int) -> None:
    """Print of each cell how many random shapes reach their goal, those apart that the ports bind."""
    print(
        f"{count} random shapes a cell and row, I and H from 1 to 512, P from 1 to 192, seed {seed}"
    )
    print("| cell | useful cycles | reach | median |\n| --- | --- | --- | --- |")
    for cell in CELLS:
        upper = np.inf
        for least, goal in GOALS:
            rng, reached = np.random.default_rng(seed), list[float]()
            while len(reached) < count:
                i, h, p = (int(v) for v in np.exp(rng.random(3) * np.log([513, 513, 193])))
                useful = layer(cell, i, h).macs / p
                if least <= useful < upper and max(i, h) * goal <= useful:
                    reached.append(measure(i, h, p, cell=cell).utilization)
            share = np.mean(np.array(reached) >= goal)
            name = f"{least} and more" if upper == np.inf else f"{least} to {upper}"
            print(
                f"| `{cell}` | {name} | {100 * goal:.0f} %: {100 * share:.0f} % of them | "
                f"{100 * np.median(reached):.1f} % |",
                flush=True,
            )
            upper = least


def curve() -> None:
    """Print utilization over H for a few engines, I = H and I = 16."""
    lanes = (6, 12, 24, 48, 96, 192)
    for inputs in (16, 0):
        print(f"\nutilization in %, I = {inputs or 'H'}")
        print("   H " + "".join(f"{f'P={p}':>8}" for p in lanes))
        for h in (4, 8, 12, 16, 20, 24, 32, 37, 48, 64, 96, 128, 192, 256, 384, 512):
            row = [measure(inputs or h, h, p).utilization for p in lanes]
            print(f"{h:4d} " + "".join(f"{100 * u:8.1f}" for u in row))


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=3000, help="random shapes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=15, help="cases listed for each goal")
    parser.add_argument("--curve", action="store_true", help="print the curve over H instead")
    parser.add_argument("--best", action="store_true", help="try every geometry on the misses")
    parser.add_argument("--cells", action="store_true", help="the goals for every cell instead")
    options = parser.parse_args()
    if options.curve:
        curve()
    elif options.cells:
        cells(options.count, options.seed)
    else:
        goals(options.count, options.seed, options.worst, options.best)


if __name__ == "__main__":
    main()
