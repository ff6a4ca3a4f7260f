"""The output of a :class:`~.graph.Graph`: which features it gives out, at which steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray, IntArray
from .graph import Graph
from .graph_node import distinct

__all__ = ["Output", "find_output", "softmax"]


@dataclass(frozen=True, eq=False)
class Output:
    """Which steps and features one tensor of the source's own output holds.

    Parameters
    ----------
    features : ndarray
        Numbers in the graph of the features that it holds.
    softmax : str
        Function that was left out behind them.
    steps : {'all', 'last', 'first', 'both ends'}
        Both ends: some features of the last step, others of the first.
    elements : ndarray
        The output tensor.
    columns : ndarray, optional
        Where the features are in the model's outputs; None: they are the outputs.
    backwards : bool
        Of every step, it gives the last one first.
    """

    features: IntArray
    softmax: str
    steps: str
    elements: IntArray
    columns: IntArray | None = None
    backwards: bool = False

    def at_length(self, sequences: int, before: int, after: int) -> IntArray | None:
        """Return the output's elements for sequences of another length; None if no axis is time."""
        step = self.elements % before
        features, n = np.divmod(self.elements, sequences * before)
        number = features * sequences * after + n // before * after
        if self.steps != "all":
            return number + np.where(step == before - 1, after - 1, 0)
        for axis in range(step.ndim):
            along = np.arange(before).reshape([-1 if k == axis else 1 for k in range(step.ndim)])
            along = np.flip(along) if self.backwards else along
            if step.shape[axis] == before and (step == along).all():
                new = np.arange(after)[:: -1 if self.backwards else 1]
                new = new.reshape((*along.shape[:axis], -1, *along.shape[axis + 1 :]))
                return np.take(number, [0], axis) + new
        return None

    def expected(self, outputs: FloatArray) -> FloatArray:
        """Arrange the model's outputs, shape (sequences, steps, outputs), as the source does."""
        chosen = outputs if self.columns is None else outputs[..., self.columns]
        values = softmax(self.softmax, chosen).reshape(-1, len(self.features))
        column = np.argsort(self.features)[
            np.searchsorted(np.sort(self.features), self.elements // len(values))
        ]
        return values[self.elements % len(values), column]

    def arranged(self, given: FloatArray, outputs: FloatArray) -> FloatArray:
        """Arrange the source's own output as the model's; what it does not give out is ``outputs``."""
        chosen = outputs if self.columns is None else outputs[..., self.columns]
        values = softmax(self.softmax, chosen).reshape(-1, len(self.features)).copy()
        order = np.argsort(self.features)
        column = order[np.searchsorted(self.features[order], self.elements // len(values))]
        values[self.elements % len(values), column] = given
        return values.reshape(chosen.shape)


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
    pairs = np.unique(np.column_stack([features, at % graph.steps]), axis=0)
    count, steps = len(np.unique(features)), {int(s) for s in at % graph.steps}
    if len(np.unique(flat)) != len(flat):
        graph.refuse("the output holds a feature twice; give it out once")
    # Every feature at one step, which may be another one of each, or every feature at every step.
    single = len(pairs) == count
    _, place = distinct((at // graph.steps if single else at)[:, None])
    whole = len(flat) == len(pairs) * graph.sequences == count * (int(place.max()) + 1)
    each = features[np.argsort(place, kind="stable")].reshape(-1, count if whole else len(flat))
    if (
        not whole
        or (each != each[0]).any()
        or not (single or len(pairs) == count * len(steps))
        or (single and not steps <= {0, graph.steps - 1} and len(steps) > 1)
    ):
        graph.refuse("the output holds different features at different steps")
    positions = distinct(at[:, None])[0].ravel()
    sequences = range(graph.sequences if not single else 0)
    moves = {
        int(m)
        for n in sequences
        for m in np.sign(np.diff(positions[positions // graph.steps == n]))
    }
    if len(moves) > 1:
        graph.refuse("the output gives the steps in another order; order them on the host")
    if len(steps) == graph.steps and not (single and graph.steps > 1):
        kind = "all"
    elif single and steps <= {0, graph.steps - 1}:
        kind = "both ends" if len(steps) > 1 else "last" if max(steps) else "first"
    else:
        graph.refuse(
            f"the output holds steps {sorted(steps)[:8]} of {graph.steps}; the "
            "core gives every step: give out all of them, the last or the first"
        )
    chosen, function = each[0], ""
    owner = graph.owner(chosen[0])
    if owner.kind == "softmax":
        if not np.array_equal(chosen, owner.first + np.arange(owner.size)):
            graph.refuse(f"{owner.function}: the output holds parts of it, or more")
        function = owner.function
        moved = owner.reads[features - owner.first] * graph.positions + at
        chosen, elements = owner.reads, moved.reshape(elements.shape)
    return Output(chosen, function, kind, elements, backwards=moves == {-1})
