"""Netlists of FPGA cells: bit- and cycle-exact, and one wrong bit in them is caught."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.target.devices import FAMILIES as DEVICE_FAMILIES
from gatewright.compiler.target.families.ecp5 import banks
from gatewright.compiler.target.family import Storage
from gatewright.compiler.target.memories import memories
from gatewright.host.device import Device
from gatewright.hw.bitstream import tool_job
from gatewright.hw.engine import weights
from gatewright.hw.link.system import System
from gatewright.hw.vendor import find_family
from gatewright.sim.netlist import FAMILIES, NetlistBench, synthesize
from gatewright.sim.runner import compare, simulate
from gatewright.sim.verilated import VerilatedBoard, build_board
from support.randoms import extreme_codes, recurrent

# What must be in each netlist: multipliers, block RAM, and the family's small memories.
EXPECTED = {
    "ice40up": ("SB_MAC16", "SB_RAM40_4K"),
    "ice40hx": ("SB_RAM40_4K",),
    "ecp5": ("MULT18X18D", "DP16KD", "TRELLIS_DPR16X4"),
    "gowin": ("MULT", "SP|pROM", "SDP|DP"),
}


def small() -> Program:
    """Return a program whose weights fill a block RAM and whose datapath is narrow."""
    rng = np.random.default_rng(3)
    model = Model(
        3,
        (
            recurrent(rng, "first", "gru", ("x",), 3, 8),
            Linear("head", ("first",), rng.normal(size=(2, 8))),
        ),
    )
    config = Config(lanes=2, weight_bits=8, activation_bits=8, state_bits=10, gate_bits=8)
    return quantize(model, rng.normal(size=(2, 20, 3)), config)


def play(bench: NetlistBench, steps: int = 12, stall: float = 0.0, seed: int = 1) -> str:
    """Return how a run on extreme codes differs from golden and the predicted cycles."""
    p = bench.program
    x = extreme_codes(p, np.random.default_rng(seed), 1, steps)
    expected = golden.run(p.network, x)
    got = bench.record(x[0], np.arange(steps) == 0, stall=stall, seed=seed)
    outputs = np.zeros_like(got.outputs)
    outputs[:, p.schedule.output_order] = got.outputs
    found = compare(p, expected.outputs[0], outputs)
    if not found and (got.state != expected.state.flat(p.network)[0]).any():
        found = "the final state differs"
    if not found and not stall and (got.ends != p.schedule.predict(steps)).any():
        found = "a step ended in another cycle"
    return found


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES)
def test_streams_in_the_netlist(family: str) -> None:
    """Three streams, of which two idle at the end."""
    p = Program(small().network, replace(small().config, streams=3))
    x = np.random.default_rng(1).normal(size=(4, 5, 3))
    done = simulate(p, x, lengths=[5, 3, 4, 2], netlist=family)
    assert done.bit_exact and done.cycle_exact, done.mismatch


def corner(name: str) -> Program:
    """Return a program at the edge of what the engine builds."""
    cell, inputs, size, options = {
        "one neuron": ("gru", 1, 1, {"lanes": 1}),
        "one cell": ("lstm", 2, 1, {"lanes": 1}),
        "two bits": ("rnn", 1, 1, {"lanes": 1, "weight_bits": 2, "activation_bits": 2, "state_bits": 2, "gate_bits": 2}),
        "argmax": ("gru", 2, 3, {"lanes": 2, "argmax": True}),
    }[name]  # fmt: skip
    rng = np.random.default_rng(1)
    model = Model(inputs, (recurrent(rng, "only", cell, ("x",), inputs, size),))
    return quantize(model, rng.normal(size=(2, 10, inputs)), Config(**options))


# Parameters of a block RAM: name and bits of a row, bits from one word of 16 to the next.
ROWS = {
    "ice40up": (r"\.INIT_([0-9A-F])\(", 256, 16),
    "ecp5": (r"\.INITVAL_([0-9A-F]{2})\(", 320, 20),
    "gowin": (r"\.INIT_RAM_([0-9A-F]{2})\(", 288, 18),
}


def lanes(words: list[int]) -> list[int]:
    """Return each of 16 bits over all words, as one number."""
    return [sum((word >> bit & 1) << k for k, word in enumerate(words)) for bit in range(16)]


def weight_memory(text: str, family: str, words: list[int]) -> tuple[int, list[int]]:
    """Find the block RAM that holds words in its low half or all of it.

    Synthesis may permute the bits of a word. Returns where the last digit of row 0 is in the
    text, and the bits of each word that were read, lane by lane.
    """
    name, bits, stride = ROWS[family]
    for cell in re.finditer(r"^  \w+ #\((.*?)^  \) ", text, re.S | re.M):
        rows = list(re.finditer(rf"{name}\d+'h([0-9a-f]+)\)", cell[1]))
        value = sum(int(row[2], 16) << bits * int(row[1], 16) for row in rows)
        found = lanes([value >> stride * k & 0xFFFF for k in range(len(words))])
        if rows and sorted(found) == sorted(lanes(words)):
            return cell.start(1) + rows[0].end(2) - 1, found
    raise AssertionError(f"no block RAM of the {family} netlist holds the weights")


class Mutated(NetlistBench):
    """A netlist with one bit flipped: in the weights, or in the truth table of a LUT."""

    lut = False

    def _sources(self) -> list[Path]:
        sources = super()._sources()
        text = self.netlist.path.read_text()
        if self.lut:
            # The sum of an adder where all inputs are zero, in the middle of the netlist: an entry that is
            # looked up, in one of the many adders of the data path.
            adders = list(re.finditer(r"\.LUT_INIT\(16'h(?:6996|c33c|3cc3|9669)\)", text))
            at, bit = adders[len(adders) // 2].end() - 2, 0
        else:  # the sign of the first weight of lane 1
            words = self.program.images.weights
            at, found = weight_memory(text, self.family, words)
            bit = found.index(lanes(words)[15])
        at, bit = at - bit // 4, bit % 4
        self.netlist.path.write_text(f"{text[:at]}{int(text[at], 16) ^ 1 << bit:x}{text[at + 1 :]}")
        return sources


@pytest.mark.parametrize(
    "family", ["ice40up", pytest.param("ice40hx", marks=pytest.mark.full), "ecp5", "gowin"]
)
def test_a_netlist_is_exact(family: str, tmp_path: Path) -> None:
    p = small()
    with NetlistBench(p, family, folder=tmp_path) as bench:
        if family in ROWS:
            weight_memory(bench.netlist.path.read_text(), family, p.images.weights)
        for pattern in EXPECTED[family]:
            assert any(re.match(pattern, name) for name in bench.cells), (pattern, bench.cells)
        assert play(bench) == ""
        assert play(bench, stall=0.4, seed=2) == ""


@pytest.mark.full
@pytest.mark.parametrize(
    "family, name",
    [("ecp5", "one neuron"), ("ice40up", "one cell"), ("gowin", "two bits"), ("ice40hx", "argmax")],
)
def test_netlists_of_the_smallest_networks(family: str, name: str, tmp_path: Path) -> None:
    with NetlistBench(corner(name), family, folder=tmp_path) as bench:
        assert play(bench) == ""
        assert play(bench, stall=0.4, seed=2) == ""


@pytest.mark.parametrize(
    "family, lut",
    [
        ("ice40up", False),
        pytest.param("ice40up", True, marks=pytest.mark.full),
        pytest.param("ecp5", False, marks=pytest.mark.full),
        pytest.param("gowin", False, marks=pytest.mark.full),
    ],
)
def test_one_flipped_bit_is_caught(family: str, lut: bool, tmp_path: Path) -> None:
    with type("Mutated", (Mutated,), {"lut": lut})(small(), family, folder=tmp_path) as bench:
        try:
            found = play(bench, steps=30)
        except CheckError as error:  # the framing of a step, or no progress
            found = str(error)
    assert found


def deep() -> Program:
    """Return a program whose weights are banks of block RAM on ECP5, one after the other."""
    rng = np.random.default_rng(5)
    model = Model(16, (recurrent(rng, "only", "gru", ("x",), 16, 40),))
    p = quantize(model, rng.normal(size=(2, 10, 16)), Config(lanes=3))
    images = p.images
    assert len(banks(len(images.weights), images.weight_width, loadable=True)) > 1
    return p


def test_registered_block_ram_keeps_states_and_operands(tmp_path: Path) -> None:
    """Beside weights that are banks of block RAM, one after the other."""
    rng = np.random.default_rng(6)
    layers = (
        recurrent(rng, "first", "gru", ("x",), 2, 66),
        recurrent(rng, "second", "lstm", ("first",), 66, 4),
    )
    p = quantize(Model(2, layers), rng.normal(size=(2, 6, 2)), Config(lanes=12))
    assert p.geometry.split == 2
    assert len(banks(len(p.images.weights), p.images.weight_width, loadable=False)) == 2
    there = memories(p)
    kinds = {
        name: DEVICE_FAMILIES["ecp5"].storage(
            there[name].kind, there[name].width, there[name].depth
        )
        for name in ("inputs", "operands", "kept gates", "states")
    }
    lut, block = Storage.LUT, Storage.BLOCK
    assert [kind for kind, _ in kinds.values()] == [lut, block, lut, block]
    with NetlistBench(p, "ecp5", folder=tmp_path) as bench:
        # Of the tables only that of the activations is placed here, in one block.
        registered = bench.netlist.path.read_text().count('.REGMODE_B("OUTREG")')
        assert registered == 1 + sum(
            count * there[name].copies for name, (kind, count) in kinds.items() if kind is block
        )
        assert play(bench, steps=3) == ""
        assert play(bench, steps=3, stall=0.3, seed=2) == ""


@pytest.mark.full
@pytest.mark.parametrize(
    ("family", "loadable", "make"),
    [(f, loadable, small) for f in ("ice40up", "ecp5", "gowin") for loadable in (False, True)]
    + [("ecp5", True, deep)],
)
def test_the_netlist_of_a_whole_board_talks_to_the_host(
    family: str, loadable: bool, make: Callable[[], Program], tmp_path: Path
) -> None:
    """Host, serial line, link, core and back: all of the board but its pins and clock in cells."""
    p = make()
    system = System(p, clock_hz=4.3e6, baud=1e6, family=family, loadable=loadable)
    built = build_board(system, tmp_path, netlist=True)
    board = VerilatedBoard(built, clock_hz=4.3e6, baud=1e6)
    try:
        device = Device(board, p)
        if loadable:
            device.load()
        x = extreme_codes(p, np.random.default_rng(1), 2, 6)
        expected = golden.run(p.network, x)
        assert (device.run_codes(x) == expected.outputs).all()
        last = golden.run(p.network, x[-1:]).state
        assert (device.read_state().flat(p.network) == last.flat(p.network)).all()
    finally:
        board.close()


def wide() -> Program:
    """Return a program of two lanes whose operands, of two binary points, are wider than 16 bits."""
    rng = np.random.default_rng(4)
    model = Model(
        3,
        (
            recurrent(rng, "first", "gru", ("x",), 3, 4),
            recurrent(rng, "second", "gru", ("first", "x"), 7, 4),
        ),
    )
    config = Config(lanes=2, weight_bits=8, activation_bits=14, state_bits=14, gate_bits=10)
    return quantize(model, 60 * rng.normal(size=(2, 20, 3)), config)


@pytest.mark.full
def test_single_port_ram_and_wide_operands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in four SPRAMs by their address, the low bits of wide operands added by each SB_MAC16."""
    monkeypatch.setattr(weights, "BLOCKS", 0)
    p = wide()
    assert p.network.operand_bits > 16
    monkeypatch.setattr(
        find_family("ice40up"),
        "large_ram_depth",
        1 << ((p.images.planes[0].depth - 1).bit_length() - 2),
    )
    system = System(p, clock_hz=4.3e6, baud=1e6, family="ice40up", loadable=True)
    built = build_board(system, tmp_path, netlist=True)
    text = (tmp_path / "netlist.v").read_text()
    assert len(re.findall(r"^  SB_SPRAM256KA", text, re.M)) in (3, 4)
    assert len(re.findall(r"^  SB_MAC16", text, re.M)) == 2 + system.core.elementwise.multipliers
    board = VerilatedBoard(built, clock_hz=4.3e6, baud=1e6)
    try:
        device = Device(board, p)
        device.load()  # reads back what it wrote
        x = extreme_codes(p, np.random.default_rng(1), 2, 6)
        assert (device.run_codes(x) == golden.run(p.network, x).outputs).all()
    finally:
        board.close()


