"""``GRU``, ``LSTM`` and ``RNN`` nodes of an ONNX graph, with the states that they start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .onnx_cells import attributes, directions, read_cell
from .onnx_walk import Tensor, Walk

__all__ = ["read_recurrent"]

STATE = "the core starts from zeros, or from a state that the caller loads: make it an input of the graph"


def read_recurrent(walk: Walk, node: Any) -> list[Tensor]:
    """Walk the layers of a node over X; return Y, Y_h and, of an LSTM, Y_c.

    Raises
    ------
    InputError
        Names the node, and what of it is not supported.
    """
    given, graph, name = attributes(node), walk.graph, walk.graph.name
    x, batch_first = walk.data(node), bool(given.get("layout", 0))
    w, r = walk.numbers(node, 1, "W"), walk.numbers(node, 2, "R")
    b, p = walk.constant(node, 3, "B"), walk.constant(node, 7, "P")
    layers = [read_cell(node, name, w, r, b, p, k) for k in range(len(directions(node)))]
    if x.ndim != 3 or layers[0].input_size != x.shape[2]:
        graph.refuse(
            f"X has shape {x.shape}, W takes {layers[0].input_size} features of (steps, batch)"
        )
    x = np.swapaxes(x, 0, 1) if batch_first else x
    lengths = walk.constant(node, 4, "sequence_lens")
    if lengths is not None and (lengths != len(x)).any():
        graph.refuse(
            f"sequence_lens {lengths.tolist()[:8]} differ from the {len(x)} steps of X; run "
            "sequences one by one instead"
        )
    starts = [
        _starts(walk, node, k, which, len(layers), int(batch_first)) for k, which in ((5, "h"), (6, "c"))
    ]  # fmt: skip
    if "pytorch" in walk.onnx.producer_name.lower() and layers[0].cell == "gru_reset_before":
        walk.notes.append(
            f"warning: {name}: linear_before_reset is 0, but PyTorch's GRU resets after the "
            "product; some versions of its exporter write that wrongly: export with "
            "linear_before_reset=1 (onnxscript 0.7 or later), or give the .pt file"
        )
    results = []
    for k, layer in enumerate(layers):
        graph.name = name + "_reverse" * bool(k)
        results.append(graph.recurrent(x, layer, tuple(s[k] for s in starts if s)))
    outputs, *ends = zip(*results, strict=True)
    y = np.stack(outputs, axis=1)  # (T, directions, B, H)
    y = y.transpose(2, 0, 1, 3) if batch_first else y
    walk.recurrent.append((name, node.output[0], y))
    return [Tensor(y), *(Tensor(np.stack(e, axis=int(batch_first)), state=True) for e in ends)]


def _starts(walk: Walk, node: Any, k: int, which: str, count: int, axis: int) -> list[Any]:
    """Return what tells the state of each direction apart; nothing where they are zeros."""
    what, value = f"initial_{which}", walk.value(node, k)
    if value is None:
        return []
    if isinstance(value, Tensor):
        if not value.source:
            walk.graph.refuse(f"{what} is computed by the graph; {STATE}")
        parts = np.moveaxis(value.numbers, axis, 0)
        if len(parts) != count:
            walk.graph.refuse(f"{what} has shape {value.numbers.shape}, one a direction is due")
        keys = [(which, value.source, part.tobytes()) for part in parts]
        walk.starts.update(zip(keys, parts, strict=True))
        return keys
    if value.any():
        walk.graph.refuse(
            f"{what} is a constant that is not zero; {STATE}, and load it at the start"
        )
    sequences = value.shape[1 - axis] if value.ndim == 3 else walk.graph.sequences
    walk.batch = sequences if sequences != walk.graph.sequences else walk.batch
    return []
