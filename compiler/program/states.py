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
    formats = {
        layer.name: (layer.size, net.state_formats(layer))
        for net in networks
        for layer in net.layers
        if layer.recurrent
    }
    if isinstance(state, Mapping):
        if sorted(state) != sorted(formats):
            raise InputError(
                f"{name} is of layers {sorted(state)}, the program has {list(formats)}"
            )
        values = {
            layer: [
                _rows(part, sequences, size, f"{name}[{layer!r}]")
                for part, _ in zip(state[layer], own, strict=False)
            ]
            for layer, (size, own) in formats.items()
        }
    else:
        sizes = [size for size, own in formats.values() for _ in own]
        columns = np.split(_rows(state, sequences, sum(sizes), name), np.cumsum(sizes), axis=1)
        rest = iter(columns)
        values = {layer: [next(rest) for _ in own] for layer, (_, own) in formats.items()}
    for layer, parts in values.items():
        for part, fmt in zip(parts, formats[layer][1], strict=True):
            _check_range(part, fmt, f"{name} of {layer}")
    states = [State.encode(net, values) for net in networks]
    return State(
        {layer: codes for each in states for layer, codes in each.h.items()},
        {layer: codes for each in states for layer, codes in each.c.items()},
    )


def _check_range(values: FloatArray, fmt: Format, name: str) -> None:
    """Refuse values beyond a format."""
    largest, end = np.abs(values).max(initial=0.0), (fmt.high + 1) * fmt.step
    if largest > end:
        raise InputError(
            f"{name} reaches {largest:.4g}, its format {fmt} ends at {end:g}; a state of this "
            "program is smaller"
        )


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
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinite values; a state must be finite")
    return np.broadcast_to(array, (sequences, words))


def read_state(path: Path, networks: Sequence[QNetwork], sequences: int) -> State:
    """Read an initial state from an ``.npy`` file, as :func:`encode_state` takes an array.

    Raises
    ------
    InputError
        No such file, or what :func:`encode_state` refuses.
    """
    return encode_state(read_npy(path), networks, sequences, str(path))
