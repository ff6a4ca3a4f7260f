"""Array types, and the helpers for sequences and sizes that every room shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "as_values",
    "ceil_div",
    "check_lengths",
    "power_of_two",
    "reverse_steps",
    "valid_steps",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def as_values(value: npt.ArrayLike, what: str) -> FloatArray:
    """Return numbers as float64: of an array, a list, or a tensor of any framework.

    Raises
    ------
    InputError
        Not numbers, or rows of different lengths.
    """
    try:
        plain = value.detach().cpu() if hasattr(value, "detach") else value
        return np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        given = repr(value) if isinstance(value, str) else type(value).__name__
        raise InputError(
            f"{what} is {given[:60]}, not an array of numbers of one shape; of a file take what "
            "numpy.load returns"
        ) from error


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least ``n`` and at least 1."""
    return 1 << (max(1, n) - 1).bit_length()


def check_lengths(
    lengths: npt.ArrayLike | None, sequences: int, steps: int
) -> npt.NDArray[np.int64] | None:
    """Return the lengths of padded sequences as integers, None where none are given.

    Raises
    ------
    InputError
        Not one whole number from 0 to ``steps`` for every sequence.
    """
    if lengths is None:
        return None
    array = np.asarray(lengths)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and (array % 1 == 0).all())
    if array.shape != (sequences,) or not whole or (array < 0).any() or (array > steps).any():
        raise InputError(
            f"lengths are {sequences} whole numbers from 0 to {steps}, one a sequence, not "
            f"{str(array.tolist())[:60]}"
        )
    return array.astype(np.int64)


def valid_steps(lengths: npt.ArrayLike | None, sequences: int, steps: int) -> BoolArray:
    """Return which steps are real and which are padding, shape (sequences, steps).

    Parameters
    ----------
    lengths : array_like of int, shape (sequences,), or None
        Real steps of each sequence; None means that no sequence is padded.
    """
    if lengths is None:
        return np.ones((sequences, steps), np.bool_)
    return np.asarray(np.arange(steps) < np.asarray(lengths)[:, None])


def reverse_steps(
    x: npt.NDArray[Any], lengths: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """Turn each sequence around, its own steps only: padding stays behind them.

    Twice is the sequence again.

    Parameters
    ----------
    x : ndarray, shape (N, T, size)
    lengths : ndarray of int, shape (N,), optional
        Steps of each sequence that are not padding; default T.
    """
    if lengths is None:
        return x[:, ::-1]
    t, n = np.arange(x.shape[1]), lengths[:, None]
    return np.take_along_axis(x, np.where(t < n, n - 1 - t, t)[..., None], axis=1)
