"""Statistics of calibration data: ranges of every vector, second moments of operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, as_values, ceil_div
from ..errors import InputError
from ..ir.model import Model, Recurrent
from ..ir.network import BOUNDED

__all__ = ["Calibration", "Cuts", "calibrate", "calibration_data"]

SAMPLES = 20_000  # operand vectors kept for the error measure
CUT_STEPS = 10_000  # steps on which choices are compared
CUT_LEAST = 256  # steps of a piece: errors of a state add up over time


@dataclass(frozen=True, eq=False)
class Cuts:
    """Pieces of the calibration data on which choices are compared, side by side.

    Parameters
    ----------
    x : ndarray (S, L, I)
    valid : ndarray of bool (S, L)
    state : dict of str -> (ndarray (S, H), ndarray (S, H))
        State (h, c) of the float model before the first step of each piece.
    reference : ndarray (S, L, outputs)
        What the float model puts out.
    starts : list of (sequence, step)
        Where in the data each piece begins.
    """

    x: FloatArray
    valid: npt.NDArray[np.bool_]
    state: dict[str, tuple[FloatArray, FloatArray]]
    reference: FloatArray
    starts: list[tuple[int, int]]

    def of(self, v: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cut the same pieces out of other data (N, T, ...)."""
        length = self.x.shape[1]
        return np.stack([v[k, t : t + length] for k, t in self.starts])


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of one calibration data set.

    Parameters
    ----------
    moments : dict of str -> ndarray (K, K)
        Second moments of ``[1, inputs..., state...]`` of every layer (K = 1 + I + H).
    ranges : dict of str -> float
        Largest magnitude of every vector, of ``layer.c`` and of ``layer.hidden`` (the
        recurrent part inside a reset product). That of a recurrent layer covers its candidate,
        which has the state's format: unbounded, it can be larger than any state.
    values : dict of str -> ndarray
        Up to :data:`SAMPLES` elements of ``x`` and of everything in ``ranges``, flat.
    synthetic : bool
        No data was given: the figures come from normally distributed input.
    data : ndarray (N, T, I)
        The input itself.
    valid : ndarray of bool (N, T)
        Steps that are not padding.
    state : dict of str -> (ndarray (N, H), ndarray (N, H))
        State (h, c) of each recurrent layer before the first step.
    reference : ndarray (N, T, outputs)
        Outputs of the float model.
    cuts : Cuts
        About :data:`CUT_STEPS` steps of it, in pieces.
    """

    moments: dict[str, FloatArray]
    ranges: dict[str, float]
    values: dict[str, FloatArray]
    synthetic: bool
    data: FloatArray
    valid: npt.NDArray[np.bool_]
    state: dict[str, tuple[FloatArray, FloatArray]]
    reference: FloatArray
    cuts: Cuts


def calibration_data(model: Model, x: npt.ArrayLike | None) -> FloatArray:
    """Return calibration input as (N, T, I), checked; see :func:`calibrate`."""
    if x is None:
        x = np.random.default_rng(0).normal(size=(16, 64, model.input_size))
    data = as_values(x, "calibration data")
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
    reference = model.run(data, dict(start), trace)
    valid = np.ones((steps, n), bool)
    if lengths is not None:
        valid = np.arange(steps)[:, None] < np.asarray(lengths)[None]
    recurrent = [layer for layer in model.layers if isinstance(layer, Recurrent)]
    wanted = {*model.sizes, *(f"{x.name}.c" for x in recurrent if x.spec.has_cell_state)}
    vectors = {name: np.stack(v) for name, v in trace.items() if name in wanted}  # (T, N, size)
    candidates = {
        layer.name: np.stack(trace[f"{layer.name}.{gate.name}"])
        for layer in recurrent
        for gate in layer.spec.gates
        if gate.act == "candidate" and layer.candidate not in BOUNDED
    }
    del trace
    old = {x.name: _before(x, start[x.name], vectors) for x in recurrent}
    rng = np.random.default_rng(0)
    pick = rng.permutation(int(valid.sum()))[:SAMPLES]
    real = {name: v[valid] for name, v in vectors.items()}  # (samples, size)
    moments = {}
    for layer in model.layers:
        columns = [np.ones((len(pick), 1)), *(real[name][pick] for name in layer.inputs)]
        if isinstance(layer, Recurrent):
            h = old[layer.name][0][valid]
            columns.append(h[pick])
            for gate in layer.spec.weighted:
                if gate.reset:
                    real[f"{layer.name}.hidden"] = h @ layer.u[gate.name].T + layer.c[gate.name]
        v = np.concatenate(columns, axis=1)
        moments[layer.name] = v.T @ v / max(1, len(v))
    ranges = {name: float(np.abs(v).max(initial=0.0)) for name, v in real.items()}
    values = {
        name: rng.choice(v.ravel(), SAMPLES) if v.size > SAMPLES else v.ravel()
        for name, v in real.items()
    }
    for name, v in candidates.items():
        peak = float(np.abs(v[valid]).max(initial=0.0))
        # Up to the next power of two above the states, their format holds the candidate as well.
        if peak > 2.0 ** np.ceil(np.log2(max(ranges[name], np.finfo(float).tiny))):
            ranges[name] = peak
            values[name] = np.concatenate([values[name], v[valid].ravel()[:SAMPLES]])
    cuts = _cut(data, valid.T, old, reference)
    return Calibration(moments, ranges, values, x is None, data, valid.T, start, reference, cuts)


def _before(
    layer: Recurrent, start: tuple[FloatArray, FloatArray], vectors: dict[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the state (h, c) before each step, shapes (T, N, H)."""
    made = []
    for first, name in zip(start, (layer.name, f"{layer.name}.c"), strict=True):
        after = vectors.get(name)
        if after is None:  # no cell state: zeros
            after = np.broadcast_to(first, vectors[layer.name].shape)
        made.append(np.concatenate([first[None], after[:-1]]))
    return made[0], made[1]


def _cut(
    data: FloatArray, valid: npt.NDArray[np.bool_],
    old: dict[str, tuple[FloatArray, FloatArray]], reference: FloatArray,
) -> Cuts:  # fmt: skip
    """Cut sequences into pieces of equal length and take some from all over the data.

    Long sequences are cut so that their pieces can be evaluated side by side; each starts from
    the state that the float model has there.
    """
    n, steps = data.shape[:2]
    length = min(steps, max(CUT_LEAST, ceil_div(steps, 16)))
    starts = [(k, t) for k in range(n) for t in range(0, steps - length + 1, length) if valid[k, t]]
    wanted = max(1, CUT_STEPS // length)
    every = np.linspace(0, len(starts) - 1, min(wanted, len(starts))).round().astype(int)
    taken = [starts[i] for i in np.unique(every)] or [(0, 0)]

    def cut(v: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.stack([v[k, t : t + length] for k, t in taken])

    state = {
        name: (np.stack([h[t, k] for k, t in taken]), np.stack([c[t, k] for k, t in taken]))
        for name, (h, c) in old.items()
    }
    return Cuts(cut(data), cut(valid), state, cut(reference), taken)
