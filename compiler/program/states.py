"""Initial states that users give, as values: in an array, by layer, or in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import InputError
from ..files.npy import read_npy
from ..golden import State
from ..ir.network import QNetwork
from ..numerics.fixed import Format

__all__ = ["StateLike", "encode_state", "read_state"]

StateLike = State | Mapping[str, tuple[FloatArray, FloatArray]] | npt.ArrayLike
"""Codes; or values: (h, c) of each layer by name, shapes (N, H), or an array (words,) or (N, words)
in the order of the layers, h of each and then its c."""


def encode_state(
    state: StateLike, networks: Sequence[QNetwork], sequences: int, name: str = "state"
) -> State:
    """Round a state to the formats of the layers; what holds codes is left as it is.

    Parameters
    ----------
    state : State, mapping or array_like
        See :data:`StateLike`.
    networks : sequence of QNetwork
        Of all passes, in order.
    sequences : int
        N.
    name : str
        For messages.

    Raises
    ------
    InputError
        Another shape, other layers, not numbers, or a value that is not finite.
    """
    if isinstance(state, State):
        return state
    layers = [(net, layer) for net in networks for layer in net.layers if layer.recurrent]
    if isinstance(state, Mapping):
        names = [layer.name for _, layer in layers]
        if sorted(state) != sorted(names):
            raise InputError(f"{name} is of layers {sorted(state)}, the program has {names}")
        parts = [
            _rows(value, sequences, layer.size, f"{name}[{layer.name!r}]")
            for _, layer in layers
            for value in state[layer.name][: 1 + layer.has_cell_state]
        ]
        values = np.concatenate(parts, axis=1) if parts else np.zeros((sequences, 0))
    else:
        words = sum(layer.size * (1 + layer.has_cell_state) for _, layer in layers)
        values = _rows(state, sequences, words, name)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds NaN or infinite values; a state must be finite")
    result, at = State({}, {}), 0
    for net, layer in layers:
        n = net.numbers
        formats = [(result.h, Format(n.state_bits, layer.frac))]
        if layer.has_cell_state:
            formats.append((result.c, Format(n.cell_bits, n.cell_frac)))
        for codes, fmt in formats:
            part = values[:, at : at + layer.size]
            if np.abs(part).max(initial=0.0) > (end := (fmt.high + 1) * fmt.step):
                raise InputError(
                    f"{name} of {layer.name} reaches {np.abs(part).max():.4g}, its format {fmt} ends at "
                    f"{end:g}; a state of this program is smaller"
                )
            codes[layer.name] = fmt.quantize(part)
            at += layer.size
    return result


def _rows(value: npt.ArrayLike, sequences: int, words: int, name: str) -> FloatArray:
    """Return values of shape (sequences, words); one row serves all sequences."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} is {type(value).__name__}, not numbers: give an array (words,) or "
            "(sequences, words), or (h, c) by layer"
        ) from None
    if array.shape not in ((words,), (sequences, words)):
        raise InputError(
            f"{name} has shape {array.shape}, expected ({words},) or ({sequences}, {words})"
        )
    return np.broadcast_to(array, (sequences, words))


def read_state(path: Path, networks: Sequence[QNetwork], sequences: int) -> State:
    """Read an initial state from an ``.npy`` file, as :func:`encode_state` takes an array.

    Raises
    ------
    InputError
        No such file, or what :func:`encode_state` refuses.
    """
    return encode_state(read_npy(path), networks, sequences, str(path))
