"""Figures of a build: its report, the clocks that were tried, the path that limits the clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...compiler.errors import InputError
from .build import REPORT, read_build

__all__ = ["critical_path", "read_figures", "tries"]

LARGEST = 16 << 20
"""Bytes of a log that are read."""

ALWAYS: dict[str, Any] = {
    "board": str, "device": str, "program": str, "lanes": int, "cycles_per_step": int,
    "loadable": bool, "tools": {str: str}, "estimate": {str: int},
}  # fmt: skip
ROUTED: dict[str, Any] = {
    "fmax_mhz": float, "target_mhz": float, "met": bool, "seed": int, "steps_per_second": float,
    "microseconds_per_step": float, "resources": {str: {"used": int, "available": int}},
}  # fmt: skip
"""Shape of a report: of every build, and of one that was routed."""


def read_figures(folder: Path) -> dict[str, Any]:
    """Read the report of a build's folder, with ``tries`` and ``path`` (see :func:`critical_path`).

    Raises
    ------
    InputError
        No build is there, or its report is not one that ``build`` writes.
    """
    found = read_build(folder)
    shape = ALWAYS | (ROUTED if "fmax_mhz" in found else {})
    wrong = _wrong(found, shape, "the report")
    if wrong:
        raise InputError(f"{folder / REPORT} is damaged ({wrong}); build again")
    made = tries(folder)
    own = found.get("seed"), found.get("fmax_mhz")
    chosen = [tried["log"] for tried in made if (tried["seed"], tried["fmax_mhz"]) == own]
    path = critical_path(folder, chosen[-1]) if chosen else []
    return found | {"tries": made, "path": path}


def _wrong(value: Any, shape: Any, where: str) -> str:
    """Say where a value from a file has another shape; an empty string if it has none."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{where} is no object"
        inner = dict.fromkeys(value, shape[str]) if str in shape else shape
        missing = [key for key in inner if key not in value]
        if missing:
            return f"{where} has no {missing[0]!r}"
        return next(filter(None, (_wrong(value[k], inner[k], repr(k)) for k in inner)), "")
    kinds = (int, float) if shape is float else (shape,)
    good = isinstance(value, kinds) and (shape is bool or not isinstance(value, bool))
    if good and shape in (int, float):
        good = value >= 0
    return "" if good else f"{where} is {str(value)[:40]!r}"


def tries(folder: Path) -> list[dict[str, Any]]:
    """Return what each place and route of a build reached, in the order they were made.

    Parameters
    ----------
    folder : path
        Of the build.

    Returns
    -------
    list of dict
        ``target_mhz``, ``seed``, ``fmax_mhz`` (None: the tool failed) and ``log``, the file's name.
    """
    found = {}
    for path in folder.glob("logs/route*.log"):
        name = re.fullmatch(r"route(\d{1,4})_(\d{1,5}\.\d\d)MHz_seed(\d{1,10})\.log", path.name)
        if name:
            reached = _reached(_read(path))
            found[int(name[1])] = {
                "target_mhz": float(name[2]), "seed": int(name[3]),
                "fmax_mhz": min(reached.values(), default=None), "log": path.name,
            }  # fmt: skip
    return [found[number] for number in sorted(found)]


def critical_path(folder: Path, log: str) -> list[dict[str, Any]]:
    """Return the slowest path of a route from register to register.

    Parameters
    ----------
    folder : path
        Of the build.
    log : str
        Name of the route's log, as :func:`tries` gives it.

    Returns
    -------
    list of dict
        ``kind`` (``routing``; else logic, as nextpnr calls it), ``ns`` and ``name`` of the cell or
        net, from the start of the path; empty where the log does not show it.
    """
    text = _read(folder / "logs" / log)
    speeds = _reached(text)
    if not speeds:
        return []
    slowest = re.escape(min(speeds, key=lambda clock: speeds[clock]))
    heads = list(re.finditer(rf"Critical path report for clock '{slowest}'.*\n", text))
    if not heads:
        return []
    lines = text[heads[-1].end() :].split("ns logic", 1)[0]
    rows = re.findall(
        r"^Info:\s+([a-z-]+)\s+(-?[\d.]+)\s+-?[\d.]+\s+(?:Source|Net) (\S+)", lines, re.MULTILINE
    )
    return [{"kind": kind, "ns": float(ns), "name": name} for kind, ns, name in rows]


def _read(path: Path) -> str:
    """Return the begin of a log; an empty text where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode(errors="replace")
    except OSError:
        return ""


def _reached(log: str) -> dict[str, float]:
    """Return the megahertz that each clock reaches, as the end of a log says."""
    found = re.findall(r"Max frequency for clock\s+'([^'\n]+)': ([\d.]+) MHz", log)
    return {clock: float(mhz) for clock, mhz in found if re.fullmatch(r"\d+(\.\d+)?", mhz)}
