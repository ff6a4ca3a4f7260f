"""Runs a cocotb bench on Verilog that instantiates the cells of a family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatewright.sim.netlist import FAMILIES, models, verilator_arguments
from gatewright.sim.simulators import VERILATOR, environment, simulator_tools


def check_cells(folder: Path, family: str, top: str, text: str, bench: str, specs: Any) -> None:
    """Simulate module ``top`` with the models of its cells; ``bench`` reads ``specs`` and leaves ``done``."""
    from cocotb_tools.runner import get_results, get_runner

    (folder / "specs.json").write_text(json.dumps(specs))
    (folder / f"{top}.v").write_text(text)
    runner, log = get_runner("verilator"), folder / "run.log"
    with environment(**simulator_tools("verilator", "-O0"), COCOTB_LOG_LEVEL="WARNING"):
        runner.build(
            sources=[folder / f"{top}.v", *models(FAMILIES[family], folder)], hdl_toplevel=top,
            build_dir=folder / "build", always=True,
            build_args=[*VERILATOR, *verilator_arguments(family)], timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )  # fmt: skip
        xml = runner.test(
            test_module=bench, hdl_toplevel=top, build_dir=folder / "build", test_dir=folder,
            log_file=log,
        )  # fmt: skip
    assert get_results(xml)[1] == 0 and (folder / "done").exists(), log.read_text()[-3000:]
