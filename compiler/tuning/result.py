"""Result of a search over widths: its points, the Pareto front, the chosen widths."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..config import Config

__all__ = ["Point", "Tuning", "pareto"]


@dataclass(frozen=True)
class Point:
    """One set of widths, what it loses and what it costs.

    Parameters
    ----------
    weight_bits, activation_bits, state_bits, gate_bits : int
    weight_widths : dict of str -> int
    loss, error : float
        See :class:`~.metric.Score`.
    weight_memory : int
        Bits of the weights as they are stored.
    memory : int
        Bits of all memories of the core.
    multipliers : int
        Lanes times the widths of a weight and an operand.
    cycles : int
        Of a step.
    """

    weight_bits: int
    activation_bits: int
    state_bits: int
    gate_bits: int
    weight_widths: dict[str, int]
    loss: float
    error: float
    weight_memory: int
    memory: int
    multipliers: int
    cycles: int

    def config(self, base: Config) -> Config:
        """Return the configuration with these widths."""
        return replace(
            base, weight_bits=self.weight_bits, activation_bits=self.activation_bits,
            state_bits=self.state_bits, gate_bits=self.gate_bits,
            weight_widths=self.weight_widths,
        )  # fmt: skip

    @property
    def cost(self) -> tuple[int, int, int]:
        """Costs to minimize: memory, then multipliers, then cycles."""
        return self.memory, self.multipliers, self.cycles


@dataclass(frozen=True, eq=False)
class Tuning:
    """Result of a search.

    Parameters
    ----------
    chosen, start : Point
        The cheapest point that keeps the metric, and the widths the search began with.
    front : list of Point
        No other point loses less and needs less memory.
    config : Config
        The chosen widths.
    about : dict
        Metric, split of the data, number of evaluations.
    """

    chosen: Point
    start: Point
    front: list[Point]
    config: Config
    about: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back."""
        return {
            **self.about,
            "chosen": asdict(self.chosen),
            "start": asdict(self.start),
            "front": [asdict(point) for point in self.front],
            "config": self.config.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tuning:
        """Read what :meth:`to_json` wrote."""
        parts = ("chosen", "start", "front", "config")
        return cls(
            Point(**data["chosen"]),
            Point(**data["start"]),
            [Point(**point) for point in data["front"]],
            Config.from_json(data["config"]),
            {name: value for name, value in data.items() if name not in parts},
        )


def pareto(points: list[Point]) -> list[Point]:
    """Return the points that no other one beats in loss and memory, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.loss, p.error)):
        if not front or point.loss < front[-1].loss:
            front.append(point)
    return front
