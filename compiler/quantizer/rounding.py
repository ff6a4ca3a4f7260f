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

from ..arrays import FloatArray, IntArray
from ..ir.cells import Gate

__all__ = ["RECIPES", "FloatGate", "Recipe", "Rounded", "Rounder"]

BLOCK = 32  # columns that are rounded before what they leave over reaches all columns behind them


class Recipe(NamedTuple):
    """Choices of rounding weights.

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
"""What is tried, for each kind of rounding."""


@dataclass(frozen=True)
class FloatGate:
    """Float side of one gate while it is being quantized."""

    gate: Gate
    act: str
    w: FloatArray
    u: FloatArray
    b: FloatArray
    c: FloatArray


def row_fracs(w: FloatArray, bits: int, cap: int) -> IntArray:
    """Return the fraction bits with which each row's weights just fit, at most ``cap``."""
    # Codes go one further down than up: a row of shipped 8-bit integers keeps its -128.
    half = 1 << (bits - 1)
    largest = np.maximum(
        w.max(axis=1, initial=0.0) / (half - 0.5), -w.min(axis=1, initial=0.0) / (half + 0.5)
    )
    safe = np.where(largest > 0, largest, 1.0)
    fit = np.floor(-np.log2(safe)).astype(np.int64)
    return np.minimum(np.where(largest > 0, fit, 0), cap)


@dataclass(frozen=True, eq=False)
class Rounded:
    """A gate with integer weights.

    Parameters
    ----------
    w, u : ndarray of int64 (H, I), (H, H)
        Codes.
    w_frac, u_frac : ndarray of int64 (H,)
        Fraction bits of each row.
    b, c : ndarray (H,)
        Biases, which take up the mean of the rounding error.
    """

    w: IntArray
    u: IntArray
    w_frac: IntArray
    u_frac: IntArray
    b: FloatArray
    c: FloatArray


