"""Weights and beat table of a board: loading them, and finding out what they hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..compiler.arrays import IntArray
from ..compiler.errors import CheckError
from ..compiler.program.program import Program
from .session import Session
from .wire.codes import from_bytes, to_bytes
from .wire.identity import CHUNK, contents_crc, digest_id, memories
from .wire.protocol import Op

__all__ = ["BoardMemories"]

READ = {Op.LOAD_BEATS: Op.READ_BEATS, Op.LOAD_WEIGHTS: Op.READ_WEIGHTS}


class BoardMemories:
    """Memories of a board whose weights and beat table can be exchanged.

    Parameters
    ----------
    session : Session
    word_bytes : int
        Bytes of a memory word, see :class:`.identity.Sizes`.
    verifiable : bool
        The board computes the CRC of its memories.
    """

    def __init__(self, session: Session, word_bytes: int, *, verifiable: bool) -> None:
        self.session, self.word_bytes, self.verifiable = session, word_bytes, verifiable
        self.name = session.transport.name

    def verify(self, program: Program) -> bool:
        """Let the board compute the CRC of its memories; return whether it is the program's.

        If it is not, the board takes no steps until it is loaded again.
        """
        crc = contents_crc(program)
        words = to_bytes(np.array([crc & ((1 << CHUNK) - 1), crc >> CHUNK]), self.word_bytes)
        verdict = self.session.exchange(bytes([Op.VERIFY]) + words, self.word_bytes)
        return not any(verdict)

    def load(self, program: Program, progress: Callable[[float], None] | None = None) -> None:
        """Load a program, and make sure that the memories hold it.

        Raises
        ------
        CheckError
            They hold something else.
        """
        contents = memories(program)
        total = sum(len(words) for _, _, words in contents) * (1 if self.verifiable else 2)
        done = 0

        def step(fraction: float) -> None:
            if progress is not None:
                progress((done + fraction * size) / total)

        for load, _, words in contents:
            size = len(words)
            self.session.exchange(bytes([load]) + to_bytes(words, self.word_bytes), 0, step)
            done += size
        if not (self.verifiable and self.verify(program)):
            for load, memory, words in contents:
                size = len(words)
                self._compare(memory, words, READ[load], step)
                done += 0 if self.verifiable else size
            if self.verifiable:
                raise CheckError(
                    f"{self.name}: the CRC of what was loaded is wrong, and every word of it is read back "
                    "right: the board's memory does not keep what it holds, or its clock is too fast"
                )
        self.session.exchange(bytes([Op.LOADED]) + digest_id(program.digest), 0)

    def _compare(
        self, memory: str, words: IntArray, read: Op, progress: Callable[[float], None]
    ) -> None:
        """Read a memory back, and name what differs."""
        size = len(words) * self.word_bytes
        raw = self.session.exchange(bytes([read]), size, progress)
        got = from_bytes(raw, self.word_bytes) & ((1 << CHUNK) - 1)
        wrong = np.flatnonzero(got != words)
        if len(wrong):
            k = int(wrong[0])
            raise CheckError(
                f"{self.name}: word {k} of the board's {memory} was loaded with "
                f"{words[k]:#06x} and read back as {got[k]:#06x}, {len(wrong)} differ; the board's "
                "memory or clock is at fault"
            )
