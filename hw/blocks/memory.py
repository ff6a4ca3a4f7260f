"""Memories: tables (inline, or from a ``$readmemh`` file; fixed or loadable), banked RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.arrays import ceil_div
from ...compiler.layout.images import CHUNK
from ..vendor.family import GENERIC, VendorFamily
from . import collisions
from .arith import count

__all__ = ["CHUNK", "TABLE_VERILOG", "Ram", "Table"]


TABLE_VERILOG = """\
// Memory with a synchronous read port and an output register, loaded from a hexadecimal text
// file. CHUNKS = 0 makes it read-only; otherwise each 16 bits of a word have a write enable.
module gatewright_table #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDRESS = 1,
    parameter CHUNKS = 0,
    parameter FILE = ""
) (
    input  wire               clk,
    input  wire               en,
    input  wire               out_en,
    input  wire [ADDRESS-1:0] addr,
    input  wire [(CHUNKS ? CHUNKS : 1)-1:0] w_en,
    input  wire [15:0]        w_data,
    output reg  [WIDTH-1:0]   data
);
    (* no_rw_check *) reg [WIDTH-1:0] memory [0:DEPTH-1];
    reg [WIDTH-1:0] word;
    // Some tools read a module before its parameters are known.
    generate if (FILE != "") begin : contents
        initial $readmemh(FILE, memory);
        // synthesis translate_off
        integer found;
        initial begin
            found = $fopen(FILE, "r");
            if (found == 0) begin
                $display("ERROR: memory file %s is not in the working folder", FILE);
                $fatal(1);
            end else $fclose(found);
        end
        // synthesis translate_on
    end endgenerate
    always @(posedge clk) begin
        if (en) word <= memory[addr];
        if (out_en) data <= word;
    end
    genvar k;
    generate for (k = 0; k < CHUNKS; k = k + 1) begin : chunk
        localparam BITS = WIDTH - 16 * k < 16 ? WIDTH - 16 * k : 16;
        always @(posedge clk) if (w_en[k]) memory[addr][16 * k +: BITS] <= w_data[BITS-1:0];
    end endgenerate
endmodule
"""


class Table(wiring.Component):
    """Memory of wide words: one synchronous read port with an output register, written in chunks.

    Parameters
    ----------
    words : list of int
        Contents after power-up.
    width : int
        Bits of a word.
    file : str
        Name of the hexadecimal file; empty keeps the contents in the design itself.
    loadable : bool
        Make it a RAM; otherwise ``w_en`` is without effect.
    family : VendorFamily
        Where it places tables, block RAM has its own output register.

    Members
    -------
    en, out_en : In(1)
        Read in this cycle; take what was read to the output.
    addr : In(unsigned)
        Of reading and writing.
    data : Out(width)
    w_en : In(chunks)
        Write ``w_data`` to these 16 bits of the word, lowest first. In such a cycle what is
        read is not defined.
    w_data : In(16)

    Timing: ``data`` follows ``addr`` by ``latency`` cycles.
    """

    en: Signal
    out_en: Signal
    addr: Signal
    data: Signal
    w_en: Signal
    w_data: Signal
    latency = 2

    def __init__(
        self, *, words: list[int], width: int, file: str = "", loadable: bool = False,
        family: VendorFamily = GENERIC,
    ) -> None:  # fmt: skip
        self.words, self.width, self.file, self.loadable = words, width, file, loadable
        self.family = family
        # One-word memories still have an address bit: simulators refuse zero-width ports.
        self.depth = max(2, len(words))
        self.chunks = ceil_div(width, CHUNK)
        super().__init__({
            "en": In(1), "out_en": In(1), "addr": In(count(self.depth)), "data": Out(width),
            "w_en": In(self.chunks), "w_data": In(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.file:
            m.submodules.table = Instance(
                "gatewright_table",
                p_WIDTH=self.width, p_DEPTH=self.depth, p_ADDRESS=len(self.addr), p_FILE=self.file,
                p_CHUNKS=self.chunks if self.loadable else 0,
                i_clk=ClockSignal(), i_en=self.en, i_out_en=self.out_en, i_addr=self.addr,
                i_w_en=self.w_en if self.loadable else Const(0, 1), i_w_data=self.w_data,
                o_data=self.data,
            )  # fmt: skip
            return m
        if self.family.places_tables:
            self.family.place_table(m, self)
            return m
        width = self.chunks * CHUNK if self.loadable else self.width
        memory = collisions.memory(shape=width, depth=self.depth, init=self.words)
        m.submodules.memory = memory
        read = memory.read_port()
        m.d.comb += [read.en.eq(self.en), read.addr.eq(self.addr)]
        with m.If(self.out_en):
            m.d.sync += self.data.eq(read.data)
        if self.loadable:
            write = memory.write_port(granularity=CHUNK if self.chunks > 1 else None)
            m.d.comb += [
                write.en.eq(self.w_en),
                write.addr.eq(self.addr),
                write.data.eq(self.w_data.replicate(self.chunks)),
            ]
        return m


class Ram(wiring.Component):
    """RAM of equal banks that are read together and written one by one.

    Parameters
    ----------
    banks, width, depth : int
    reads : int
        Number of read ports.
    family : VendorFamily
        Where it places RAM, a large one is block RAM with its own output register.

    Members
    -------
    r_addr[n] : In(unsigned), r_data[n][bank] : Out(width)
        Read ports; data follow by ``latency`` cycles. What is read of a word that is written in
        the same cycle is not defined.
    w_en : In(banks), w_addr : In(unsigned), w_data[bank] : In(width)
        Write port with one enable a bank.
    """

    r_addr: Any
    r_data: Any
    w_en: Signal
    w_addr: Signal
    w_data: Any
    latency = 2

    def __init__(
        self, *, banks: int, width: int, depth: int, reads: int = 1, family: VendorFamily = GENERIC
    ) -> None:
        self.banks, self.width, self.depth, self.reads = banks, width, max(2, depth), reads
        self.family, self.attributes = family, family.ram_attributes(width, self.depth)
        super().__init__({
            "r_addr": In(count(self.depth)).array(reads),
            "r_data": Out(width).array(reads, banks),
            "w_en": In(banks),
            "w_addr": In(count(self.depth)),
            "w_data": In(width).array(banks),
        })  # fmt: skip

    @property
    def placed(self) -> bool:
        """True if the family places block RAM for it."""
        return self.attributes is None

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for bank in range(self.banks):
            if self.attributes is None:
                for n in range(self.reads):
                    m.submodules[f"bank{bank}_{n}"] = part = Module()
                    self.family.place_ram(
                        part, depth=self.depth, w_en=self.w_en[bank], w_addr=self.w_addr,
                        w_data=self.w_data[bank], r_addr=self.r_addr[n], r_data=self.r_data[n][bank],
                    )  # fmt: skip
                continue
            memory = collisions.memory(shape=self.width, depth=self.depth, **self.attributes)
            m.submodules[f"bank{bank}"] = memory
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.w_en[bank]),
                write.addr.eq(self.w_addr),
                write.data.eq(self.w_data[bank]),
            ]
            for n in range(self.reads):
                read = memory.read_port()
                m.d.comb += read.addr.eq(self.r_addr[n])
                m.d.sync += self.r_data[n][bank].eq(read.data)
        return m
