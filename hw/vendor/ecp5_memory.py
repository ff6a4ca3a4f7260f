"""Block RAM of ECP5: DP16KD with its output registers, which Yosys 0.70 does not use.

Ref: Lattice FPGA-TN-02204 (memory usage guide).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value

from ...compiler.target.families.ecp5 import banks, column_shape, ram_column
from .family import extend

__all__ = ["BUFFER_DEPTH", "BlockTable", "block_ram", "byte_buffer", "place_table"]

BUFFER_DEPTH = 2048
"""Bytes of a DP16KD."""


def place_table(m: Module, table: Any) -> None:
    """Place banks one after the other, all read, one chosen behind them."""
    sizes = banks(table.depth, table.width, table.loadable)
    bits = (sizes[0] - 1).bit_length() if len(sizes) > 1 else len(table.addr)
    bank = table.addr[bits:]
    read, shown = Signal(len(bank)), Signal(len(bank))
    with m.If(table.en):
        m.d.sync += read.eq(bank)
    with m.If(table.out_en):
        m.d.sync += shown.eq(read)
    data = []
    for k, size in enumerate(sizes):
        words = table.words[k * sizes[0] :][:size]
        blocks = BlockTable(
            words=words, width=table.width, chunk=len(table.w_data) if table.loadable else 0
        )
        m.submodules[f"bank_{k}"] = part = Module()
        data.append(Signal(table.width, name=f"data_{k}"))
        blocks.build(
            part, en=table.en, out_en=table.out_en, addr=table.addr[:bits], data=data[k],
            w_en=Mux(bank == k, table.w_en, 0), w_data=table.w_data,
        )  # fmt: skip
    m.d.comb += table.data.eq(Array(data)[shown])


class BlockTable:
    """Columns of DP16KD in their registered mode; up to 512 words two columns share a block.

    Parameters
    ----------
    words : list of int
    width : int
    chunk : int
        Bits with one write enable; 0 makes it read-only.
    """

    def __init__(self, *, words: list[int], width: int, chunk: int = 0) -> None:
        self.words, self.width, self.chunk = words, width, chunk
        self.bits, self.depth = column_shape(len(words))

    def columns(self) -> Iterator[tuple[int, int]]:
        """Yield first bit and width of each column; none holds bits of two chunks."""
        span = self.chunk or self.width
        for start in range(0, self.width, span):
            end = min(start + span, self.width)
            for at in range(start, end, self.bits):
                yield at, min(self.bits, end - at)

    def build(
        self, m: Module, *, en: Value, out_en: Value, addr: Value, data: Signal,
        w_en: Value, w_data: Value,
    ) -> None:  # fmt: skip
        """Place the blocks."""
        columns = list(self.columns())
        share = 2 if self.depth == 512 else 1
        read: list[Value] = []
        for start in range(0, len(columns), share):
            ports: dict[str, Any] = {}
            units = [0] * 2048  # contents in units of 9 bits, of which narrow columns use 8
            for half, (at, width) in enumerate(columns[start : start + share]):
                self._contents(units, half * 512, at, width)
                ports |= self._port(
                    "AB"[half], half, at, width, en, out_en, addr, w_en, w_data, read
                )
            if len(columns[start : start + share]) == 1:
                ports |= self._idle()
            m.submodules[f"block_{start // share}"] = Instance("DP16KD", **ports, **_init(units))
        m.d.comb += data.eq(Cat(*read))

    def _contents(self, units: list[int], base: int, at: int, width: int) -> None:
        for k, word in enumerate(self.words):
            value = word >> at & ((1 << width) - 1)
            if self.bits == 18:
                units[2 * (base + k)] = value & 511
                units[2 * (base + k) + 1] = value >> 9
            elif self.bits == 9:
                units[k] = value
            else:
                per = 8 // self.bits
                units[k // per] |= value << (k % per * self.bits)

    def _port(
        self, name: str, half: int, at: int, width: int, en: Value, out_en: Value, addr: Value,
        w_en: Value, w_data: Value, read: list[Value],
    ) -> dict[str, Any]:  # fmt: skip
        bits = _address(self.bits, addr)
        if self.depth == 512:
            bits[13] = Const(half, 1)
        write: Value = Const(0, 1)
        source: Value = Const(0, 0)
        if self.chunk:
            write = w_en[at // self.chunk]
            source = w_data[at % self.chunk : at % self.chunk + width]
        output = Signal(width, name=f"column_{at}")
        read.append(output)
        return _block_port(
            name, self.bits, bits, en=en, out_en=out_en, write=write, source=source, output=output
        )

    def _idle(self) -> dict[str, Any]:
        """Return the pins of a second port that is not used."""
        ports: dict[str, Any] = {
            "p_DATA_WIDTH_B": self.bits, "i_CLKB": Const(0, 1), "i_CEB": Const(0, 1),
            "i_OCEB": Const(0, 1), "i_WEB": Const(0, 1), "i_RSTB": Const(0, 1),
        }  # fmt: skip
        return ports | {f"i_ADB{k}": Const(0, 1) for k in range(14)}


def _address(bits: int, addr: Value) -> list[Value]:
    """Return the address pins of a port of words of ``bits`` bits."""
    low = {18: 4, 9: 3, 4: 2, 2: 1, 1: 0}[bits]
    # In words of 18 bits the lowest address bits enable the writing of each half.
    full = [Const(int(bits == 18 and k < 2), 1) for k in range(low)]
    return [*full, *addr, *([Const(0, 1)] * 14)][:14]


def _block_port(
    name: str, bits: int, address: list[Value], *, en: Value, out_en: Value, write: Value,
    source: Value, output: Signal,
) -> dict[str, Any]:  # fmt: skip
    """Return parameters and pins of port A or B of a DP16KD with its output register."""
    ports: dict[str, Any] = {
        f"p_DATA_WIDTH_{name}": bits, f"p_REGMODE_{name}": "OUTREG",
        f"p_WRITEMODE_{name}": "NORMAL", f"p_CSDECODE_{name}": "0b000",
        f"i_CLK{name}": ClockSignal(), f"i_CE{name}": en, f"i_OCE{name}": out_en,
        f"i_WE{name}": write, f"i_RST{name}": Const(0, 1),
    }  # fmt: skip
    ports |= {f"i_CS{name}{k}": Const(0, 1) for k in range(3)}
    ports |= {f"i_AD{name}{k}": bit for k, bit in enumerate(address)}
    ports |= {f"i_DI{name}{k}": bit for k, bit in enumerate(extend(source, 18))}
    return ports | {f"o_DO{name}{k}": output[k] for k in range(len(output))}


def block_ram(
    m: Module, *, depth: int, w_en: Value, w_addr: Value, w_data: Value, r_addr: Value,
    r_data: Signal,
) -> None:  # fmt: skip
    """Place a RAM in DP16KD: port A writes, port B reads, ``r_data`` follows ``r_addr`` by two cycles.

    What is read of a word that is written in the same cycle is not defined. Up to 16,384 words.
    """
    on, off = Const(1, 1), Const(0, 1)
    bits = ram_column(depth)
    for at in range(0, len(w_data), bits):
        column = w_data[at : at + bits]
        unread = Signal(0, name=f"unread_{at}")
        output = Signal(len(column), name=f"column_{at}")
        m.d.comb += r_data[at : at + bits].eq(output)
        m.submodules[f"block_{at}"] = Instance(
            "DP16KD",
            **_block_port(
                "A", bits, _address(bits, w_addr), en=w_en, out_en=off, write=on, source=column, output=unread
            ),
            **_block_port(
                "B", bits, _address(bits, r_addr), en=on, out_en=on, write=off, source=Const(0, 0), output=output
            ),
        )  # fmt: skip


def _init(units: list[int]) -> dict[str, Any]:
    """Return the parameters of a block's contents: 16 words of two units, each word in 20 bits."""
    words = [low | high << 9 for low, high in zip(units[::2], units[1::2], strict=True)]
    parameters = {}
    for row in range(64):
        value = sum(word << (20 * k) for k, word in enumerate(words[16 * row : 16 * row + 16]))
        parameters[f"p_INITVAL_{row:02X}"] = Const(value, 320)
    return parameters


