"""The surface that a program and a chain of programs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from ..arrays import FloatArray, IntArray
from ..config import Config
from ..golden import Result, State
from ..numerics.fixed import Format
from .program import Program
from .states import StateLike

__all__ = ["Runnable"]


class Runnable(Protocol):
    """A quantized model: a :class:`~.program.Program`, or a :class:`~.chain.Chain` of them.

    Functions that need no more than this take either. A single core (gateware, a build, a board)
    needs a :class:`~.program.Program`.
    """

    config: Config
    exponents: tuple[int, ...]
    quality: dict[str, Any]

    @property
    def passes(self) -> tuple[Program, ...]:
        """Programs that sequences run through, in order."""

    @property
    def input_size(self) -> int:
        """Number of features of x."""

    @property
    def input_format(self) -> Format:
        """Format of one element of x."""

    @property
    def output_size(self) -> int:
        """Number of outputs of a step."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides the outputs, in hex."""

    @property
    def summary(self) -> dict[str, Any]:
        """Sizes and cycles, as ``quantize --json`` prints them."""

    def encode(self, x: npt.ArrayLike) -> IntArray:
        """Quantize input values, shape (N, T, I) or (T, I), to codes (N, T, I)."""

    def decode(self, codes: IntArray) -> FloatArray:
        """Return the values of output codes, shape (..., outputs)."""

    def evaluate(
        self, codes: IntArray, state: State | None = None, lengths: npt.ArrayLike | None = None
    ) -> Result:
        """Run the golden model on input codes (N, T, I)."""

    def run(
        self,
        x: npt.ArrayLike,
        state: StateLike | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> FloatArray:
        """Evaluate the golden model on values."""

    def save(self, folder: str | Path) -> None:
        """Write the folder that :func:`~.chain.load_program` reads."""
