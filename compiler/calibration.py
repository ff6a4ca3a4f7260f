"""What the quantizer learns from data: ranges of every vector, second moments of operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .model import FloatArray, Model, Recurrent

__all__ = ["Calibration", "calibrate", "calibration_data"]

SAMPLES = 20_000  # operand vectors kept for the error measure


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the quantizer knows of the data.

    Parameters
    ----------
    moments : dict of str -> ndarray (K, K)
        Second moments of ``[1, inputs..., state...]`` of every layer (K = 1 + I + H).
    ranges : dict of str -> float
        Largest magnitude of every vector, of ``layer.c`` and of ``layer.hidden`` (the
        recurrent part inside a reset product).
    samples : ndarray
        Input elements, flat, for the choice of the input format.
    synthetic : bool
        No data was given: the figures come from normally distributed input.
    data : ndarray (N, T, I)
        The input itself.
    valid : ndarray of bool (N, T)
        Steps that are not padding.
    state : dict of str -> (ndarray (N, H), ndarray (N, H))
        State (h, c) of each recurrent layer before the first step.
    """

    moments: dict[str, FloatArray]
    ranges: dict[str, float]
    samples: FloatArray
    synthetic: bool
    data: FloatArray
    valid: npt.NDArray[np.bool_]
    state: dict[str, tuple[FloatArray, FloatArray]]


def calibration_data(model: Model, x: npt.ArrayLike | None) -> FloatArray:
    """Return calibration input as (N, T, I), checked; see :func:`calibrate`."""
    if x is None:
        x = np.random.default_rng(0).normal(size=(16, 64, model.input_size))
    data = np.asarray(x, dtype=np.float64)
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3 or data.shape[2] != model.input_size:
        raise InputError(
            f"calibration data has shape {np.shape(x)}, expected (steps, {model.input_size}) or "
            f"(sequences, steps, {model.input_size})"
        )
    if not np.isfinite(data).all():
        raise InputError("calibration data holds NaN or infinite values; remove them")
    return data


def calibrate(
    model: Model,
    x: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
) -> Calibration:
    """Run the float model on data and record ranges and moments.

    Parameters
    ----------
    model : Model
        One that streams.
    x : array_like, shape (N, T, I) or (T, I), or None
        Calibration input. None: 16 sequences of 64 steps from a normal distribution,
        seed 0, a safe default for standardized features only.
    lengths : array_like of int, shape (N,), optional
        True length of each zero-padded sequence.
    state : mapping of layer -> (h, c), shapes (N, H), optional
        State before the first step of each sequence; missing layers start from zero.
    """
    data = calibration_data(model, x)
    n, steps = data.shape[:2]
    start = model.initial_state(n)
    for name, given in (state or {}).items():
        shapes = [np.shape(a) for a in given]
        if name not in start or shapes != [a.shape for a in start[name]]:
            raise InputError(
                f"state of {name!r} has shapes {shapes}; the recurrent layers take twice "
                f"{', '.join(f'{key} {a.shape}' for key, (a, _) in start.items()) or 'nothing'}"
            )
        start[name] = given
    trace: dict[str, list[FloatArray]] = {}
    model.run(data, dict(start), trace)
    valid = np.ones((steps, n), bool)
    if lengths is not None:
        valid = np.arange(steps)[:, None] < np.asarray(lengths)[None]
    values = {name: np.stack(v)[valid] for name, v in trace.items()}  # (samples, size)
    old = {
        layer.name: np.concatenate([start[layer.name][0][None], np.stack(trace[layer.name])[:-1]])[
            valid
        ]
        for layer in model.layers
        if isinstance(layer, Recurrent)
    }
    pick = np.random.default_rng(0).permutation(int(valid.sum()))[:SAMPLES]
    ranges = {name: float(np.abs(v).max(initial=0.0)) for name, v in values.items()}
    moments = {}
    for layer in model.layers:
        columns = [np.ones((len(pick), 1)), *(values[name][pick] for name in layer.inputs)]
        if isinstance(layer, Recurrent):
            h = old[layer.name]
            columns.append(h[pick])
            for gate in layer.spec.weighted:
                if gate.reset:
                    v = h @ layer.u[gate.name].T + layer.c[gate.name]
                    ranges[f"{layer.name}.hidden"] = float(np.abs(v).max(initial=0.0))
        v = np.concatenate(columns, axis=1)
        moments[layer.name] = v.T @ v / max(1, len(v))
    return Calibration(moments, ranges, values["x"].ravel(), x is None, data, valid.T, start)
