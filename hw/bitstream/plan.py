"""Plan of a build: a program on a board's lanes, its system, its top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ...compiler.errors import InputError
from ...compiler.program.program import Program
from ...compiler.target.estimate import Estimate, choose_lanes
from ..blocks.collisions import release
from ..boards import Board
from ..engine.weights import uses_spram
from ..link.system import System
from ..vendor.pll import Pll
from .fit import expect
from .top import Top

__all__ = ["Options", "flash_offset", "lay_out", "make_system", "prepare", "top_files"]

TRIES = 3


@dataclass(frozen=True)
class Options:
    """Choices of a build.

    Parameters
    ----------
    lanes : int or None
        Lanes; 0 chooses them for the board, None takes those of the program, chosen for the board
        where the program leaves them to the compiler.
    frequency : float
        Clock in hertz; 0 searches the fastest.
    seed : int
        First seed of place and route.
    tries : int
        Place and routes in the search for the clock.
    loadable : bool
        Let weights be exchanged over the link.
    verify : bool
        Where they can be, the core computes their CRC; a device that is too full goes without.
    baud : int
        Rate of the link.
    """

    lanes: int | None = None
    frequency: float = 0.0
    seed: int = 1
    tries: int = TRIES
    loadable: bool = False
    verify: bool = True
    baud: int = 1_000_000

    def __post_init__(self) -> None:
        if not 0 <= self.frequency <= 1e9:
            raise InputError(f"--frequency is 0 to 1000 MHz, not {self.frequency / 1e6:g}")
        if not 1 <= self.tries <= 100:
            raise InputError(f"--tries is 1 to 100, not {self.tries}")
        if not 1200 <= self.baud <= 100_000_000:
            raise InputError(f"--baud is 1200 to 100000000, not {self.baud}")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"--seed is 0 to 2147483647, not {self.seed}")


def lay_out(program: Program, board: Board, options: Options, most: int = 0) -> Program:
    """Return the program on the lanes that the options and the board want, up to ``most``."""
    lanes = program.config.lanes if options.lanes is None else options.lanes
    if lanes == 0:
        lanes = choose_lanes(program, board.capacity, board.typical_clock, options.loadable, most)
    return program if lanes == program.geometry.lanes else program.with_lanes(lanes)


def flash_offset(program: Program, board: Board, options: Options) -> int | None:
    """Return where weights that are not in the bitstream are read from at power-up, if anywhere."""
    empty = uses_spram(program.images, board.vendor, options.loadable)
    return board.flash_offset if empty else None


def make_system(program: Program, board: Board, options: Options) -> Callable[[Fraction], System]:
    """Return what makes the system of a board for a clock in hertz."""

    def make(clock: Fraction) -> System:
        return System(
            program, clock_hz=float(clock), baud=options.baud, family=board.family,
            loadable=options.loadable, verify=options.verify, flash_offset=flash_offset(program, board, options),
        )  # fmt: skip

    return make


def top_files(board: Board, pll: Pll | None, system: Callable[[Fraction], Any]) -> dict[str, bytes]:
    """Return ``top.il`` and the file of the pins, by name."""
    plan = board.make_platform().prepare(Top(board, pll, system), "top", emit_src=False)
    files = {}
    for name in ("top.il", board.vendor.tools.constraints):
        content = plan.files[name]
        text = content.decode() if isinstance(content, bytes) else content
        files[name] = (release(text) if name.endswith(".il") else text).encode()
    return files


def prepare(
    program: Program, board: Board, options: Options, most: int = 0
) -> tuple[Program, Options, Estimate]:
    """Lay a program out for a board, and refuse it before synthesis where it cannot fit.

    ``most`` is the largest number of lanes that may be chosen; 0 means no limit.

    Raises
    ------
    InputError
        It does not fit; says what is short and the way out.
    """
    if len(program.passes) > 1:
        raise InputError(
            f"a program of {len(program.passes)} passes is a bitstream for each: build its folders "
            "pass0, pass1 ... by themselves"
        )
    program.network.check_hardware()
    program = lay_out(program, board, options, most)
    expected, loadable, short = expect(program, board, options.loadable)
    options = replace(options, loadable=loadable)
    if short:
        raise InputError(f"{program.geometry.lanes} lanes on {board.name}: {short}")
    return program, options, expected
