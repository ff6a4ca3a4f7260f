"""A core in Verilator with drivers in C++: many times faster than cocotb, for long runs and campaigns."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.arrays import IntArray
from ..compiler.errors import CheckError
from ..compiler.files.process import run_in_group
from .bench import Bench, Recorded
from .build import build_simulator

__all__ = ["CompiledBench", "build_cores", "play_cores"]


def build_cores(
    source: Path, top: str, folder: Path, prefixes: Sequence[str] = ("",), optimize: str = "-O1",
    progress: Callable[[str], None] | None = None,
) -> Path:  # fmt: skip
    """Build a program that plays jobs on the cores of a design; return it for :func:`play_cores`.

    Parameters
    ----------
    source : path
        Verilog.
    top : str
    folder : path
        As for :func:`~.build.build_simulator`.
    prefixes : sequence of str
        Prefix of the ports of each core.
    optimize : str
        What the C++ compiler is told of the model.
    progress
        As for :func:`~.build.build_simulator`.
    """
    cores = " ".join(f"X({prefix})" for prefix in prefixes)
    (source.parent / "cores.h").write_text(f"#define CORES(X) {cores}\n")
    main = Path(__file__).with_name("core.cpp")
    # Where the C++ compiler mostly reads, it reads the model's header once.
    arguments = ("--output-split", "0") if optimize == "-O0" else ()
    return build_simulator(
        [source], top, folder, main=main, arguments=arguments, optimize=optimize, progress=progress
    )


def play_cores(program: Path, jobs: Sequence[Mapping[str, Any]], run: Path) -> list[Recorded]:
    """Play a job of :func:`~.bench.make_job` on each core, all at once.

    Parameters
    ----------
    program : path
        From :func:`build_cores`.
    jobs : sequence of mapping
    run : path
        Folder that holds the memories.

    Raises
    ------
    CheckError
        A core hangs, withdraws an offer or breaks the framing of a step.
    """
    done = run_in_group(
        [str(program)], stdin_bytes=b"".join(map(_words, jobs)), cwd=run, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")[-3000:]
    seeds = ", ".join(str(int(job["seed"])) for job in jobs[:8])
    if done.returncode or said:
        raise CheckError(f"the simulation failed (seed {seeds}):\n{said or done.returncode}")
    return _results(np.frombuffer(done.stdout, np.int64), jobs)


def _words(job: Mapping[str, Any]) -> bytes:
    """Return a job as ``core.cpp`` reads it."""
    codes, first, load = (np.asarray(job[name]) for name in ("codes", "first", "load"))
    head = [
        int(float(job["stall"]) * (1 << 32)), job["seed"], job["budget"], job["data_bits"],
        job["outputs"], job["out_bits"], job["state_words"], job["state_bits"], job["streams"],
        job["command_bits"], *codes.shape, len(load),
    ]  # fmt: skip
    return b"".join(
        np.ascontiguousarray(part, np.int64).tobytes() for part in (head, codes, first, load)
    )


def _results(words: IntArray, jobs: Sequence[Mapping[str, Any]]) -> list[Recorded]:
    """Return what ``core.cpp`` recorded of each job."""
    results, at = [], 0
    for job in jobs:
        steps, size = len(job["codes"]), int(job["outputs"])
        ends = [at + 1, at + 1 + steps * size]
        states = int(job["state_words"]) * int(job["streams"])
        ends += [ends[-1] + steps, ends[-1] + steps + states]
        outputs, step_ends, state = (words[low:high].copy() for low, high in pairwise(ends))
        results.append(Recorded(outputs.reshape(steps, size), step_ends, state))
        at = ends[-1]
    return results


class CompiledBench(Bench):
    """A program's Verilog with drivers in C++; plays what :class:`~.bench.Bench` plays, without waves."""

    def _build(self) -> None:
        source = self.folder / "verilog" / "core.v"
        self.program_file = build_cores(source, self.top, self.folder, progress=self.progress)

    def _play(self, job: dict[str, Any], run: Path) -> Recorded:
        return play_cores(self.program_file, [job], run)[0]
