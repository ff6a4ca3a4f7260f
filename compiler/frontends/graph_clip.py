"""Clipping to any limits, by the activations that a core has."""

from __future__ import annotations

from ..arrays import IntArray
from .graph import Graph
from .parts import HARD_SIGMOID_SLOPE

__all__ = ["clip"]


def clip(graph: Graph, x: IntArray, low: float | None, high: float | None) -> IntArray:
    """Limit each element; scales and offsets around ReLU or a hard tanh are folded by the graph.

    Parameters
    ----------
    graph : Graph
    x : ndarray of int
    low, high : float or None
        None: no limit on that side.
    """
    if low is None and high is None:
        return x
    if low is not None and high is not None:
        if not low < high:
            graph.refuse(f"clips to {low:g} to {high:g}, which leaves one value")
        if (low, high) == (0, 1):
            x = _affine(graph, x, 1 / HARD_SIGMOID_SLOPE, -0.5 / HARD_SIGMOID_SLOPE)
            return graph.activation(x, "hard_sigmoid", HARD_SIGMOID_SLOPE)
        middle, radius = (low + high) / 2, (high - low) / 2
        y = graph.activation(_affine(graph, x, 1 / radius, -middle / radius), "hard_tanh")
        return _affine(graph, y, radius, middle)
    limit, sign = (low, 1.0) if low is not None else (high or 0.0, -1.0)
    y = graph.activation(_affine(graph, x, sign, -sign * limit), "relu")
    return _affine(graph, y, sign, limit)


def _affine(graph: Graph, x: IntArray, factor: float, offset: float) -> IntArray:
    return x if (factor, offset) == (1, 0) else graph.combine([(x, factor)], offset)
