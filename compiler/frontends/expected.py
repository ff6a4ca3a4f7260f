"""Comparison with outputs that the user recorded: the proof that needs no framework."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, check_lengths
from ..errors import CheckError, InputError
from ..files.recording import read_pair
from ..ir.model import Model
from .noise import FLOAT16, FLOAT32, Difference, bounds, difference

__all__ = ["Expected", "log_softmax"]


def log_softmax(values: FloatArray) -> FloatArray:
    """Logarithm of the softmax over the last axis."""
    values = values - values.max(axis=-1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Expected:
    """Input of a model, and what the model itself gave for it.

    Parameters
    ----------
    name : str
        For messages.
    x : ndarray, shape (N, T, I)
    y : ndarray, shape (N, T, O), or (N, O) of the last step
    lengths : ndarray of int, shape (N,), optional
        True lengths of padded sequences.
    """

    name: str
    x: FloatArray
    y: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, given: str | os.PathLike[str] | Mapping[str, Any] | tuple[Any, Any]) -> Expected:
        """Take a ``.npz`` with x, y and optionally len, a mapping of these, or a pair (x, y).

        Raises
        ------
        InputError
            A file that is damaged, a key that is missing, or shapes that do not belong together.
        """
        if isinstance(given, (str, os.PathLike)):
            name, arrays = Path(given).name, read_pair(Path(given))
        else:
            name = "expect"
            pairs = (
                dict(given) if isinstance(given, Mapping) else dict(zip("xy", given, strict=True))
            )
            arrays = {key: np.asarray(value) for key, value in pairs.items()}
        if not {"x", "y"} <= set(arrays):
            raise InputError(
                f"{name}: x and y are needed, there is {', '.join(arrays) or 'nothing'}; record what "
                "the model gives: np.savez('y.npz', x=x, y=model(x))"
            )
        x, y = np.asarray(arrays["x"], dtype=np.float64), arrays["y"]
        if x.ndim == 2 and y.ndim in (1, 2):
            x, y = x[None], y[None]
        last = y.ndim == 2
        if (
            x.ndim != 3
            or y.dtype.kind != "f"
            or y.shape[: 1 if last else 2] != x.shape[: y.ndim - 1]
        ):
            raise InputError(
                f"{name}: x has shape {x.shape} and y ({y.dtype}) {y.shape}; expected (sequences, "
                "steps, features) and, in floating point, (sequences, steps, outputs), or "
                "(sequences, outputs) of the last step"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError(f"{name} holds NaN or infinite values; record it again")
        return cls(name, x, y, check_lengths(arrays.get("len"), *x.shape[:2]))

    def compare(self, model: Model) -> tuple[Difference, str]:
        """Compare a model's outputs; return the least difference, and of which form.

        Raises
        ------
        InputError
            The recorded features or outputs are not those of the model.
        """
        want, forms = self._forms(model)
        precision = FLOAT16 if self.y.dtype.itemsize == 2 else FLOAT32
        limit = bounds(model, self.x, precision, lengths=self.lengths)[""]
        if self.y.ndim == 2:
            last = self.x.shape[1] if self.lengths is None else int(self.lengths.max())
            limit = limit[[last - 1]]
        found = {form: difference(values, want, limit) for form, values in forms.items()}
        fits = [(d, form) for form, d in found.items() if d.fits]
        plain = next(iter(found))
        return min(fits, key=lambda pair: pair[0].largest) if fits else (found[plain], plain)

    def distance(self, model: Model) -> float:
        """Return the largest difference from a model's outputs, of the form that is closest."""
        want, forms = self._forms(model)
        return min(float(np.abs(values - want).max(initial=0.0)) for values in forms.values())

    def _forms(self, model: Model) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Return the recorded outputs, and the model's in each form that may have been recorded."""
        n, steps, features = self.x.shape
        if (features, self.y.shape[-1]) != (model.input_size, model.output_size):
            raise InputError(
                f"{self.name}: {features} features and {self.y.shape[-1]} outputs a step were "
                f"recorded, the model takes {model.input_size} and gives {model.output_size}"
            )
        got, want = model.run(self.x, lengths=self.lengths), self.y.astype(np.float64)
        real = np.full(n, steps) if self.lengths is None else self.lengths
        if want.ndim == 2:
            got, want = got[np.arange(n), real - 1][:, None], want[:, None]
            what = "the last step"
        else:
            inside = np.arange(steps)[None, :, None] < real[:, None, None]
            want, got = np.where(inside, want, 0.0), np.where(inside, got, 0.0)
            what = "every step"
        forms = {what: got}
        if model.output_size > 1:
            logarithm = log_softmax(got)
            forms |= {
                f"{what}, its softmax": np.exp(logarithm),
                f"{what}, its log-softmax": logarithm,
            }
        return want, forms

    def prove(self, model: Model) -> str:
        """Compare, and return a note that states the bound.

        Raises
        ------
        CheckError
            The model is another computation.
        """
        found, form = self.compare(model)
        if not found.fits:
            raise CheckError(
                f"{model.source}: not the computation that was recorded in {self.name}: {form} "
                f"{found}. {_advice(found, self.x.shape[1])}"
            )
        return f"compared with the outputs in {self.name}, {form}: {found}"


def _advice(found: Difference, steps: int) -> str:
    if found.step == 0:
        return "The first step differs: a layer, an activation or the order is another"
    return "The first steps agree: is the state kept, reset or started as when it was recorded?"
