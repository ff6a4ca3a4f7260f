"""Run a testbench that ``gatewright verilog`` wrote, as its first lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gatewright.sim.simulators import simulator_tools


def run_testbench(
    folder: Path, tool: str, name: str = "gatewright", core: str = "core.v"
) -> subprocess.CompletedProcess[str]:
    """Build and run a folder's testbench; skip where the simulator is not installed."""
    work = folder.parent / f"{folder.name}-{tool}"
    work.mkdir(exist_ok=True)
    if tool == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus comes from the distribution, and is not installed")
    environment = os.environ | (simulator_tools("verilator") if tool == "verilator" else {})
    top, sources = f"{name}_tb", [f"{name}_tb.sv", core]
    build, run = {
        "icarus": (
            ["iverilog", "-g2012", "-s", top, "-o", str(work / "tb.vvp"), *sources],
            ["vvp", "-n", str(work / "tb.vvp")],
        ),
        "verilator": (
            ["verilator", "--binary", "-CFLAGS", "-std=c++20", "--Mdir", str(work), "--top-module", top, *sources],
            [str(work / f"V{top}")],
        ),
    }[tool]  # fmt: skip
    done = subprocess.run(build, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=300)
