"""Sources of a program's error: signal to noise of every tensor, and roundings switched off.

A rounding is switched off in the program itself, with everything else as it is: the network is
rewritten with finer accumulators, which changes no output, and then gets the float weights of one
gate, or operands that are not rounded. How much the error of the outputs falls is what that rounding
contributes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray, IntArray
from ..ir.model import Linear, Model
from ..ir.network import BOUNDED, QGate, QLayer, QNetwork
from ..numerics.fixed import Format
from ..program.program import Program
from ..quantizer.calibration import calibrate

__all__ = ["contributions", "explain", "finer", "noise_ratios"]

FINER = 8  # fraction bits added while a rounding is switched off
WORTH_SAYING = 0.001  # part of the values whose clipping is named


def _decibel(signal: npt.NDArray[Any], off: npt.NDArray[Any]) -> float | None:
    """Return the power of a signal over that of its error in dB; None: there is none of either."""
    power, noise = float(np.mean(signal**2)), float(np.mean(off**2))
    return 10 * float(np.log10(power / noise)) if power > 0 and noise > 0 else None


def noise_ratios(
    program: Program, model: Model, x: FloatArray, valid: npt.NDArray[np.bool_],
    trace: dict[str, IntArray],
) -> dict[str, float | None]:  # fmt: skip
    """Return the signal-to-noise ratio of every tensor against the float model, in dB.

    Parameters
    ----------
    program : Program
    model : Model
    x : ndarray, shape (N, T, I)
        Input values.
    valid : ndarray of bool, shape (N, T)
    trace : dict
        Of the golden model on the codes of x.
    """
    net, n = program.network, program.network.numbers
    floats: dict[str, list[FloatArray]] = {}
    model.run(x, None, floats)
    if program.exponents:
        x = x * 2.0 ** -np.array(program.exponents)
        model = model.with_input_scale(program.exponents)
    fmt = net.input_format
    made: dict[str, float | None] = {
        "x": _decibel(x[valid], (fmt.value(fmt.quantize(x)) - x)[valid])
    }

    def compare(name: str, codes: IntArray, frac: int) -> None:
        goal = np.stack(floats[name], axis=1)[valid]
        made[name] = _decibel(goal, codes[valid] * 2.0**-frac - goal)

    for layer in net.layers:
        for g in layer.gates:
            place = f"{layer.name}.{g.gate.name}"
            if layer.recurrent:
                compare(place, trace[place], n.gate_frac if g.act in BOUNDED else layer.frac)
            for part, codes, frac, own in _weights(layer, g, model):
                made[f"{place}.{part}"] = _decibel(
                    own, codes * 2.0 ** -frac[:, None].astype(float) - own
                )
        compare(layer.name, trace[layer.name], layer.frac)
        if layer.has_cell_state:
            compare(f"{layer.name}.c", trace[f"{layer.name}.c"], n.cell_frac)
        state = trace[layer.name][valid]
        operand = net.operand(layer.name)
        value = state * 2.0**-layer.frac
        made[f"{layer.name} as operand"] = _decibel(
            value, operand.value(operand.quantize(value)) - value
        )
    return made


def _weights(
    layer: QLayer, g: QGate, model: Model
) -> list[tuple[str, IntArray, IntArray, FloatArray]]:
    """Return part, codes, fraction bits and float weights of each matrix of a gate."""
    own = next(x for x in model.layers if x.name == layer.name)
    if isinstance(own, Linear):
        pairs = [("W", g.w, g.w_frac, own.w)]
    else:
        name = g.gate.name
        pairs = [
            (part, codes, frac, table[name])
            for part, codes, frac, table in (
                ("W", g.w, g.w_frac, own.w), ("U", g.u, g.u_frac, own.u),
            )
            if codes is not None
        ]  # fmt: skip
    return [(part, codes, frac, w) for part, codes, frac, w in pairs if codes is not None]


def finer(network: QNetwork, bits: int = FINER) -> QNetwork:
    """Return the same network with accumulators and sums of finer resolution: the same outputs."""
    layers = tuple(
        replace(
            layer,
            gates=tuple(
                replace(
                    g, shift_input=g.shift_input + bits, shift_recurrent=g.shift_recurrent + bits,
                    bias_input=g.bias_input << bits, bias_recurrent=g.bias_recurrent << bits,
                )
                for g in layer.gates
            ),
        )
        for layer in network.layers
    )  # fmt: skip
    n = network.numbers
    numbers = replace(n, sum_shift=n.sum_shift + bits, hidden_shift=n.hidden_shift + bits)
    return replace(network, layers=layers, numbers=numbers)


def _with_float_weights(network: QNetwork, model: Model, layer: QLayer, g: QGate) -> QNetwork:
    """Return a finer network in which one gate has its float weights and biases, nearly."""
    fine = finer(network)
    frac = fine.numbers.sum_shift + (
        fine.numbers.tables.pre_frac if g.act in BOUNDED else layer.frac
    )
    own = next(x for x in model.layers if x.name == layer.name)
    if isinstance(own, Linear):
        b, c = np.asarray(own.bias), np.zeros(own.size)
    else:
        b, c = own.b[g.gate.name], own.c[g.gate.name]
    if not g.gate.reset:
        b, c = b + c, 0 * c
    codes = {
        part: np.floor(w * 2.0 ** (f[:, None] + FINER).astype(float) + 0.5).astype(np.int64)
        for part, _, f, w in _weights(layer, g, model)
    }

    def changed(gate: QGate) -> QGate:
        if gate.gate.name != g.gate.name:
            return gate
        return replace(
            gate, w=codes.get("W", gate.w), u=codes.get("U", gate.u),
            shift_input=g.shift_input, shift_recurrent=g.shift_recurrent,
            bias_input=np.floor(b * 2.0**frac + 0.5).astype(np.int64),
            bias_recurrent=np.floor(c * 2.0**frac + 0.5).astype(np.int64),
        )  # fmt: skip

    layers = tuple(
        replace(x, gates=tuple(changed(y) for y in x.gates)) if x.name == layer.name else x
        for x in fine.layers
    )
    return replace(fine, layers=layers)


def _with_wide_operands(network: QNetwork) -> tuple[QNetwork, int]:
    """Return a finer network whose operands are not rounded, and how many bits they gain."""
    n = network.numbers
    bits = n.operand_shift
    fine = finer(network, bits)
    layers = tuple(
        replace(
            x,
            gates=tuple(
                replace(g, shift_input=g.shift_input - bits, shift_recurrent=g.shift_recurrent - bits)
                for g in x.gates
            ),
        )
        for x in fine.layers
    )  # fmt: skip
    fmt = network.input_format
    numbers = replace(fine.numbers, activation_bits=n.state_bits)
    wide = Format(fmt.bits + bits, fmt.frac + bits)
    return replace(fine, layers=layers, numbers=numbers, input_format=wide), bits


def contributions(
    program: Program, model: Model, x: FloatArray, lengths: npt.ArrayLike | None
) -> dict[str, Any]:
    """Switch roundings off one at a time.

    Returns
    -------
    dict
        ``squared_error``, the mean of the outputs' on about 10,000 steps, and ``parts``: what is
        rounded, its bits and the ``share`` of the squared error that is gone without it, largest
        first. Shares need not add up to one: errors meet on their way.
    """
    network = program.network
    if network.argmax:
        network = replace(network, argmax=False)
    if program.exponents:
        x = x * 2.0 ** -np.array(program.exponents)
        model = model.with_input_scale(program.exponents)
    cuts = calibrate(model, x, lengths).cuts

    def error(net: QNetwork, codes: IntArray) -> float:
        done = golden.run(net, codes, golden.State.encode(net, cuts.state))
        return float(np.mean((done.outputs * net.output_steps - cuts.reference)[cuts.valid] ** 2))

    codes = network.input_format.quantize(cuts.x)
    total = error(network, codes)
    wide, gained = _with_wide_operands(network)
    parts = []
    both = error(wide, wide.input_format.quantize(cuts.x))
    operands = error(wide, codes << gained)
    n = network.numbers
    parts.append(("rounding of states to operands", n.activation_bits, operands))
    parts.append(("rounding of the input", n.activation_bits, total + both - operands))
    for layer in network.layers:
        for g in layer.gates:
            if g.gate.source == "acc" and _weights(layer, g, model):
                net = _with_float_weights(network, model, layer, g)
                parts.append(
                    (
                        f"rounding of the weights of {layer.name}.{g.gate.name}",
                        g.bits,
                        error(net, codes),
                    )
                )
    rows = [
        {"what": what, "bits": bits, "share": 1 - left / total if total > 0 else 0.0}
        for what, bits, left in parts
    ]
    return {"squared_error": total, "parts": sorted(rows, key=lambda row: -float(row["share"]))}


def explain(saturations: dict[str, list[int]], found: dict[str, Any] | None) -> list[str]:
    """Say in words what limits the accuracy, most important first.

    Parameters
    ----------
    saturations : dict of place -> [clipped, of]
    found : dict, optional
        From :func:`contributions`.
    """
    lines = []
    shares = {place: clipped / of for place, (clipped, of) in saturations.items() if clipped}
    for place, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        if share >= WORTH_SAYING:
            lines.append(f"{_place(place)}, {100 * share:.1f} % of values")
    if found is None:
        return lines
    parts = [part for part in found["parts"] if part["share"] >= 0.05]
    for part in parts[:3]:
        lines.append(
            f"{part['what']} ({part['bits']} bits) causes {100 * part['share']:.0f} % of the squared "
            "error of the outputs"
        )
    if not parts and found["squared_error"] > 0:
        lines.append(
            "no rounding of weights or operands stands out: what is left are states, gates and tables"
        )
    return lines


def _place(place: str) -> str:
    """Say what is clipped."""
    layer, _, part = place.rpartition(".")
    if place == "x" or part == "x":
        return "the input is clipped by its format"
    return {
        "hidden": f"the recurrent part inside the reset product saturates in layer {layer}",
        "c": f"the cell state saturates in layer {layer}",
        "operand": f"the state saturates as an operand of layer {layer}",
        "n": f"the state saturates in layer {layer}",
        "y": f"the output saturates in layer {layer}",
    }.get(part, f"gate {part} saturates in layer {layer}")
