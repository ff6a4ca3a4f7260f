"""Initial states from files of users."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.npy import read_npy
from ..golden import State
from ..numerics.fixed import Format
from .runnable import Runnable

__all__ = ["read_state"]


def read_state(path: Path, program: Runnable, sequences: int) -> State:
    """Read an initial state and round it to the formats of the layers.

    Parameters
    ----------
    path : Path
        An ``.npy`` file of shape (words,) or (sequences, words): h of each layer, then its c.
    program : Program or Chain
    sequences : int

    Raises
    ------
    InputError
        No such file, not numbers, another shape, or a value that is not finite.
    """
    values = read_npy(path).astype(np.float64)
    nets = [each.network for each in program.passes]
    formats = []
    for net in nets:
        n = net.numbers
        for layer in net.layers:
            if layer.recurrent:
                formats += [Format(n.state_bits, layer.frac)] * layer.size
            if layer.has_cell_state:
                formats += [Format(n.cell_bits, n.cell_frac)] * layer.size
    words = len(formats)
    if values.shape not in ((words,), (sequences, words)):
        raise InputError(
            f"{path} has shape {values.shape}, expected ({words},) or ({sequences}, {words})"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds NaN or infinite values; a state must be finite")
    values = np.broadcast_to(values, (sequences, words))
    codes = [fmt.quantize(values[:, i]) for i, fmt in enumerate(formats)]
    flat = np.stack(codes, axis=1) if codes else np.zeros((sequences, 0), np.int64)
    state = State({}, {})
    for net in nets:
        words = State.zeros(net, 1).flat(net).shape[1]
        part, flat = State.unflat(net, flat[:, :words]), flat[:, words:]
        state.h |= part.h
        state.c |= part.c
    return state
