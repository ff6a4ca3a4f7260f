"""Runs a cocotb bench on Verilog that instantiates the cells of a family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatewright.sim.build import build_simulator, play_bench
from gatewright.sim.netlist import FAMILIES, models, verilator_arguments


def check_cells(folder: Path, family: str, top: str, text: str, bench: str, specs: Any) -> None:
    """Simulate module ``top`` with the models of its cells; ``bench`` reads ``specs`` and leaves ``done``."""
    (folder / "specs.json").write_text(json.dumps(specs))
    (folder / f"{top}.v").write_text(text)
    sources = [folder / f"{top}.v", *models(FAMILIES[family], folder)]
    build_simulator(sources, top, folder, arguments=verilator_arguments(family), optimize="-O0")
    play_bench(folder, top, bench, folder, folder / "run.log")
    assert (folder / "done").exists(), (folder / "run.log").read_text()[-3000:]
