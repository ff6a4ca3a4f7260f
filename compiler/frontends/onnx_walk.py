"""A walk over the nodes of an ONNX graph that follows every element into a :class:`~.graph.Graph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InputError
from ..files.budget import spend
from .graph import Graph
from .graph_node import Elements
from .onnx_cells import RECURRENT_OPS
from .onnx_fold import BYTES, ELEMENTS_LIMIT, FOLDED, GLUE, Array, evaluate, operator

__all__ = ["RECURRENT", "Layout", "Tensor", "Walk", "data_input", "input_shapes"]

RECURRENT = (
    "(a GRU, LSTM or RNN node; PyTorch's exporters write a loop over cells, and with dynamo=True also "
    "nn.RNN, step by step: export nn.RNN with dynamo=False, or give the .pt2 file of torch.export)"
)
SYMBOLIC = (13, 11, 7, 5, 3)  # sizes tried for open dimensions: all different, so told apart


class Layout(NamedTuple):
    """Meaning of the axes of x.

    Parameters
    ----------
    time : int or None
        Axis of the steps; None: every run of the graph is one step.
    tokens : bool
        Whether the elements may be numbers of tokens.
    """

    time: int | None
    tokens: bool = False

    def number(self, graph: Graph, shape: tuple[int, ...]) -> IntArray:
        """Return the element numbers of an input of a shape."""
        if self.time is not None:
            return graph.input(shape, self.time, self.tokens)
        count = int(np.prod(shape[:-1]))
        return graph.input((count, 1, shape[-1]), 1).reshape(shape)


class Tensor(Elements):
    """A tensor that depends on the graph's inputs.

    Parameters
    ----------
    numbers : ndarray of int
    source : str
        Name of the input of a state whose elements these are; '' for x and what is computed.
    state : bool
        This is the final state of a layer, as its node returns it.
    """

    def __init__(self, numbers: IntArray, source: str = "", state: bool = False) -> None:
        super().__init__(numbers)
        self.source, self.state = source, state


class Walk:
    """One reading of a graph.

    Parameters
    ----------
    model : onnx.ModelProto
        Checked, without external data.
    known : mapping of str -> ndarray
        Its constants.
    layout : Layout
        Of x.
    sizes : mapping of str -> int
        Of open dimensions.
    operators : mapping of str -> callable
        Of a walk and a node; returns the node's outputs.

    Attributes
    ----------
    env : dict of str -> array or Tensor
        Constants and tensors by name.
    x : str
        The graph input that is the model's ``x``.
    batch : int
        Sequences that a constant state is made for, where these are others than x has; 0: none.
    done : int
        Nodes that are read.
    starts : dict
        Elements of an input that a layer starts from, by what tells them in the graph.
    recurrent : list of (str, str, ndarray)
        Name of each recurrent node, of its first output, and the elements of that.
    """

    def __init__(
        self, model: Any, known: Mapping[str, Array], layout: Layout, sizes: Mapping[str, int],
        operators: Mapping[str, Translation],
    ) -> None:  # fmt: skip
        self.onnx, self.layout, self.operators = model, layout, operators
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.graph = Graph(streams=True, recurrent_layers=RECURRENT)
        self.env: dict[str, Array | Tensor] = dict(known)
        self.keys, self.shapes = input_shapes(model, known, sizes)
        self.x = data_input(model, list(self.shapes))
        self.batch, self.done = 0, 0
        self.notes: list[str] = []
        self.starts: dict[tuple[Any, ...], IntArray] = {}
        self.recurrent: list[tuple[str, str, IntArray]] = []
        for name, shape in self.shapes.items():
            if name == self.x:
                self.env[name] = Tensor(layout.number(self.graph, shape))
            else:
                self.env[name] = Tensor(np.arange(int(np.prod(shape))).reshape(shape), name)

    def run(self) -> list[tuple[str, IntArray]]:
        """Return name and element numbers of the outputs that are not only final states."""
        for k, node in enumerate(self.onnx.graph.node):
            self.done = k
            if all(o in self.env for o in node.output if o):
                continue
            self.graph.place = self.graph.name = node.name or f"{node.op_type}_{k}"
            if not self._move(node):
                op = operator(node)
                if op not in self.operators:
                    self.graph.refuse(f"{op} of data is not supported, only of constants")
                results = self.operators[op](self, node)
                for name, value in zip(node.output, results, strict=False):
                    if name:
                        self.env[name] = value if isinstance(value, Tensor) else Tensor(value)
        found: list[tuple[str, Tensor]] = []
        for info in self.onnx.graph.output:
            value = self.env.get(info.name)
            if not isinstance(value, Tensor) or value.source:
                what = "holds inputs" if isinstance(value, Tensor) else "is a constant"
                raise InputError(f"output {info.name!r} {what}; remove it")
            found.append((info.name, value))
        self.done = len(self.onnx.graph.node)
        self.graph.place, self.graph.name = "the output", ""
        kinds = {name: self._owners(value) for name, value in found}
        kept = [p for p in found if not p[1].state and kinds[p[0]].keys() != {"input"}]
        kept = kept or [pair for pair in found if "cell_state" not in kinds[pair[0]]] or found
        for name in kinds.keys() - {name for name, _ in kept}:
            for kind, owners in kinds[name].items():
                self.notes += [
                    f"output {name!r} gives x back; it is left out"
                    if kind == "input"
                    else f"the final state of {owner} is kept inside the core"
                    for owner in owners
                ]
        return [(name, value.numbers) for name, value in kept]

    def _owners(self, value: Tensor) -> dict[str, dict[str, None]]:
        """Return the names of the vectors that a tensor is made of, by their kinds."""
        found: dict[str, dict[str, None]] = {}
        for feature in np.unique(value.numbers // self.graph.positions):
            owner = self.graph.owner(feature)
            found.setdefault(owner.kind, {})[owner.name] = None
        return found

    def _move(self, node: Any) -> bool:
        """Apply a node that computes a constant, or moves elements of tensors."""
        op = operator(node)
        inputs = [self.env.get(name) for name in node.input]
        tensors = [v for v in inputs if isinstance(v, Tensor)]
        if op not in FOLDED:
            return False
        plain = [v.numbers if isinstance(v, Tensor) else v for v in inputs]
        if not tensors or op in ("Shape", "Size"):
            results = evaluate(node, plain, self.onnx)
            self.env.update((n, a) for n, a in zip(node.output, results, strict=True) if n)
            return True
        if op not in GLUE or (op == "Gather" and not isinstance(inputs[0], Tensor)):
            return False
        if len(tensors) != (len(inputs) if op == "Concat" else isinstance(inputs[0], Tensor)):
            self.graph.refuse(f"{op} of constants and data (padding, or a shift by a step), or at "
                              "places that depend on data; that is for the host")  # fmt: skip
        if len({t.source for t in tensors}) > 1:
            self.graph.refuse(f"{op} of several inputs; models have one input x: join them outside")
        state = all(t.state for t in tensors)
        for name, numbers in zip(node.output, evaluate(node, plain, self.onnx), strict=False):
            if name:
                self.env[name] = Tensor(numbers, tensors[0].source, state)
        return True

    def value(self, node: Any, k: int) -> Array | Tensor | None:
        """Return a node's input; None where it is left out."""
        return self.env[node.input[k]] if k < len(node.input) and node.input[k] else None

    def data(self, node: Any, k: int = 0) -> IntArray:
        """Return the element numbers of a node's input that must depend on x."""
        value = self.tensor(node, k)
        if value.source:
            self.graph.refuse(f"{node.op_type} reads the input {value.source!r}; models have one input "
                              "x: join them outside")  # fmt: skip
        return value.numbers

    def tensor(self, node: Any, k: int = 0) -> Tensor:
        """Return a node's input that must depend on the graph's inputs."""
        value = self.value(node, k)
        if not isinstance(value, Tensor):
            self.graph.refuse(f"{node.op_type} reads {node.input[k]!r}, which is a constant")
        return value

    def constant(self, node: Any, k: int, what: str) -> Array | None:
        """Return a node's input as a constant; None where it is left out."""
        value = self.value(node, k)
        if isinstance(value, Tensor):
            self.graph.refuse(
                f"{what} ({node.input[k]!r}) is an input or computed from one; it must be a constant"
            )
        return value

    def numbers(self, node: Any, k: int, what: str) -> FloatArray:
        """Return a constant that must be there, in float64."""
        value = self.constant(node, k, what)
        if value is None:
            self.graph.refuse(f"{what} is missing; export the model again")
        return np.asarray(value, np.float64)

    @property
    def any_length(self) -> bool:
        """True if the axis of time is open."""
        return self.layout.time is not None and bool(self.keys[self.x][self.layout.time])

    def shape_at(self, name: str, steps: int) -> tuple[int, ...]:
        """Return an input's shape for sequences of a length."""
        time = self.keys[self.x][self.layout.time] if self.layout.time is not None else ""
        pairs = zip(self.keys[name], self.shapes[name], strict=True)
        return tuple(steps if time and key == time else size for key, size in pairs)

    @property
    def sequences_key(self) -> str:
        """The open dimension of x that holds the sequences; '' where it has a size."""
        if len(self.shapes[self.x]) < 2 or self.layout.time is None:
            return ""
        return self.keys[self.x][0 if self.layout.time else 1]


