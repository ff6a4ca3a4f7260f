"""The Pareto front of a search over widths, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..analysis.metric import METRICS
from ..files.atomic import atomic_write
from ..report.style import BLUE, GREY, ORANGE
from .result import Point, Tuning

__all__ = ["draw", "rows"]

HEAD = ("", "weights", "operands", "state", "gates", "loss", "weight bits", "memory bits", "cycles")


def widths(point: Point) -> str:
    """Say the widths of a point's weights, as ``--weight-bits`` takes them."""
    own = [f"{n}={bits}" for n, bits in point.weight_widths.items() if bits != point.weight_bits]
    return ",".join([str(point.weight_bits), *own])


def rows(tuning: Tuning) -> list[tuple[str, ...]]:
    """Return the table of the front, cheapest first, then the start; the first row is the head."""
    named = [(point, "start" if point == tuning.start else "") for point in tuning.front]
    if tuning.start not in tuning.front:
        named.append((tuning.start, "start"))
    made: list[tuple[str, ...]] = [HEAD]
    for point, name in named:
        if point.cost == tuning.chosen.cost and point.loss == tuning.chosen.loss:
            name = "chosen"
        made.append((
            name, widths(point), str(point.activation_bits), str(point.state_bits),
            str(point.gate_bits), f"{point.loss:.4g}", f"{point.weight_memory:,}",
            f"{point.memory:,}", f"{point.cycles:,}",
        ))  # fmt: skip
    return made


def draw(tuning: Tuning, points: list[Point], path: Path) -> None:
    """Draw loss over memory: every point that was evaluated, the front, the chosen one."""
    from matplotlib.figure import Figure

    limit, unit = tuning.about["max_loss"], METRICS[tuning.about["metric"]]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis: Any = figure.subplots()
    # Far beyond the limit nothing is of interest, and it would flatten the rest.
    least = min(0.0, *(p.loss for p in points))
    top = max(2.5 * limit, 1.2 * tuning.start.loss, 1e-9)
    shown = [p for p in points if p.loss <= top]
    axis.scatter(
        [p.memory / 1000 for p in shown], [p.loss for p in shown], s=18, color=GREY,
        label="evaluated" if len(shown) == len(points)
        else f"evaluated ({len(points) - len(shown)} more above)",
    )  # fmt: skip
    front = [p for p in tuning.front if p.loss <= top]
    axis.plot(
        [p.memory / 1000 for p in front], [p.loss for p in front], ".-", color=BLUE,
        drawstyle="steps-post", label="Pareto front",
    )  # fmt: skip
    axis.axhline(limit, color=ORANGE, linestyle="--", linewidth=1, label=f"allowed: {limit:g}")
    for point, name, marker in ((tuning.start, "start", "s"), (tuning.chosen, "chosen", "D")):
        axis.plot([point.memory / 1000], [point.loss], marker, color=ORANGE, markersize=7)
        axis.annotate(
            f"{name}: {point.memory:,} bits", (point.memory / 1000, point.loss),
            xytext=(-6 if name == "start" else 6, 8), textcoords="offset points", fontsize=9,
            ha="right" if name == "start" else "left",
        )  # fmt: skip
    span = top - least
    axis.set_ylim(least - 0.08 * span, top + 0.05 * span)
    axis.set(xlabel="memory of the core, thousand bits", ylabel=unit)
    axis.grid(color="#e6e9ee")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    atomic_write(
        path,
        lambda file: figure.savefig(file, format="png", dpi=120, metadata={"Software": None}),
    )
