"""Sigmoid and tanh as integer functions: one table, shared by golden model and gateware.

One table of tanh on the half range ``[0, 8)`` serves both functions: tanh is odd and
``sigmoid(x) = (1 + tanh(x/2)) / 2``. :class:`Activation` builds the table and is its
exact integer evaluation; :mod:`gatewright.hw.engine.activation` stores the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import IntArray
from ..errors import InputError
from .fixed import round_shift, saturate, shift

__all__ = ["ACTIVATIONS", "Activation", "float_activation"]

ACTIVATIONS = ("none", "relu", "tanh", "sigmoid", "hard_tanh", "hard_sigmoid")
"""Activation names, in the order of their operation codes in the gateware."""

GUARD = 2  # fraction bits a table entry has beyond the gate format
SLOPE_FRAC = 15  # fraction bits of the hard sigmoid's slope
KINDS = {"interpolated": 8, "direct": 10, "hard": 0}


def float_activation(name: str, x: np.ndarray, slope: float = 0.2) -> np.ndarray:
    """Evaluate an activation in floating point (the reference of the integer one)."""
    if name == "none":
        return x
    if name == "relu":
        return np.maximum(x, 0.0)
    if name == "tanh":
        return np.tanh(x)
    if name == "sigmoid":
        return 0.5 + 0.5 * np.tanh(0.5 * x)
    if name == "hard_tanh":
        return np.clip(x, -1.0, 1.0)
    if name == "hard_sigmoid":
        return np.clip(slope * x + 0.5, 0.0, 1.0)
    raise InputError(f"activation {name!r} is not supported; use one of {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True)
class Activation:
    """Integer activations of one program.

    Parameters
    ----------
    kind : {'interpolated', 'direct', 'hard'}
        ``interpolated``: 256 entries and a linear term. ``direct``: 1024 entries, nearest.
        ``hard``: no table (piecewise linear activations only).
    gate_bits : int
        Width of a result; its format is ``Q(gate_bits, gate_bits - 1)``, of a sigmoid unsigned:
        it reaches exactly 1, or a gate that is shut would leak a step of the format at each time.
    result_bits : int
        Width of a result that is not bounded by one (``none``, ``relu``).
    slope : float
        Slope of the hard sigmoid (0.2 or 1/6 in the frameworks).

    Attributes
    ----------
    pre_frac, pre_bits : int
        Format of the pre-activation for ``tanh`` and ``sigmoid``: range -16 to 16. For ``none``
        and ``relu`` the fraction of the pre-activation is that of the result.
    """

    kind: str = "interpolated"
    gate_bits: int = 16
    result_bits: int = 16
    slope: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"activation kind is one of {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def gate_frac(self) -> int:
        """Fraction bits of a gate."""
        return self.gate_bits - 1

    @property
    def pre_frac(self) -> int:
        """Fraction bits of a pre-activation."""
        return min(self.gate_frac + 2, 15)

    @property
    def pre_bits(self) -> int:
        """Width of a pre-activation."""
        return max(self.pre_frac + 5, self.result_bits + 1)

    @property
    def argument_bits(self) -> int:
        """Width of the table argument: unsigned, 3 integer and ``pre_frac + 1`` fraction bits."""
        return self.pre_frac + 4

    @property
    def index_bits(self) -> int:
        """Address bits of the table."""
        return min(KINDS[self.kind], self.argument_bits)

    @property
    def fraction_bits(self) -> int:
        """Argument bits below the table address."""
        return self.argument_bits - self.index_bits

    @property
    def slope_code(self) -> int:
        """Hard sigmoid's slope with ``SLOPE_FRAC`` fraction bits."""
        return round(self.slope * (1 << SLOPE_FRAC))

    @cached_property
    def table(self) -> tuple[IntArray, IntArray]:
        """Table entries and the difference to the next one, with ``gate_frac + GUARD`` fraction bits.

        The nodes of the interpolated table are raised by half of the chord's largest
        error (``h**2/16 * |tanh''|``), which halves the error of the linear interpolation.
        """
        entries, step = 1 << self.index_bits, 8.0 / (1 << self.index_bits)
        x = np.arange(entries + 1) * step
        y = np.tanh(x)
        if self.kind == "interpolated":
            y = y + step**2 / 16 * 2 * y * (1 - y * y)
        one = 1 << (self.gate_frac + GUARD)
        codes = np.minimum(np.floor(y * one + 0.5), one - 1).astype(np.int64)
        return codes[:-1], np.diff(codes)

    def _magnitude(self, argument: IntArray) -> IntArray:
        """Tanh of an unsigned table argument, with the guard bits."""
        base, slope = self.table
        if self.kind == "direct":
            index = round_shift(argument, self.fraction_bits)
            return base[np.minimum(index, len(base) - 1)]
        index = argument >> self.fraction_bits
        rest = argument & ((1 << self.fraction_bits) - 1)
        return base[index] + round_shift(slope[index] * rest, self.fraction_bits)

    def __call__(self, name: str, pre: IntArray) -> tuple[IntArray, int]:
        """Apply activation ``name`` to pre-activation codes.

        Parameters
        ----------
        name : str
            One of ``ACTIVATIONS``.
        pre : numpy.ndarray of int64
            Pre-activation codes of ``pre_bits`` bits.

        Returns
        -------
        (numpy.ndarray of int64, int)
            Result codes, and how many had to be clipped where the function itself is not bounded.
        """
        top = (1 << self.gate_frac) - 1
        if name == "none":
            return saturate(pre, self.result_bits)
        if name == "relu":
            return saturate(np.maximum(pre, 0), self.result_bits)
        if name == "hard_tanh":
            return np.clip(shift(pre, self.pre_frac - self.gate_frac), -top - 1, top), 0
        if name == "hard_sigmoid":
            scaled = shift(pre * self.slope_code, self.pre_frac + SLOPE_FRAC - self.gate_frac)
            return np.clip(scaled + (1 << self.gate_frac >> 1), 0, top + 1), 0
        limit = (1 << self.argument_bits) - 1
        argument = np.minimum(np.abs(pre) << (name == "tanh"), limit)
        t = self._magnitude(argument)
        if name == "tanh":
            magnitude = np.minimum(round_shift(t, GUARD), top)
            return np.where(pre < 0, -magnitude, magnitude), 0
        one = 1 << (self.gate_frac + GUARD)
        return round_shift(np.where(pre < 0, one - t, one + t), GUARD + 1), 0
