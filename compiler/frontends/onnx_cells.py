"""One ONNX ``GRU``, ``LSTM`` or ``RNN`` node as a recurrent layer.

Equations, gate order (GRU z r h, LSTM i o f c) and defaults: the ONNX operator reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..ir.model import Recurrent

__all__ = ["RECURRENT_OPS", "attributes", "directions", "read_cell"]

RECURRENT_OPS = {"GRU": ("z", "r", "n"), "LSTM": ("i", "o", "f", "g"), "RNN": ("n",)}
"""Recurrent operators, and our names of their gates in file order."""

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
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


def directions(node: Any) -> tuple[bool, ...]:
    """Return, for each layer in a node, whether it walks sequences from their end."""
    direction = attributes(node).get("direction", "forward")
    if direction not in DIRECTIONS:
        raise InputError(f"{node.name}: direction {direction!r} is none of {', '.join(DIRECTIONS)}")
    return DIRECTIONS[direction]


def _activations(name: str, op: str, given: dict[str, Any], k: int) -> tuple[list[str], float]:
    """Return the activations of the k-th direction, and the slope of a hard sigmoid."""
    count, both = len(DEFAULTS[op]), len(DIRECTIONS[given.get("direction", "forward")])
    names = [str(a) for a in given.get("activations") or DEFAULTS[op] * both]
    known = [ACTIVATIONS.get(a.lower()) for a in names]
    if len(names) != count * both or None in known:
        raise InputError(
            f"{name}: activations {names} are not supported; {count * both} of "
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
    return [a for a in known[k * count :][:count] if a], alpha[0] if alpha else 0.2


def _blocks(array: Array, op: str) -> dict[str, Array]:
    gates = RECURRENT_OPS[op]
    return dict(zip(gates, np.split(array.astype(np.float64), len(gates)), strict=True))


def read_cell(
    node: Any,
    name: str,
    w: Array,
    r: Array,
    b: Array | None,
    p: Array | None,
    k: int = 0,
) -> Recurrent:
    """Read a recurrent node, or one direction of it.

    Parameters
    ----------
    node : onnx.NodeProto
    name : str
        Of the new layer.
    w, r, b, p : arrays
        The node's constant inputs W, R, B and P (peepholes, which must be zero).
    k : int
        Which of the node's :func:`directions`.

    Raises
    ------
    InputError
        A form that is not supported, by name.
    """
    op, given = node.op_type, attributes(node)
    reverse = directions(node)
    if "clip" in given:
        raise InputError(f"{name}: clip {given['clip']:g} is not supported; train without it")
    if given.get("input_forget"):
        raise InputError(f"{name}: input_forget (coupled gates) is not supported; train without it")
    if p is not None and p.any():
        raise InputError(f"{name}: peepholes (input P) are not supported; train without them")
    names, slope = _activations(name, op, given, k)
    if w.ndim != 3 or r.ndim != 3:
        raise InputError(f"{name}: W and R have shapes {w.shape} and {r.shape}, expected rank 3")
    size, inputs = r.shape[2], w.shape[2]
    if given.get("hidden_size", size) != size:
        raise InputError(f"{name}: hidden_size {given['hidden_size']}, but R has {size} units")
    gates = len(RECURRENT_OPS[op])
    both = np.zeros((len(reverse), 2 * gates * size)) if b is None else b
    for what, array, shape in (
        ("W", w, (gates * size, inputs)), ("R", r, (gates * size, size)), ("B", both, (2 * gates * size,)),
    ):  # fmt: skip
        if array.shape != (len(reverse), *shape):
            raise InputError(
                f"{name}: {what} has shape {array.shape}, expected {(len(reverse), *shape)}"
            )
    input_bias, recurrent_bias = np.split(both[k], 2)
    cell = {"GRU": "gru", "LSTM": "lstm", "RNN": "rnn"}[op]
    if op == "GRU" and not given.get("linear_before_reset", 0):
        cell = "gru_reset_before"
    return Recurrent(
        name, cell, ("x",), size, inputs,
        w=_blocks(w[k], op),
        u=_blocks(r[k], op),
        b=_blocks(input_bias, op),
        c=_blocks(recurrent_bias, op),
        gate=names[0] if op != "RNN" else "sigmoid",
        candidate=names[0] if op == "RNN" else names[1],
        output=names[2] if op == "LSTM" else "tanh",
        slope=slope,
        reverse=reverse[k],
    )  # fmt: skip
