"""Sequences are dealt to streams, and every step of each is taken once and in order."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler.program.turns import take_turns


def test_a_deal_that_is_written_out() -> None:
    sequence, step = take_turns(np.array([2, 1, 1]), 2)
    assert sequence.tolist() == [0, 1, 0, -1, 2, -1]
    assert step.tolist() == [0, 0, 1, -1, 0, -1]


@pytest.mark.parametrize("seed", range(20))
def test_each_stream_walks_its_sequences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    streams, lengths = int(rng.integers(1, 6)), rng.integers(0, 5, int(rng.integers(1, 12)))
    sequence, step = take_turns(lengths, streams)
    assert len(sequence) % streams == 0
    for stream in range(streams):
        taken = list(zip(sequence[stream::streams], step[stream::streams], strict=True))
        own = [
            (k, t) for k in range(len(lengths)) if k % streams == stream for t in range(lengths[k])
        ]
        assert taken[: len(own)] == own
        assert set(taken[len(own) :]) <= {(-1, -1)}


def test_one_stream_takes_sequences_as_they_come() -> None:
    sequence, step = take_turns(np.array([3, 0, 2]), 1)
    assert sequence.tolist() == [0, 0, 0, 2, 2]
    assert step.tolist() == [0, 1, 2, 0, 1]
