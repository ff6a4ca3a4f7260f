"""Byte buffers of the link: one write port, one read port with an output register."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..blocks import collisions

__all__ = ["Buffer"]

BLOCK = 2048  # bytes of a DP16KD


class Buffer(wiring.Component):
    """Memory of bytes.

    Parameters
    ----------
    depth : int
        A power of two, 2,048 at most on ECP5.
    family : str
        On ``ecp5`` a DP16KD with its output register, which Yosys does not use: without it a
        block RAM's output comes 5.8 ns after the clock, with it the buffer is not the limit.

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

    def __init__(self, *, depth: int, family: str = "generic") -> None:
        self.depth, self.family = depth, family
        address = range(depth)
        super().__init__({
            "w_en": In(1), "w_addr": In(address), "w_data": In(8),
            "r_addr": In(address), "r_data": Out(8),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.family == "ecp5" and self.depth <= BLOCK:
            # Registers before the block as well: it may be far away.
            held: list[Signal] = []
            for port in (self.w_en, self.w_addr, self.w_data):
                held.append(Signal.like(port))
                m.d.sync += held[-1].eq(port)
            m.submodules.block = Instance("DP16KD", **self._block(*held))
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

    def _block(self, w_en: Signal, w_addr: Signal, w_data: Signal) -> dict[str, Any]:
        """Return the ports of a block of 9-bit words: A writes, B reads."""
        no, yes = Const(0, 1), Const(1, 1)
        ports: dict[str, Any] = {"p_REGMODE_A": "NOREG", "p_REGMODE_B": "OUTREG"}
        for name, address, write in (("A", w_addr, w_en), ("B", self.r_addr, no)):
            bits = Cat(Const(0, 3), address, Const(0, 11 - len(address)))
            ports |= {
                f"p_DATA_WIDTH_{name}": 9, f"p_WRITEMODE_{name}": "NORMAL",
                f"p_CSDECODE_{name}": "0b000", f"i_CLK{name}": ClockSignal(), f"i_CE{name}": yes,
                f"i_OCE{name}": yes, f"i_WE{name}": write, f"i_RST{name}": no,
            }  # fmt: skip
            ports |= {f"i_CS{name}{k}": no for k in range(3)}
            ports |= {f"i_AD{name}{k}": bits[k] for k in range(14)}
        ports |= {f"i_DIA{k}": w_data[k] if k < 8 else no for k in range(18)}
        return ports | {f"o_DOB{k}": self.r_data[k] for k in range(8)}
