"""The beat table and its prefetch: the next beat is there before the elementwise unit asks."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.images import Images
from .memory import CHUNK, Table

__all__ = ["Beats"]


class Beats(wiring.Component):
    """Walk the beat table, around and around.

    Parameters
    ----------
    images : Images
    loadable : bool
    file : str
        Hexadecimal file; empty keeps the contents in the design.
    family : str

    Members
    -------
    valid : Out(1), word : Out(images.beat_width), last : Out(1)
        The beat, and whether it ends the table.
    next : In(1)
        The beat is taken.
    held : In(1)
        The state port has the memory. Afterwards the walk starts from the first beat.
    addr, w_en, w_data : In, see :class:`~.memory.Table`
        Used while ``held``; ``word`` then follows ``addr`` by ``Table.latency`` cycles.

    Timing: a beat a cycle; the first is there ``Table.latency`` cycles after a reset.
    """

    valid: Signal
    word: Signal
    last: Signal
    next: Signal
    held: Signal
    addr: Signal
    w_en: Signal
    w_data: Signal

    def __init__(
        self, *, images: Images, loadable: bool = False, file: str = "", family: str = "generic"
    ) -> None:
        self.number = len(images.beats)
        self.table = Table(
            words=images.beats, width=images.beat_width, file=file, loadable=loadable,
            family=family,
        )  # fmt: skip
        super().__init__({
            "valid": Out(1), "word": Out(images.beat_width), "last": Out(1), "next": In(1),
            "held": In(1), "addr": In(self.table.addr.shape()), "w_en": In(self.table.chunks),
            "w_data": In(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = self.table
        pointer = Signal(range(table.depth))
        read, read_last = Signal(), Signal()  # the memory has read a word, not yet at the output
        end = pointer == self.number - 1
        m.d.comb += [
            table.out_en.eq(self.next | ~self.valid | self.held),
            table.en.eq(table.out_en | ~read),
            table.addr.eq(Mux(self.held, self.addr, pointer)),
            table.w_en.eq(self.w_en),
            table.w_data.eq(self.w_data),
            self.word.eq(table.data),
        ]
        with m.If(table.out_en):
            m.d.sync += [self.valid.eq(read), self.last.eq(read_last)]
        with m.If(table.en):
            m.d.sync += [read.eq(1), read_last.eq(end), pointer.eq(Mux(end, 0, pointer + 1))]
        with m.If(self.held):
            m.d.sync += [self.valid.eq(0), read.eq(0), pointer.eq(0)]
        return m