def test_simulate_takes_a_family(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not need a build; the rest is in the full tier."""
    x = str(tiny / "x.npz")
    assert main(["simulate", str(tiny / "program"), x, "--netlist", "xc7"]) == 1
    assert "ice40up, ice40hx, ecp5, gowin" in capsys.readouterr().err
    with pytest.raises(InputError, match="in verilator, not in icarus"):
        simulate(small(), np.zeros((1, 3)), netlist="ecp5", simulator="icarus")


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES)
def test_simulate_says_what_was_simulated(
    family: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = str(tiny / "x.npz")
    assert main(["simulate", str(tiny / "program"), x, "--netlist", family, "--limit", "2"]) == 0
    text = capsys.readouterr().out
    assert f"the {family} netlist in verilator, every output equals golden" in text
    assert re.search(r"netlist: .*\d (LUT4|SB_LUT4)", text)


def test_a_netlist_is_synthesized_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It comes from the cache until something changes that it depends on."""
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path / "cache"))
    said: list[str] = []

    def yosys(name: str, arguments: Any, folder: Path, log: Path, progress: Any, what: str) -> int:
        progress(what)
        log.write_text("made")
        (folder / "netlist.v").write_text((folder / "core.v").read_text() + arguments[1])
        (folder / "cells.json").write_text('{"design": {"num_cells_by_type": {"A": 1}}}')
        return 0

    monkeypatch.setattr(tool_job, "run_tool", yosys)

    def make(folder: str, text: str, table: str, family: str = "ecp5") -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "core.v").write_text(text)
        (tmp_path / folder / "table.hex").write_text(table)
        made = synthesize("read_verilog core.v", "top", family, tmp_path / folder, said.append)
        assert made.cells == {"A": 1}
        assert (tmp_path / folder / "yosys.log").read_text() == "made"
        return made.path.read_text()

    assert make("a", "x", "0") == make("a", "x", "0") == make("b", "x", "0")
    assert said == ["synthesizing for ecp5"]
    assert make("a", "y", "0").startswith("y")
    make("a", "y", "1")
    make("a", "y", "1", "gowin")
    assert said[1:] == ["synthesizing for ecp5", "synthesizing for ecp5", "synthesizing for gowin"]
