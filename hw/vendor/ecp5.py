"""ECP5 primitives: MULT18X18D with all its registers, DP16KD with its output registers, CCU2C.

Yosys 0.70 infers neither of the former with registers, nor the gate that a carry cell has room for. Ref: Lattice
FPGA-TN-02205 (sysDSP), FPGA-TN-02204 (memory usage guide).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from ...compiler.target.devices import column_shape, ram_column

__all__ = ["LUT_RAM", "BlockTable", "add_unless", "block_ram", "mult18"]

LUT_RAM = {"ram_style": "distributed"}
"""Attributes of a memory that Yosys is to make of LUTs."""


def _extend(value: Value, bits: int) -> Value:
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, fill.replicate(bits - len(value))) if bits > len(value) else Cat(value)


def mult18(a: Value, b: Value, p: Signal) -> Any:
    """One product of up to 18 x 18 bits, three cycles: input, pipeline and output registers."""
    m = Module()
    output = Signal(36)
    ports: dict[str, Any] = {}
    for name, value in (("A", a), ("B", b)):
        wide = _extend(value, 18)
        ports |= {f"i_{name}{k}": wide[k] for k in range(18)}
        ports[f"i_SIGNED{name}"] = Const(int(value.shape().signed), 1)
        ports[f"i_SOURCE{name}"] = Const(0, 1)
    for name in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT"):
        ports |= {
            f"p_REG_{name}_CLK": "CLK0",
            f"p_REG_{name}_CE": "CE0",
            f"p_REG_{name}_RST": "RST0",
        }
    m.submodules.mult = Instance(
        "MULT18X18D",
        i_CLK0=ClockSignal(), i_CE0=Const(1, 1), i_RST0=Const(0, 1),
        **ports, **{f"o_P{k}": output[k] for k in range(36)},
    )  # fmt: skip
    m.d.comb += p.eq(output[: len(p)])
    return m


ADD_UNLESS = 0xC6CC
"""Table of half a CCU2C with D high: A plus B, and B alone where C is high.

The carry passes where the table is high, and is B where it is low (the lowest four bits).
"""


def add_unless(zero: Value, a: Value, b: Value, total: Signal) -> Any:
    """Set ``total`` to ``b`` where ``zero`` is high and to ``a + b`` elsewhere, in the carry chain's own tables."""
    m = Module()
    bits = len(total)
    left, right, sums = _extend(a, bits), _extend(b, bits), Signal(bits + bits % 2)
    low: Value = Const(0, 1)

    def at(value: Value, k: int) -> Value:
        return value[k] if k < bits else Const(0, 1)

    for k in range(0, bits, 2):
        carry = Signal(name=f"carry_{k}")
        m.submodules[f"bits_{k}"] = Instance(
            "CCU2C", p_INIT0=Const(ADD_UNLESS, 16), p_INIT1=Const(ADD_UNLESS, 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO", i_CIN=low, o_COUT=carry,
            **{f"i_A{j}": at(left, k + j) for j in (0, 1)}, **{f"i_B{j}": at(right, k + j) for j in (0, 1)},
            **{f"i_C{j}": zero for j in (0, 1)}, **{f"i_D{j}": Const(1, 1) for j in (0, 1)},
            **{f"o_S{j}": sums[k + j] for j in (0, 1)},
        )  # fmt: skip
        low = carry
    m.d.comb += total.eq(sums[:bits])
    return m


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
    ports |= {f"i_DI{name}{k}": bit for k, bit in enumerate(_extend(source, 18))}
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
    made = {}
    for row in range(64):
        value = sum(word << (20 * k) for k, word in enumerate(words[16 * row : 16 * row + 16]))
        made[f"p_INITVAL_{row:02X}"] = Const(value, 320)
    return made
