"""Recurrent layers in Keras' weight layout, which RTNeural shares.

Kernels have shape (inputs, gates * units), gates side by side in the order z r h (GRU), i f c o
(LSTM); see the ``keras.layers`` reference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import InputError
from ..ir.model import Recurrent

__all__ = ["gate_columns", "recurrent_layer"]

GATES = {"gru": ("z", "r", "n"), "lstm": ("i", "f", "g", "o"), "rnn": ("n",)}


def gate_columns(gates: tuple[str, ...], matrix: npt.ArrayLike, what: str) -> dict[str, FloatArray]:
    """Split ``(..., gates * H)`` into one transposed block per gate, shape (H, ...).

    Raises
    ------
    InputError
        The last axis does not hold a whole number of gates.
    """
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] % len(gates):
        raise InputError(
            f"{what} has shape {array.shape}; its last axis must hold {len(gates)} gates"
        )
    return {g: part.T for g, part in zip(gates, np.split(array, len(gates), -1), strict=True)}


def recurrent_layer(
    name: str, cell: str, kernel: npt.ArrayLike, recurrent: npt.ArrayLike, bias: npt.ArrayLike | None,
    *, gate: str = "sigmoid", candidate: str = "tanh", slope: float = 0.2,
) -> Recurrent:  # fmt: skip
    """Make a recurrent layer that reads x.

    Parameters
    ----------
    name : str
        For messages.
    cell : {'gru', 'gru_reset_before', 'lstm', 'rnn'}
    kernel, recurrent : shapes (I, gates * H), (H, gates * H)
    bias : shape (gates * H,), or (2, gates * H) with a row for each product, or None
    gate, candidate, slope : activations, see :class:`~.model.Recurrent`
    """
    gates = GATES[cell.removesuffix("_reset_before")]
    w = gate_columns(gates, kernel, f"{name}: kernel")
    u = gate_columns(gates, recurrent, f"{name}: recurrent kernel")
    size = len(u[gates[0]])
    rows = np.zeros((2, len(gates) * size))
    if bias is not None:
        given = np.atleast_2d(np.asarray(bias, dtype=np.float64))
        wanted = 2 if cell == "gru" else 1
        if given.shape != (wanted, len(gates) * size):
            raise InputError(
                f"{name}: bias has shape {np.shape(bias)}, expected "
                f"{wanted} row(s) of {len(gates) * size} for cell {cell!r}"
            )
        rows[:wanted] = given
    b, c = (gate_columns(gates, row, f"{name}: bias") for row in rows)
    if len(w[gates[0]]) != size:
        raise InputError(f"{name}: kernel has {len(w[gates[0]])} units, recurrent kernel {size}")
    inputs = w[gates[0]].shape[-1]
    output = candidate if cell == "lstm" else "tanh"  # Keras has one for both
    return Recurrent(
        name, cell, ("x",), size, inputs, w, u, b, c, gate=gate, candidate=candidate, slope=slope,
        output=output,
    )  # fmt: skip