class Rounder:
    """Rounds the gates of one model on one set of data; what was computed once is kept.

    Parameters
    ----------
    moments : dict of str -> ndarray (K, K)
        Second moments of ``[1, inputs..., state...]`` of every layer.
    """

    def __init__(self, moments: dict[str, FloatArray]) -> None:
        self.moments = moments
        self._factors: dict[tuple[str, float, bytes], tuple[IntArray, FloatArray]] = {}
        self._gates: dict[tuple[object, ...], Rounded] = {}

    def gate(
        self, layer: str, row: FloatGate, bits: int, recipe: Recipe, w_cap: int, u_cap: int
    ) -> Rounded:
        """Choose scales of at most ``w_cap`` and ``u_cap`` fraction bits and round one gate."""
        key = (layer, row.gate.name, bits, recipe, w_cap, u_cap)
        if key not in self._gates:
            self._gates[key] = self._gate(layer, row, bits, recipe, w_cap, u_cap)
        return self._gates[key]

    def _gate(
        self, layer: str, row: FloatGate, bits: int, recipe: Recipe, w_cap: int, u_cap: int
    ) -> Rounded:
        ni, nh = row.w.shape[1], row.u.shape[1]
        size = len(self.moments[layer])
        # The state's columns come last; a cell's product r*h is measured by h itself.
        x, s = np.arange(1, 1 + ni), np.arange(size - nh, size)
        w_part, u_part = (row.w, x, w_cap), (row.u, s, u_cap)
        if row.gate.reset:
            w, (w_frac,), b = self._solve(layer, [w_part], row.b, bits, recipe)
            u, (u_frac,), c = self._solve(layer, [u_part], row.c, bits, recipe)
        else:
            both, (w_frac, u_frac), b = self._solve(
                layer, [w_part, u_part], row.b + row.c, bits, recipe
            )
            w, u, c = both[:, :ni], both[:, ni:], 0 * row.c
        return Rounded(w, u, w_frac, u_frac, b, c)

    def _solve(
        self, layer: str, parts: list[tuple[FloatArray, IntArray, int]], bias: FloatArray,
        bits: int, recipe: Recipe,
    ) -> tuple[IntArray, list[IntArray], FloatArray]:  # fmt: skip
        """Round with scales that just fit and with finer, clipping ones; keep the best of each row.

        ``parts`` are weights, their columns in the moments, and the most fraction bits. Returns
        codes, the fraction bits of each part, and the bias.
        """
        index = np.concatenate([[0], *(at for _, at, _ in parts)])
        moment = self.moments[layer][np.ix_(index, index)]
        w = np.concatenate([bias[:, None], *(m for m, _, _ in parts)], axis=1)
        choices = list(itertools.product((0, 1) if recipe.clip else (0,), repeat=len(parts)))
        fits = [row_fracs(m, bits, cap) for m, _, cap in parts]
        fracs = [
            [
                np.minimum(fit + k, cap)
                for fit, (_, _, cap), k in zip(fits, parts, choice, strict=True)
            ]
            for choice in choices
        ]
        scales = np.ones((len(choices), *w.shape))
        for scale, each in zip(scales, fracs, strict=True):
            first = 1
            for f, (m, _, _) in zip(each, parts, strict=True):
                scale[:, first : first + m.shape[1]] = 2.0 ** f[:, None].astype(float)
                first += m.shape[1]
        scales = scales.reshape(-1, w.shape[1])
        many = np.tile(w, (len(choices), 1))
        codes, biases = self._round(layer, index, many, scales, bits, recipe.damping)
        off = np.divide(codes, scales, out=scales)
        off[:, 0] = biases
        off -= many
        errors = off @ moment
        errors *= off
        errors = errors.sum(axis=1).reshape(len(choices), len(w))
        best, least = np.zeros(len(w), np.int64), errors[0]
        for k in range(1, len(choices)):
            take = errors[k] < least * (1 - 1e-9)
            best, least = np.where(take, k, best), np.where(take, errors[k], least)
        at = best * len(w) + np.arange(len(w))
        taken = [
            np.stack([each[k] for each in fracs])[best, np.arange(len(w))]
            for k in range(len(parts))
        ]
        return codes[at, 1:].astype(np.int64), taken, biases[at]

    def _round(
        self, layer: str, index: IntArray, w: FloatArray, scale: FloatArray, bits: int,
        damping: float,
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """Round rows of weights (R, K) to codes; column 0 is the bias, which stays float.

        Returns codes (R, K), whole numbers of which column 0 is unused, and the bias (R,), which
        takes up the mean error that is left.
        """
        high = (1 << (bits - 1)) - 1

        def nearest(value: FloatArray) -> FloatArray:
            """Round in place."""
            value += 0.5
            np.floor(value, out=value)
            np.maximum(value, -high - 1, out=value)
            return np.minimum(value, high, out=value)

        if not damping:
            return nearest(w * scale), w[:, 0]
        order, upper = self._factor(layer, index, damping)
        # Transposed, each column of weights lies in one piece of memory.
        work = np.ascontiguousarray(w.T[order])
        scales = np.ascontiguousarray(scale.T[order])
        rounded = np.zeros(work.shape)
        last = len(order) - 1
        spread = np.empty((BLOCK, len(w)))
        for start in range(0, last, BLOCK):
            end = min(start + BLOCK, last)
            left = np.zeros((end - start, len(w)))
            for at in range(start, end):
                code = nearest(np.multiply(work[at], scales[at], out=rounded[at]))
                left[at - start] = (work[at] - code / scales[at]) / upper[at, at]
                behind = spread[: end - at - 1]
                np.multiply(upper[at, at + 1 : end, None], left[at - start], out=behind)
                work[at + 1 : end] -= behind
            work[end:] -= upper[start:end, end:].T @ left
        codes = np.empty(w.shape)
        codes[:, order] = rounded.T
        return codes, work[last]

    def _factor(self, layer: str, index: IntArray, damping: float) -> tuple[IntArray, FloatArray]:
        """Return the order of rounding, and the Cholesky factor of the inverse of the moments."""
        key = (layer, damping, index.tobytes())
        if key not in self._factors:
            moment = self.moments[layer][np.ix_(index, index)]
            k = len(moment)
            damped = moment + np.eye(k) * (damping * float(np.mean(np.diag(moment))) + 1e-12)
            # Largest operands first: what they leave over, the small ones and the bias take up.
            order = np.concatenate([1 + np.argsort(-np.diag(moment)[1:], kind="stable"), [0]])
            inverse = np.linalg.inv(damped[np.ix_(order, order)])
            upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
            self._factors[key] = order, np.asarray(upper, np.float64)
        return self._factors[key]
