"""The weight memory: an address in, the word of all lanes out."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.layout.images import MemoryImages, weights_file
from ...compiler.layout.planes import Plane
from ..blocks.arith import Delay, count
from ..blocks.memory import CHUNK, Table
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["Weights", "uses_spram"]

BLOCKS = 16
"""Block RAMs of an UP5K that the rest of a core leaves to the weights (of 30)."""


def uses_spram(images: MemoryImages, family: VendorFamily, loadable: bool) -> bool:
    """Return whether the weights go to large single-port RAM, which starts empty."""
    chunks = -(-images.weight_width // CHUNK)
    depth = images.planes[0].depth
    blocks = chunks * -(-depth // 256)
    return (
        loadable and blocks > BLOCKS
        and chunks * -(-depth // family.large_ram_depth) <= family.large_rams
    )  # fmt: skip


class Weights(wiring.Component):
    """Memory of weights, one table for each plane (see :mod:`gatewright.compiler.layout.planes`).

    The contents are there after power-up, except in SPRAM (``initialized`` is false): then they
    must be loaded first.

    Parameters
    ----------
    images : MemoryImages
    lanes, bits : int
        Number of lanes and width of the widest one.
    family : VendorFamily
        A loadable memory that is too large for block RAM is made of large RAM where there is some.
        Far weights pass one more register, between the blocks all over the device and the multipliers.
    loadable : bool
    files : bool
        Take the contents from hexadecimal files, :func:`~gatewright.compiler.layout.images.hex_files`;
        otherwise they are part of the design.

    Members
    -------
    addr : In(unsigned)
        Of reading and writing.
    data : Out(images.weight_width)
        The planes' words side by side, zero where a plane has none: ``images.weights``.
    weight : Out(lanes * bits)
        The weights of all lanes, lane 0 in the lowest bits: each bit that is not stored for this
        address is a copy of the next lower one.
    w_en : In(chunks), w_data : In(16)
        Write 16 bits of a word of ``data``, see :class:`~.memory.Table`.

    Timing: ``data`` follows ``addr`` by two cycles, ``weight`` by ``latency``: two, or three where weights are far.
    A word a cycle.
    """

    addr: Signal
    data: Signal
    weight: Signal
    w_en: Signal
    w_data: Signal

    def __init__(
        self, *, images: MemoryImages, lanes: int, bits: int, family: VendorFamily = GENERIC,
        loadable: bool = False, files: bool = False,
    ) -> None:  # fmt: skip
        self.images, self.lanes, self.bits = images, lanes, bits
        self.loadable, self.files, self.family = loadable, files, family
        self.latency = Table.latency + family.far_weights
        self.spram = uses_spram(images, family, loadable)
        self.initialized = not self.spram
        self.depth = max(2, images.planes[0].depth)
        self.chunks = -(-images.weight_width // CHUNK)
        super().__init__({
            "addr": In(count(self.depth)), "data": Out(images.weight_width),
            "weight": Out(lanes * bits), "w_en": In(self.chunks), "w_data": In(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self._spram(m) if self.spram else Cat()
        found: dict[tuple[int, int], Value] = {}
        valid: dict[tuple[int, int], Value | None] = {}
        parts = zip(self.images.planes, self.images.weight_offsets, strict=True)
        for k, (plane, offset) in enumerate(parts):
            inside = self._inside(plane)
            if self.spram:
                word: Value = words[offset : offset + plane.width]
            else:
                word = self._table(m, k, plane, offset // CHUNK, inside)
            there = None if inside is None else Delay(m, inside).at(Table.latency)
            at = slice(offset, offset + plane.width)
            m.d.comb += self.data[at].eq(word if there is None else Mux(there, word, 0))
            for bit, where in enumerate(plane.bits):
                found[where], valid[where] = word[bit], there
        weight = Signal.like(self.weight, reset_less=True)
        domain = m.d.comb if self.latency == Table.latency else m.d.sync
        for lane in range(self.lanes):
            value: Value = Const(0, 1)
            for bit in range(self.bits):
                if (lane, bit) in found:
                    own, there = found[lane, bit], valid[lane, bit]
                    value = own if there is None else Mux(there, own, value)
                domain += weight[lane * self.bits + bit].eq(value)
        m.d.comb += self.weight.eq(weight)
        return m

    def _inside(self, plane: Plane) -> Value | None:
        """Return whether a plane has a word for the address; None: it has one for each."""
        tests = []
        if plane.start > 0:
            tests.append(self.addr >= plane.start)
        if plane.end < self.images.planes[0].end:
            tests.append(self.addr < plane.end)
        return Cat(*tests).all() if tests else None

    def _table(
        self, m: Module, k: int, plane: Plane, chunk: int, inside: Value | None
    ) -> Value:  # fmt: skip
        """Make the table of a plane, which starts at a chunk of the word; return its output."""
        table = Table(
            words=list(plane.words), width=plane.width, loadable=self.loadable,
            file=weights_file(k) if self.files else "", family=self.family,
        )  # fmt: skip
        m.submodules[f"table_{k}" if k else "table"] = table
        w_en = self.w_en[chunk : chunk + table.chunks]
        m.d.comb += [
            table.en.eq(1), table.out_en.eq(1), table.addr.eq(self.addr[: plane.address_bits]),
            table.w_en.eq(w_en if inside is None else Mux(inside, w_en, 0)),
            table.w_data.eq(self.w_data),
        ]  # fmt: skip
        return table.data

    def _spram(self, m: Module) -> Value:
        """Place a large RAM for each chunk of 16 bits and each group of words.

        The upper address bits, a cycle late, choose what the output register takes.
        """
        size = self.family.large_ram_depth
        low = len(Const(size - 1))
        upper, late = self.addr[low:], Signal(max(0, len(self.addr) - low), reset_less=True)
        m.d.sync += late.eq(upper)
        banks = []
        for b in range(-(-self.depth // size)):
            words = [Signal(CHUNK, name=f"word_{b}_{k}") for k in range(self.chunks)]
            for k, word in enumerate(words):
                m.submodules[f"spram_{b}_{k}"] = self.family.large_ram(
                    self.addr[:low], self.w_data, self.w_en[k] & (upper == b), word
                )
            banks.append(Cat(*words))
        read = Signal(CHUNK * self.chunks, name="read", reset_less=True)
        m.d.sync += read.eq(Array(banks)[late] if len(banks) > 1 else banks[0])
        return read
