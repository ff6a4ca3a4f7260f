"""A program on every board: lanes, clock, time of a step, room."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ...compiler.errors import InputError
from ...compiler.program.chain import check_program
from ...compiler.program.program import Program
from ...compiler.target.estimate import Estimate, crowding
from ..boards import BOARDS, Board, find_board
from .plan import Options, prepare

__all__ = ["BoardProfile", "profile"]


@dataclass(frozen=True)
class BoardProfile:
    """A program on one board, estimated before synthesis.

    Parameters
    ----------
    board : Board
    refusal : str
        Why it does not fit, and what would help; empty if it fits.
    lanes : int
        Lanes that the program is laid out on.
    loadable : bool
        The weights are in memory that is empty after power-up, and are loaded.
    clock : float
        Hertz that ``build`` aims at first: what tops usually reach on the board, less where the
        device is nearly full.
    estimate : Estimate or None
        Exact cycles, nearly exact multipliers and memories, LUTs from a fit to builds.
    """

    board: Board
    refusal: str = ""
    lanes: int = 0
    loadable: bool = False
    clock: float = 0.0
    estimate: Estimate | None = None

    @property
    def microseconds(self) -> float:
        """Time of a step."""
        return 1e6 * self.estimate.cycles_per_step / self.clock if self.estimate else float("inf")

    @property
    def fullness(self) -> dict[str, float]:
        """Share of each resource that the device has, 0 to 1 where it fits."""
        have = self.board.capacity.resources
        need = self.estimate.resources if self.estimate else {}
        return {name: n / have[name] for name, n in need.items() if have[name]}

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name, as ``profile --json`` does."""
        if self.estimate is None:
            return {"fits": self.refusal}
        return {
            "fits": True, "lanes": self.lanes, "loadable": self.loadable,
            "cycles_per_step": self.estimate.cycles_per_step, "estimate": self.estimate.resources,
            "estimated_clock_mhz": round(self.clock / 1e6, 2),
            "microseconds_per_step": round(self.microseconds, 3),
            "steps_per_second": round(1e6 / self.microseconds, 1),
        }  # fmt: skip


def profile(
    program: Program, boards: Iterable[Board | str] | None = None, lanes: int | None = 0,
    progress: Callable[[float, str], None] = lambda done, text: None,
) -> list[BoardProfile]:  # fmt: skip
    """Estimate a program on boards, in the order of the boards.

    Parameters
    ----------
    program : Program
        Of one pass.
    boards : iterable of Board or str, optional
        Default: all.
    lanes : int or None
        0 chooses them for each board, None takes those of the program, as :class:`~.plan.Options`.
    progress : callable
        Gets the share that is done, 0 to 1, and the board that is next.

    Raises
    ------
    InputError
        A program of several passes, each of which is a bitstream of its own.
    """
    check_program(program, one_pass=True)
    known: dict[tuple[str, int], BoardProfile] = {}  # boards of one device and clock share it
    found = []
    wanted = [find_board(board) for board in (BOARDS if boards is None else boards)]
    for number, board in enumerate(wanted):
        progress(number / len(wanted), board.name)
        key = board.device, board.typical_clock
        if key not in known:
            known[key] = _on(program, board, lanes)
        shared = known[key]
        refusal = shared.refusal.replace(f" on {shared.board.name}: ", f" on {board.name}: ")
        found.append(replace(shared, board=board, refusal=refusal))
    return found


def _on(program: Program, board: Board, lanes: int | None) -> BoardProfile:
    try:
        laid, options, expected = prepare(program, board, Options(lanes=lanes))
    except InputError as error:
        return BoardProfile(board, str(error))
    clock = board.typical_clock * crowding(laid, board.capacity, options.loadable)
    return BoardProfile(board, "", laid.geometry.lanes, options.loadable, clock, expected)