def input_shapes(
    model: Any, known: Mapping[str, Array], sizes: Mapping[str, int]
) -> tuple[dict[str, list[str]], dict[str, tuple[int, ...]]]:
    """Return the names of open dimensions ('' else) and the shape of every input of the graph."""
    opened = dict(sizes)
    keys: dict[str, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for info in model.graph.input:
        if info.name in known:
            continue  # an initializer's default
        keys[info.name], shape = [], []
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            key = "" if dim.HasField("dim_value") else dim.dim_param or f"{info.name}[{axis}]"
            choice = SYMBOLIC[len(opened) % len(SYMBOLIC)]
            shape.append(opened.setdefault(key, choice) if key else dim.dim_value)
            keys[info.name].append(key)
        if min(shape, default=1) < 1 or np.prod(np.array(shape, float)) > ELEMENTS_LIMIT:
            raise InputError(f"input {info.name!r} has shape {shape}; 1 to 2**26 elements")
        shapes[info.name] = tuple(shape)
        spend(BYTES * int(np.prod(shape)), f"input {info.name!r} of shape {shape}")
    return keys, shapes


def data_input(model: Any, inputs: list[str]) -> str:
    """Return the input that layers read, not as a state to start from."""
    found = []
    for one in inputs:
        reached, data = {one}, False
        for node in model.graph.node:
            if reached.isdisjoint(node.input):
                continue
            op = operator(node)
            if op in GLUE or op in ("Cast", "Dropout"):
                reached.update(node.output)
            elif op not in ("Shape", "Size"):
                own = node.input[:4] if op in RECURRENT_OPS else node.input
                data |= not reached.isdisjoint(own)
        found += [one] if data else []
    if len(found) > 1:
        raise InputError(
            f"the inputs {', '.join(map(repr, found))} are read as data; models have one input x: "
            "join them outside"
        )
    if not (found or inputs):
        raise InputError("the graph has no input that a layer reads")
    return (found or inputs)[0]


Translation = Callable[[Walk, Any], Sequence[Any]]
