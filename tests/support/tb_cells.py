"""Cocotb bench of cell models: drives each instance at random, compares with Python models."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

CYCLES = 600
ALL = (1 << 36) - 1
NINTH = sum(1 << 9 * k + 8 for k in range(4))


class BlockRam:
    """Two ports on 18 Kbit, bit by bit.

    ``bits[byte][0..8]``; a word of 1, 2 or 4 bits is inside the lower 8 bits of a byte, one of
    9, 18 or 36 is 1, 2 or 4 bytes.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.ports = spec["ports"]
        self.bits = [[int(c) for c in f"{byte:09b}"[::-1]] for byte in spec["contents"]]
        self.latch, self.register = [0, 0], [0, 0]

    def cells(self, port: int, address: int) -> list[tuple[int, int]]:
        width = self.ports[port]["width"]
        if width < 9:
            at = address & 7 & -width
            return [(address >> 3, at + k) for k in range(width)]
        count = width // 9
        base = (address >> 3) // count * count
        return [(base + k // 9, k % 9) for k in range(width)]

    def step(self, drive: list[dict[str, int]]) -> list[int]:
        """Advance one clock; return both outputs after it."""
        places = [self.cells(p, drive[p]["addr"]) for p in (0, 1)]
        old = [sum(self.bits[y][x] << k for k, (y, x) in enumerate(cells)) for cells in places]
        written: list[dict[tuple[int, int], int]] = [{}, {}]
        for p in (0, 1):
            d, port = drive[p], self.ports[p]
            if d["en"] and d["we"]:
                for k, cell in enumerate(places[p]):
                    if port["width"] < 18 or d["addr"] >> k // 9 & 1:
                        written[p][cell] = d["in"] >> k & 1
        for p in (0, 1):
            d, port = drive[p], self.ports[p]
            new = sum(
                (written[p].get(cell, old[p] >> k & 1)) << k for k, cell in enumerate(places[p])
            )
            other = 1 - p
            clash = (
                drive[other]["en"] and drive[other]["we"] and set(places[p]) & set(places[other])
            )
            was = self.latch[p]
            if d["rst"]:
                self.latch[p] = self.register[p] = 0
            else:
                if d["oce"]:
                    self.register[p] = was
                if d["en"] and (not d["we"] or port["mode"]):
                    self.latch[p] = new if d["we"] and port["mode"] == 1 else old[p]
                    if clash:
                        self.latch[p] ^= ALL
        for p in (0, 1):
            for (y, x), bit in written[p].items():
                self.bits[y][x] = bit
        return [self.register[p] if self.ports[p]["reg"] else self.latch[p] for p in (0, 1)]


class Multiplier:
    """A product with up to three registers on its way: operands, product, output."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.inputs, self.middle, self.output = (0, 0), 0, 0

    def step(self, drive: dict[str, int], clocked: bool) -> int:
        """Return the output, after a clock or for operands that just came."""
        s, n = self.spec, self.spec["bits"]

        def value(code: int, signed: int) -> int:
            return code - (1 << n) if signed and code >> (n - 1) else code

        now = (value(drive["a"], s["signed"][0]), value(drive["b"], s["signed"][1]))
        if clocked:
            product = self.inputs if s["in"] else now
            middle = self.middle if s["pipe"] else product[0] * product[1]
            if drive["rst"]:
                self.inputs, self.middle, self.output = (0, 0), 0, 0
            elif drive["ce"]:
                self.output = middle
                self.middle = product[0] * product[1]
                self.inputs = now
        a, b = self.inputs if s["in"] else now
        middle = self.middle if s["pipe"] else a * b
        return (self.output if s["out"] else middle) & ((1 << 2 * n) - 1)


class RowRam:
    """256 rows of 16 bits; words of 8, 4 and 2 bits lie across their row, every 2, 4 and 8 bits."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.write, self.read = spec["write"], spec["read"]
        self.rows, self.output = list(spec["words"]), 0

    @staticmethod
    def word(mode: int, address: int) -> dict[int, int]:
        """Return the pins of a word by its bits in the row."""
        span = 1 << mode
        pin = (0, 0, 1, 3)[mode]
        return {k + (address >> 8) % span: k + pin for k in range(0, 16, span)}

    def step(self, d: dict[str, int]) -> int:
        """Advance one clock; return the output after it."""
        row, written = d["waddr"] & 255, {}
        if d["we"] and d["wce"]:
            for bit, pin in self.word(self.write, d["waddr"]).items():
                if self.write or not d["mask"] >> bit & 1:
                    written[bit] = d["data"] >> pin & 1
        if d["re"] and d["rce"]:
            self.output, old = 0, self.rows[d["raddr"] & 255]
            for bit, pin in self.word(self.read, d["raddr"]).items():
                hit = row == d["raddr"] & 255 and bit in written
                self.output |= (old >> bit & 1 ^ hit) << pin
        for bit, new in written.items():
            self.rows[row] = self.rows[row] & ~(1 << bit) | new << bit
        return self.output


@cocotb.test()
async def cells(dut: Any) -> None:
    """Compare every instance in every cycle."""
    specs = json.loads(Path("specs.json").read_text())
    rng = random.Random(specs["seed"])
    rams = [(k, BlockRam(s)) for k, s in enumerate(specs["rams"])]
    multipliers = [(k, Multiplier(s)) for k, s in enumerate(specs["multipliers"])]
    rows = [(k, RowRam(s)) for k, s in enumerate(specs.get("rows", []))]

    def put(name: str, value: int) -> None:
        getattr(dut, name).value = value

    drives: dict[Any, Any] = {}

    def draw() -> None:
        for k, ram in rams:
            area = rng.getrandbits(14) & ~0xFF  # both ports near each other
            pair = []
            for port in ram.ports:
                d = {
                    "en": int(rng.random() < 0.8), "we": int(rng.random() < 0.5) & port["writes"],
                    "oce": int(rng.random() < 0.7), "rst": int(rng.random() < 0.05),
                    "addr": area | rng.getrandbits(8), "in": rng.getrandbits(port["width"]),
                }  # fmt: skip
                if port["always"]:  # a port of these writes whenever it is enabled
                    d["we"] = 1
                pair.append(d)
            if pair[0]["we"] and pair[1]["we"]:  # two writes at once are not modelled
                pair[1]["we"] = 0
            drives["ram", k] = pair
            for p, d in enumerate(pair):
                for name, value in d.items():
                    put(f"r{k}_{name}_{'ab'[p]}", value)
        for k, mul in multipliers:
            n = mul.spec["bits"]
            d = {
                "a": rng.choice([rng.getrandbits(n), 1 << (n - 1), (1 << n) - 1]),
                "b": rng.choice([rng.getrandbits(n), 1 << (n - 1), (1 << n) - 1]),
                "ce": int(rng.random() < 0.8), "rst": int(rng.random() < 0.1),
            }  # fmt: skip
            drives["mul", k] = d
            for name, value in d.items():
                put(f"m{k}_{name}", value)

        for k, _ in rows:
            area = rng.getrandbits(11) & 0x7F0  # both ports near each other
            d = {name: int(rng.random() < 0.8) for name in ("we", "wce", "re", "rce")}
            d |= {"mask": rng.getrandbits(16), "data": rng.getrandbits(16)}
            for name in ("waddr", "raddr"):
                d[name] = area & 0xF0 | rng.getrandbits(2) | rng.getrandbits(3) << 8
            drives["row", k] = d
            for name, value in d.items():
                put(f"e{k}_{name}", value)

    draw()
    Clock(dut.clk, 10, unit="ns").start()
    for cycle in range(CYCLES):
        await RisingEdge(dut.clk)
        for k, ram in rams:
            after = ram.step(drives["ram", k])
            drives["expected", k] = after
        for k, mul in multipliers:
            drives["product", k] = mul.step(drives["mul", k], True)
        for k, row in rows:
            drives["word", k] = row.step(drives["row", k])
        await RisingEdge(dut.late)  # half a cycle on, everything has settled
        for k, ram in rams:
            for p, port in enumerate(ram.ports):
                got = getattr(dut, f"r{k}_out_{'ab'[p]}").value.to_unsigned()
                mask = (1 << port["width"]) - 1
                if not specs["rams"][k].get("ninth", True):
                    mask &= ~NINTH
                if port["reads"]:
                    expected = drives["expected", k][p] & mask
                    assert got & mask == expected, (
                        f"cycle {cycle}, RAM {k} port {'ab'[p]} {port}: {got & mask:x}, not {expected:x}"
                    )
        for k, mul in multipliers:
            got = getattr(dut, f"m{k}_p").value.to_unsigned()
            expected = drives["product", k]
            assert got == expected, (
                f"cycle {cycle}, multiplier {k} {mul.spec}: {got:x}, not {expected:x}"
            )
        for k, row in rows:
            got, expected = getattr(dut, f"e{k}_out").value.to_unsigned(), drives["word", k]
            assert got == expected, (
                f"cycle {cycle}, row RAM {k} modes {row.write} {row.read}: {got:x}, not {expected:x}"
            )
        draw()
    Path("done").write_text(str(CYCLES))
