"""From a :class:`~.graph.Graph` and its output tensors to a model, with notes on what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import IntArray
from ..ir.model import Model
from .graph import Graph
from .graph_fold import Fold
from .graph_merge import merged
from .graph_output import Output, find_output

__all__ = ["fold", "fold_all"]


def fold(graph: Graph, elements: IntArray, source: str) -> tuple[Model, Output]:
    """Make the model whose outputs are the elements of one tensor.

    Raises
    ------
    InputError
        The tensor holds some steps only, or a node has no exact layer.
    """
    model, (output,), _ = fold_all(graph, [elements], source)
    return model, output


def fold_all(
    graph: Graph, tensors: Sequence[IntArray], source: str
) -> tuple[Model, list[Output], dict[int, str]]:
    """Make the model whose outputs are the elements of some tensors.

    Returns
    -------
    (model, outputs, names)
        Names of the layers by the first feature of the vectors that they make.

    Raises
    ------
    InputError
        As for :func:`fold`.
    """
    outputs = [find_output(graph, elements) for elements in tensors]
    folded = Fold(merged(graph, [output.features for output in outputs]))
    model, features = folded.run([output.features for output in outputs], source)
    order = np.argsort(features, kind="stable")
    outputs = [
        replace(o, columns=order[np.searchsorted(features[order], o.features)]) for o in outputs
    ]
    notes = list(model.notes)
    if folded.hot:
        notes.append(
            f"x: {model.input_size} values a step, the one-hot vector of a token (1 at its number, "
            "else 0); an embedding is a linear layer whose columns are the table's rows"
        )
    for output in outputs:
        if output.softmax:
            notes.append(
                f"{output.softmax} left out: outputs are logits, the largest stays the largest"
            )
        if output.steps == "both ends":
            late = output.elements[output.elements % graph.steps > 0] // graph.positions
            columns = np.flatnonzero(np.isin(features, late))
            notes.append(
                "the last step of some outputs and the first of others are given out by its "
                "forward (the two directions); the core gives every step; of the last step: outputs "
                + ", ".join(map(str, columns))
            )
        elif output.steps != "all":
            notes.append(
                f"the {output.steps} step only is given out by its forward; the core gives every step"
            )
        if output.backwards:
            notes.append(
                "its forward gives the last step first; here each output stands at its own step"
            )
    return replace(model, notes=tuple(dict.fromkeys(notes))), outputs, folded.names
