"""Bounds on how far apart two right evaluations of one model may be: measured, not guessed.

A framework computes in its own precision, so its outputs differ from the float64 model even where
the import is right. :func:`bounds` moves every weight and input of the float64 model by one
rounding error of that precision and measures how far each vector moves at each step. A network
with large weights multiplies such errors from step to step; its bounds grow alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..ir.model import Layer, Linear, Model

__all__ = ["FLOAT16", "FLOAT32", "FLOAT64", "Difference", "Precision", "bounds", "difference"]

FACTOR = 64  # roundings of a product, a sum, an activation and a state add up
DRAWS = 2


class Precision(NamedTuple):
    """A number format that a framework computes in.

    Parameters
    ----------
    name : str
    epsilon : float
        Distance from 1 to the next number.
    floor : float
        Least bound, relative to values larger than one: error of its activation functions.
    """

    name: str
    epsilon: float
    floor: float


FLOAT64 = Precision("float64", 2.0**-52, 1e-7)
FLOAT32 = Precision("float32", 2.0**-23, 1e-5)
FLOAT16 = Precision("float16", 2.0**-10, 4e-3)


class Difference(NamedTuple):
    """Place and size of a difference between two evaluations.

    Parameters
    ----------
    largest, bound : float
        Largest difference, and the bound at that step.
    step : int
        First step whose difference is larger than its bound; -1 where none is.
    """

    largest: float
    bound: float
    step: int

    @property
    def fits(self) -> bool:
        """True where every step is within its bound."""
        return self.step < 0

    def __str__(self) -> str:
        text = f"differs by {self.largest:.2g}, the bound is {self.bound:.2g}"
        return text if self.fits else f"{text}; the difference begins at step {self.step}"


def bounds(
    model: Model,
    x: FloatArray,
    precision: Precision,
    state: dict[str, tuple[FloatArray, FloatArray]] | None = None,
    lengths: npt.ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """Measure how far rounding errors move every vector.

    Parameters
    ----------
    model : Model
    x : ndarray, shape (N, T, I)
    precision : Precision
    state, lengths
        As for :meth:`~.model.Model.run`.

    Returns
    -------
    dict of str -> ndarray, shape (T,)
        Bound of each step by vector, and of the outputs under ``''``.
    """
    rng = np.random.default_rng(0)

    def run(model: Model, x: FloatArray) -> dict[str, FloatArray]:
        trace: dict[str, list[FloatArray]] = {}
        model.run(x, None if state is None else dict(state), trace, lengths)
        vectors = {name: np.stack(v) for name, v in trace.items()}  # (T, N, size)
        outputs = np.concatenate([vectors[name] for name in model.outputs], axis=2)
        return vectors | {"": outputs}

    def nudge(values: npt.ArrayLike) -> FloatArray:
        array = np.asarray(values, dtype=np.float64)
        return array * (1 + precision.epsilon * rng.choice((-1.0, 1.0), array.shape))

    def nudged(layer: Layer) -> Layer:
        if isinstance(layer, Linear):
            bias = None if layer.bias is None else nudge(layer.bias)
            return replace(layer, weight=nudge(layer.w), bias=bias)
        w, u, b, c = (
            {gate: nudge(array) for gate, array in part.items()}
            for part in (layer.w, layer.u, layer.b, layer.c)
        )
        return replace(layer, w=w, u=u, b=b, c=c)

    plain = run(model, x)
    moved = {name: np.zeros(len(v)) for name, v in plain.items()}
    for _ in range(DRAWS):
        other = run(replace(model, layers=tuple(map(nudged, model.layers))), nudge(x))
        for name, v in other.items():
            away = np.abs(v - plain[name]).max(axis=(1, 2), initial=0.0)
            moved[name] = np.maximum(moved[name], away)
    return {
        name: np.maximum(
            precision.floor * max(1.0, float(np.abs(plain[name]).max(initial=0.0))), FACTOR * away
        )
        for name, away in moved.items()
    }


def difference(got: FloatArray, want: FloatArray, bound: FloatArray) -> Difference:
    """Compare two evaluations step by step.

    Parameters
    ----------
    got, want : ndarray, shape (N, T, size)
        NaN in ``want`` is never equal.
    bound : ndarray, shape (T,)
    """
    away = np.abs(got - want).max(axis=(0, 2), initial=0.0)
    away = np.where(np.isfinite(away), away, np.inf)
    wrong = np.flatnonzero(away > bound)
    at = int(np.argmax(away / bound))
    return Difference(float(away[at]), float(bound[at]), int(wrong[0]) if len(wrong) else -1)
