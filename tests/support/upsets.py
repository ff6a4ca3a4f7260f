"""Bits of a core's memories that turn over, in the Amaranth simulator and through a board's link."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gatewright.host.device import Device
from gatewright.host.wire.codes import to_bytes
from gatewright.host.wire.identity import CHUNK, digest_id, memories
from gatewright.host.wire.protocol import Op
from gatewright.hw.blocks.memory import Table


def loadable_tables(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Table, Any]]:
    """Return a list that gets each loadable table and its memory when a core is elaborated."""
    found: list[tuple[Table, Any]] = []
    elaborate = Table.elaborate

    def note(self: Table, platform: object) -> Any:
        m = elaborate(self, platform)
        if self.loadable:
            found.append((self, m.submodules.memory))
        return m

    monkeypatch.setattr(Table, "elaborate", note)
    return found


def upset(device: Device, rng: np.random.Generator, which: int | None = None) -> str:
    """Turn over a random bit of a board's memories; say which.

    The board is loaded with what it holds but for that bit, and told that this is the program.
    """
    contents = memories(device.program)
    which = int(rng.integers(len(contents))) if which is None else which
    load, name, words = contents[which]
    i = device.program.images
    # What is stored: addresses, first bit in the word of all, and width of each table.
    beats = [(range(len(i.beats)), at, width) for at, width in i.beat_parts.values() if width]
    planes = [
        (range(plane.start, plane.end), at, plane.width)
        for plane, at in zip(i.planes, i.weight_offsets, strict=True)
    ]
    tables, width = ((beats, i.beat_width), (planes, i.weight_width))[which]
    addresses, at, bits = tables[int(rng.integers(len(tables)))]
    chunk, bit = divmod(at + int(rng.integers(bits)), CHUNK)
    word = int(rng.choice(addresses)) * -(-width // CHUNK) + chunk
    changed = words.copy()
    changed[word] ^= 1 << bit
    raw = bytes([load]) + to_bytes(changed, device.sizes.word_bytes)
    device.session.exchange(raw + bytes([Op.LOADED]) + digest_id(device.program.digest), 0)
    device.identify()
    return f"{name}, chunk {word}, bit {bit}"
