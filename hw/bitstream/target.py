"""The board that a network is quantized for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...compiler.config import Config
from ...compiler.errors import InputError
from ...compiler.program.program import Program
from ...compiler.program.runnable import Runnable
from ...compiler.target.estimate import choose_lanes
from ..boards import Board, find_board
from .fit import expect
from .plan import Options

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """A board, and the configuration to quantize a network for it.

    Parameters
    ----------
    board : Board
    config : Config
        With one lane if none were asked for: they are chosen for the quantized network.
    lanes : int
        Lanes that the user gave; 0: chosen.
    """

    board: Board
    config: Config
    lanes: int = 0

    @classmethod
    def of(cls, name: str, config: Config, *, clock_given: bool) -> Target:
        """Look a board up; its usual clock counts unless the user gave one."""
        board = find_board(name)
        clock = config.clock if clock_given else float(board.typical_clock)
        return cls(board, replace(config, lanes=config.lanes or 1, clock=clock), config.lanes)

    def lay_out(self, program: Runnable) -> Program:
        """Return the program with the lanes that the board has room for, or the rate needs.

        Raises
        ------
        InputError
            A program of several passes, or a rate out of reach.
        """
        if not isinstance(program, Program):
            raise InputError(
                f"--board takes programs of one pass, this one has {len(program.passes)}: leave out "
                "--board and give --lanes"
            )
        if self.lanes:
            return program
        return program.with_lanes(choose_lanes(program, self.board.capacity, self.config.clock))

    def estimate(self, program: Program) -> dict[str, Any]:
        """Return the resources that a program takes of the board, as ``quantize --json`` does."""
        expected, loadable, shortage = expect(program, self.board, Options().loadable)
        have = self.board.capacity.resources
        return {
            "name": self.board.name,
            "loadable": loadable,
            "fits": shortage or True,
            "resources": {
                name: {"estimate": expected.resources[name], "available": have[name]}
                for name in have
            },
            "steps_per_second": round(self.config.clock / expected.cycles_per_step, 1),
        }
