"""Formats of vectors: where each binary point is, chosen by range or by the error it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..arrays import FloatArray
from ..config import Config
from ..ir.model import Linear, Model, Recurrent
from ..ir.network import BOUNDED
from ..numerics.activation import Activation
from ..numerics.fixed import Format
from .calibration import Calibration

__all__ = ["Formats", "Loss", "choose_formats", "choose_input_format", "improve", "unbounded"]

MARGIN = 1.25  # head room over the calibrated range of values that can leave [-1, 1]
PERCENTILE = 99.9
# Least gain in squared error: other data may be larger than these, and would be clipped.
GAIN_INPUT, GAIN = 0.98, 0.9
PEAK = 1.25  # how much the largest error may grow while the mean falls


class Loss(NamedTuple):
    """Error of outputs: mean of the squares, and largest magnitude."""

    mean: float
    peak: float


@dataclass(frozen=True)
class Formats:
    """Binary points of a program.

    Parameters
    ----------
    x : Format
        Of an input element.
    integer : dict of str -> int
        Bits left of the binary point, sign excluded, of every layer's vector.
    hidden, cell : int
        The same, of the recurrent part inside a reset product, and of the LSTM's cell state.
    """

    x: Format
    integer: dict[str, int]
    hidden: int
    cell: int


def _integer_bits(limit: float) -> int:
    """Return the fewest bits left of the binary point (sign excluded) that hold ``limit``."""
    return int(np.ceil(np.log2(max(limit, 2.0**-30))))


def _least_error(samples: FloatArray, top: int, bits: int) -> int:
    """Return the integer bits, up to ``top``, with the least mean squared error, clipping included."""
    errors = []
    for integer in range(top, top - 4, -1):
        fmt = Format(bits, bits - 1 - integer)
        error = fmt.value(fmt.quantize(samples)) - samples
        errors.append(float(np.mean(error**2)) if samples.size else 0.0)
    return top - int(np.argmin(errors))


def choose_input_format(samples: FloatArray, bits: int) -> Format:
    """Choose the input format with the least mean squared error, clipping included."""
    top = _integer_bits(float(np.abs(samples).max(initial=0.0)) or 1.0)
    return Format(bits, bits - 1 - _least_error(samples, top, bits))


def unbounded(model: Model) -> list[str]:
    """Return the layers whose vectors can leave [-1, 1]."""
    return [
        layer.name
        for layer in model.layers
        if (layer.activation if isinstance(layer, Linear) else layer.candidate) not in BOUNDED
        and not (isinstance(layer, Recurrent) and layer.spec.has_cell_state)
    ]


def choose_formats(
    model: Model, config: Config, calibration: Calibration, x: Format | None = None
) -> Formats:
    """Choose formats by what values the calibration data give (``config.calibration_method``).

    ``minmax``: the largest values; ``percentile``: those that one in a thousand pass; ``mse``: the
    least squared rounding and clipping error. ``error`` is what :func:`improve` starts from:
    ``mse`` for the input, ``minmax`` for the rest. ``minmax`` leaves 25 % of head room.

    Parameters
    ----------
    x : Format, optional
        Input format, where it is not to be chosen.
    """
    method = config.calibration_method

    def integer(name: str, bits: int, margin: float = MARGIN) -> int:
        # What is silent on the calibration data says nothing about its range.
        top = _integer_bits(margin * (calibration.ranges[name] or 1.0))
        if method == "percentile":
            return _integer_bits(
                float(np.percentile(np.abs(calibration.values[name]), PERCENTILE)) or 1.0
            )
        return _least_error(calibration.values[name], top, bits) if method == "mse" else top

    def widest(suffix: str, bits: int) -> int:
        names = [name for name in calibration.ranges if name.endswith(suffix)]
        return max(0, *(integer(name, bits) for name in names)) if names else 0

    if x is None and method in ("error", "mse"):
        top = _integer_bits(calibration.ranges["x"] or 1.0)
        bits = config.activation_bits
        x = Format(bits, bits - 1 - _least_error(calibration.values["x"], top, bits))
    elif x is None:
        x = Format(
            config.activation_bits,
            config.activation_bits - 1 - integer("x", config.activation_bits, 1.0),
        )
    free = unbounded(model)
    return Formats(
        x,
        {layer.name: integer(layer.name, config.state_bits) if layer.name in free else 0 for layer in model.layers},
        widest(".hidden", config.gate_bits + 2),
        widest(".c", config.state_bits + 2),
    )  # fmt: skip


def improve(
    start: Formats, model: Model, config: Config, error: Callable[[Formats], Loss], *, x: bool
) -> tuple[Formats, Loss]:
    """Move binary points, one vector after the other, while the error of the outputs falls.

    Parameters
    ----------
    start : Formats
    model : Model
    config : Config
    error : callable
        Error of the outputs over time with the given formats.
    x : bool
        The input format may be moved, too.

    Returns
    -------
    (Formats, Loss)
        And their error.
    """
    best, least = start, error(start)
    for moves, gain in _knobs(model, config, x):
        for move in moves:
            while (moved := move(best)) is not None:
                found = error(moved)
                # A peak that grows while the mean falls is a value that was clipped.
                if not (found.mean < gain * least.mean and found.peak <= PEAK * least.peak):
                    break
                best, least = moved, found
    return best, least


def _knobs(
    model: Model, config: Config, x: bool
) -> Iterator[tuple[list[Callable[[Formats], Formats | None]], float]]:
    """Yield the ways to move the binary point of each vector, and the gain that is asked for."""

    def move_x(by: int) -> Callable[[Formats], Formats | None]:
        return lambda f: replace(f, x=Format(f.x.bits, f.x.frac + by))

    def finer(name: str) -> Callable[[Formats], Formats | None]:
        return lambda f: replace(f, integer={**f.integer, name: f.integer[name] - 1})

    def hidden(f: Formats) -> Formats | None:
        # Finer than a pre-activation it would be rounded again.
        tables = Activation(config.activation, config.gate_bits, config.state_bits)
        fits = f.hidden > 0 and config.gate_bits + 1 - f.hidden < tables.pre_frac
        return replace(f, hidden=f.hidden - 1) if fits else None

    def cell(f: Formats) -> Formats | None:
        return replace(f, cell=f.cell - 1) if f.cell > 0 else None

    if x:
        yield [move_x(1), move_x(-1)], GAIN_INPUT
    yield from (([finer(name)], GAIN) for name in unbounded(model))
    gates = [g for y in model.layers if isinstance(y, Recurrent) for g in y.spec.gates]
    if any(g.reset for g in gates):
        yield [hidden], GAIN
    if any(g.to == "c" for g in gates):
        yield [cell], GAIN
