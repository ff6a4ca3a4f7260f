"""The graph that readers of computations emit: what each element of each tensor is.

A reader walks its framework's operators and calls one method of :class:`Graph` for each. A tensor
is an integer array in the framework's own shape: each entry names one feature of one vector at
one step of one sequence. So every operator that only moves elements (transposes, slices, flips,
the last step, ``h_n``, stacking the steps of an unrolled loop) is the same operator of NumPy on
that array, in any layout, and cannot be misread. An operator that computes looks at the elements
it reads: where they do not belong to one step, it is refused.

**To add an importer**: read the file into its list of operators; call :meth:`Graph.input` with
the shape and time axis of the input; keep the tensor of each name; for each operator move
elements by NumPy, or call :meth:`~Graph.recurrent`, :meth:`~Graph.cell`, :meth:`~Graph.linear`,
:meth:`~Graph.combine` (scale, offset, sums, normalization), :meth:`~Graph.activation`,
:meth:`~Graph.softmax` or :meth:`~Graph.embedding`; set :attr:`Graph.place` before each, for
messages, and :attr:`Graph.name`, where the format names its layers. Then :func:`~.graph_model.fold` makes the model. ``aten.py`` is an example, docs/importing.md explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InputError
from ..files.budget import spend
from ..ir.model import SIZE_LIMIT, Recurrent
from .graph_node import Node, WrongAxis, contents, distinct

__all__ = ["Graph"]

ELEMENTS_LIMIT = 1 << 24  # of one tensor
ONE_STEP = (
    "its time axis has one step in the example; give an example of 5 steps along it (the first "
    "axis, where batch_first is False), with any loop over steps in forward"
)
BLEND_LIMIT = 1 << 12  # features of one sum or scaling


@dataclass(eq=False)
class Graph:
    """Vectors of one computation, over sequences of equal length.

    An element is numbered ``feature * positions + sequence * steps + step``. Vectors made from here
    on come from ``place`` and make layers of ``name``, if it is not empty. What ``streams`` may have
    one step: its caller keeps the state. ``recurrent_layers`` are the format's, for messages.
    """

    place: str = ""
    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    sequences: int = 1
    steps: int = 1
    streams: bool = False
    recurrent_layers: str = "(nn.GRU, nn.LSTM, nn.RNN or a loop over one of their cells)"
    _known: dict[tuple[Any, ...], Node] = field(default_factory=dict)
    _owner: list[int] = field(default_factory=list)

    @property
    def positions(self) -> int:
        """Number of steps of all sequences."""
        return self.sequences * self.steps

    def refuse(self, text: str, kind: type[InputError] = InputError) -> NoReturn:
        """Raise an error that names the place."""
        raise kind(f"{self.place}: {text}" if self.place else text)

    def owner(self, feature: int) -> Node:
        """Return the vector that a feature belongs to."""
        return self.nodes[self._owner[int(feature)]]

    def input(self, shape: Sequence[int], time: int, tokens: bool = False) -> IntArray:
        """Return the model's input; axes beside time and the sequences are features.

        Parameters
        ----------
        shape : sequence of int
        time : int
            Axis of the steps.
        tokens : bool
            Whether the elements are numbers of tokens. Of three axes and more, and of two of tokens,
            the first other axis is that of the sequences.
        """
        several = len(shape) > 2 - tokens
        lead = ([0 if time else 1] if several else []) + [time]
        rest = [axis for axis in range(len(shape)) if axis not in lead]
        self.steps, self.sequences = shape[time], shape[lead[0]] if several else 1
        size = int(np.prod([shape[axis] for axis in rest], dtype=float))
        if not 0 < size * self.positions <= ELEMENTS_LIMIT:
            self.refuse(
                f"an input of shape {tuple(shape)}: 1 to {ELEMENTS_LIMIT} elements are read"
            )
        node = self._node("input", size, np.empty(0, np.int64))
        ordered = self._elements(node, np.arange(self.positions)).reshape(
            [shape[axis] for axis in lead + rest]
        )
        return ordered.transpose(np.argsort(lead + rest))

    def embedding(self, tokens: IntArray, table: FloatArray | None, size: int = 0) -> IntArray:
        """Look up rows of a table, shape (tokens, features); None: give the one-hot vector."""
        given = self.nodes[0]
        features = tokens // self.positions
        if given.size != 1 or features.any():
            self.refuse("looks up what is not one token of the input at each step")
        count = size if table is None else len(table)
        seen = [node for node in self.nodes if node.kind == "one_hot"]
        if seen and seen[0].size != count:
            self.refuse(f"a table of {count} tokens, and before one of {seen[0].size}")
        x = self._node("one_hot", count, np.zeros(1, np.int64))
        hot = self._elements(x, tokens % self.positions)
        return hot if table is None else self.linear(hot, np.asarray(table).T, None)

    def linear(self, x: IntArray, weight: FloatArray, bias: FloatArray | None) -> IntArray:
        """Multiply the last axis by ``weight``, shape (outputs, inputs)."""
        reads, at = self._rows(x)
        if weight.ndim != 2 or weight.shape[1] != len(reads):
            self.refuse(f"weights of shape {weight.shape} for {len(reads)} inputs")
        offset = np.zeros(len(weight)) if bias is None else np.broadcast_to(bias, len(weight))
        node = self._node("linear", len(weight), reads, weight=weight, bias=offset)
        return self._elements(node, at).reshape(*x.shape[:-1], node.size)

    def combine(
        self, terms: Sequence[tuple[IntArray, FloatArray | float]], offset: FloatArray | float = 0.0
    ) -> IntArray:
        """Return the sum of ``terms`` (a tensor and its factor) and an offset, element by element."""
        arrays = [a for term in terms for a in term] + [offset]
        try:
            shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
        except ValueError:
            shapes = ", ".join(str(np.shape(a)) for a in arrays if np.ndim(a))
            self.refuse(f"adds or scales tensors of shapes {shapes}, which do not belong together")
        if np.prod(np.array(shape, float)) > ELEMENTS_LIMIT:
            self.refuse(
                f"makes a tensor of shape {shape}; up to {ELEMENTS_LIMIT} elements are read"
            )
        flat = [np.broadcast_to(a, shape).ravel() for a in arrays]
        tensors, factors = flat[:-1:2], flat[1::2]
        at = self._same_step(np.stack([t % self.positions for t in tensors], axis=-1))
        table = [t // self.positions for t in tensors] + [*factors, flat[-1]]
        rows, inverse = distinct(np.column_stack([np.asarray(a, float) for a in table]))
        together = np.unique(inverse * self.positions + at).size
        if together != len(rows) * np.unique(at).size:
            self.refuse("its factors or offsets differ from step to step; only those that are the "
                        "same at every step can be folded into weights")  # fmt: skip
        features, factor = rows[:, : len(terms)].astype(np.int64), rows[:, len(terms) : -1]
        if len(terms) == 1:
            node = self._node(
                "blend", len(rows), features[:, 0], weight=factor[:, 0], bias=rows[:, -1]
            )
            return ((node.first + inverse) * self.positions + at).reshape(shape)
        if len(rows) > BLEND_LIMIT:
            self.refuse(f"{len(rows)} features in one sum; up to {BLEND_LIMIT} are read")
        reads, column = np.unique(features, return_inverse=True)
        spend(8 * len(rows) * len(reads), self.place)
        weight = np.zeros((len(rows), len(reads)))
        for k in range(len(terms)):
            np.add.at(
                weight, (np.arange(len(rows)), column.reshape(features.shape)[:, k]), factor[:, k]
            )
        node = self._node("blend", len(rows), reads, weight=weight, bias=rows[:, -1])
        return ((node.first + inverse) * self.positions + at).reshape(shape)

    def activation(self, x: IntArray, name: str, slope: float = 0.2) -> IntArray:
        """Apply an activation of :data:`~.activation.ACTIVATIONS` to each element."""
        rows, inverse = distinct(x.reshape(-1, 1) // self.positions)
        node = self._node("activation", len(rows), rows[:, 0], function=name, slope=slope)
        at = x.ravel() % self.positions
        return ((node.first + inverse) * self.positions + at).reshape(x.shape)

    def softmax(self, x: IntArray, axis: int, kind: str) -> IntArray:
        """Apply ``softmax`` or ``log_softmax``; only a model's end may read it."""
        moved = np.moveaxis(x, axis, -1)
        reads, at = self._rows(moved)
        node = self._node("softmax", len(reads), reads, function=kind)
        return np.moveaxis(self._elements(node, at).reshape(moved.shape), -1, axis)

    def recurrent(
        self, x: IntArray, layer: Recurrent, start: tuple[Any, ...] = ()
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Walk a recurrent layer over the first axis of ``x``, shape (steps, sequences, features).

        ``start`` tells the state to start from, where that is not zero: see :class:`.Node`.

        Returns
        -------
        (y, h, c)
            Outputs, shape (steps, sequences, H); the last state and cell state (sequences, H).
        """
        reads, at = self._rows(x)
        at = at.reshape(x.shape[:2])
        order = at % self.steps
        moves = set(np.diff(order[:, 0]).tolist())
        if (
            len(x) != self.steps
            or (order != order[:, :1]).any()
            or (not moves <= {1} and not moves <= {-1})
        ):
            self.refuse("walks over some steps only, one step again and again, or time and sequences "
                        "exchanged", WrongAxis)  # fmt: skip
        if self.steps < 2 and not self.streams:
            self.refuse(ONE_STEP)
        backwards = moves == {-1}
        node, twin = self._walk(reads, layer, backwards ^ layer.reverse, start)
        y, c = self._elements(node, at), self._elements(twin, at)
        end = 0 if layer.reverse else -1
        return y, y[end], c[end]

    def cell(
        self,
        x: IntArray,
        h: IntArray | FloatArray,
        layer: Recurrent,
        is_state: Callable[[Any], bool],
    ) -> tuple[IntArray, IntArray]:
        """Advance a cell by one step of an unrolled loop; ``h`` are zeros or its own last state.

        Parameters
        ----------
        x : shape (sequences, features)
        h : shape (sequences, H)
        is_state : callable
            Tells a tensor from constants.
        """
        reads, at = self._rows(x)
        step = at % self.steps
        if self.steps < 2:
            self.refuse(ONE_STEP)
        if (step != step[0]).any():
            self.refuse("a cell reads several steps at once", WrongAxis)
        if not is_state(h):
            if np.any(h) or step[0] not in (0, self.steps - 1):
                self.refuse(
                    "a cell's loop must start at the first or last step, with a state of zeros"
                )
            node, twin = self._walk(reads, layer, bool(step[0]))
        else:
            node = self.owner(int(h.flat[0]) // self.positions)
            before = at + (1 if node.reverse else -1)
            same = node.kind == "recurrent" and self._walk(reads, layer, node.reverse)[0] is node
            if not same or not np.array_equal(h, self._elements(node, before)):
                self.refuse("a cell's state is not its own state of the step before, with the same "
                            "weights and inputs: a recurrence of another kind")  # fmt: skip
            node, twin = self._walk(reads, layer, node.reverse)
        return self._elements(node, at), self._elements(twin, at)

    def _walk(
        self, reads: IntArray, layer: Recurrent, reverse: bool, start: tuple[Any, ...] = ()
    ) -> tuple[Node, Node]:
        if len(reads) != layer.input_size:
            self.refuse(f"weights take {layer.input_size} inputs, but {len(reads)} come in")
        node = self._node("recurrent", layer.size, reads, layer=layer, reverse=reverse, start=start)
        return node, self._node("cell_state", layer.size, node.first + np.arange(layer.size))

    def _node(self, kind: str, size: int, reads: IntArray, **rest: Any) -> Node:
        """Return the vector that is computed so: the one there is, or a new one."""
        key = (kind, size, reads.tobytes(), *(contents(value) for value in rest.values()))
        if not 0 < size < SIZE_LIMIT:
            self.refuse(f"makes {size} features; 1 to {SIZE_LIMIT - 1} are read")
        if key not in self._known:
            self._known[key] = Node(
                kind, size, len(self._owner), reads, self.place, self.name, **rest
            )
            self._owner += [len(self.nodes)] * size
            self.nodes.append(self._known[key])
        return self._known[key]

    def _elements(self, node: Node, at: IntArray) -> IntArray:
        """Return the elements of a vector at some positions, as a new last axis."""
        spend(8 * at.size * node.size, self.place)
        if at.size * node.size > ELEMENTS_LIMIT:
            self.refuse(f"makes {at.size * node.size} elements; up to {ELEMENTS_LIMIT} are read")
        return (node.first + np.arange(node.size)) * self.positions + at[..., None]

    def _same_step(self, at: IntArray) -> IntArray:
        """Return the one position of each row of the last axis."""
        if (at != at[..., :1]).any():
            row = at.reshape(-1, at.shape[-1])[np.argmax((at != at[..., :1]).any(-1).ravel())]
            if {int(k) for k in row % self.steps} == {0, self.steps - 1}:
                self.refuse("reads the last step of one vector together with the first step of another (the "
                            "two halves of a bidirectional h_n, or of return_sequences=False): the core "
                            "reads one step at a time. Use y[:, -1] and train again, or import the "
                            "recurrent part alone and compute the rest on the host")  # fmt: skip
            self.refuse(
                f"reads different steps together; that needs a recurrent layer {self.recurrent_layers}"
            )
        return at[..., 0]

    def _rows(self, x: IntArray) -> tuple[IntArray, IntArray]:
        """Return the features that every row of the last axis reads, and each row's position."""
        rows = x.reshape(-1, x.shape[-1])
        at = self._same_step(rows % self.positions)
        features = rows // self.positions
        if (features != features[:1]).any():
            self.refuse("reads other features at other places: axes are exchanged", WrongAxis)
        return features[0], at
