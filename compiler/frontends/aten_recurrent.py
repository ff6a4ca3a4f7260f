"""Recurrent operators of ``torch.export``: whole stacks, and cells of unrolled loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from ..ir.model import Recurrent
from .aten_walk import ADVICE, Args, Walk
from .graph_node import Elements
from .parts import GATES

__all__ = ["read_cell", "read_stack"]


def read_stack(kind: str, candidate: str = "tanh") -> Callable[[Walk, Args], Any]:
    """Return the reader of a GRU, LSTM or RNN of any depth and direction."""

    def read(walk: Walk, a: Args) -> Any:
        if "data" in a:
            walk.graph.refuse(f"packed sequences: {ADVICE['_pack_padded_sequence']}")
        states = a["hx"] if kind == "lstm" else [a["hx"]]
        if any(isinstance(s, Elements) or np.any(s) for s in states):
            walk.graph.refuse("starts from a state that is not zero; the core starts from zeros")
        per, ways = (4 if a["has_biases"] else 2), 1 + bool(a["bidirectional"])
        if len(a["params"]) != per * ways * a["num_layers"]:
            walk.graph.refuse(
                "proj_size projects the state; train with proj_size=0 and a smaller hidden_size"
            )
        x = walk.elements(a["input"])
        single = x.ndim == 2
        x = x[:, None] if single else (np.swapaxes(x, 0, 1) if a["batch_first"] else x)
        h, c = [], []
        for k in range(a["num_layers"]):
            halves = []
            for way in range(ways):
                at = (k * ways + way) * per
                layer = _weights(walk, kind, a["params"][at : at + per], candidate, bool(way))
                y, last, cell = walk.graph.recurrent(x, layer)
                halves.append(y)
                h.append(last)
                c.append(cell)
            x = np.concatenate(halves, axis=2)
        x = x[:, 0] if single else (np.swapaxes(x, 0, 1) if a["batch_first"] else x)
        ends = [np.stack(s)[:, 0] if single else np.stack(s) for s in (h, c)]
        return [Elements(v) for v in (x, *ends)]

    return read


def read_cell(kind: str, candidate: str = "tanh") -> Callable[[Walk, Args], Any]:
    """Return the reader of one step of a cell, in an unrolled loop."""

    def read(walk: Walk, a: Args) -> Any:
        tensors = [a[key] for key in ("w_ih", "w_hh", "b_ih", "b_hh") if a.get(key) is not None]
        layer = _weights(walk, kind, tensors, candidate)
        states = [s.numbers if isinstance(s, Elements) else np.asarray(s) for s in
                  (a["hx"] if kind == "lstm" else [a["hx"]])]  # fmt: skip
        x = walk.elements(a["input"])
        # The cell state's numbers follow the state's own: the twin of the same vector.
        h, c = walk.graph.cell(x, states[0], layer, lambda s: s.dtype.kind == "i")
        if kind == "lstm":
            expected = states[0] + layer.size * walk.graph.positions
            zero = states[0].dtype.kind != "i" and not np.any(states[1])
            if not zero and not np.array_equal(states[1], expected):
                walk.graph.refuse("an LSTM cell's c is not its own of the step before")
            return [Elements(h), Elements(c)]
        return Elements(h)

    return read


def _weights(
    walk: Walk, kind: str, tensors: list[Any], candidate: str = "tanh", reverse: bool = False
) -> Recurrent:
    """Make the weights of a recurrent layer: input, recurrent and, where there are any, biases."""
    arrays = [walk.constant(t, "a weight") for t in tensors]
    w, u, b, c = (
        dict(zip(GATES[kind], np.split(a, len(GATES[kind])), strict=True)) if a is not None else {}
        for a in islice([*arrays, None, None], 4)
    )
    return Recurrent(kind, kind, ("x",), arrays[1].shape[1], arrays[0].shape[1], w, u, b, c,
                     candidate=candidate, reverse=reverse)  # fmt: skip
