"""Many cores in one Verilator build: starting the compiler costs far more than one more core."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped
from gatewright.compiler import golden
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.program.program import Program
from gatewright.compiler.program.turns import take_turns
from gatewright.hw.engine.core import Core
from gatewright.hw.export.verilog import component_verilog
from gatewright.sim.bench import Recorded, make_job
from gatewright.sim.compiled import build_cores, play_cores

MODULE = re.compile(r"^(?=module )", re.MULTILINE)
OWNER = re.compile(r"module \\many\.core(\d+)[. ]")


class Many(wiring.Component):
    """Cores side by side; core ``k`` has its ports as ``k0__i__payload`` and so on."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self.cores = cores
        super().__init__({f"k{k}": Out(core.signature) for k, core in enumerate(cores)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k, core in enumerate(self.cores):
            m.submodules[f"core{k}"] = core
            connect(m, core, flipped(getattr(self, f"k{k}")))
        return m


def design(programs: Sequence[Program], folder: Path, loadable: Sequence[bool] = ()) -> Path:
    """Write the Verilog of :class:`Many`, one core a program, and the memories that they read."""
    for program in programs:
        program.network.check_hardware()
    cores = [
        Core(program, rom_files=True, loadable=bool(loadable) and loadable[k])
        for k, program in enumerate(programs)
    ]
    parts = MODULE.split(component_verilog(Many(cores), "many"))
    for at, part in enumerate(parts):
        if owner := OWNER.match(part):
            k = int(owner[1])
            for name in hex_files(programs[k].images):
                parts[at] = parts[at].replace(f'"{name}"', f'"core{k}_{name}"')
    for k, program in enumerate(programs):
        for name, words in hex_files(program.images).items():
            (folder / f"core{k}_{name}").write_text(words)
    path = folder / "many.v"
    path.write_text("".join(parts))
    return path


def record_many(
    jobs: list[tuple[Program, np.ndarray, np.ndarray, float, int]], folder: Path,
    loadable: Sequence[bool] = (),
) -> list[Recorded]:  # fmt: skip
    """Run jobs (program, codes, first, stall, seed), each on its own core, all at once."""
    source = design([job[0] for job in jobs], folder, loadable)
    # Compiling takes much longer than running.
    built = build_cores(
        source, "many", folder, [f"k{k}___05F" for k in range(len(jobs))], optimize="-O0"
    )
    return play_cores(
        built,
        [
            make_job(
                program,
                codes,
                first,
                stall=stall,
                seed=seed,
                loadable=bool(loadable) and loadable[k],
            )
            for k, (program, codes, first, stall, seed) in enumerate(jobs)
        ],
        folder,
    )


def check_many(jobs: list[tuple[int, Program, np.ndarray, float]], folder: Path) -> None:
    """Check (seed, program, codes (N, T, I), stall) bit by bit and, without stalls, cycle by cycle.

    N is a multiple of the program's streams.
    """
    played = []
    for seed, program, x, stall in jobs:
        turns = take_turns(np.full(len(x), x.shape[1]), program.streams)
        played.append((program, x[turns], turns[1] == 0, stall, seed))
    for (seed, program, x, stall), got in zip(jobs, record_many(played, folder), strict=True):
        about = f"seed {seed}, {program.geometry}, {[g.cell for g in program.network.layers]}"
        about += f", {program.streams} streams"
        expected = golden.run(program.network, x)
        turns = take_turns(np.full(len(x), x.shape[1]), program.streams)
        outputs = np.zeros_like(got.outputs)
        outputs[:, program.schedule.output_order] = got.outputs
        assert (outputs == expected.outputs[turns]).all(), about
        if len(got.state):
            states = expected.state.flat(program.network)[-program.streams :]
            assert (got.state == states.ravel()).all(), about
        if not stall:
            assert (got.ends == program.schedule.predict(len(outputs))).all(), about
