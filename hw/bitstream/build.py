"""From a program to a board's bitstream: layout, synthesis, clock search, report, cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...compiler.errors import CheckError, InputError
from ...compiler.files.atomic import atomic_folder, check_folder
from ...compiler.files.json_file import read_json
from ...compiler.files.owned import BUILD
from ...compiler.files.temporary import temporary_folder
from ...compiler.jobs import Jobs, Workers, workers
from ...compiler.program.chain import check_program
from ...compiler.program.interface import interface
from ...compiler.program.program import Program
from ...compiler.target.estimate import Estimate, crowding
from ...host.wire.flash_image import flash_image
from ..boards import Board, find_board
from ..export.headers import c_header
from ..vendor.pll import Pll
from .clock_search import Attempt, fastest
from .fit import shortage
from .plan import Options, flash_offset, make_system, prepare
from .sweep import Sweep
from .toolchain import OverfullError, Route, pack, tools
from .tools import Progress

__all__ = ["REPORT", "ShortageError", "build", "read_build"]

REPORT = "build.json"
"""File of a build's folder that holds its report; every build has it."""

WEIGHTS = "weights.bin"
"""Weights of a loadable build: for a board's SPI flash, or for a host to load."""
C_HOST = Path("host/c/gatewright_host.h")
"""The host in C, from the package's folder."""
RETRIES = (
    4  # with less, or with fewer lanes, where they are chosen and the estimate was too hopeful
)


class ShortageError(CheckError):
    """Failure because the result of synthesis or packing does not fit on the board."""


def _sources() -> str:
    """Return a digest of gatewright itself: a build by other code is another build."""
    root = Path(__file__).parents[2]
    sha = hashlib.sha256()
    for folder in ("compiler", "host", "hw"):
        for path in sorted((root / folder).rglob("*.py")):
            sha.update(path.name.encode() + path.read_bytes())
    sha.update((root / C_HOST).read_bytes())
    return sha.hexdigest()


