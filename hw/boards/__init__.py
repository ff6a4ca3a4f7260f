"""The boards, a file for each or for a few that differ in their device.

A file names its boards in ``BOARDS``, and is found by that.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ...compiler.errors import InputError, check_type, did_you_mean
from .board import Board

__all__ = ["BOARDS", "Board", "find_board"]


def _boards() -> list[Board]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    boards = [board for module in modules for board in getattr(module, "BOARDS", ())]
    return sorted(boards, key=lambda board: board.rank)


BOARDS = {board.name: board for board in _boards()}
"""Every board by its name, in the order of their ranks."""


def find_board(name: str | Board) -> Board:
    """Return a board by its name; case, ``-`` and ``_`` do not matter. A board is returned as it is.

    Raises
    ------
    InputError
        No such board; lists those that there are.
    """
    if isinstance(name, Board):
        return name
    check_type(name, str, "the board", f"boards are {', '.join(BOARDS)}")
    key = name.lower().replace("_", "-")
    if key not in BOARDS:
        hint = did_you_mean(key, BOARDS)
        raise InputError(
            f"--board {name!r} is not known{hint or ';'} boards are {', '.join(BOARDS)}"
        )
    return BOARDS[key]
