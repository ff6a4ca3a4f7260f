"""From a float model to a :class:`~.network.Network`: ranges, formats, rounding.

Ranges come from calibration data. Every row of every gate gets its own power-of-two
scale, apart for its input and its recurrent part, chosen by the error it leaves in the
row's output. ``compensated`` rounding spreads each column's error over the columns not
yet rounded, as in optimal brain quantization (Frantar & Alistarh 2022, arXiv 2208.11580).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .activation import Activation
from .cells import Gate
from .config import Config
from .errors import InputError
from .fixed import Format, IntArray
from .model import FloatArray, Layer, Linear, Model, Recurrent
from .network import BOUNDED, Network, Numbers, QGate, QLayer

__all__ = [
    "Calibration",
    "calibrate",
    "calibration_data",
    "choose_input_format",
    "quantize_network",
]

SAMPLES = 20_000  # operand vectors kept for the error measure
MARGIN = 1.25  # head room over the calibrated range of values that can leave [-1, 1]


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

LINEAR_GATE = Gate("y", act="candidate", recurrent="")


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


def _integer_bits(limit: float) -> int:
    """Return the fewest bits left of the binary point (sign excluded) that hold ``limit``."""
    return int(np.ceil(np.log2(max(limit, 2.0**-30))))


def choose_input_format(samples: FloatArray, bits: int) -> Format:
    """Choose the input format with the least mean squared error, clipping included."""
    top = _integer_bits(float(np.abs(samples).max(initial=0.0)) or 1.0)
    best = None
    for integer in range(top, top - 4, -1):
        fmt = Format(bits, bits - 1 - integer)
        error = (
            float(np.mean((fmt.value(fmt.quantize(samples)) - samples) ** 2))
            if samples.size
            else 0.0
        )
        if best is None or error < best[0]:
            best = (error, fmt)
    assert best is not None  # noqa: S101
    return best[1]


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


@dataclass(frozen=True)
class _Row:
    """Float side of one gate while it is being quantized."""

    gate: Gate
    act: str
    w: FloatArray
    u: FloatArray
    b: FloatArray
    c: FloatArray


def _rows(layer: Layer, config: Config) -> list[_Row]:
    """Return the gates of a layer with weights, and the activation each one really gets."""
    hard = {"tanh": "hard_tanh", "sigmoid": "hard_sigmoid"} if config.activation == "hard" else {}
    none = np.zeros((layer.size, 0))
    if isinstance(layer, Linear):
        act = hard.get(layer.activation, layer.activation)
        return [_Row(LINEAR_GATE, act, layer.w, none, np.asarray(layer.bias), np.zeros(layer.size))]
    rows = []
    for gate in layer.spec.gates:
        act = {"gate": layer.gate, "candidate": layer.candidate}.get(gate.act, gate.act)
        zero = np.zeros(layer.size)
        rows.append(
            _Row(
                gate,
                hard.get(act, act),
                layer.w.get(gate.name, none),
                layer.u.get(gate.name, none),
                layer.b.get(gate.name, zero),
                layer.c.get(gate.name, zero),
            )
        )
    return rows


def _check_support(layer: Layer, config: Config) -> None:
    """Refuse, by name, what the integer cells do not define."""
    if isinstance(layer, Recurrent):
        if layer.reverse:
            raise InputError(
                f"{layer.name}: a network streams, and this layer starts at the end of a sequence; "
                "gatewright.compiler.quantize splits such a model into passes"
            )
        if layer.gate not in ("sigmoid", "hard_sigmoid"):
            raise InputError(
                f"{layer.name}: gate activation {layer.gate!r} is not supported; use sigmoid"
            )
        if layer.candidate in ("sigmoid", "hard_sigmoid"):
            raise InputError(
                f"{layer.name}: candidate activation {layer.candidate!r} is not supported"
            )
        if layer.spec.has_cell_state and layer.candidate not in ("tanh", "hard_tanh"):
            raise InputError(
                f"{layer.name}: an LSTM's candidate must be tanh, not {layer.candidate!r}"
            )


def quantize_network(
    model: Model,
    config: Config,
    calibration: Calibration,
    recipe: Recipe | None = None,
    input_format: Format | None = None,
) -> Network:
    """Quantize a model.

    Parameters
    ----------
    model : Model
    config : Config
    calibration : Calibration
        From :func:`calibrate`.
    recipe : Recipe, optional
        Default: the first of the configured rounding.
    input_format : Format, optional
        Default: the one with the least error on the calibration data.

    Returns
    -------
    Network
    """
    recipe = recipe or RECIPES[config.rounding][0]
    for layer in model.layers:
        _check_support(layer, config)
    slopes = {
        x.slope
        for x in model.layers
        if "hard_sigmoid" in (getattr(x, "gate", ""), getattr(x, "activation", ""))
    }
    if len(slopes) > 1:
        raise InputError(
            f"layers use hard sigmoids of different slopes {sorted(slopes)}; one is supported"
        )
    tables = Activation(config.activation, config.gate_bits, config.state_bits)
    fracs: dict[str, int] = {}
    for layer in model.layers:
        act = layer.activation if isinstance(layer, Linear) else layer.candidate
        if act in BOUNDED or (isinstance(layer, Recurrent) and layer.spec.has_cell_state):
            integer = 0
        else:
            integer = _integer_bits(MARGIN * calibration.ranges[layer.name])
        fracs[layer.name] = config.state_bits - 1 - integer
    if input_format is None:
        input_format = choose_input_format(calibration.samples, config.activation_bits)
    drop = config.state_bits - config.activation_bits
    operand_frac = {"x": input_format.frac} | {name: f - drop for name, f in fracs.items()}

    drafts: list[
        tuple[
            Layer,
            list[
                tuple[
                    _Row, IntArray, IntArray, IntArray, IntArray, FloatArray, FloatArray, IntArray
                ]
            ],
        ]
    ] = []
    sum_shift = 0
    for layer in model.layers:
        frac_in = max(operand_frac[name] for name in layer.inputs)
        gates = []
        for row in _rows(layer, config):
            if row.gate.source != "acc":
                empty = np.zeros(layer.size, np.int64)
                gates.append((row, empty, empty, empty, empty, row.b, row.c, empty))
                continue
            target = tables.pre_frac if row.act in BOUNDED else fracs[layer.name]
            codes, bias = _quantize_row(
                row, calibration.moments[layer.name], config, recipe,
                target + 20 - frac_in, target + 20 - operand_frac[layer.name],
            )  # fmt: skip
            w, u, w_frac, u_frac = codes
            acc = np.stack([
                np.where(np.abs(w).any(1) if w.size else False, w_frac + frac_in, target),
                np.where(np.abs(u).any(1) if u.size else False, u_frac + operand_frac[layer.name], target),
            ])  # fmt: skip
            sum_shift = max(sum_shift, int((acc - target).max()))
            gates.append((row, w, u, w_frac, u_frac, *bias, acc))
        drafts.append((layer, gates))

    hidden = max((v for k, v in calibration.ranges.items() if k.endswith(".hidden")), default=1.0)
    hidden_bits = config.gate_bits + 2
    hidden_frac = min(tables.pre_frac, hidden_bits - 1 - max(0, _integer_bits(MARGIN * hidden)))
    cell = max((v for k, v in calibration.ranges.items() if k.endswith(".c")), default=1.0)
    cell_bits = config.state_bits + 2
    numbers = Numbers(
        config.weight_bits, config.activation_bits, config.state_bits, config.gate_bits,
        config.activation, slopes.pop() if slopes else 0.2,
        sum_shift=sum_shift,
        hidden_shift=max(0, sum_shift + tables.pre_frac - hidden_frac),
        hidden_bits=hidden_bits,
        cell_bits=cell_bits,
        cell_frac=cell_bits - 1 - max(0, _integer_bits(MARGIN * cell)),
    )  # fmt: skip

    layers = []
    for layer, gates in drafts:
        made = []
        for row, w, u, w_frac, u_frac, b, c, acc in gates:
            target = tables.pre_frac if row.act in BOUNDED else fracs[layer.name]
            one = 2.0 ** (target + sum_shift)
            if row.gate.source != "acc":
                empty = np.zeros(layer.size, np.int64)
                made.append(QGate(row.gate, row.act, None, None, *([empty] * 6)))
                continue
            inside = bool(row.gate.reset)
            made.append(
                QGate(
                    row.gate,
                    row.act,
                    w if row.gate.input else None,
                    u if row.gate.recurrent else None,
                    w_frac,
                    u_frac,
                    target + sum_shift - acc[0],
                    target + sum_shift - acc[1],
                    np.floor((b if inside else b + c) * one + 0.5).astype(np.int64),
                    np.floor((c if inside else 0 * c) * one + 0.5).astype(np.int64),
                )
            )
        cell_name = layer.cell if isinstance(layer, Recurrent) else "linear"
        layers.append(
            QLayer(layer.name, cell_name, layer.size, layer.inputs, tuple(made), fracs[layer.name])
        )
    network = Network(model.input_size, input_format, tuple(layers), model.outputs, numbers)
    acc_bits, sum_bits = network.bounds()
    if sum_bits > 62 or acc_bits > 52:
        raise InputError(
            f"the network needs accumulators of {acc_bits} and sums of {sum_bits} bits, the limits are "
            "52 and 62: weights or biases of very different size share a program; rescale the model"
        )
    return network


def _quantize_row(
    row: _Row, moment: FloatArray, config: Config, recipe: Recipe, w_cap: int, u_cap: int
) -> tuple[tuple[IntArray, IntArray, IntArray, IntArray], tuple[FloatArray, FloatArray]]:
    """Choose scales and round the matrices of one gate; see :func:`_round` for the method."""
    ni, nh = row.w.shape[1], row.u.shape[1]
    bits = config.weight_bits
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