def _key(program: Program, board: Board, options: Options) -> str:
    """Return the digest of all that decides a build."""
    what = [
        program.digest, board.name, options.__dict__, tools(board),
        version("gatewright"), version("amaranth"), version("amaranth-boards"), _sources(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def read_build(folder: str | Path) -> dict[str, Any]:
    """Read the report of a build's folder.

    Raises
    ------
    InputError
        No build is there, or its report is damaged.
    """
    path = Path(folder) / REPORT
    if not path.is_file():
        raise InputError(
            f"{folder} is not a build: it has no {REPORT}; make one with: "
            f"gatewright build PROGRAM --board B -o {folder}"
        )
    try:
        data = read_json(path.read_bytes(), str(path), "build again")
        if not isinstance(data["board"], str) or "key" not in data:
            raise ValueError("fields are missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); build again") from error
    return dict(data)


def _cached(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the report of a folder that holds this very build, whole."""
    try:
        data = read_build(folder)
        if data["key"] != key or not data.get("bitstream"):
            return None
        content = (folder / data["bitstream"]).read_bytes()
    except (InputError, OSError):
        return None
    return data if hashlib.sha256(content).hexdigest() == data.get("sha256") else None


def build(
    program: Program,
    board: Board | str,
    folder: str | Path,
    options: Options | None = None,
    progress: Progress = lambda text: None,
    jobs: Jobs = 1,
) -> dict[str, Any]:
    """Build a bitstream.

    Parameters
    ----------
    program : Program
    board : Board or str
        Itself or its name.
    folder : path
        Appears whole: ``build.json``, the bitstream, ``program`` (laid out as it was built), ``logs``,
        and for hosts in C ``gatewright.h`` and ``gatewright_host.h``; ``weights.bin`` if it is
        loadable. After a failure it holds the report and the logs. A folder that holds this very
        build already is left as it is.
    options : Options, optional
    progress : callable
        Takes lines about what is going on.
    jobs : int or str
        Routes that are made side by side, or the address of a Dask scheduler. Neither the number
        nor the order in which they end changes the bitstream.

    Returns
    -------
    dict
        The report.

    Raises
    ------
    InputError
        The program does not fit, before synthesis.
    CheckError
        It does not fit, timing is missed, or a tool failed. Has the report as ``result``.
    MissingToolError
    """
    check_program(program, one_pass=True)
    board, options = find_board(board), options or Options()
    key = _key(program, board, options)
    old = _cached(Path(folder), key)
    if old is not None:
        progress("this very build is there already")
        return old
    check_folder(folder, BUILD)  # before the work of minutes
    with workers(jobs) as staff:
        return _build(program, board, folder, options, key, staff, progress)


def _build(
    program: Program, board: Board, folder: str | Path, options: Options, key: str, staff: Workers,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Build on fewer lanes again where too many were chosen; write the folder."""
    start = time.monotonic()
    auto = (program.config.lanes if options.lanes is None else options.lanes) == 0
    most = 0
    for number in range(RETRIES + 1):
        laid, chosen, expected = prepare(program, board, options, most)
        with temporary_folder() as work:
            (work / "logs").mkdir()
            found = _facts(laid, board, chosen, expected) | {"key": key}
            error = None
            try:
                _run(laid, board, chosen, work, found, staff, progress)
            except CheckError as failure:
                error = failure
                found["error"] = str(failure)
            short = isinstance(error, ShortageError) and number < RETRIES
            if short and chosen.loadable and options.verify:
                progress(f"{error}; again without the CRC of its memories")
                options = replace(options, verify=False)
                continue
            most = laid.geometry.lanes - 1
            if short and auto and most:
                progress(f"{error}; again with fewer lanes")
                continue
            _keep(folder, laid, board, chosen, work, found)
        break
    seconds = round(time.monotonic() - start, 1)
    if error is not None:
        error.result = {**found, "seconds": seconds}  # type: ignore[attr-defined]
        raise error
    return {**read_build(folder), "seconds": seconds}


def _facts(program: Program, board: Board, options: Options, expected: Estimate) -> dict[str, Any]:
    """Return what is known of a build before it is made."""
    return {
        "board": board.name,
        "device": board.device,
        "program": program.digest,
        "gatewright": version("gatewright"),
        "tools": tools(board),
        "loadable": options.loadable,
        "verifiable": options.loadable and options.verify,
        "baud": options.baud,
        "lanes": program.geometry.lanes,
        "cycles_per_step": program.schedule.cycles()[0],
        "estimate": expected.to_json(),
        "bitstream": None,
    }


def _keep(
    folder: str | Path, program: Program, board: Board, options: Options, work: Path,
    found: dict[str, Any],
) -> None:  # fmt: skip
    """Write the folder of a build, whether it has a bitstream or not."""
    with atomic_folder(folder, BUILD) as out:
        shutil.copytree(work / "logs", out / "logs")
        if found["bitstream"]:
            shutil.copy(work / found["bitstream"], out)
            if options.loadable:
                (out / WEIGHTS).write_bytes(flash_image(program))
            if flash_offset(program, board, options) is not None:
                found["weights_image"] = WEIGHTS
            (out / "gatewright.h").write_text(c_header(interface(program), "gatewright"))
            shutil.copyfile(Path(__file__).parents[2] / C_HOST, out / C_HOST.name)
        program.save(out / "program")
        (out / REPORT).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def _run(
    program: Program, board: Board, options: Options, work: Path, found: dict[str, Any],
    staff: Workers, progress: Progress,
) -> None:  # fmt: skip
    """Synthesize, search the clock, pack; add to the report what is found."""
    plls, aim = _clocks(program, board, options)
    lanes = f"{program.geometry.lanes} lanes on {board.name}"

    def check(cells: dict[str, int]) -> None:
        found["synthesized"] = cells
        message = shortage(program, board, cells, options.loadable)
        if message:
            raise ShortageError(f"{lanes}: {message}")

    system = make_system(program, board, options)
    sweep = Sweep(board, plls, system, work, 2 * options.tries, staff, check, progress)
    try:
        with sweep.shown():
            best = fastest(sorted(plls), aim, sweep.attempt, seed=options.seed, tries=options.tries)
    except OverfullError as error:
        fewer = program.geometry.lanes - 1
        message = shortage(program, board, error.used, options.loadable) or (
            "the device is too full, place and route finds no place for the last cells: try "
            f"{f'--lanes {fewer}' if fewer else 'a larger board'}"
        )
        raise ShortageError(f"{lanes}: {message}") from error
    finally:
        staff.drop()
    _report(program, board, best, found)
    if not best.met:
        raise CheckError(
            f"timing is missed: {found['fmax_mhz']:.2f} MHz reached, {found['target_mhz']:.2f} MHz "
            f"wanted; lower --frequency, try other seeds (--tries), or fewer --lanes"
        )
    progress("bitstream")
    path = pack(board, best.route.files, work, work / "logs" / "pack.log")
    found["bitstream"] = path.name
    found["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


def _clocks(
    program: Program, board: Board, options: Options
) -> tuple[dict[Fraction, Pll | None], float]:
    """Return the clocks that can be made, with their PLL, and the one to aim at first."""
    if options.frequency:
        if options.frequency == board.clock:
            return {Fraction(board.clock): None}, options.frequency
        pll = board.vendor.pll.highest(board.device, board.clock, options.frequency)
        return {pll.output: pll}, options.frequency
    plls: dict[Fraction, Pll | None] = {
        p.output: p
        for p in board.vendor.pll.choices(board.device, board.clock)
        if p.output / options.baud >= 4
    }
    if Fraction(board.clock) < min(plls):
        plls = {Fraction(board.clock): None, **plls}
    full = crowding(program, board.capacity, options.loadable)
    return plls, float(board.typical_clock) * full


def _report(program: Program, board: Board, best: Attempt[Route], found: dict[str, Any]) -> None:
    """Add what place and route found to a report."""
    clock = float(best.clock)
    cycles = found["cycles_per_step"]
    found |= {
        "fmax_mhz": round(best.route.fmax / 1e6, 2),
        "target_mhz": round(clock / 1e6, 6),
        "met": best.met,
        "seed": best.route.seed,
        "resources": best.route.resources,
        "steps_per_second": round(clock / cycles, 1),
        "microseconds_per_step": round(1e6 * cycles / clock, 3),
        "hold_violations": best.route.hold,
    }
