"""A program's Verilog as a simulator runs it: built once, played many times."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import golden
from ..compiler.arrays import IntArray
from ..compiler.errors import CheckError, InputError
from ..compiler.files.temporary import is_safe, temporary_folder
from ..compiler.program.program import Program
from ..hw.export.verilog import TOP, write_verilog
from .build import build_simulator, play_bench
from .simulators import simulator_tools
from .waves import NO_WAVES, Waves, readable, waveforms

__all__ = ["Bench", "Recorded", "make_job", "state_port_bits"]


@dataclass
class Recorded:
    """Recording of a bench: codes in hardware order, cycle of each step's end, final states in a row."""

    outputs: IntArray
    ends: IntArray
    state: IntArray


class Bench:
    """A program's Verilog, built once for a simulator and run many times.

    Parameters
    ----------
    program : Program
    simulator : {'verilator', 'icarus'}
    folder : path, optional
        Where to build; default a temporary folder that :meth:`close` removes.
    waves : Waves, optional
        Build with support for waveforms, and with the tracks that they show.
    progress : callable, optional
        Called with a line before each long stage; not before what the cache has.

    Raises
    ------
    MissingToolError
        The simulator or cocotb is not there.
    CheckError
        The build failed.

    Attributes
    ----------
    sources : sequence of path
        Verilog that is simulated.
    cells : dict of str to int
        Cells of a netlist by type; empty for Verilog that is not one.
    """

    top, bench, optimize = TOP, "gatewright.sim.tb_core", "-O1"

    def __init__(
        self,
        program: Program,
        simulator: str = "verilator",
        *,
        folder: str | Path | None = None,
        waves: Waves = NO_WAVES,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.program, self.simulator, self.waves = program, simulator, waves
        self.progress = progress
        simulator_tools(simulator)  # complains before the first minute of work
        self.cells: dict[str, int] = {}
        self.sources: Sequence[Path] = []
        if folder and not is_safe(folder):
            raise InputError(
                f"{folder}: make takes no folder whose path has a space or another sign; give "
                "another folder, or none"
            )
        self._stack = contextlib.ExitStack()
        try:
            made = None if folder else self._stack.enter_context(temporary_folder())
            self.folder = Path(folder or made or "").resolve()
            self._write()
            self.build_folder = self.folder / "build"
            self._build()
        except BaseException:
            self.close()
            raise

    def _write(self) -> None:
        """Write the Verilog and the images of its memories."""
        write_verilog(self.program, self.folder / "verilog", trace=bool(self.waves.ending))
        if self.waves.ending:
            core = self.folder / "verilog" / "core.v"
            core.write_text(readable(core.read_text(), self.waves.depth))

    def _sources(self) -> list[Path]:
        """Return what is simulated."""
        return [self.folder / "verilog" / "core.v"]

    def _arguments(self) -> list[str]:
        """Return what Verilator is told besides what it always is."""
        return []

    def _build(self) -> None:
        self.sources = self._sources()
        build_simulator(
            self.sources, self.top, self.folder, simulator=self.simulator,
            arguments=self._arguments(), optimize=self.optimize, waves=self.waves,
            progress=self.progress,
        )  # fmt: skip

    def close(self) -> None:
        """Remove the temporary folder."""
        self._stack.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self, codes: IntArray, first: npt.NDArray[np.bool_], *, stall: float = 0.0, seed: int = 0,
        load: IntArray | None = None, wave: str | Path | None = None,
    ) -> Recorded:  # fmt: skip
        """Run steps through the core.

        Parameters
        ----------
        codes : ndarray of int64, shape (steps, I)
        first : ndarray of bool, shape (steps,)
            Steps that start from the reset state.
        stall : float
            Chance of a pause before each transfer, on every stream.
        seed : int
            Seed of the pauses.
        load : ndarray of int64, shape (words,) or (streams, words), optional
            State of each stream loaded before the first step.
        wave : path, optional
            Where to copy the waveform; the bench must have been built with ``waves``.

        Raises
        ------
        CheckError
            The bench failed or timed out.
        """
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        for path in (self.folder / "verilog").glob("*.hex"):
            shutil.copy(path, run)
        for path in waveforms(run):
            path.unlink()
        job = make_job(self.program, codes, first, stall=stall, seed=seed, load=load)
        recorded = self._play(job, run)
        if wave is not None:
            found = waveforms(run) or waveforms(self.build_folder)
            if not found:
                raise CheckError("the simulator wrote no waveform")
            shutil.copy(found[0], wave)
        return recorded

    def _play(self, job: dict[str, Any], run: Path) -> Recorded:
        """Play a job in a folder that holds the memories."""
        np.savez(run / "job.npz", **job)
        result = run / "result.npz"
        result.unlink(missing_ok=True)
        play_bench(
            self.folder, self.top, self.bench, run, run / "run.log", simulator=self.simulator,
            seed=int(job["seed"]), waves=self.waves,
        )  # fmt: skip
        if not result.exists():
            raise CheckError(f"the simulation ended without a result, log: {run / 'run.log'}")
        with np.load(result) as data:
            return Recorded(data["outputs"], data["ends"], data["state"])


def make_job(
    program: Program, codes: IntArray, first: npt.NDArray[np.bool_], *, stall: float = 0.0,
    seed: int = 0, load: IntArray | None = None, loadable: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return what :class:`.tb_core.Player` plays; see :meth:`Bench.record`."""
    net = program.network
    words = golden.State.zeros(net, 1).flat(net).shape[1]
    per_step = program.schedule.words + 4 * net.output_size + 2 * net.input_size + 400
    slower = 4 / (1 - stall) if stall else 1
    return {
        "codes": codes, "first": first, "stall": stall, "seed": seed,
        "budget": int(
            2000 + (400 + 8 * words) * program.streams / (1 - stall)
            + (len(codes) + 4) * per_step * slower
        ),
        "data_bits": net.numbers.activation_bits, "out_bits": net.numbers.state_bits,
        "outputs": net.output_size,
        "load": np.zeros((0, words), np.int64) if load is None else np.atleast_2d(load),
        "state_bits": state_port_bits(program), "state_words": words, "streams": program.streams,
        "command_bits": 3 if loadable else 1,
    }  # fmt: skip


def state_port_bits(program: Program) -> int:
    """Return the width of a word of the state port."""
    return program.network.state_width
