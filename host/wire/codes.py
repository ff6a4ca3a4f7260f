"""Codes as bytes of the link."""

from __future__ import annotations

import numpy as np

from ...compiler.arrays import IntArray

__all__ = ["from_bytes", "to_bytes"]


def to_bytes(codes: IntArray, size: int) -> bytes:
    """Return codes as little-endian two's complement of ``size`` bytes each."""
    raw = np.ascontiguousarray(codes, "<i8").view(np.uint8)
    return raw.reshape(-1, 8)[:, :size].tobytes()


def from_bytes(raw: bytes, size: int) -> IntArray:
    """Return the codes, shape (n,), that :func:`to_bytes` made the bytes of."""
    part = np.frombuffer(raw, np.uint8).reshape(-1, size)
    full = np.repeat(np.where(part[:, -1:] > 127, 255, 0).astype(np.uint8), 8, axis=1)
    full[:, :size] = part
    return full.view("<i8")[:, 0].astype(np.int64)
