"""Figures of pictures, against counts one by one."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler.analysis.views import PIECE, confusion, histogram, piece


@pytest.mark.parametrize("bits", [2, 4, 6, 8, 12, 16])
def test_histogram_counts_every_code_where_it_lies(bits):
    rng = np.random.default_rng(bits)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    codes = rng.integers(low, high, 500, endpoint=True)
    counts = histogram(codes, bits)
    assert len(counts) == min(64, 1 << bits) and sum(counts) == codes.size
    width = (1 << bits) // len(counts)
    expected = [
        sum(low + k * width <= c < low + (k + 1) * width for c in codes.tolist())
        for k in range(len(counts))
    ]
    assert counts == expected
    assert histogram(np.array([high + 1]), bits)[-1] == 1  # a sigmoid of exactly 1


def test_piece_surrounds_the_largest_error():
    rng = np.random.default_rng(4)
    reference = rng.normal(size=(3, 1000, 2))
    valid = np.arange(1000) < np.array([1000, 700, 20])[:, None]
    for n, t, o in ((0, 0, 1), (0, 999, 0), (1, 650, 1), (2, 19, 0), (0, 500, 1)):
        outputs = reference.copy()
        outputs[n, t, o] += 3
        outputs[2, 20:] += 9  # padding
        found = piece(reference, outputs, valid)
        assert (found["sequence"], found["output"]) == (n, o)
        assert found["first"] <= t < found["first"] + len(found["fixed"])
        assert len(found["fixed"]) == min(PIECE, valid[n].sum())
        at = t - found["first"]
        assert found["fixed"][at] == outputs[n, t, o] and found["float"][at] == reference[n, t, o]


def test_confusion_by_hand():
    found = confusion(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0]), 4)
    assert found["confusion"] == [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    assert found["recall"] == [1 / 2, 1 / 2, 1.0, None]
    assert found["precision"] == [1 / 2, 1.0, 2 / 3, None]
