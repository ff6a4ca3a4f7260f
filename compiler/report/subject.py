"""One program of a page, with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..ir.cells import CELLS
from ..program.runnable import Runnable

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A program or a build.

    Parameters
    ----------
    name : str
    program : Program or Chain
    analysis : dict
        From :func:`~..analysis.figures.analyze`.
    build : dict, optional
        Report of a build, as ``build.json`` has it, with ``tries`` and ``path`` from its logs.
    boards : list of dict
        Boards with the estimate of the program on each, as ``profile --json`` has them.
    proof : dict, optional
        What a simulation compared: ``bit_exact``, ``cycle_exact``, ``steps``, ``simulator``.
    """

    name: str
    program: Runnable
    analysis: dict[str, Any]
    build: dict[str, Any] | None = None
    boards: list[dict[str, Any]] = field(default_factory=list)
    proof: dict[str, Any] | None = None

    @property
    def network(self) -> str:
        """Layers in a line."""
        names = {"linear": "linear", "rnn": "RNN", "gru_reset_before": "GRU"}
        made = []
        for each in self.program.passes:
            for layer in each.network.layers:
                cell = names.get(
                    layer.cell, layer.cell.upper() if layer.cell in CELLS else layer.cell
                )
                inputs = sum(each.network.size(name) for name in layer.inputs)
                made.append(f"{cell} {inputs} → {layer.size}")
        return ", ".join(made)

    @property
    def fitting(self) -> list[dict[str, Any]]:
        """Boards that it fits on, the cheapest first, and of equal price the fastest."""
        fit = [board for board in self.boards if board["fits"] is True]
        return sorted(fit, key=lambda b: (b["price"], b["microseconds_per_step"]))
