"""Plots of a report, as SVG text with the same bytes every time."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

from ..arrays import ceil_div
from ..program.runnable import Runnable
from .style import BLUE, GREY, ORANGE, need_plots

__all__ = ["plots"]

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6675",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e9ee",
}
LEGEND: Any = {
    "frameon": False, "fontsize": 8, "ncols": 2, "loc": "lower right",
    "bbox_to_anchor": (1.0, 0.98), "borderaxespad": 0.0,
}  # fmt: skip
BINS = 64

# Title and caption of each plot.
CYCLES = (
    "Cycles per layer",
    "Dark: the fewest the products allow. Light: what tiles take beyond that. Grey: waiting.",
)
WEIGHTS = (
    "Weights against their format",
    "Codes of all rows of a layer. Each row has its own scale; dashed lines: ends of the format.",
)
ERROR = (
    "Error over time steps",
    "Difference between the program and the float model, over all sequences and outputs.",
)


def plots(analysis: dict[str, Any], program: Runnable) -> list[tuple[str, str, str]]:
    """Return (title, caption, SVG) of every plot the figures allow.

    Raises
    ------
    MissingToolError
        Matplotlib is not installed.
    """
    need_plots()
    from matplotlib import rc_context

    with rc_context(STYLE):
        made = [(*CYCLES, _cycles(analysis)), (*WEIGHTS, _weights(program))]
        if "error" in analysis:
            made.append((*ERROR, _error(analysis["error"]["by_step"])))
    return made


def _svg(figure: Any, name: str) -> str:
    """Render a figure as an SVG element without dates or tool names.

    Identifiers are the same in every run, and differ between the plots of a page by ``name``.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL).strip()


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _cycles(analysis: dict[str, Any]) -> str:
    """Draw one bar a layer, and one for waiting."""
    layers = analysis["cycles"]["layers"]
    figure, axes = _figure(1, 1, 8, 0.9 + 0.35 * (len(layers) + 1))
    axis = axes[0, 0]
    names = [layer["layer"] for layer in layers]
    useful = np.array([layer["utilization"] * layer["cycles"] for layer in layers])
    rest = np.array([layer["cycles"] for layer in layers]) - useful
    axis.barh(names, useful, color=BLUE, height=0.6)
    axis.barh(names, rest, left=useful, color=BLUE, alpha=0.35, height=0.6)
    axis.barh(["waiting"], [analysis["cycles"]["waiting"]], color=GREY, height=0.6)
    values = [*(layer["cycles"] for layer in layers), analysis["cycles"]["waiting"]]
    for i, value in enumerate(values):
        axis.annotate(f"{value:,}", (max(value, 0), i), xytext=(4, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axis.set_xlim(0, 1.1 * analysis["cycles"]["per_step"])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("cycles of a step")
    return _svg(figure, "cycles")


def _weights(program: Runnable) -> str:
    """Draw a histogram of weight codes for every layer."""
    layers = [layer for each in program.passes for layer in each.network.layers]
    columns = min(2, len(layers))
    rows = ceil_div(len(layers), columns)
    figure, axes = _figure(rows, columns, 8, 0.4 + 2.1 * rows)
    for axis in axes.flat[len(layers) :]:
        axis.set_visible(False)
    for axis, layer in zip(axes.flat, layers, strict=False):
        bits = max(g.bits for g in layer.gates)
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        edges = np.linspace(low - 0.5, high + 0.5, min(BINS, high - low + 1) + 1)
        parts = [("input W", BLUE, [g.w for g in layer.gates]),
                 ("recurrent U", ORANGE, [g.u for g in layer.gates])]  # fmt: skip
        for label, colour, matrices in parts:
            codes = [m.ravel() for m in matrices if m is not None and m.size]
            if codes:
                count, _ = np.histogram(np.concatenate(codes), edges)
                axis.stairs(count, edges, color=colour, label=label, fill=True, alpha=0.45)
                axis.stairs(count, edges, color=colour)
        for limit in (low, high):
            axis.axvline(limit, color=GREY, linestyle="--", linewidth=1)
        axis.set_title(layer.name, fontsize=10, loc="left")
        axis.set_xlabel(f"code of {bits} bits")
        axis.set_ylabel("number of weights")
        axis.legend(**LEGEND)
    return _svg(figure, "weights")


def _error(by_step: dict[str, Any]) -> str:
    """Draw the largest and the mean error of every step."""
    figure, axes = _figure(1, 1, 8, 2.8)
    axis = axes[0, 0]
    steps = by_step["step"]
    alone = len(steps) == 1  # a line through one point is invisible
    marker = "o" if alone else ""
    axis.plot(steps, by_step["max"], marker=marker, color=ORANGE, label="largest")
    axis.plot(steps, by_step["mean"], marker=marker, color=BLUE, label="mean")
    if alone:
        axis.set_xlim(steps[0] - 1, steps[0] + 1)
    axis.xaxis.get_major_locator().set_params(integer=True)
    if max(by_step["max"], default=0.0) > 0:
        axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("absolute error")
    axis.legend(**LEGEND)
    return _svg(figure, "error")
