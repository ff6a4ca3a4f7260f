"""Exact folds from a :class:`~.graph.Graph` to layers: scalings and sums go into weights.

Every feature is written as an affine form over *bases*: the input, recurrent layers, linear
layers and activations. A layer that reads a form takes the form's matrix into its own weights, so
normalization costs nothing and ``y + x`` costs the products with x. A linear layer that only one
activation reads becomes one layer with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InputError
from ..files.budget import spend
from ..ir.model import Layer, Linear, Model
from .graph import Graph
from .graph_node import Node, times

__all__ = ["Fold"]

BASES = ("input", "one_hot", "recurrent", "linear", "activation")


Form = dict[int, FloatArray]
"""Matrix, shape (features, size of the base), by the first feature of the base."""


class Fold:
    """One translation; ``layers`` grow in the order of the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.notes: list[str] = []
        self.names: dict[int, str] = {}
        self.numbers: Counter[str] = Counter()
        self.readers: Counter[int] = Counter()  # how many layers and outputs read a base
        self.wanted: set[int] = set()
        self.pairs: dict[tuple[str, str, bytes], str] = {}  # forward halves of bidirectional layers

    def owners(self, features: IntArray) -> list[Node]:
        """Return the vectors that features belong to."""
        return list({(n := self.graph.owner(int(f))).first: n for f in features}.values())

    def bases(self, features: IntArray) -> set[int]:
        """Return the bases that features depend on."""
        found: set[int] = set()
        pending = {owner.first: owner for owner in self.owners(features)}
        while pending:
            owner = pending.pop(max(pending))
            if owner.kind == "blend":
                pending |= {inner.first: inner for inner in self.owners(owner.reads)}
            elif owner.kind not in BASES or (owner.kind == "input" and self.hot):
                self._refuse(owner)
            else:
                found.add(owner.first)
        return found

    def pull(self, features: IntArray, weight: FloatArray) -> tuple[Form, FloatArray]:
        """Write ``weight @ features`` as matrices of bases and an offset."""
        pending: Form = {}
        offset = np.zeros(len(weight))

        def give(features: IntArray, weight: FloatArray) -> None:
            for owner in self.owners(features):
                mine = np.flatnonzero(
                    (features >= owner.first) & (features < owner.first + owner.size)
                )
                block = pending.setdefault(owner.first, np.zeros((len(weight), owner.size)))
                np.add.at(block.T, features[mine] - owner.first, weight[:, mine].T)

        give(features, weight)
        form: Form = {}
        while pending:  # a later vector never feeds an earlier one
            owner = self.graph.owner(max(pending))
            matrix = pending.pop(owner.first)
            if owner.kind == "blend":
                offset += matrix @ owner.bias
                give(owner.reads, times(matrix, owner.weight))
            else:
                form[owner.first] = matrix
        return form, offset

    def _refuse(self, owner: Node) -> None:
        text = {
            "cell_state": "an LSTM's cell state is read; the core gives out its state h",
            "input": "tokens are read both as numbers and by a table",
            "softmax": f"{owner.function} is not at the end; only there it can be left out",
        }.get(owner.kind, f"{owner.kind} is read as a layer")
        raise InputError(f"{owner.place}: {text}" if owner.place else text)

    def scan(self, features: IntArray) -> None:
        """Count the bases that an output reads."""
        self.readers.update(self.bases(features))

    def count(self) -> None:
        """Count, from the outputs back, how many layers read each base."""
        for node in reversed(self.graph.nodes):
            if self.readers[node.first] and node.kind not in ("input", "one_hot"):
                self.wanted.add(node.first)
                self.readers.update(self.bases(node.reads))

    def expand(self, features: IntArray) -> tuple[Form, FloatArray]:
        """Write features as a form in which linear layers that nobody else reads are multiplied out."""
        whole = self._whole(features)
        if whole and len(whole) == 1 and self.absorbed(whole[0], len(features)):
            owner = self.graph.owner(whole[0])
            form, offset = self.pull(owner.reads, owner.weight)
            return form, offset + owner.bias
        spend(16 * len(features) ** 2, "a layer of ones")
        form, offset = self.pull(features, np.eye(len(features)))
        for base in [b for b in form if self.absorbed(b, len(features))]:
            owner, matrix = self.graph.owner(base), form.pop(base)
            inner, shift = self.pull(owner.reads, matrix @ owner.weight)
            offset = offset + shift + matrix @ owner.bias
            for deeper, block in inner.items():
                form[deeper] = form[deeper] + block if deeper in form else block
        return form, offset

    def absorbed(self, base: int, rows: int) -> bool:
        """Return whether a base is a linear layer that can become part of its only reader."""
        owner = self.graph.owner(base)
        return owner.kind == "linear" and self.readers[base] == 1 and rows <= owner.size

    def run(self, tensors: Sequence[IntArray], source: str) -> tuple[Model, IntArray]:
        """Make the layers, from the input to the outputs.

        Parameters
        ----------
        tensors : sequence of ndarray
            Features of each output tensor.
        source : str

        Returns
        -------
        (model, features)
            The model, and the number in the graph of each of its outputs.
        """
        for features in tensors:
            self.scan(features)
        self.count()
        gone: set[int] = set()  # linear layers that become part of what reads them
        whole = [self._whole(features) for features in tensors]
        for node in self.graph.nodes:
            if node.first in self.wanted and node.kind == "activation":
                gone |= {b for b in self.bases(node.reads) if self.absorbed(b, node.size)}
        for features, bases in zip(tensors, whole, strict=True):
            if bases is None:
                gone |= {b for b in self.bases(features) if self.absorbed(b, len(features))}
        for node in self.graph.nodes:
            if node.first in self.wanted and node.first not in gone:
                self._layer(node)
        outputs: dict[str, IntArray] = {}
        for features, bases in zip(tensors, whole, strict=True):
            if bases is None:
                end = self.graph.owner(features[0])
                form = self.expand(features)
                self._dense(features, *form, "the output", place=end.place, name=end.name)
                outputs[self.layers[-1].name] = features
            for base in bases or []:
                outputs[self.names[base]] = base + np.arange(self.graph.owner(base).size)
        size = [n for n in self.graph.nodes if n.kind in ("one_hot", "input")][
            -1 if self.hot else 0
        ].size
        model = Model(size, tuple(self.layers), tuple(outputs), source, tuple(self.notes))
        return model, np.concatenate([*outputs.values()])

    @property
    def hot(self) -> bool:
        """True if the input is one-hot vectors of tokens."""
        return any(node.kind == "one_hot" for node in self.graph.nodes)

    def _whole(self, features: IntArray) -> list[int] | None:
        """Return the bases, if the features are whole vectors side by side."""
        found, k = [], 0
        while k < len(features):
            owner = self.graph.owner(features[k])
            run = features[k : k + owner.size]
            layer = owner.kind in BASES and owner.kind not in ("input", "one_hot")
            if not layer or owner.first in found or len(run) != owner.size:
                return None
            if (run != owner.first + np.arange(owner.size)).any():
                return None
            found.append(owner.first)
            k += owner.size
        return found

    def _reads(self, form: Form) -> tuple[tuple[str, ...], FloatArray]:
        """Return names and the matrices side by side; bases with all zeros are left out."""
        kept = [b for b in sorted(form) if form[b].any()] or sorted(form)[:1]
        names = tuple(self.names.get(b, "x") for b in kept)
        return names, np.hstack([form[b] for b in kept])

    def _layer(self, node: Node) -> None:
        if node.kind == "activation":
            self._dense(
                node.reads, *self.expand(node.reads), "", node, place=node.place, name=node.name
            )
        elif node.kind == "linear":
            form, offset = self.pull(node.reads, node.weight)
            names, matrix = self._reads(form)
            self._add(
                node, Linear("linear", names, matrix, offset + node.bias), node.place, node.name
            )
        elif node.layer is not None:
            gates = list(node.layer.w)
            form, offset = self.pull(node.reads, np.vstack([node.layer.w[g] for g in gates]))
            names, matrix = self._reads(form)
            w = dict(zip(gates, np.split(matrix, len(gates)), strict=True))
            more = dict(zip(gates, np.split(offset, len(gates)), strict=True))
            b = {gate: a + more.get(gate, 0.0) for gate, a in node.layer.b.items()}
            made = replace(
                node.layer, name=node.layer.cell, inputs=names, input_size=matrix.shape[1], w=w, b=b,
                reverse=node.reverse,
            )  # fmt: skip
            self._add(node, made, node.place, node.name)

    def _dense(
        self, features: IntArray, form: Form, offset: FloatArray, what: str,
        node: Node | None = None, place: str = "", name: str = "",
    ) -> None:  # fmt: skip
        """Add one linear layer that computes a form, with the activation of ``node``."""
        names, matrix = self._reads(form)
        act, slope = (node.function, node.slope) if node else ("none", 0.2)
        # A layer of its own where nothing was multiplied out: say what it costs.
        sources = [self.graph.owner(f) for f in sorted(self.bases(features))]
        merged = [s for s in sources if self.absorbed(s.first, len(features))]
        if not merged:
            self.notes.append(
                f"{what or f'{act} at {place}'} is a linear layer of its own: {matrix.size} more "
                "multiplications a step"
            )
        made = Linear("linear", names, matrix, offset, act, slope)
        places = [*(s.place for s in merged), place][: 1 + bool(act != "none")]
        self._add(
            node, made, ", then ".join(dict.fromkeys(places)), merged[0].name if merged else name
        )

    def _unique(self, name: str) -> str:
        """Make a name of the source one that no vector has yet."""
        clean = re.sub(r"\W+", "_", name).strip("_") or "layer"
        names = [clean, *(f"{clean}_{k}" for k in range(1, len(self.layers) + 2))]
        return next(n for n in names if n not in {"x", *(layer.name for layer in self.layers)})

    def _add(self, node: Node | None, layer: Layer, place: str, given: str) -> None:
        kind = "linear" if isinstance(layer, Linear) else layer.cell
        forward = (kind, place, node.reads.tobytes()) if node else ("", "", b"")
        if given:
            name = self._unique(given)
        elif (
            node is not None
            and node.layer is not None
            and node.layer.reverse
            and forward in self.pairs
        ):
            name = f"{self.pairs[forward]}_reverse"
        else:
            name = self.pairs[forward] = self._unique(f"{kind}{self.numbers[kind]}")
            self.numbers[kind] += 1
        layer = replace(layer, name=name)
        self.layers.append(layer)
        if node is not None:
            self.names[node.first] = name
        if isinstance(layer, Linear):
            form = "" if layer.activation == "none" else f", then {layer.activation}"
        else:
            form = f", {layer.candidate}" if kind == "rnn" else ""
            form += ", from the last step to the first" if layer.reverse else ""
        self.notes.insert(
            len(self.layers) - 1,
            f"{name}{f' ({place})' if place != given else ''}: {kind}, {layer.input_size} -> {layer.size}{form}",
        )
