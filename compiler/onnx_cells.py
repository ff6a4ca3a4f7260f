"""One ONNX ``GRU``, ``LSTM`` or ``RNN`` node as a recurrent layer.

Equations, gate order (GRU z r h, LSTM i o f c) and defaults: the ONNX operator reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .model import Recurrent

__all__ = ["RECURRENT_OPS", "attributes", "read_cell"]

RECURRENT_OPS = {"GRU": ("z", "r", "n"), "LSTM": ("i", "o", "f", "g"), "RNN": ("n",)}
"""Recurrent operators, and our names of their gates in file order."""

DEFAULTS = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}
ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "hardsigmoid": "hard_sigmoid"}

Array = npt.NDArray[Any]


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name, text decoded."""
    from onnx import helper

    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {
        k: v.decode("utf-8", "replace")
        if isinstance(v, bytes)
        else [w.decode("utf-8", "replace") if isinstance(w, bytes) else w for w in v]
        if isinstance(v, (list, tuple))
        else v
        for k, v in values.items()
    }


def _forward_only(name: str, direction: str) -> None:
    if direction != "forward":
        raise InputError(
            f"{name}: direction {direction!r} is not supported yet; only 'forward' is "
            "(a streaming core cannot see later steps)"
        )


def _activations(name: str, op: str, given: dict[str, Any]) -> tuple[list[str], float]:
    names = [str(a) for a in given.get("activations") or DEFAULTS[op]]
    known = [ACTIVATIONS.get(a.lower()) for a in names]
    if len(names) != len(DEFAULTS[op]) or None in known:
        raise InputError(
            f"{name}: activations {names} are not supported; {len(DEFAULTS[op])} of "
            "Sigmoid, Tanh, Relu, HardSigmoid are"
        )
    # The parameter lists hold entries only for the functions that take them.
    hard = known.count("hard_sigmoid")
    alpha = list(given.get("activation_alpha") or [0.2] * hard)
    beta = list(given.get("activation_beta") or [0.5] * hard)
    if len(alpha) != hard or len(beta) != hard or len(set(alpha)) > 1 or set(beta) - {0.5}:
        raise InputError(
            f"{name}: activation_alpha {alpha} and activation_beta {beta} are not supported; "
            "HardSigmoid takes one alpha for the node, and beta 0.5"
        )
    return [a for a in known if a], alpha[0] if alpha else 0.2


def _blocks(
    name: str, what: str, array: Array, op: str, shape: tuple[int, ...]
) -> dict[str, Array]:
    gates = RECURRENT_OPS[op]
    expected = (1, len(gates) * shape[0], *shape[1:])
    if array.shape != expected:
        raise InputError(f"{name}: {what} has shape {array.shape}, expected {expected}")
    return dict(zip(gates, np.split(array[0].astype(np.float64), len(gates)), strict=True))


def read_cell(
    node: Any,
    name: str,
    sources: tuple[str, ...],
    w: Array,
    r: Array,
    b: Array | None,
    p: Array | None,
) -> Recurrent:
    """Read a recurrent node.

    Parameters
    ----------
    node : onnx.NodeProto
    name, sources : str, tuple of str
        Name of the new layer, and of the vectors that it reads.
    w, r, b, p : arrays
        The node's constant inputs W, R, B and P (peepholes, which must be zero).

    Raises
    ------
    InputError
        A form that is not supported, by name.
    """
    op, given = node.op_type, attributes(node)
    _forward_only(name, given.get("direction", "forward"))
    if "clip" in given:
        raise InputError(f"{name}: clip {given['clip']:g} is not supported; train without it")
    if given.get("input_forget"):
        raise InputError(f"{name}: input_forget (coupled gates) is not supported; train without it")
    if p is not None and p.any():
        raise InputError(f"{name}: peepholes (input P) are not supported; train without them")
    names, slope = _activations(name, op, given)
    if op == "LSTM" and names[2] != "tanh":
        raise InputError(
            f"{name}: LSTM with output activation {names[2]!r}; only Tanh is supported"
        )
    if w.ndim != 3 or r.ndim != 3:
        raise InputError(f"{name}: W and R have shapes {w.shape} and {r.shape}, expected rank 3")
    size, inputs = r.shape[2], w.shape[2]
    if given.get("hidden_size", size) != size:
        raise InputError(f"{name}: hidden_size {given['hidden_size']}, but R has {size} units")
    gates = len(RECURRENT_OPS[op])
    both = np.zeros((1, 2 * gates * size)) if b is None else b
    if both.shape != (1, 2 * gates * size):
        raise InputError(f"{name}: B has shape {both.shape}, expected {(1, 2 * gates * size)}")
    input_bias, recurrent_bias = np.split(both, 2, axis=1)
    cell = {"GRU": "gru", "LSTM": "lstm", "RNN": "rnn"}[op]
    if op == "GRU" and not given.get("linear_before_reset", 0):
        cell = "gru_reset_before"
    return Recurrent(
        name, cell, sources, size, inputs,
        w=_blocks(name, "W", w, op, (size, inputs)),
        u=_blocks(name, "R", r, op, (size, size)),
        b=_blocks(name, "B", input_bias, op, (size,)),
        c=_blocks(name, "B", recurrent_bias, op, (size,)),
        gate=names[0] if op != "RNN" else "sigmoid",
        candidate=names[0] if op == "RNN" else names[1],
        slope=slope,
    )  # fmt: skip
