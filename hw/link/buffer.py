"""Byte buffers of the link: one write port, one read port with an output register."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..blocks import collisions
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["Buffer"]


class Buffer(wiring.Component):
    """Memory of bytes.

    Parameters
    ----------
    depth : int
        A power of two.
    family : VendorFamily
        May place the buffer itself, see :meth:`VendorFamily.place_buffer`.

    Members
    -------
    w_en : In(1), w_addr : In, w_data : In(8)
        Write a byte.
    r_addr : In, r_data : Out(8)
        Read one. A byte may be read two cycles after it was written, not before.

    Timing: ``r_data`` follows ``r_addr`` by ``latency`` cycles.
    """

    w_en: Signal
    w_addr: Signal
    w_data: Signal
    r_addr: Signal
    r_data: Signal
    latency = 2

    def __init__(self, *, depth: int, family: VendorFamily = GENERIC) -> None:
        self.depth, self.family = depth, family
        address = range(depth)
        super().__init__({
            "w_en": In(1), "w_addr": In(address), "w_data": In(8),
            "r_addr": In(address), "r_data": Out(8),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.family.place_buffer(m, self):
            return m
        memory = collisions.memory(shape=8, depth=self.depth)
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.w_en), write.addr.eq(self.w_addr), write.data.eq(self.w_data),
            read.addr.eq(self.r_addr),
        ]  # fmt: skip
        m.d.sync += self.r_data.eq(read.data)
        return m
