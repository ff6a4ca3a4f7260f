"""Simulation in which reads that collide with writes give garbage where a design may not count on them."""

from __future__ import annotations

from typing import Any, cast

from amaranth.hdl import Cat, Fragment, MemoryInstance, Module, Signal
from amaranth.sim import Simulator

from ..hw.blocks.collisions import ATTRIBUTE

__all__ = ["simulator"]


def simulator(design: Any) -> Simulator:
    """Return a simulator of a design; the memories of :mod:`.hw.collisions` invert what collides."""
    return Simulator(Fragment.get(design, _Garbling()))


class _Garbling:
    """The platform of the simulation, which Amaranth asks for its memories."""

    def get_memory(self, memory: Any) -> Module:
        """Return a memory of the same ports."""
        m = Module()
        inner = cast(Any, MemoryInstance)(data=memory.data, attrs=memory.attrs)
        m.submodules.inner = inner
        writes = {
            port: inner.write_port(domain=port.domain, addr=port.addr, data=port.data, en=port.en)
            for port in memory.write_ports
        }
        for port in memory.read_ports:
            word, wrong = Signal.like(port.data), Signal.like(port.data)
            inner.read_port(
                domain=port.domain, addr=port.addr, data=word, en=port.en,
                transparent_for=[writes[write] for write in port.transparent_for],
            )  # fmt: skip
            m.d.comb += port.data.eq(word ^ wrong)
            if ATTRIBUTE not in memory.attrs:
                continue
            for write in memory.write_ports:
                size = len(write.data) // len(write.en)
                written = Cat(enable.replicate(size) for enable in write.en)
                with m.If(port.en):
                    m.d[port.domain] += wrong.eq(
                        written & (write.addr == port.addr).replicate(len(word))
                    )
        return m
