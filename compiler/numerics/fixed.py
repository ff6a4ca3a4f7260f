"""Fixed-point formats and the two operations that narrow a number.

This file is the only place where rounding and saturation are defined. The
golden model uses the NumPy functions here; the gateware repeats the same two
operations in :mod:`gatewright.hw.blocks.arith`, and a test compares them code by code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..errors import InputError

__all__ = ["Format", "bits_signed", "bits_unsigned", "round_shift", "saturate", "shift"]


@dataclass(frozen=True)
class Format:
    """A fixed-point format: a *code* (integer) stands for ``code * 2**-frac``.

    Parameters
    ----------
    bits : int
        Width of the code, 1 to 64.
    frac : int
        Fraction bits. May be negative, or larger than ``bits``.
    signed : bool
        Two's complement when true.
    """

    bits: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise InputError(f"a format has 1 to 64 bits, not {self.bits!r}")

    @property
    def low(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def step(self) -> float:
        """Value of one code step."""
        return 2.0**-self.frac

    def quantize(self, value: npt.ArrayLike) -> IntArray:
        """Round half up to the nearest code, then saturate.

        Parameters
        ----------
        value : array_like of float
            Finite values, any shape.

        Returns
        -------
        numpy.ndarray of int64
            Codes, same shape.
        """
        scaled = np.asarray(value, dtype=np.float64) * 2.0**self.frac
        # Not floor(scaled + 0.5): that sum is itself rounded, and 0.49999999999999994 would give 1.
        whole = np.floor(scaled)
        rounded = whole + (scaled - whole >= 0.5)
        return np.clip(rounded, self.low, self.high).astype(np.int64)

    def value(self, code: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the real value of each code (float64, exact below 53 bits)."""
        return np.asarray(code, dtype=np.float64) * self.step

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back."""
        return {"bits": self.bits, "frac": self.frac, "signed": self.signed}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Format:
        """Read what :meth:`to_json` wrote."""
        return cls(int(data["bits"]), int(data["frac"]), bool(data["signed"]))

    def __str__(self) -> str:
        return f"{'Q' if self.signed else 'UQ'}{self.bits}.{self.frac}"


def round_shift(code: Any, amount: int) -> Any:
    """Drop ``amount`` fraction bits, rounding half up: ``floor(code / 2**amount + 1/2)``.

    Parameters
    ----------
    code : int or numpy.ndarray of int64
        Code(s) at the finer resolution.
    amount : int
        Bits to drop, zero or more.
    """
    if amount == 0:
        return code
    return (code + (1 << (amount - 1))) >> amount


def shift(code: Any, amount: int) -> Any:
    """Move the binary point: round away ``amount`` bits, or append ``-amount`` zeros."""
    return round_shift(code, amount) if amount >= 0 else code << -amount


def saturate(code: IntArray, bits: int, signed: bool = True) -> tuple[IntArray, int]:
    """Clip codes to ``bits`` bits and count how many were out of range.

    Returns
    -------
    (numpy.ndarray of int64, int)
        Clipped codes, and the number of elements that were clipped.
    """
    low = -(1 << (bits - 1)) if signed else 0
    high = (1 << (bits - signed)) - 1
    # Not np.clip, which looks the limits of the type up each time.
    clipped = np.minimum(np.maximum(code, low), high)
    return clipped, int(np.count_nonzero(clipped != code))


def bits_signed(low: int, high: int) -> int:
    """Return the fewest two's-complement bits that hold every integer in ``low..high``."""
    return (
        max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length()) + 1
    )


def bits_unsigned(high: int) -> int:
    """Return the fewest bits (zero allowed) that hold ``0..high``."""
    return int(high).bit_length()
