"""The output of a :class:`~.graph.Graph`: which features it gives out, at which steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray, IntArray
from .graph import Graph

__all__ = ["Output", "find_output", "softmax"]


@dataclass(frozen=True, eq=False)
class Output:
    """Which steps and features the source's own output holds.

    Parameters
    ----------
    features : ndarray
        Numbers of the model's outputs in the graph.
    softmax : str
        Function that was left out behind them.
    steps : {'all', 'last', 'first'}
    elements : ndarray
        The output tensor.
    """

    features: IntArray
    softmax: str
    steps: str
    elements: IntArray

    def at_length(self, sequences: int, before: int, after: int) -> IntArray | None:
        """Return the output's elements for sequences of another length; None if no axis is time."""
        step = self.elements % before
        features, n = np.divmod(self.elements, sequences * before)
        number = features * sequences * after + n // before * after
        if self.steps != "all":
            return number + (after - 1 if self.steps == "last" else 0)
        for axis in range(step.ndim):
            along = np.arange(before).reshape([-1 if k == axis else 1 for k in range(step.ndim)])
            if step.shape[axis] == before and (step == along).all():
                new = np.arange(after).reshape((*along.shape[:axis], -1, *along.shape[axis + 1 :]))
                return np.take(number, [0], axis) + new
        return None

    def expected(self, outputs: FloatArray) -> FloatArray:
        """Arrange the model's outputs, shape (sequences, steps, outputs), as the source does."""
        values = softmax(self.softmax, outputs).reshape(-1, len(self.features))
        column = np.argsort(self.features)[
            np.searchsorted(np.sort(self.features), self.elements // len(values))
        ]
        return values[self.elements % len(values), column]


def softmax(kind: str, values: FloatArray) -> FloatArray:
    """Apply ``softmax``, ``log_softmax`` or nothing to the last axis."""
    if not kind:
        return values
    values = values - values.max(axis=-1, keepdims=True)
    logarithm = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return logarithm if kind.lower().startswith("log") else np.exp(logarithm)


def find_output(graph: Graph, elements: IntArray) -> Output:
    """See which features at which steps a tensor holds, in which order."""
    flat = elements.ravel()
    at, features = flat % graph.positions, flat // graph.positions
    each = [features[at == p] for p in _in_order(at)]
    positions = np.array(_in_order(at))
    steps = positions % graph.steps
    if any(not np.array_equal(f, each[0]) for f in each) or graph.sequences * len(
        set(steps)
    ) != len(positions):
        graph.refuse("the output holds different features at different steps")
    for n in range(graph.sequences):
        if (np.diff(steps[positions // graph.steps == n]) < 0).any():
            graph.refuse("the output gives the steps in reversed order; flip it on the host")
    kind = {graph.steps: "all"}.get(len(set(steps)), "")
    if len(set(steps)) == 1 and graph.steps > 1:
        kind = {0: "first", graph.steps - 1: "last"}.get(int(steps[0]), "")
    if not kind:
        graph.refuse(
            f"the output holds steps {sorted({int(s) for s in steps})[:8]} of {graph.steps}; the "
            "core gives every step: give out all of them, the last or the first"
        )
    chosen, function = each[0], ""
    owner = graph.owner(chosen[0])
    if owner.kind == "softmax":
        if not np.array_equal(chosen, owner.first + np.arange(owner.size)):
            graph.refuse(f"{owner.function}: the output holds parts of it, or more")
        function = owner.function
        moved = owner.reads[(flat // graph.positions) - owner.first] * graph.positions + at
        chosen, elements = owner.reads, moved.reshape(elements.shape)
    if len(np.unique(chosen)) != len(chosen):
        graph.refuse("the output holds a feature twice; give it out once")
    return Output(chosen, function, kind, elements)


def _in_order(values: Sequence[int] | IntArray) -> list[int]:
    """Return distinct values in the order in which they appear."""
    return list(dict.fromkeys(int(v) for v in values))
