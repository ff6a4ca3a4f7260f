"""The weight memory: an address in, the word of all lanes out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.images import Images
from . import ice40
from .arith import count
from .memory import CHUNK, Table

__all__ = ["Weights", "uses_spram"]

SPRAMS = 4
BLOCKS = 16
"""Block RAMs of an UP5K that the rest of a core leaves to the weights (of 30)."""


def uses_spram(images: Images, family: str, loadable: bool) -> bool:
    """Return whether the weights go to the single-port RAM of an UP5K, which starts empty."""
    chunks = -(-images.weight_width // CHUNK)
    depth = len(images.weights)
    blocks = chunks * -(-depth // 256)
    return (
        family == "ice40up" and loadable and blocks > BLOCKS
        and chunks <= SPRAMS and depth <= ice40.SPRAM_DEPTH
    )  # fmt: skip


class Weights(wiring.Component):
    """Memory of weight words, lane 0 in the lowest bits.

    The contents are there after power-up, except in SPRAM (``initialized`` is false): then they
    must be loaded first.

    Parameters
    ----------
    images : Images
    family : str
        On ``ice40up`` a loadable memory that is too large for block RAM is made of SPRAM.
    loadable : bool
    file : str
        Hexadecimal file; empty keeps the contents in the design.

    Members
    -------
    addr : In(unsigned)
        Of reading and writing.
    data : Out(images.weight_width)
    w_en : In(chunks), w_data : In(16)
        Write 16 bits of a word, see :class:`~.memory.Table`.

    Timing: ``data`` follows ``addr`` by ``latency`` cycles, a word a cycle.
    """

    addr: Signal
    data: Signal
    w_en: Signal
    w_data: Signal
    latency = Table.latency

    def __init__(
        self, *, images: Images, family: str = "generic", loadable: bool = False, file: str = ""
    ) -> None:
        self.images, self.loadable, self.file, self.family = images, loadable, file, family
        self.spram = uses_spram(images, family, loadable)
        self.initialized = not self.spram
        self.depth = max(2, len(images.weights))
        self.chunks = -(-images.weight_width // CHUNK)
        super().__init__({
            "addr": In(count(self.depth)), "data": Out(images.weight_width),
            "w_en": In(self.chunks), "w_data": In(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.spram:
            self._spram(m)
            return m
        m.submodules.table = table = Table(
            words=self.images.weights, width=self.images.weight_width, file=self.file,
            loadable=self.loadable, family=self.family,
        )  # fmt: skip
        m.d.comb += [
            table.en.eq(1), table.out_en.eq(1), table.addr.eq(self.addr), self.data.eq(table.data),
            table.w_en.eq(self.w_en), table.w_data.eq(self.w_data),
        ]  # fmt: skip
        return m

    def _spram(self, m: Module) -> None:
        """One SB_SPRAM256KA (16,384 words of 16 bits) for each chunk, and an output register."""
        words: list[Any] = []
        for k in range(self.chunks):
            word = Signal(CHUNK, name=f"word_{k}")
            m.submodules[f"spram_{k}"] = ice40.spram(self.addr, self.w_data, self.w_en[k], word)
            words.append(word)
        m.d.sync += self.data.eq(Cat(*words))
