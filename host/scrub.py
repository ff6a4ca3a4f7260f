"""Long runs on a board whose memories are verified now and then: an upset costs time, not results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..compiler.arrays import ceil_div
from ..compiler.errors import CheckError, InputError
from ..compiler.golden import State
from .session import Session
from .wire.protocol import Op

__all__ = ["ScrubCounts", "scrubbed"]

REPEATS = 3
"""Upsets in a row after which the memory itself is at fault."""


@dataclass
class ScrubCounts:
    """Counts of a board's passes over its memories.

    Attributes
    ----------
    passes : int
        Times that they were verified.
    upsets : int
        Times that they held something else.
    repeated_steps : int
        Steps that were done again after a new load.
    """

    passes: int = 0
    upsets: int = 0
    repeated_steps: int = 0


class Board(Protocol):
    """A board whose memories can be verified; :class:`.device.Device` is one."""

    name: str
    session: Session
    scrub: int
    scrubs: ScrubCounts

    @property
    def streams(self) -> int:
        """Sequences that take steps in turn."""

    def verify(self) -> bool:
        """Return whether the memories hold the program, and count that."""

    def load(self) -> None:
        """Load the program."""

    def read_state(self) -> State:
        """Read the states after all steps so far."""

    def load_state(self, state: State) -> None:
        """Load a state of each stream."""


def scrubbed(
    device: Board, steps: Sequence[bytes], replies: int,
    progress: Callable[[float], None] | None = None,
) -> bytes:  # fmt: skip
    """Run whole rounds of steps, verify the memories before them and after each ``device.scrub`` of them.

    A piece is of whole rounds, since a session begins with stream 0.

    Parameters
    ----------
    device : Board
    steps : sequence of bytes
        Commands, one a step, with the loading of a state before it.
    replies : int
        Bytes that each makes.
    progress : callable, optional
        Called with the part that is done, 0 to 1.

    Returns
    -------
    bytes
        Replies of which each was made between two passes that found nothing.

    Raises
    ------
    CheckError
        The memories hold something else again and again.
    """
    if not device.verify():
        _mend(device)
    out = []
    size = ceil_div(device.scrub, device.streams) * device.streams
    for start in range(0, len(steps), size):
        piece = steps[start : start + size]
        # A piece that goes on from a state may have to do so twice.
        goes_on = any(step[0] == Op.STEP for step in piece[: device.streams])
        state = device.read_state() if goes_on else None
        for _ in range(REPEATS):
            raw = _attempt(device, b"".join(piece), replies * len(piece))
            if raw is not None:
                break
            _mend(device)
            device.scrubs.repeated_steps += len(piece)
            if state is not None:
                device.load_state(state)
        else:
            raise CheckError(
                f"{device.name}: {REPEATS} times in a row the board's memories changed in steps {start} "
                f"to {start + len(piece) - 1}; supply voltage, clock or memory are at fault"
            )
        out.append(raw)
        if progress is not None:
            progress((start + len(piece)) / len(steps))
    return b"".join(out)


def _attempt(device: Board, data: bytes, replies: int) -> bytes | None:
    """Run a piece; None where the memories did not hold the program afterwards."""
    try:
        raw = device.session.exchange(data, replies)
    except CheckError as error:
        # With another beat table a core may give fewer results than are waited for.
        try:
            device.session.open()
            if device.verify():
                raise error
        except InputError:
            raise error from None
        return None
    return raw if device.verify() else None


def _mend(device: Board) -> None:
    """Load the program again, into a core that begins anew: a wrong beat table leaves it anyhow."""
    device.session.open()
    device.load()
