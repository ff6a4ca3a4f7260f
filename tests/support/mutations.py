"""Small damages to files: bits and bytes, values of JSON, members of an archive."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from typing import Any

__all__ = ["bytes_of", "text_of", "values_of", "zip_of"]

WEIRD: tuple[Any, ...] = (
    None, True, "", "x", [], {}, -1, 0, 1, 2**31, 2**63, 10**17, 10**400, 1e308, -0.5, float("nan"),
    [[]], {"a": 1}, "tanh", [1] * 50, 10**6, 65,
)  # fmt: skip
NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def bytes_of(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes, fields or lengths."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(out)) if out else 0
        way = rng.randrange(7)
        if way == 0 and out:
            out[at] = rng.randrange(256)
        elif way == 1 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif way == 3:
            del out[at : at + rng.choice((1, 2, 8, 100))]
        elif way == 4:
            end = at + rng.randrange(1, 64)
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        elif way == 5:
            del out[at:]
        else:
            other = rng.randrange(len(out)) if out else 0
            out[at : at + 8] = out[other : other + 8]
    return bytes(out)


def values_of(rng: random.Random, data: Any) -> Any:
    """Change some values of a JSON object."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = None, None
        node = data
        while isinstance(node, dict | list) and node and (holder is None or rng.random() < 0.8):
            holder = node
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            node = node[key]
        if holder is None:
            return rng.choice(WEIRD)
        way = rng.randrange(4)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(node, int):
            holder[key] = node + rng.choice((-1, 1, 2, 100, 10**6))
        elif way == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(node))
        else:
            holder[key] = copy.deepcopy(rng.choice(WEIRD))
    return data


def text_of(rng: random.Random, text: bytes) -> bytes:
    """Change a JSON text by its values, or by its bytes."""
    if rng.random() < 0.25:
        return bytes_of(rng, text)
    if rng.random() < 0.02:
        return b"[" * 200_000
    return json.dumps(values_of(rng, json.loads(text))).encode()


def zip_of(rng: random.Random, data: bytes) -> bytes:
    """Change members of an archive, whose sums are then right, or the archive itself."""
    if rng.random() < 0.3:
        return bytes_of(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = rng.choice(list(members))
    change = text_of if name.endswith(".json") else bytes_of
    members[name] = change(rng, members[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((0, 8))) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return out.getvalue()
