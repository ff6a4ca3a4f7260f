"""Follows the tensors of an ONNX graph back to the vectors of a model.

Layout is followed by evaluation, not by a rule for each operator. Every element of every vector
(all rows of it: steps times sequences) gets a number of its own, and a tensor is an integer array
that says which element stands where. ``Transpose``, ``Reshape``, ``Slice``, ``Concat`` and so on
are applied to that array as they are; a layer looks at it to see whether it gets what it needs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.budget import spend
from .onnx_fold import BYTES, ELEMENTS_LIMIT, constants, node_name

__all__ = ["Span", "Tensors", "Value"]

Array = npt.NDArray[Any]

SYMBOLIC = (13, 11, 7, 5, 3)  # sizes tried for open dimensions: all different, so told apart


@dataclass(frozen=True)
class Span:
    """The elements of one vector: ``start + row * size + feature``.

    Parameters
    ----------
    name : str
        Layer or graph input.
    kind : {'input', 'layer', 'cell'}
        ``cell`` is a layer's second state, which no layer can read.
    start, rows, size : int
        First number, how many rows, features of a row.
    """

    name: str
    kind: str
    start: int
    rows: int
    size: int

    def index(self, rows: Array) -> Array:
        """Return the elements of some rows, with the features as a new last axis."""
        return self.start + rows[..., None] * self.size + np.arange(self.size)

    def part(self, index: Array) -> Array:
        """Return the numbers that lie in this span, counted from its start, sorted."""
        inside = index[(index >= self.start) & (index < self.start + self.rows * self.size)]
        return np.sort(inside - self.start)


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the graph's inputs.

    Parameters
    ----------
    index : numpy.ndarray of int
        Which element stands where.
    sole : bool
        Nobody else reads the vector, so that an activation may be fused into its layer.
    state : bool
        This is the final state of a layer, as its node returns it.
    final : {'', 'Softmax', 'LogSoftmax'}
        A function left out; the tensor may only be an output.
    """

    index: Array
    sole: bool = False
    state: bool = False
    final: str = ""


