"""Programs that stand in for the tools of a build and of a board: quick, and they can fail.

Each is a small Python script; what it shall do is in environment variables of the test:
``FAKE_FMAX`` (MHz that place and route reaches, ``a/b/c`` with seeds 1, 2, 3), ``FAKE_SECONDS`` (that it takes), ``FAKE_CELLS`` (type=count of the netlist),
``FAKE_FAIL`` (name of the tool that fails), ``FAKE_LOADER`` (what openFPGALoader prints).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from gatewright.compiler.program.program import Program
from gatewright.hw.bitstream import build, plan, sweep
from gatewright.hw.bitstream.plan import Options
from gatewright.hw.boards import Board
from gatewright.hw.vendor.pll import Pll

# What a tool shall do is part of its version: the cache keeps what each version made.
VERSION = """
import os, sys, zlib
if "--version" in sys.argv:
    does = [os.environ.get(f"FAKE_{name}", "") for name in ("FMAX", "CELLS", "FAIL")]
    print(f"1.{zlib.crc32(repr(does).encode())}"); sys.exit()
"""
YOSYS = """
import json, os, sys, zlib
if os.environ.get("FAKE_FAIL") == "yosys":
    print("ERROR: Module `top' is broken"); sys.exit(1)
cells, number = {}, 0
for part in os.environ.get("FAKE_CELLS", "SB_LUT4=1000,SB_MAC16=2").split(","):
    kind, count = part.split("=")
    for _ in range(int(count)):
        cells[f"c{number}"] = {"type": kind}; number += 1
of = zlib.crc32(open("top.il", "rb").read())  # another design is another netlist
json.dump({"modules": {"top": {"cells": cells}}, "of": of}, open("top.json", "w"))
print("End of script.")
"""
NEXTPNR = """
import json, os, sys, time
args = dict(zip(sys.argv[1:], sys.argv[2:]))
log = os.environ.get("FAKE_CALLS")
if log:
    open(log, "a").write(args["--freq"] + " " + args["--seed"] + "\\n")
if os.environ.get("FAKE_FAIL") == "nextpnr":
    print("Info: \\t         ICESTORM_LC:    6001/   5280   113%")
    print("Info: \\t        ICESTORM_RAM:      41/     30   136%")
    print("ERROR: Unable to place cell 'x', no BELs remaining"); sys.exit(1)
if os.environ.get("FAKE_FAIL") == "placer":
    print("Info: \\t         ICESTORM_LC:    5197/   5280    98%")
    print("ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.")
    sys.exit(1)
use = {k: {"used": 7, "available": n} for k, n in
       (("ICESTORM_LC", 5280), ("ICESTORM_DSP", 8), ("ICESTORM_RAM", 30), ("ICESTORM_SPRAM", 4))}
reached = os.environ.get("FAKE_FMAX", "50").split("/")
fmax = float(reached[(int(args["--seed"]) - 1) % len(reached)])
time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
json.dump({"fmax": {"clk": {"achieved": fmax, "constraint": float(args["--freq"])}},
           "utilization": use}, open("report.json", "w"))
open(args["--asc"], "w").write(" ".join(sys.argv[1:]))
print("Info: Program finished normally.")
"""
ICEPACK = """
import sys
open(sys.argv[2], "w").write(open(sys.argv[1]).read())
"""
LOADER = """
import os, sys
open(os.environ["FAKE_CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")
code, _, text = os.environ.get("FAKE_LOADER", "0:ok").partition(":")
print(text.replace("|", chr(10)))
sys.exit(int(code))
"""
TOOLS = {"YOSYS": YOSYS, "NEXTPNR_ICE40": NEXTPNR, "ICEPACK": ICEPACK, "OPENFPGALOADER": LOADER}

tops: dict[object, dict[str, bytes]] = {}
"""Top levels by what they depend on: with tools that take no time, elaborating them would be all of it."""


def _make_system(program: Program, board: Board, options: Options) -> Callable[[Fraction], Any]:
    make = plan.make_system(program, board, options)
    make.key = (  # type: ignore[attr-defined]
        program.digest, program.geometry, board.name, options.baud, options.loadable,
        options.verify, plan.flash_offset(program, board, options),
    )  # fmt: skip
    return make


def _top_files(board: Board, pll: Pll | None, system: Any) -> dict[str, bytes]:
    key = system.key, pll
    if key not in tops:
        tops[key] = plan.top_files(board, pll, system)
    return tops[key]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the programs into a folder, make them the tools, and return the log of their calls."""
    monkeypatch.setattr(build, "make_system", _make_system)
    monkeypatch.setattr(sweep, "top_files", _top_files)
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(folder / "cache"))
    for variable, text in TOOLS.items():
        path = folder / variable.lower()
        path.write_text(f"#!{sys.executable}\n{VERSION}{text}")
        path.chmod(0o755)
        monkeypatch.setenv(variable, str(path))
    calls = folder / "calls"
    calls.write_text("")
    monkeypatch.setenv("FAKE_CALLS", str(calls))
    return calls


def too_large_once(folder: Path) -> Path:
    """Let the first netlist that Yosys makes be too large; return the file that says it was made."""
    yosys, marker = folder / "yosys", folder.parent / "first"
    fake = f'if os.path.exists("top.il") and not os.path.exists({str(marker)!r}):\n    open({str(marker)!r}, "w")\n'
    fake += '    os.environ["FAKE_CELLS"] = "SB_RAM40_4K=31"\ncells, number'
    yosys.write_text(yosys.read_text().replace("cells, number", fake, 1))
    return marker
