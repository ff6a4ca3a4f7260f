"""The list of a core's memories, of which every count of memory is a sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..layout.beat_word import parts
from ..layout.latency import Timing
from ..layout.planes import plan
from ..numerics.activation import ACTIVATIONS
from ..program.program import Program
from .family import MemoryKind

__all__ = ["Memory", "memories"]


@dataclass(frozen=True)
class Memory:
    """A memory of a core.

    Parameters
    ----------
    name : str
    kind : MemoryKind
    width : int
        Bits of a word of one copy.
    words : int
        Words that are used.
    depth : int
        Words that there are: each half of a memory with two, and what a stream has of one, is a power of
        two deep, and a memory has two words at least.
    banks : int
        Memories side by side with the same address.
    reads : int
        Words that are read at a time, each from a copy of its own.
    """

    name: str
    kind: MemoryKind
    width: int
    words: int
    depth: int
    banks: int = 1
    reads: int = 1

    @property
    def copies(self) -> int:
        """Memories of ``depth`` words of ``width`` bits that are placed."""
        return self.banks * self.reads

    @property
    def stored_bits(self) -> int:
        """Bits of different contents: neither copies nor words that are not used."""
        return self.banks * self.width * self.words


def memories(program: Program) -> dict[str, Memory]:
    """Return each memory of a core by its name. Nothing is packed for it."""
    return {memory.name: memory for memory in _memories(program)}


def _memories(program: Program) -> Iterator[Memory]:
    s, n = program.schedule, program.network.numbers
    layout = program.hardware.layout
    split, beat = program.geometry.split, program.geometry.beat
    table, ram = MemoryKind.TABLE, MemoryKind.RAM
    for k, plane in enumerate(plan(s)):
        name = f"weights{f' plane {k}' if k else ''}"
        yield Memory(name, table, plane.width, plane.depth, max(2, plane.depth))
    beats = len(s.beats)
    for k, (_, width) in parts(layout).items():
        yield Memory(f"beats{f' part {k}' if k else ''}", table, width, beats, max(2, beats))
    for name, words, of in (
        ("inputs", s.input_words, 1), ("operands", s.memory_words, s.streams),
    ):  # fmt: skip
        half = 1 << (max(1, words) - 1).bit_length()
        yield Memory(name, ram, n.activation_bits, 2 * of * words, 2 * of * half, banks=split)
    kept, states = s.kept_depth, s.state_words
    yield Memory(
        "kept gates", ram, s.keep_bits, kept, max(2, kept), banks=beat, reads=1 + s.has_reset
    )
    has_cell = any(kind == "c" for _, kind, _, _ in s.states)
    width = max(n.state_bits, n.cell_bits if has_cell else 0)
    depth = max(2, s.state_depth)
    yield Memory("states", ram, width, s.streams * states, depth, banks=beat, reads=1 + has_cell)
    width = n.state_bits * beat + layout["count"].width
    yield Memory("outputs", MemoryKind.QUEUE, width, Timing.FIFO, Timing.FIFO)
    if {ACTIVATIONS[b.act] for b in s.beats if b.lanes} & {"tanh", "sigmoid"}:
        base, slope = (t.tolist() for t in n.tables.table)
        width = max(base).bit_length()
        if n.tables.kind != "direct":
            width += max(max(slope).bit_length(), 1)
        yield Memory("activation", MemoryKind.LOOKUP, width, len(base), len(base), banks=beat)
