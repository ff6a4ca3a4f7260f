"""An ONNX graph as a model: its walk, once for each axis that may be time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..arrays import IntArray
from ..errors import InputError
from ..ir.model import Model
from .graph_model import fold_all
from .graph_node import first_axis
from .graph_output import Output
from .onnx_fold import FOLDED, constants, operator
from .onnx_operators import ADVICE, OPERATORS
from .onnx_walk import Layout, Walk, data_input, input_shapes

__all__ = ["Import", "translate"]


@dataclass(frozen=True, eq=False)
class Import:
    """The model of a graph, and where what the graph gives out is in it.

    Parameters
    ----------
    walk : Walk
    model : Model
    outputs : tuple of (str, Output)
        With the graph's names.
    layers : dict of int -> str
        Layers by the first feature of the vectors that they make.
    """

    walk: Walk
    model: Model
    outputs: tuple[tuple[str, Output], ...]
    layers: dict[int, str]

    @property
    def hot(self) -> bool:
        """True if x is one-hot vectors of tokens."""
        return any(node.kind == "one_hot" for node in self.walk.graph.nodes)

    @property
    def states(self) -> Iterator[tuple[str, str, str, IntArray]]:
        """Layer, 'h' or 'c', graph input and its elements of every state that the caller loads."""
        for node in self.walk.graph.nodes:
            for key in node.start if node.first in self.layers else ():
                yield self.layers[node.first], key[0], key[1], self.walk.starts[key]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the model, for people."""
        states = (
            f"{layer}: initial_{which} comes from input {source!r}: here the core keeps the state, "
            "and the caller may load it"
            for layer, which, source, _ in self.states
        )
        return (*self.model.notes, *dict.fromkeys(self.walk.notes), *states)


def translate(model: Any) -> Import:
    """Make the model of a graph.

    Raises
    ------
    InputError
        Names the node that is not taken.
    """
    unknown = Counter(
        op for op in map(operator, model.graph.node) if op not in {*OPERATORS, *FOLDED}
    )
    if unknown:
        listed = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
        advice = next((f": {ADVICE[op]}" for op in sorted(unknown) if op in ADVICE), "")
        raise InputError(f"the graph has operators that are not supported: {listed}{advice}")
    known = constants(model)
    walk: Walk | None = None

    def read(layout: Layout, sizes: Mapping[str, int] | None = None) -> Import:
        nonlocal walk
        walk = Walk(model, known, layout, sizes or {}, OPERATORS)
        outputs = walk.run()
        made, found, names = fold_all(walk.graph, [numbers for _, numbers in outputs], "ONNX")
        pairs = zip((name for name, _ in outputs), found, strict=True)
        return Import(walk, made, tuple(pairs), names)

    _, shapes = input_shapes(model, known, {})
    x = data_input(model, list(shapes))
    kind = next(i.type.tensor_type.elem_type for i in model.graph.input if i.name == x)
    result = first_axis(_layouts(shapes[x], kind), read, lambda: walk.done if walk else 0)
    walk = result.walk
    if walk.batch and walk.sequences_key:  # an open axis, but states for one size of it
        return read(walk.layout, {walk.sequences_key: walk.batch})
    return result


def _layouts(shape: tuple[int, ...], kind: int) -> list[Layout]:
    """Return what the axes may be, the most likely first."""
    from onnx import TensorProto as T

    tokens = kind not in (T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE)
    axes = [1, 0, *range(2, len(shape))] if len(shape) > 2 else list(range(len(shape)))
    if not shape:
        raise InputError("the input is one number, without an axis of steps; give it one")
    found = [Layout(axis) for axis in axes if len(shape) > 1]
    if tokens and len(shape) < 3:
        found = [*(Layout(axis, True) for axis in reversed(axes)), *found]
    return sorted([*found, Layout(None)], key=lambda a: a.time is None or shape[a.time] == 1)
