"""Queue of words that are written only where there is room."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..blocks import collisions
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["Queue"]


class Queue(wiring.Component):
    """Words in a memory, and the oldest at its output register.

    Parameters
    ----------
    width : int
    depth : int
        Words that it holds at most; whoever writes keeps count of them.
    family : VendorFamily
        On ECP5 the queue is LUT RAM: block RAM without its output register is too slow here.

    Members
    -------
    w_en : In(1), w_data : In(width)
        Write a word.
    r_en : In(1), r_rdy : Out(1), r_data : Out(width)
        The oldest word is there; it was taken.

    Timing: a word a cycle; one that is written into an empty queue is there two cycles later.
    """

    w_en: Signal
    w_data: Signal
    r_en: Signal
    r_rdy: Signal
    r_data: Signal

    def __init__(self, *, width: int, depth: int, family: VendorFamily = GENERIC) -> None:
        self.depth = depth
        self.attributes = family.queue_attributes
        super().__init__({
            "w_en": In(1), "w_data": In(width), "r_en": In(1), "r_rdy": Out(1), "r_data": Out(width),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = collisions.memory(
            shape=len(self.w_data), depth=self.depth, **self.attributes
        )
        write, read = memory.write_port(), memory.read_port()
        # The oldest word leaves the memory before as many have come: equal places mean none. Whether
        # there is one is decided a cycle ahead.
        to = Signal(range(self.depth))
        of = Signal(range(self.depth))
        after = Signal(range(self.depth), init=1)
        some = Signal()
        fetch = Signal()
        m.d.comb += [
            write.en.eq(self.w_en), write.addr.eq(to), write.data.eq(self.w_data),
            read.en.eq(fetch), read.addr.eq(of), self.r_data.eq(read.data),
            fetch.eq(some & (~self.r_rdy | self.r_en)),
        ]  # fmt: skip
        m.d.sync += some.eq(self.w_en | Mux(fetch, after != to, some))
        with m.If(self.w_en):
            m.d.sync += to.eq(Mux(to == self.depth - 1, 0, to + 1))
        with m.If(fetch):
            m.d.sync += [
                of.eq(after), after.eq(Mux(after == self.depth - 1, 0, after + 1)),
            ]  # fmt: skip
        m.d.sync += self.r_rdy.eq(some | (self.r_rdy & ~self.r_en))
        return m
