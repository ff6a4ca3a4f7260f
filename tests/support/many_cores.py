"""Many cores in one Verilator build: starting the compiler costs far more than one more core."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gatewright.compiler import golden
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.program.program import Program
from gatewright.hw.blocks.memory import TABLE_VERILOG
from gatewright.hw.export.verilog import TOP, write_verilog
from gatewright.sim.bench import Recorded, make_job
from gatewright.sim.compiled import build_cores, play_cores

PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);", re.MULTILINE)


def design(programs: list[Program], folder: Path, loadable: Sequence[bool] = ()) -> Path:
    """Write a top level ``many`` with one renamed core a program, ports prefixed ``k0_``, ..."""
    text, ports, instances = [TABLE_VERILOG], ["input clk", "input rst"], []
    for k, program in enumerate(programs):
        write_verilog(program, folder / f"core{k}", loadable=bool(loadable) and loadable[k])
        core = (folder / f"core{k}/core.v").read_text()
        core = core.replace(TABLE_VERILOG, "").replace(TOP, f"core{k}")
        for name, words in hex_files(program.images).items():
            core = core.replace(f'"{name}"', f'"core{k}_{name}"')
            (folder / f"core{k}_{name}").write_text(words)
        top = core[core.index(f"module core{k}(") :]
        found = PORT.findall(top[: top.index("endmodule")])
        wires = []
        for direction, width, name in found:
            shared = name in ("clk", "rst")
            wires.append(f".{name}({name if shared else f'k{k}_{name}'})")
            if not shared:
                ports.append(f"{direction} {width}k{k}_{name}")
        text.append(core)
        instances.append(f"core{k} k{k} ({', '.join(wires)});")
    top = ",\n  ".join(ports)
    text.append(f"module many(\n  {top}\n);\n" + "\n".join(instances) + "\nendmodule\n")
    path = folder / "many.v"
    path.write_text("\n".join(text))
    return path


def record_many(
    jobs: list[tuple[Program, np.ndarray, np.ndarray, float, int]], folder: Path,
    loadable: Sequence[bool] = (),
) -> list[Recorded]:  # fmt: skip
    """Run jobs (program, codes, first, stall, seed), each on its own core, all at once."""
    source = design([job[0] for job in jobs], folder, loadable)
    # Compiling takes much longer than running.
    built = build_cores(
        source, "many", folder, [f"k{k}_" for k in range(len(jobs))], optimize="-O0"
    )
    return play_cores(
        built,
        [
            make_job(program, codes, first, stall=stall, seed=seed)
            for program, codes, first, stall, seed in jobs
        ],
        folder,
    )


def check_many(jobs: list[tuple[int, Program, np.ndarray, float]], folder: Path) -> None:
    """Check (seed, program, codes (N, T, I), stall) bit by bit and, without stalls, cycle by cycle."""
    played = []
    for seed, program, x, stall in jobs:
        n, steps, size = x.shape
        first = np.tile(np.arange(steps) == 0, n)
        played.append((program, x.reshape(n * steps, size), first, stall, seed))
    for (seed, program, x, stall), got in zip(jobs, record_many(played, folder), strict=True):
        about = f"seed {seed}, {program.geometry}, {[g.cell for g in program.network.layers]}"
        expected = golden.run(program.network, x)
        outputs = np.zeros_like(got.outputs)
        outputs[:, program.schedule.output_order] = got.outputs
        assert (outputs == expected.outputs.reshape(outputs.shape)).all(), about
        if len(got.state):
            assert (got.state == expected.state.flat(program.network)[-1]).all(), about
        if not stall:
            assert (got.ends == program.schedule.predict(len(outputs))).all(), about
