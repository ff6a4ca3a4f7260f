"""The order in which a core takes the steps of sequences: its streams take turns."""

from __future__ import annotations

import numpy as np

from ..arrays import IntArray

__all__ = ["take_turns"]


def take_turns(lengths: IntArray, streams: int) -> tuple[IntArray, IntArray]:
    """Deal sequences to streams: sequence k goes to stream k modulo ``streams``.

    A stream walks its sequences one after the other. Rounds, a step of each stream, are whole: a
    stream that has no step left idles. It is given zeros, as a step from the reset state, and what
    comes of it is dropped.

    Parameters
    ----------
    lengths : ndarray of int64, shape (N,)
        Steps of each sequence.
    streams : int

    Returns
    -------
    (sequences, steps) : ndarray of int64, shape (rounds * streams,) each
        Which step of which sequence the core takes, one after the other; -1 where a stream idles.
    """
    lengths = np.asarray(lengths, np.int64)
    own = [np.arange(stream, len(lengths), streams) for stream in range(streams)]
    rounds = max(int(lengths[each].sum()) for each in own)
    made = np.full((2, rounds, streams), -1, np.int64)
    for stream, each in enumerate(own):
        length = lengths[each]
        count = int(length.sum())
        made[0, :count, stream] = np.repeat(each, length)
        made[1, :count, stream] = np.arange(count) - np.repeat(np.cumsum(length) - length, length)
    return made[0].ravel(), made[1].ravel()
