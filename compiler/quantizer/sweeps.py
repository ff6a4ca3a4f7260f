"""A model whose layers walk in both directions, split into passes that each stream.

A pass is a run over whole sequences, from the first step to the last or the other way
round. It reads ``x`` and what earlier passes made, and is an ordinary model without
reversed layers. Layers share a pass where they walk alike and read the same vectors of
others; a linear layer walks either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import FloatArray
from ..ir.model import Layer, Linear, Model, Recurrent

__all__ = ["Sweep", "split"]


@dataclass(frozen=True, eq=False)
class Sweep:
    """Layers that are evaluated in one run over a sequence.

    Parameters
    ----------
    model : Model
        The layers, none of them reversed. Its ``x`` is the vectors of ``reads``, joined; its
        outputs are the vectors that later passes read or the whole model returns.
    reads : tuple of str
        Vectors of the whole model.
    reverse : bool
        Sequences are given end first.
    """

    model: Model
    reads: tuple[str, ...]
    reverse: bool


@dataclass
class _Group:
    """A pass while layers join it; as long as all are linear, its direction is open."""

    layers: list[Layer]
    reads: tuple[str, ...]
    reverse: bool | None


def split(model: Model) -> tuple[Sweep, ...]:
    """Split a model into passes, in the order in which they run.

    Layers that no output depends on are left out. A model that streams gives one pass as
    long as all its layers read the same vectors: none but ``x`` comes from outside.
    """
    groups: list[_Group] = []
    place = {"x": -1}  # pass of every vector
    for layer in _needed(model):
        reverse = layer.reverse if isinstance(layer, Recurrent) else None
        for k in range(max(0, *(place[name] for name in layer.inputs)), len(groups) + 1):
            reads = tuple(dict.fromkeys(n for n in layer.inputs if place[n] < k))
            if k == len(groups):
                groups.append(_Group([], reads, None))
            group = groups[k]
            alike = None in (reverse, group.reverse) or reverse == group.reverse
            if alike and (not reads or set(reads) == set(group.reads)):
                break
        group.layers.append(layer)
        group.reverse = reverse if group.reverse is None else group.reverse
        place[layer.name] = k
    passes = []
    for group in groups:
        inside = [layer.name for layer in group.layers]
        read = {name for other in groups if other is not group for name in other.reads}
        outputs = tuple(name for name in inside if name in read | set(model.outputs))
        layers = tuple(_rewired(layer, group.reads, model.sizes) for layer in group.layers)
        size = sum(model.sizes[name] for name in group.reads)
        passes.append(Sweep(Model(size, layers, outputs), group.reads, bool(group.reverse)))
    return tuple(passes)


def _needed(model: Model) -> list[Layer]:
    """Return the layers that the outputs depend on, in order."""
    wanted, found = set(model.outputs), []
    for layer in reversed(model.layers):
        if layer.name in wanted:
            wanted |= set(layer.inputs)
            found.append(layer)
    return found[::-1]


def _rewired(layer: Layer, reads: tuple[str, ...], sizes: dict[str, int]) -> Layer:
    """Return a layer that reads the vectors of ``reads`` as one ``x``, columns moved to match."""
    inside = tuple(dict.fromkeys(name for name in layer.inputs if name not in reads))
    outside = reads if set(reads) & set(layer.inputs) else ()
    start, width = {}, 0
    for name in (*outside, *inside):
        start[name], width = width, width + sizes[name]
    columns = np.concatenate([start[name] + np.arange(sizes[name]) for name in layer.inputs])

    def move(w: FloatArray) -> FloatArray:
        moved = np.zeros((len(w), width))
        np.add.at(moved.T, columns, w.T)  # adds where a vector is read twice
        return moved

    inputs = (*(("x",) if outside else ()), *inside)
    if isinstance(layer, Linear):
        return replace(layer, inputs=inputs, weight=move(layer.w))
    w = {gate: move(matrix) for gate, matrix in layer.w.items()}
    return replace(layer, inputs=inputs, input_size=width, w=w, reverse=False)
