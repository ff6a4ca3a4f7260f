"""Bias correction: what rounding does to the mean of every gate, over time and feedback included.

Rounding weights shifts pre-activations. The second moments of the calibration data tell one part of
that (:mod:`.rounding`); the other comes from states that have drifted away themselves, and is
measured here: the integer network and the float model run over the same data, and each bias takes
up the shift that explains the difference of its gate best, in the sense of least squares
(cf. Nagel et al. 2019, arXiv 1906.04721, who compare means of one layer after the other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .. import golden
from ..arrays import FloatArray
from ..ir.model import Model
from ..ir.network import BOUNDED, QGate, QLayer, QNetwork
from .calibration import Cuts

__all__ = ["correct_bias", "float_gates"]

LARGEST = 1.0  # change of a pre-activation: beyond that the difference is no matter of slope


def float_gates(model: Model, cuts: Cuts) -> dict[str, FloatArray]:
    """Run the float model on the data; return every vector and gate by name, shape (S, L, size)."""
    trace: dict[str, list[FloatArray]] = {}
    model.run(cuts.x, dict(cuts.state), trace)
    return {name: np.stack(steps, axis=1) for name, steps in trace.items()}


def correct_bias(
    network: QNetwork, gates: Mapping[str, FloatArray], cuts: Cuts, amount: float = 1.0
) -> QNetwork:
    """Return the network with biases that make up for the mean error of each gate on the data.

    Parameters
    ----------
    network : QNetwork
    gates : mapping of str -> ndarray (S, L, H)
        What the float model gives on the data: :func:`float_gates`.
    cuts : Cuts
    amount : float
        Part of the correction that is made: all gates are corrected at once, and where they act
        on each other a part can be better than the whole.
    """
    codes = network.input_format.quantize(cuts.x)
    start = golden.State.encode(network, cuts.state)
    made = golden.run(network, codes, start, trace=True).trace

    def corrected(layer: QLayer, g: QGate) -> QGate:
        if g.gate.source != "acc":
            return g
        n, place = network.numbers, f"{layer.name}.{g.gate.name}"
        name = place if layer.recurrent else layer.name
        goal = gates[name][cuts.valid]
        bounded = g.act in BOUNDED
        found = made[place][cuts.valid] * 2.0 ** -(n.gate_frac if bounded else layer.frac)
        slope = _slope(g.act, goal, n.slope)
        weight = (slope**2).sum(axis=0)
        shift = amount * (slope * (goal - found)).sum(axis=0) / np.where(weight > 0, weight, 1.0)
        frac = (n.tables.pre_frac if bounded else layer.frac) + n.sum_shift
        delta = np.floor(np.clip(shift, -LARGEST, LARGEST) * 2.0**frac + 0.5).astype(np.int64)
        return replace(g, bias_input=g.bias_input + delta)

    layers = tuple(
        replace(layer, gates=tuple(corrected(layer, g) for g in layer.gates))
        for layer in network.layers
    )
    return replace(network, layers=layers)


def _slope(act: str, y: FloatArray, hard: float) -> FloatArray:
    """Return the slope of an activation where its value is ``y``."""
    if act == "tanh":
        return 1 - y * y
    if act == "sigmoid":
        return y * (1 - y)
    if act == "none":
        return np.ones_like(y)
    inside = {
        "relu": y > 0, "hard_tanh": np.abs(y) < 1, "hard_sigmoid": (y > 0) & (y < 1),
    }[act]  # fmt: skip
    return np.asarray(inside * (hard if act == "hard_sigmoid" else 1.0))
