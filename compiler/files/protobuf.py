"""How many parts a protobuf message has, before a parser makes an object of each."""

from __future__ import annotations

from ..errors import InputError

__all__ = ["count_parts"]

PARTS_LIMIT = 1 << 20
DEPTH = 12
RAW = 9
"""Field of an ONNX tensor that holds plain bytes; it is not searched."""


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError


def count_parts(content: bytes, name: str, limit: int = PARTS_LIMIT) -> int:
    """Count the fields of a message and of the messages in it.

    A field of bytes cannot be told from a message: it counts as one if it reads as one.

    Raises
    ------
    InputError
        More than the limit.
    """
    data = memoryview(content)
    total = 0

    def walk(at: int, end: int, depth: int) -> None:
        """Count the fields of a message; ValueError where it is none."""
        nonlocal total
        fields = 0
        inner: list[tuple[int, int]] = []
        while at < end:
            key, at = _varint(data, at, end)
            kind = key & 7
            if not key >> 3:
                raise ValueError
            if kind == 0:
                _, at = _varint(data, at, end)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            elif kind == 2:
                length, at = _varint(data, at, end)
                if length > end - at:
                    raise ValueError
                if key >> 3 != RAW:
                    inner.append((at, at + length))
                at += length
            else:
                raise ValueError
            if at > end:
                raise ValueError
            fields += 1
            if total + fields > limit:
                raise InputError(
                    f"{name}: has more than {limit} parts; simplify the graph, or export the "
                    "recurrent part alone"
                )
        total += fields
        if depth:
            for start, stop in inner:
                if stop - start > 1:
                    try:
                        walk(start, stop, depth - 1)
                    except ValueError:
                        continue  # text, packed numbers or raw data

    try:
        walk(0, len(data), DEPTH)
    except ValueError:
        return total  # not a message: the parser says so
    return total
