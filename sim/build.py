"""Simulators built of Verilog: each text is compiled once and then comes from the cache."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from ..compiler.errors import CheckError
from ..compiler.files.cache import digest, obtain
from ..compiler.files.process import run_in_group
from .simulators import VERILATOR, environment, simulator_tools
from .waves import NO_WAVES, Waves

__all__ = ["build_simulator", "play_bench"]

PORTS = """`verilator_config
public_flat_rw -module "{top}" -port "*"
"""
"""All that a cocotb bench of ours looks at. Whatever else it could reach would not be optimized away."""


def build_simulator(
    sources: Sequence[Path],
    top: str,
    folder: Path,
    *,
    simulator: str = "verilator",
    main: Path | None = None,
    arguments: Sequence[str] = (),
    optimize: str = "-O1",
    waves: Waves = NO_WAVES,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Build a simulator of Verilog, or take it from the cache.

    Memories are no part of what is built: ``$readmemh`` reads them when the simulation starts.

    Parameters
    ----------
    sources : sequence of path
    top : str
        Top module.
    folder : path
        Gets ``build.log`` and ``build``.
    simulator : {'verilator', 'icarus'}
    main : path, optional
        C++ source of a program around Verilator's model; default is cocotb's. Files that it includes
        lie beside ``sources[0]``.
    arguments : sequence of str
        What Verilator is told besides :data:`~.simulators.VERILATOR`.
    optimize : str
        What the C++ compiler is told of the model.
    waves : Waves
        Build with support for them.
    progress : callable, optional
        Called with a line before a build; not where the cache has it.

    Returns
    -------
    path
        What runs: Verilator's program, or Icarus's ``sim.vvp``.

    Raises
    ------
    MissingToolError
        The simulator, or what it needs, is not there.
    CheckError
        The build failed.
    """
    tools = simulator_tools(simulator, optimize)
    build, log = folder / "build", folder / "build.log"
    build.mkdir(parents=True, exist_ok=True)
    name = "sim.vvp" if simulator == "icarus" else top

    def compile_it() -> list[str]:
        if progress is not None:
            progress(f"building {top} for {simulator}")
        with environment(**tools), log.open("wb") as out:
            try:
                if simulator == "icarus":
                    _icarus(sources, top, build, bool(waves.ending))
                else:
                    _verilate(sources, top, build, main, arguments, waves, out)
            except (SystemExit, OSError, subprocess.CalledProcessError) as error:
                out.flush()
                tail = log.read_text(errors="replace")[-2000:]
                raise CheckError(f"{simulator} could not build {top}: {error}\n{tail}") from error
        return [name]

    with environment(**tools):
        key = _key(sources, top, simulator, main, arguments, optimize, waves)
    if obtain(key, build, compile_it):
        log.write_text(f"{name} came from the cache\n")
    return build / name


def play_bench(
    folder: Path, top: str, bench: str, run: Path, log: Path, *, simulator: str = "verilator",
    seed: int = 0, waves: Waves = NO_WAVES,
) -> None:  # fmt: skip
    """Run a cocotb bench on what :func:`build_simulator` built with cocotb's main program.

    Parameters
    ----------
    folder : path
        As given to :func:`build_simulator`.
    top : str
    bench : str
        Python module of the bench.
    run : path
        Folder in which the bench runs, and in which the memories lie.
    log : path
    seed : int
        cocotb's seed.
    waves : Waves
        Write the waveform, into the folder in which the bench runs.

    Raises
    ------
    CheckError
        A test of the bench failed, or the simulator stopped.
    """
    from cocotb_tools.runner import get_results

    # cocotb would load pytest's plugins, half of a short run, to reword the asserts of a bench.
    quiet = {"COCOTB_LOG_LEVEL": "WARNING", "COCOTB_REWRITE_ASSERTION_FILES": ""}
    with environment(**simulator_tools(simulator), **quiet):
        try:
            results = _runner(simulator).test(
                test_module=bench, hdl_toplevel=top, hdl_toplevel_lang="verilog", waves=bool(waves.ending),
                build_dir=folder / "build", test_dir=run, seed=seed, log_file=log,
                timescale=("1ns", "1ps"),
            )  # fmt: skip
            failed = get_results(results)[1]
        except (SystemExit, RuntimeError, OSError):
            failed = 1
    if failed:
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        raise CheckError(f"the simulation failed (seed {seed}):\n{tail}")


def _runner(simulator: str) -> Any:
    """Return cocotb's runner; what it starts ends with us, in process groups."""
    from cocotb_tools.runner import get_runner

    runner: Any = get_runner(simulator)

    def run(commands: Sequence[Sequence[str]], cwd: Any, stdout: Any = None) -> None:
        stderr = None if stdout is None else subprocess.STDOUT
        for command in commands:
            done = run_in_group(command, cwd=cwd, env=runner.env, stdout=stdout, stderr=stderr)
            if done.returncode:
                raise RuntimeError(f"{command[0]} failed (exit code {done.returncode})")

    runner._execute_cmds = run
    return runner


def _icarus(sources: Sequence[Path], top: str, build: Path, waves: bool) -> None:
    _runner("icarus").build(
        sources=sources, hdl_toplevel=top, build_dir=build, always=True, waves=waves,
        timescale=("1ns", "1ps"), log_file=build.parent / "icarus.log",
    )  # fmt: skip
    # The waveform belongs where the bench runs; this folder is gone when the cache is asked again.
    made = build / "sim.vvp"
    made.write_text(made.read_text().replace(f"{build}/", ""))


def _verilate(
    sources: Sequence[Path], top: str, build: Path, main: Path | None, arguments: Sequence[str],
    waves: Waves, log: IO[bytes],
) -> None:  # fmt: skip
    """Translate Verilog to C++ and compile it; Verilator's own library comes from the cache."""
    command = [
        "verilator", "--cc", "--exe", "--prefix", "Vtop", "--Mdir", str(build), "--top-module", top,
        "-o", top, "--timescale", "1ns/1ps", *waves.verilator,
    ]  # fmt: skip
    if main is None:
        from cocotb_tools import config

        libraries = config.libs_dir
        main = config.share_dir / "lib" / "verilator" / "verilator.cpp"
        ports = build / "ports.vlt"
        ports.write_text(PORTS.format(top=top))
        command += [
            "--vpi", str(ports),
            "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
        ]  # fmt: skip
    else:
        command += ["-CFLAGS", f"-I{sources[0].parent}"]
    command += [*VERILATOR, *arguments, str(main), *map(str, sources)]

    def run(*words: str) -> None:
        run_in_group(words, stdout=log, stderr=subprocess.STDOUT).check_returncode()

    run(*command)
    make = ("make", "-j", str(os.cpu_count() or 1), "-C", str(build), "-f", "Vtop.mk")
    # Four fifths of a build would be the same objects every time.
    classes = (build / "Vtop_classes.mk").read_text()
    library = [f"{name}.o" for name in re.findall(r"^\s+(verilated\w*) \\$", classes, re.M)]

    def compile_library() -> list[str]:
        run(*make, *library)
        return library

    settings = re.findall(r"^VM_\w+ = \w*$", classes, re.M)
    obtain(digest("library", *_tools("verilator"), *settings, *library), build, compile_library)
    run(*make)


def _key(
    sources: Sequence[Path], top: str, simulator: str, main: Path | None,
    arguments: Sequence[str], optimize: str, waves: Waves,
) -> str:  # fmt: skip
    """Return the digest of all that a simulator depends on."""
    texts = [path.read_bytes() for path in (*sources, *_included(arguments))]
    # The program's digest is in a comment; the text below is the same for other weights.
    texts = [re.sub(rb"(?m)^//.*$", b"", text) for text in texts]
    if main is None:
        from cocotb_tools import config

        bench = f"cocotb {config.libs_dir} {sys.version} {_version('cocotb')} {PORTS}".encode()
    else:
        text = main.read_text()
        beside = [sources[0].parent / name for name in re.findall(r'#include "(.+)"', text)]
        own = [path.read_bytes() for path in beside if path.is_file()]
        bench = digest(text.encode(), *own).encode()
    options = [simulator, top, optimize, waves.ending, *waves.verilator, *VERILATOR, *arguments]
    return digest("simulator 2", *_tools(simulator), *options, bench, *texts)


def _included(arguments: Iterable[str]) -> Iterator[Path]:
    """Yield the files that Verilog may include."""
    for argument in arguments:
        if argument.startswith("-I"):
            yield from sorted(path for path in Path(argument[2:]).glob("*.v*") if path.is_file())


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


@cache
def _tools(simulator: str) -> tuple[str, ...]:
    """Return what tells one installation of the tools from another."""

    def ask(*words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.partition("\n")[0]

    if simulator == "icarus":
        return ("icarus", ask("iverilog", "-V"), platform.machine())
    root = os.environ.get("VERILATOR_ROOT", "")
    return (ask("verilator", "--version"), root, ask("c++", "--version"), platform.machine())