class Tensors:
    """What every tensor of a graph is.

    Parameters
    ----------
    model : onnx.ModelProto
        Checked, without external data.

    Attributes
    ----------
    env : dict of str -> array or Value
        Constants and tensors by name.
    shapes : dict of str -> tuple of int
        Shape of every graph input, open dimensions filled in.
    spans : list of Span
    x : str
        Name of the graph input that is the model's ``x``.
    """

    def __init__(self, model: Any) -> None:
        self.graph, self.onnx = model.graph, model
        self.spans: list[Span] = []
        self.x = ""
        self._times: set[int | None] | None = None  # None in it: a run of the graph is one step
        self.env: dict[str, Array | Value] = dict(constants(model))
        self._uses = Counter(n for node in self.graph.node for n in node.input)
        self._uses.update(o.name for o in self.graph.output)
        self.shapes: dict[str, tuple[int, ...]] = {}
        opened: dict[str, int] = {}
        for info in self.graph.input:
            if info.name in self.env:
                continue  # an initializer's default
            shape = []
            for axis, dim in enumerate(info.type.tensor_type.shape.dim):
                key = dim.dim_param or f"{info.name}[{axis}]"
                choice = SYMBOLIC[len(opened) % len(SYMBOLIC)]
                known = dim.HasField("dim_value")
                shape.append(dim.dim_value if known else opened.setdefault(key, choice))
            if min(shape, default=1) < 1 or np.prod(np.array(shape, float)) > ELEMENTS_LIMIT:
                raise InputError(f"input {info.name!r} has shape {shape}; 1 to 2**26 elements")
            self.shapes[info.name] = tuple(shape)
            spend(BYTES * int(np.prod(shape)), f"input {info.name!r} of shape {shape}")
            size = shape[-1] if shape else 1
            count = int(np.prod(shape))
            span = self.add_span(info.name, "input", count // size, size)
            self.env[info.name] = Value(span.start + np.arange(count).reshape(shape))

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of ``x`` without its features: one row each."""
        return self.shapes[self.x][:-1]

    @property
    def row_numbers(self) -> Array:
        """Number of each row, in the shape ``lead``."""
        return np.arange(int(np.prod(self.lead))).reshape(self.lead)

    @property
    def time(self) -> int | None:
        """Time axis of ``x``; None where every run of the graph is one step."""
        return min((axis for axis in self._times or () if axis is not None), default=None)

    @property
    def elements(self) -> int:
        """How many elements have a number."""
        return sum(span.rows * span.size for span in self.spans)

    def add_span(self, name: str, kind: str, rows: int, size: int) -> Span:
        """Give a new vector its numbers."""
        if rows * size > ELEMENTS_LIMIT:
            raise InputError(f"{name}: has {rows * size} values in a run, up to 2**26 allowed")
        spend(BYTES * rows * size, f"{name}, {rows * size} values in a run,")
        self.spans.append(Span(name, kind, self.elements, rows, size))
        return self.spans[-1]

    def spans_of(self, index: Array) -> list[Span]:
        """Return the spans that a tensor is made of, by their numbers."""
        starts = [span.start for span in self.spans]
        found = np.unique(np.searchsorted(starts, index.ravel(), side="right") - 1)
        return [self.spans[k] for k in found]

    def put(self, node: Any, value: Value, k: int = 0) -> None:
        """Set a node's output."""
        name = node.output[k] if k < len(node.output) else ""
        if name:
            self.env[name] = replace(value, sole=value.sole and self._uses[name] <= 1)

    def value(self, node: Any, k: int = 0) -> Value:
        """Return a node's input as data."""
        value = self.env.get(node.input[k])
        if not isinstance(value, Value) or value.final:
            kind = "a constant" if isinstance(value, np.ndarray) else "made by a softmax"
            raise InputError(
                f"{node_name(self.graph, node)}: {node.op_type} reads {node.input[k]!r}, which is "
                f"{kind}; that is not supported"
            )
        return value

    def constant(self, node: Any, k: int, what: str) -> Array | None:
        """Return a node's input as a constant, None where it is left out."""
        if k >= len(node.input) or not node.input[k]:
            return None
        array = self.env.get(node.input[k])
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"{node_name(self.graph, node)}: {what} ({node.input[k]!r}) is an input or computed"
                " by the graph; it must be a constant"
            )
        return array

    def read(self, node: Any, value: Value) -> tuple[tuple[str, ...], Array]:
        """Take the last axis of a tensor as the input of a layer.

        Returns
        -------
        (tuple of str, numpy.ndarray of int)
            The vectors that are joined in it, and the row of each place.

        Raises
        ------
        InputError
            Features are missing, out of order, of different rows, or of no layer.
        """
        index, name = value.index, node_name(self.graph, node)
        sources: list[str] = []
        rows: Array | None = None
        done, ordered = 0, index.ndim > 0 and index.size > 0
        while ordered and done < index.shape[-1]:
            span = self.spans_of(index.reshape(-1, index.shape[-1])[0, done : done + 1])[0]
            part = index[..., done : done + span.size]
            row = (part[..., 0] - span.start) // span.size
            ordered = part.shape[-1] == span.size and np.array_equal(part, span.index(row))
            ordered &= rows is None or np.array_equal(rows, row)
            rows, done = row, done + span.size
            sources.append(self._source(name, span))
        if not ordered or rows is None:
            raise InputError(
                f"{name}: {node.op_type} reads features that are cut, mixed with steps, or not on "
                "the last axis; that is not supported"
            )
        return tuple(sources), rows

    def _source(self, name: str, span: Span) -> str:
        """Name a vector as layers read it; a graph input becomes the model's x by that."""
        if span.kind == "layer":
            return span.name
        if span.kind == "cell":
            raise InputError(f"{name}: reads the cell state of {span.name}; that is not supported")
        if len(self.shapes[span.name]) < 2:
            raise InputError(f"input {span.name!r} has no axis of steps; give it one")
        if self.x not in ("", span.name):
            raise InputError(
                f"{name}: reads the graph input {span.name!r} as data beside {self.x!r}; models "
                "have one input x: join them outside"
            )
        self.x = span.name
        return "x"

    def find_time(self, node: Any, rows: Array) -> None:
        """Check that rows of shape (T, B) are all steps in order; learn which axis of x is time."""
        found: set[int | None] = {
            axis
            for axis, length in enumerate(self.lead)
            if np.array_equal(rows, np.moveaxis(self.row_numbers, axis, 0).reshape(length, -1))
        }
        if len(rows) == 1 and np.array_equal(rows.ravel(), self.row_numbers.ravel()):
            found.add(None)
        self._times = found if self._times is None else self._times & found
        if not self._times:
            raise InputError(
                f"{node_name(self.graph, node)}: does not read every step of the input in order "
                "(only some steps, or time and batch exchanged); that is not supported"
            )

    def coverage(self, span: Span, index: Array) -> str:
        """Say which steps of a vector a tensor holds: 'all', 'last', 'first' or ''."""
        part = span.part(index)
        if np.array_equal(part, np.arange(span.rows * span.size)):
            return "all"
        for step, which in ((-1, "last"), (0, "first")) if self.time is not None else ():
            rows = np.sort(self.row_numbers.take(step, axis=self.time).ravel())
            if np.array_equal(part, (rows[:, None] * span.size + np.arange(span.size)).ravel()):
                return which
        return ""
