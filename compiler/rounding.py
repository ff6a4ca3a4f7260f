"""Weights to integers: a power-of-two scale for each row, and rounding that makes up for itself.

``compensated`` rounding spreads each column's rounding error over the columns not yet
rounded, weighed by the second moments of the operands, as in optimal brain quantization
(Frantar & Alistarh 2022, arXiv 2208.11580).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .cells import Gate
from .fixed import IntArray
from .model import FloatArray

__all__ = ["RECIPES", "FloatGate", "Recipe", "round_gate"]


class Recipe(NamedTuple):
    """How weights are rounded.

    Parameters
    ----------
    damping : float
        Added to the moments' diagonal, relative to its mean; 0 rounds to nearest. Small values
        trust the calibration data more.
    clip : bool
        Consider, row by row, scales that clip the largest weights.
    """

    damping: float
    clip: bool


RECIPES = {
    "compensated": tuple(Recipe(d, c) for d in (1e-4, 1e-3, 1e-2) for c in (False, True)),
    "nearest": (Recipe(0.0, False), Recipe(0.0, True)),
}
"""What :func:`gatewright.compiler.quantize` tries, for each kind of rounding."""


@dataclass(frozen=True)
class FloatGate:
    """Float side of one gate while it is being quantized."""

    gate: Gate
    act: str
    w: FloatArray
    u: FloatArray
    b: FloatArray
    c: FloatArray


def _row_fracs(w: FloatArray, bits: int, cap: int) -> IntArray:
    """Return the fraction bits with which each row's weights just fit, at most ``cap``."""
    # Codes go one further down than up: a row of shipped 8-bit integers keeps its -128.
    half = 1 << (bits - 1)
    largest = np.maximum(
        w.max(axis=1, initial=0.0) / (half - 0.5), -w.min(axis=1, initial=0.0) / (half + 0.5)
    )
    safe = np.where(largest > 0, largest, 1.0)
    fit = np.floor(-np.log2(safe)).astype(np.int64)
    return np.minimum(np.where(largest > 0, fit, 0), cap)


def _round(
    w: FloatArray, fracs: FloatArray, moment: FloatArray, bits: int, damping: float
) -> tuple[IntArray, FloatArray]:
    """Round a row-major matrix to codes.

    Parameters
    ----------
    w : (R, K)
        Weights; column 0 is the bias, which stays float.
    fracs : (R, K)
        Fraction bits of every weight.
    moment : (K, K)
        Second moments of the operands, column 0 the constant one.

    Returns
    -------
    (codes (R, K), bias (R,))
        Column 0 of the codes is unused; the bias takes up the mean error that is left.
    """
    high = (1 << (bits - 1)) - 1
    scale = 2.0**fracs
    k = w.shape[1]
    work = w.copy()
    codes = np.zeros(w.shape, np.int64)
    if not damping:
        codes[:, 1:] = np.clip(np.floor(w[:, 1:] * scale[:, 1:] + 0.5), -high - 1, high)
        return codes, w[:, 0]
    damped = moment + np.eye(k) * (damping * float(np.mean(np.diag(moment))) + 1e-12)
    # Largest operands first: what they leave over, the small ones and the bias take up.
    order = np.concatenate([1 + np.argsort(-np.diag(moment)[1:], kind="stable"), [0]])
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    for at, column in enumerate(order[:-1]):
        code = np.clip(np.floor(work[:, column] * scale[:, column] + 0.5), -high - 1, high)
        codes[:, column] = code
        error = (work[:, column] - code / scale[:, column]) / upper[at, at]
        work[:, order[at + 1 :]] -= np.outer(error, upper[at, at + 1 :])
    return codes, work[:, 0]


def round_gate(
    row: FloatGate, moment: FloatArray, bits: int, recipe: Recipe, w_cap: int, u_cap: int
) -> tuple[tuple[IntArray, IntArray, IntArray, IntArray], tuple[FloatArray, FloatArray]]:
    """Choose scales and round the matrices of one gate; see :func:`_round` for the method."""
    ni, nh = row.w.shape[1], row.u.shape[1]
    x = np.arange(1, 1 + ni)
    # The state's columns come last; a cell's product r*h is measured by h itself.
    s = np.arange(len(moment) - nh, len(moment))
    zero = np.zeros(len(row.b), np.int64)
    w_fit, u_fit = _row_fracs(row.w, bits, w_cap), _row_fracs(row.u, bits, u_cap)

    def solve(parts: list[tuple[FloatArray, IntArray, IntArray, int]], bias: FloatArray) -> _Solved:
        """Round with scales that just fit and with finer, clipping ones; keep the best of each row."""
        index = np.concatenate([[0], *(i for _, _, i, _ in parts)])
        w = np.concatenate([bias[:, None], *(m for m, _, _, _ in parts)], axis=1)
        used = moment[np.ix_(index, index)]
        best: _Solved | None = None
        for extra in itertools.product((0, 1) if recipe.clip else (0,), repeat=len(parts)):
            fracs = [
                np.minimum(fit + k, cap) for (_, fit, _, cap), k in zip(parts, extra, strict=True)
            ]
            each = [
                np.repeat(f[:, None], m.shape[1], 1)
                for f, (m, _, _, _) in zip(fracs, parts, strict=True)
            ]
            f = np.concatenate([zero[:, None], *each], axis=1).astype(np.float64)
            codes, b = _round(w, f, used, bits, recipe.damping)
            difference = np.concatenate([b[:, None], codes[:, 1:] * 2.0 ** -f[:, 1:]], axis=1) - w
            error = np.einsum("ri,ij,rj->r", difference, used, difference)
            new = _Solved(codes[:, 1:], b, fracs, error)
            best = new if best is None else best.better(new)
        assert best is not None  # noqa: S101
        return best

    w_part, u_part = (row.w, w_fit, x, w_cap), (row.u, u_fit, s, u_cap)
    if row.gate.reset:
        w, u = solve([w_part], row.b), solve([u_part], row.c)
        return (w.codes, u.codes, w.fracs[0], u.fracs[0]), (w.bias, u.bias)
    both = solve([w_part, u_part], row.b + row.c)
    w_frac, u_frac = both.fracs
    codes = (both.codes[:, :ni], both.codes[:, ni:], w_frac, u_frac)
    return codes, (both.bias, 0 * row.c)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Codes, bias, fraction bits of each part and error of every row of a gate."""

    codes: IntArray
    bias: FloatArray
    fracs: list[IntArray]
    error: FloatArray

    def better(self, other: _Solved) -> _Solved:
        """Take each row from the one that leaves less error; from ``self`` where they are alike."""
        take = other.error < self.error * (1 - 1e-9)
        return _Solved(
            np.where(take[:, None], other.codes, self.codes),
            np.where(take, other.bias, self.bias),
            [np.where(take, b, a) for a, b in zip(self.fracs, other.fracs, strict=True)],
            np.where(take, other.error, self.error),
        )
