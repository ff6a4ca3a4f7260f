"""Recurrent layers of Keras: GRU, LSTM, SimpleRNN, ``RNN`` of their cells, and both directions.

Equations and gate order: the ``keras.layers`` reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..ir.model import Recurrent
from .keras_config import CELLS, CUDNN, KerasLayer, flatten
from .keras_walk import Translation, Walk
from .kernels import recurrent_layer

__all__ = ["RECURRENT", "plain_weights"]

BOTH_ENDS = (
    "joins the last step of one direction with the first of the other, and the core reads one step at a "
    "time; use return_sequences=True and take y[:, -1], or one direction, and train again"
)


def plain_weights(kind: str, weights: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """Return the weights of a CuDNN layer as those of the layer that computes the same.

    cuDNN stores each gate's matrix by rows; its GRU has two biases, its LSTM the sum of both. This is
    what Keras 2 does when it loads such weights into GRU (with ``reset_after``) or LSTM.
    """
    gates = 3 if kind == "CuDNNGRU" else 4
    kernel, recurrent, bias = weights
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, gates)])
    recurrent = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    bias = bias.reshape(2, -1)
    return kernel, recurrent, bias if kind == "CuDNNGRU" else bias.sum(axis=0)


def _weights(walk: Walk, layer: KerasLayer) -> Recurrent:
    """Make the weights of one cell."""
    config, arrays = layer.config, walk.arrays(layer)
    kind = CUDNN.get(layer.kind, layer.kind).removesuffix("Cell")
    cell = CELLS[kind]
    if layer.kind in CUDNN:
        arrays = plain_weights(layer.kind, arrays)
    elif cell == "gru" and not config.get("reset_after", False):
        cell = "gru_reset_before"
    candidate = walk.activation_name(config.get("activation", "tanh"))
    gate = "sigmoid"
    if cell != "rnn":
        gate = walk.activation_name(config.get("recurrent_activation", "sigmoid"))
    bias = arrays[2] if len(arrays) > 2 else None
    return recurrent_layer(
        walk.graph.place, cell, arrays[0], arrays[1], bias, gate=gate, candidate=candidate,
        slope=walk.slope,
    )  # fmt: skip


def _run(walk: Walk, layer: KerasLayer, x: IntArray, backwards: bool) -> list[IntArray]:
    """Walk over the steps; return outputs, shape (batch, steps, units) in the order of the walk, and states."""
    cells = [leaf for leaf in layer.leaves() if leaf.kind.removesuffix("Cell") in (*CELLS, *CUDNN)]
    supported = [f"{kind}Cell" for kind in CELLS] if layer.kind == "RNN" else [*CELLS, "RNN"]
    if (
        layer.kind not in (*CELLS, *CUDNN, "RNN")
        or not cells
        or len(cells) < len(list(layer.leaves()))
    ):
        walk.refuse(f"{layer.kind} is supported around {', '.join(supported)}")
    config = layer.config
    if config.get("time_major"):
        walk.refuse("time_major is not supported; put the batch first")
    if x.ndim != 3:
        walk.refuse(
            f"reads a tensor of {x.ndim} axes, without steps; let the layer before return its whole "
            "sequence (return_sequences=True)"
        )
    if config.get("stateful"):
        walk.notes.append(
            f"{walk.graph.place}: stateful in Keras; here the caller resets or keeps h"
        )
    name, states = walk.graph.name, []
    y = x.swapaxes(0, 1)[::-1] if backwards else x.swapaxes(0, 1)
    for cell in cells:
        walk.graph.name = name if len(cells) == 1 else f"{name}/{cell.name}"
        y, h, c = walk.graph.recurrent(y, _weights(walk, cell))
        states += [h, c] if "LSTM" in cell.kind else [h]
    walk.graph.name = name
    if config.get("return_state") and len(cells) > 1 and config.get("reverse_state_order"):
        walk.refuse("reverse_state_order is not supported")
    return [y.swapaxes(0, 1), *states]


def _given(walk: Walk, args: list[Any], kwargs: dict[str, Any]) -> IntArray:
    """Return what a layer reads; a state to start from must be zero."""
    x, *states = flatten(args)
    states += flatten(kwargs.get("initial_state"))
    for state in states:
        if state is not None and (np.asarray(state).dtype.kind == "i" or np.any(state)):
            walk.refuse(
                "starts from a state that is not zero (initial_state); the core starts from zeros: "
                "build the model without it, or give that state to the core at its start"
            )
    return np.asarray(x)


def _recurrent(walk: Walk, layer: KerasLayer, args: list[Any], kwargs: dict[str, Any]) -> Any:
    config = layer.config
    y, *states = _run(walk, layer, _given(walk, args, kwargs), bool(config.get("go_backwards")))
    first = y if config.get("return_sequences") else y[:, -1]
    return [first, *(states if config.get("return_state") else [])]


def _bidirectional(walk: Walk, layer: KerasLayer, args: list[Any], kwargs: dict[str, Any]) -> Any:
    x, name = _given(walk, args, kwargs), walk.graph.name
    forward, backward = layer.inner
    mode, config = layer.config.get("merge_mode", "concat"), forward.config
    turned = bool(config.get("go_backwards"))
    if layer.config.get("backward_layer") and bool(backward.config.get("go_backwards")) == turned:
        walk.refuse("both of its layers walk in one direction")
    if mode not in ("concat", "sum", "ave", None):
        walk.refuse(f"merge_mode {mode!r} is not supported; use 'concat', 'sum' or 'ave'")
    y, *states = _run(walk, forward, x, turned)
    walk.graph.place = walk.graph.name = f"{name}_reverse"
    other, *more = _run(walk, backward, x, not turned)
    walk.graph.place = walk.graph.name = name
    if config.get("return_sequences"):
        other = other[:, ::-1]  # back into the order of the other direction
    else:
        y, other = y[:, -1], other[:, -1]
        if mode in ("sum", "ave"):
            walk.refuse(f"merge_mode {mode!r} with return_sequences=False {BOTH_ENDS}")
    halves = {
        "concat": lambda: [np.concatenate([y, other], axis=-1)],
        "sum": lambda: [walk.graph.combine([(y, 1.0), (other, 1.0)])],
        "ave": lambda: [walk.graph.combine([(y, 0.5), (other, 0.5)])],
        None: lambda: [y, other],
    }[mode]()
    return halves + (states + more if config.get("return_state") else [])


RECURRENT: dict[str, Translation] = {
    **dict.fromkeys((*CELLS, *CUDNN, "RNN"), _recurrent),
    "Bidirectional": _bidirectional,
}
