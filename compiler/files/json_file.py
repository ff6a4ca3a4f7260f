"""JSON from anywhere: its size, its depth and its numbers are bounded."""

from __future__ import annotations

import json
import math
from typing import Any

from .boundary import parsing
from .budget import spend

__all__ = ["read_json"]

EXPANSION = 20
"""Bytes of memory a byte of JSON can become, as in ``[[],[],[]]``."""
DIGITS = 19  # of the largest int64


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"{text[:40]} is beyond the range of 64 bits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond the range of a double")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def read_json(data: str | bytes, name: str, way_out: str) -> Any:
    """Read a JSON text.

    Parameters
    ----------
    data : str or bytes
    name : str
        Of the file or entry, for messages.
    way_out : str
        Last part of a message: ``export the model again``.

    Raises
    ------
    InputError
        Not JSON, too deep, or with numbers beyond int64 or double; NaN is no number.
    """
    spend(EXPANSION * len(data), f"{name} ({len(data):,} bytes of JSON)")
    with parsing(name, "a JSON file", way_out):
        return json.loads(data, parse_int=_integer, parse_float=_real, parse_constant=_constant)
