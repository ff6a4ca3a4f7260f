"""A program's Verilog as a simulator runs it: built once, played many times."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
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
from ..hw.bitstream.process import run_in_group
from ..hw.export.verilog import TOP, write_verilog
from .simulators import VERILATOR, environment, simulator_tools

__all__ = ["Bench", "Recorded", "make_job", "state_port_bits"]


@dataclass
class Recorded:
    """What a bench recorded: codes in hardware order, cycle of each step's end, final state."""

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
    waves : bool
        Build with waveform support: VCD from Verilator, FST from Icarus.

    Raises
    ------
    MissingToolError
        The simulator or cocotb is not there.
    CheckError
        The build failed.

    Attributes
    ----------
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
        waves: bool = False,
    ) -> None:
        self.program, self.simulator, self.waves = program, simulator, waves
        self.environment = simulator_tools(simulator, self.optimize)
        self.cells: dict[str, int] = {}
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
        write_verilog(self.program, self.folder / "verilog")

    def _sources(self) -> list[Path]:
        """Return what is simulated."""
        return [self.folder / "verilog" / "core.v"]

    def _arguments(self) -> list[str]:
        """Return what the simulator's compiler is told."""
        if self.simulator != "verilator":
            return []
        return [*VERILATOR, "--trace-structs"] if self.waves else list(VERILATOR)

    def _build(self) -> None:
        from cocotb_tools.runner import get_runner

        sources, arguments = self._sources(), self._arguments()
        self.runner = get_runner(self.simulator)
        # What cocotb starts ends with us.
        self.runner._execute_cmds = self._run_tools  # type: ignore[assignment, method-assign]
        self.log = self.folder / "build.log"
        with environment(**self.environment):
            try:
                self.runner.build(
                    sources=sources, hdl_toplevel=self.top, build_dir=self.build_folder, always=True,
                    build_args=arguments, waves=self.waves, timescale=("1ns", "1ps"), log_file=self.log,
                )  # fmt: skip
            except (SystemExit, Exception) as error:
                tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
                raise CheckError(
                    f"{self.simulator} could not build the core: {error}\n{tail}"
                ) from error

    def _run_tools(self, commands: Any, cwd: Any, stdout: Any = None) -> None:
        """Run the commands of cocotb's runner, each in a process group that ends with us."""
        stderr = None if stdout is None else subprocess.STDOUT
        for command in commands:
            done = run_in_group(command, cwd=cwd, env=self.runner.env, stdout=stdout, stderr=stderr)
            if done.returncode:
                raise RuntimeError(f"{command[0]} failed (exit code {done.returncode})")

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
        load : ndarray of int64, shape (words,), optional
            State loaded before the first step.
        wave : path, optional
            Where to copy the waveform; the bench must have been built with ``waves``.

        Raises
        ------
        CheckError
            The bench failed or timed out.
        """
        from cocotb_tools.runner import get_results

        folder = self.folder / "run"
        folder.mkdir(exist_ok=True)
        for path in (self.folder / "verilog").glob("*.hex"):
            shutil.copy(path, folder)
        job = make_job(self.program, codes, first, stall=stall, seed=seed, load=load)
        np.savez(folder / "job.npz", **job)
        result = folder / "result.npz"
        result.unlink(missing_ok=True)
        log = folder / "run.log"
        with environment(**self.environment, COCOTB_LOG_LEVEL="WARNING"):
            try:
                xml = self.runner.test(
                    test_module=self.bench, hdl_toplevel=self.top, build_dir=self.build_folder,
                    test_dir=folder, seed=seed, waves=self.waves, log_file=log,
                )  # fmt: skip
                failed = get_results(xml)[1]
            except (SystemExit, Exception):
                failed = 1
        if failed or not result.exists():
            tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
            raise CheckError(f"the simulation failed (seed {seed}):\n{tail}")
        if wave is not None:
            found = (
                sorted(folder.glob("*.fst"))
                + sorted(folder.glob("*.vcd"))
                + sorted(self.build_folder.glob("*.fst"))
            )
            if not found:
                raise CheckError("the simulator wrote no waveform")
            shutil.copy(found[0], wave)
        with np.load(result) as data:
            return Recorded(data["outputs"], data["ends"], data["state"])


def make_job(
    program: Program, codes: IntArray, first: npt.NDArray[np.bool_], *, stall: float = 0.0,
    seed: int = 0, load: IntArray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return what :class:`.tb_core.Player` plays; see :meth:`Bench.record`."""
    net = program.network
    words = golden.State.zeros(net, 1).flat(net).shape[1]
    per_step = program.schedule.words + 4 * net.output_size + 2 * net.input_size + 400
    slower = 4 / (1 - stall) if stall else 1
    return {
        "codes": codes, "first": first, "stall": stall, "seed": seed,
        "budget": int(2000 + 8 * words / (1 - stall) + (len(codes) + 4) * per_step * slower),
        "data_bits": net.numbers.activation_bits, "out_bits": net.numbers.state_bits,
        "outputs": net.output_size, "load": np.zeros(0, np.int64) if load is None else load,
        "state_bits": state_port_bits(program), "state_words": words,
    }  # fmt: skip


def state_port_bits(program: Program) -> int:
    """Return the width of a word of the state port."""
    n = program.network.numbers
    cell = any(layer.has_cell_state for layer in program.network.layers)
    return max(n.state_bits, n.cell_bits) if cell else n.state_bits
