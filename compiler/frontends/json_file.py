"""JSON files of models: their limit, and the numbers in them."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..files.json_file import read_json as parse

__all__ = ["numbers", "read_json", "whole"]

FILE_LIMIT = 256 << 20


def read_json(path: pathlib.Path) -> Any:
    """Parse a file of up to 256 MiB.

    Raises
    ------
    InputError
        Too large, or not JSON.
    """
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise InputError(f"{path.name}: {size} bytes; a JSON model may have up to {FILE_LIMIT}")
    return parse(path.read_bytes(), path.name, "export the model again")


def whole(value: Any, what: str, high: int = 1 << 16) -> int:
    """Return a whole number from 0 to ``high`` - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < high:
        raise InputError(f"{what} is {str(value)[:40]!r}, expected a whole number below {high}")
    return value


def numbers(value: Any, what: str) -> FloatArray:
    """Return nested lists of numbers as an array.

    Raises
    ------
    InputError
        Not numbers, or lists of different lengths.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} is not an array of numbers; export the model again") from None
    return array