def byte_buffer(write_port: Sequence[Value], r_addr: Value, r_data: Value) -> Instance:
    """Return a block of 9-bit words, of which bytes are used: A writes, B reads.

    ``write_port`` is enable, address and data.
    """
    w_en, w_addr, w_data = write_port
    no, yes = Const(0, 1), Const(1, 1)
    ports: dict[str, Any] = {"p_REGMODE_A": "NOREG", "p_REGMODE_B": "OUTREG"}
    for name, address, write in (("A", w_addr, w_en), ("B", r_addr, no)):
        bits = Cat(Const(0, 3), address, Const(0, 11 - len(address)))
        ports |= {
            f"p_DATA_WIDTH_{name}": 9, f"p_WRITEMODE_{name}": "NORMAL",
            f"p_CSDECODE_{name}": "0b000", f"i_CLK{name}": ClockSignal(), f"i_CE{name}": yes,
            f"i_OCE{name}": yes, f"i_WE{name}": write, f"i_RST{name}": no,
        }  # fmt: skip
        ports |= {f"i_CS{name}{k}": no for k in range(3)}
        ports |= {f"i_AD{name}{k}": bits[k] for k in range(14)}
    ports |= {f"i_DIA{k}": w_data[k] if k < 8 else no for k in range(18)}
    return Instance("DP16KD", **ports, **{f"o_DOB{k}": r_data[k] for k in range(8)})
