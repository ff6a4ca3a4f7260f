"""Memories: one-port ROM (inline, or from a ``$readmemh`` file) and banked RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arith import count

__all__ = ["ROM_VERILOG", "Ram", "Rom"]

ROM_VERILOG = """\
// Read-only memory with a synchronous read port, loaded from a hexadecimal text file.
module gatewright_rom #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDRESS = 1,
    parameter FILE = ""
) (
    input  wire               clk,
    input  wire               en,
    input  wire [ADDRESS-1:0] addr,
    output reg  [WIDTH-1:0]   data
);
    reg [WIDTH-1:0] memory [0:DEPTH-1];
    // Some tools read a module before its parameters are known.
    generate if (FILE != "") initial $readmemh(FILE, memory); endgenerate
    always @(posedge clk) if (en) data <= memory[addr];
endmodule
"""


class Rom(wiring.Component):
    """Read-only memory, one synchronous read port.

    Parameters
    ----------
    words : list of int
        Contents.
    width : int
        Bits of a word.
    file : str
        Name of the hexadecimal file; empty keeps the contents in the design itself.

    Members
    -------
    en : In(1)
        Read in this cycle.
    addr : In(unsigned)
    data : Out(width)

    Timing: ``data`` follows ``addr`` by ``latency`` cycle and holds while ``en`` is low.
    """

    en: Signal
    addr: Signal
    data: Signal
    latency = 1

    def __init__(self, *, words: list[int], width: int, file: str = "") -> None:
        self.words, self.width, self.file = words, width, file
        # One-word memories still have an address bit: simulators refuse zero-width ports.
        self.depth = max(2, len(words))
        super().__init__({
            "en": In(1), "addr": In(count(self.depth)), "data": Out(width),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.file:
            from amaranth.hdl import ClockSignal

            m.submodules.rom = Instance(
                "gatewright_rom",
                p_WIDTH=self.width, p_DEPTH=self.depth, p_ADDRESS=len(self.addr), p_FILE=self.file,
                i_clk=ClockSignal(), i_en=self.en, i_addr=self.addr, o_data=self.data,
            )  # fmt: skip
        else:
            memory: Any = Memory(shape=self.width, depth=self.depth, init=self.words)
            m.submodules.memory = memory
            port = memory.read_port()
            m.d.comb += [port.en.eq(self.en), port.addr.eq(self.addr), self.data.eq(port.data)]
        return m


class Ram(wiring.Component):
    """RAM of equal banks that are read together and written one by one.

    Parameters
    ----------
    banks, width, depth : int
    reads : int
        Number of read ports.

    Members
    -------
    r_addr[n] : In(unsigned), r_data[n][bank] : Out(width)
        Read ports; data follow by one cycle. A word that is written in the same cycle reads
        as it was before.
    w_en : In(banks), w_addr : In(unsigned), w_data[bank] : In(width)
        Write port with one enable a bank.
    """

    r_addr: Any
    r_data: Any
    w_en: Signal
    w_addr: Signal
    w_data: Any

    def __init__(self, *, banks: int, width: int, depth: int, reads: int = 1) -> None:
        self.banks, self.width, self.depth, self.reads = banks, width, max(2, depth), reads
        super().__init__({
            "r_addr": In(count(self.depth)).array(reads),
            "r_data": Out(width).array(reads, banks),
            "w_en": In(banks),
            "w_addr": In(count(self.depth)),
            "w_data": In(width).array(banks),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for bank in range(self.banks):
            memory: Any = Memory(shape=self.width, depth=self.depth, init=[])
            m.submodules[f"bank{bank}"] = memory
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.w_en[bank]),
                write.addr.eq(self.w_addr),
                write.data.eq(self.w_data[bank]),
            ]
            for n in range(self.reads):
                read = memory.read_port()
                m.d.comb += [read.addr.eq(self.r_addr[n]), self.r_data[n][bank].eq(read.data)]
        return m
