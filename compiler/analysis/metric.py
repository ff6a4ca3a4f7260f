"""Loss of a quantized program, in the unit that the task is measured in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray, as_values, check_lengths
from ..errors import InputError
from ..ir.model import Model
from ..program.program import Program
from ..program.runnable import Runnable
from ..quantizer.calibration import calibrate

__all__ = [
    "METRICS",
    "Metric",
    "Score",
    "answers",
    "check_class_names",
    "check_classes",
    "class_count",
    "correct",
]

METRICS = {
    "accuracy": "points of accuracy lost",
    "nmse": "dB of normalized error lost",
    "rms": "% of error against float",
    "max": "largest error against float",
}
"""Metrics, and what a loss of one means."""


@dataclass(frozen=True)
class Score:
    """Loss of one program.

    Parameters
    ----------
    loss : float
        In the unit of the metric, against the float model.
    error : float
        Mean squared error of the outputs over their mean square, which moves where an accuracy
        does not.
    """

    loss: float
    error: float


def class_count(program: Runnable) -> int:
    """Return how many classes a program tells apart: its outputs, before an argmax of them."""
    last = program.passes[-1].network
    return last.elements if last.argmax else program.output_size


def check_classes(labels: npt.ArrayLike, sequences: int, classes: int) -> npt.NDArray[Any]:
    """Return labels as an array, if they are the class of each sequence: 0 to ``classes`` - 1.

    Raises
    ------
    InputError
        Another number of labels than sequences, a class that no output stands for, or one output.
    """
    wanted = np.asarray(labels)
    if wanted.shape != (sequences,):
        given = f"{len(wanted)} labels" if wanted.ndim == 1 else f"labels of shape {wanted.shape}"
        raise InputError(f"{given} for {sequences} sequences; give one for each")
    if classes < 2:
        raise InputError(
            "an accuracy needs an output for each class, and the model has one output; leave the "
            "labels out, or compare with the float model (metric rms or max)"
        )
    wrong = ~np.isin(wanted, np.arange(classes))
    if wrong.any():
        at = int(wrong.argmax())
        raise InputError(
            f"label {at} is {wanted[at]}; the model has {classes} outputs, so classes are the whole "
            f"numbers from 0 to {classes - 1}"
        )
    return wanted


def correct(
    outputs: npt.NDArray[Any], labels: npt.NDArray[Any], lengths: npt.NDArray[Any] | None
) -> npt.NDArray[np.bool_]:
    """Tell which sequences have their largest output, at the last valid step, where the label is.

    Parameters are those of :func:`answers`, and the class of each sequence.
    """
    return np.asarray(answers(outputs, lengths) == labels)


def check_class_names(names: Sequence[str], classes: int) -> None:
    """Refuse labels of text that do not name every output, since nothing says which they name.

    Raises
    ------
    InputError
    """
    if names and classes > 1 and len(names) != classes:
        shown = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(
            f"the labels are {len(names)} texts ({shown}), the model has {classes} outputs: which text "
            f"is which output cannot be known; give the labels as whole numbers, 0 to {classes - 1}"
        )


def answers(outputs: npt.NDArray[Any], lengths: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    """Return the class that each sequence is taken for: its largest output at the last valid step.

    Parameters
    ----------
    outputs : ndarray, shape (N, T, outputs)
        One output is the answer itself: the program ends in an argmax.
    lengths : ndarray of int, shape (N,), optional
    """
    n, steps = outputs.shape[:2]
    last = np.full(n, steps) if lengths is None else np.asarray(lengths)
    final = outputs[np.arange(n), np.maximum(last, 1) - 1]
    return np.asarray(final[:, 0] if final.shape[1] == 1 else final.argmax(axis=1)).astype(np.int64)


class Metric:
    """Evaluates programs of one model with the golden model on one set of data.

    Parameters
    ----------
    model : Model
    x : array_like, shape (N, T, I) or (T, I)
    lengths : array_like of int, shape (N,), optional
    labels : array_like, optional
        Class of each sequence, integers (N,), or the outputs that are wanted, floats like the
        model's outputs.
    kind : str, optional
        One of :data:`METRICS`. Default: ``accuracy`` with classes, ``nmse`` with wanted outputs,
        ``rms`` with neither.

    Raises
    ------
    InputError
        Labels of another length, a metric that needs other labels, data that say nothing.
    """

    def __init__(
        self, model: Model, x: npt.ArrayLike, lengths: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None, kind: str = "",
    ) -> None:  # fmt: skip
        data = as_values(x, "x")
        self.x = data[None] if data.ndim == 2 else data
        self.lengths = check_lengths(lengths, *self.x.shape[:2])
        self.labels = None if labels is None else np.asarray(labels)
        classes = (
            self.labels is not None and self.labels.dtype.kind in "iu" and self.labels.ndim == 1
        )
        wanted = self.labels is not None and not classes
        self.kind = kind or ("accuracy" if classes else "nmse" if wanted else "rms")
        if self.kind not in METRICS:
            raise InputError(f"the metric is one of {', '.join(METRICS)}, not {kind!r}")
        if self.kind == "accuracy" and not classes:
            raise InputError(
                "the metric accuracy needs the class of each sequence: integers, as key y of the "
                "data or by labels="
            )
        if self.kind == "nmse" and not wanted:
            raise InputError(
                "the metric nmse needs the outputs that are wanted, floats, by labels=; without "
                "them use rms or max, which compare with the float model"
            )
        self.measured = calibrate(model, self.x, self.lengths)
        reference = self.measured.reference
        self._power = float(np.mean(reference[self.measured.valid] ** 2)) or 1.0
        if classes and self.kind == "accuracy":
            assert self.labels is not None  # noqa: S101
            check_classes(self.labels, len(self.x), model.output_size)
            self.float_score = 100 * float(correct(reference, self.labels, self.lengths).mean())
        elif self.kind == "nmse":
            assert self.labels is not None  # noqa: S101
            target = self.labels[None] if self.labels.ndim == 2 else self.labels
            if target.shape != reference.shape:
                raise InputError(
                    f"wanted outputs have shape {self.labels.shape}, the model's {reference.shape}"
                )
            self._target = np.asarray(self.measured.cuts.of(target), dtype=np.float64)
            self.float_score = self._nmse(self.measured.cuts.reference)
        else:
            self.float_score = 0.0

    def describe(self) -> dict[str, Any]:
        """Say what is measured on what, for reports."""
        cuts = self.measured.cuts
        steps = self.measured.valid if self.kind == "accuracy" else cuts.valid
        return {
            "metric": self.kind,
            "unit": METRICS[self.kind],
            "float": self.float_score,
            "sequences": len(steps),
            "steps": int(steps.sum()),
        }

    def __call__(self, program: Program) -> Score:
        """Measure a program that streams; its outputs, also where it emits their argmax."""
        network = program.network
        cuts = self.measured.cuts
        if self.kind == "accuracy":
            codes = program.encode(self.x)
            outputs = golden.run(network, codes).outputs * network.output_steps
            reference, valid = self.measured.reference, self.measured.valid
        else:
            codes = program.encode(cuts.x)
            start = golden.State.encode(network, cuts.state)
            outputs = golden.run(network, codes, start).outputs * network.output_steps
            reference, valid = cuts.reference, cuts.valid
        off = (outputs - reference)[valid]
        error = float(np.mean(off**2)) / self._power
        return Score(self._loss(outputs, off, error), error)

    def _loss(self, outputs: FloatArray, off: FloatArray, error: float) -> float:
        if self.kind == "accuracy":
            assert self.labels is not None  # noqa: S101
            return self.float_score - 100 * float(
                correct(outputs, self.labels, self.lengths).mean()
            )
        if self.kind == "nmse":
            return self._nmse(outputs) - self.float_score
        return 100 * float(np.sqrt(error)) if self.kind == "rms" else float(np.abs(off).max())

    def _nmse(self, outputs: FloatArray) -> float:
        """Return the power of the error over that of the wanted outputs, in dB."""
        valid = self.measured.cuts.valid
        off, target = (outputs - self._target)[valid], self._target[valid]
        return float(10 * np.log10(max((off**2).sum(), 1e-30) / max((target**2).sum(), 1e-30)))
