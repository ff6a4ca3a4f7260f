"""Bits of a core's memories that turn over, in the Amaranth simulator and through a board's link."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gatewright.host.device import Device
from gatewright.host.wire.codes import to_bytes
from gatewright.host.wire.identity import digest_id, memories
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
    # Not a bit that a chunk is padded with: the highest that any word has, and those below.
    word = int(rng.integers(len(words)))
    i = device.program.images
    width = (i.beat_width, i.weight_width)[which]
    per = -(-width // 16)
    used = min(16, width - 16 * (word % per))
    bit = int(rng.integers(used))
    changed = words.copy()
    changed[word] ^= 1 << bit
    raw = bytes([load]) + to_bytes(changed, device.sizes.word_bytes)
    device.session.exchange(raw + bytes([Op.LOADED]) + digest_id(device.program.digest), 0)
    return f"{name}, chunk {word}, bit {bit}"
