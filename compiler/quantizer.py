"""From a float model to a :class:`~.network.Network`: formats, shifts, biases.

Every vector gets a format, every row of every gate rounded weights and the shifts that
bring its accumulators to the resolution of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .activation import Activation
from .calibration import Calibration
from .cells import Gate
from .config import Config
from .errors import InputError
from .fixed import Format, IntArray
from .model import FloatArray, Layer, Linear, Model, Recurrent
from .network import BOUNDED, Network, Numbers, QGate, QLayer
from .rounding import RECIPES, FloatGate, Recipe, round_gate

__all__ = ["LINEAR_GATE", "Like", "check_widths", "choose_input_format", "quantize_network"]

MOST_SHIFT = 20  # bits between the finest weights' accumulator and its pre-activation
MARGIN = 1.25  # head room over the calibrated range of values that can leave [-1, 1]


LINEAR_GATE = Gate("y", act="candidate", recurrent="")


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


def _rows(layer: Layer, config: Config) -> list[FloatGate]:
    """Return the gates of a layer with weights, and the activation each one really gets."""
    hard = {"tanh": "hard_tanh", "sigmoid": "hard_sigmoid"} if config.activation == "hard" else {}
    none = np.zeros((layer.size, 0))
    if isinstance(layer, Linear):
        act = hard.get(layer.activation, layer.activation)
        return [
            FloatGate(LINEAR_GATE, act, layer.w, none, np.asarray(layer.bias), np.zeros(layer.size))
        ]
    rows = []
    for gate in layer.spec.gates:
        act = {"gate": layer.gate, "candidate": layer.candidate}.get(gate.act, gate.act)
        zero = np.zeros(layer.size)
        rows.append(
            FloatGate(
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


def check_widths(model: Model, config: Config) -> None:
    """Refuse widths of layers or gates that the model does not have."""
    known = {
        layer.name: ["y"] if isinstance(layer, Linear) else [g.name for g in layer.spec.weighted]
        for layer in model.layers
    }
    for name in config.weight_widths:
        if name not in known and name not in (
            f"{n}.{g}" for n, gates in known.items() for g in gates
        ):
            have = ", ".join(f"{n} (gates {' '.join(gates)})" for n, gates in known.items())
            raise InputError(
                f"a weight width is given for {name!r}, which the model does not have; it has {have}"
            )


@dataclass(frozen=True, eq=False)
class Like:
    """Formats and shifts to take over, so that another model fits in a given hardware.

    Parameters
    ----------
    network : Network
        The network the hardware was made for.
    shift : int
        The least shift that a row may have.
    """

    network: Network
    shift: int

    def check(self, model: Model, calibration: Calibration) -> None:
        """Refuse a model of other layers, or one whose values leave the formats."""
        net = self.network
        have, want = (
            [(x.name, x.size, x.inputs) for x in layers] for layers in (net.layers, model.layers)
        )
        if have != want or net.input_size != model.input_size:
            raise InputError(
                f"the model has another structure than the program: layers {want} of "
                f"{model.input_size} inputs against {have} of {net.input_size}; build a new bitstream"
            )
        n = net.numbers
        hidden_frac = n.sum_shift + n.tables.pre_frac - n.hidden_shift
        for name, largest in calibration.ranges.items():
            layer, _, part = name.partition(".")
            if layer == "x" or part not in ("", "hidden", "c"):
                continue
            bits, frac = {
                "": (n.state_bits, net.layer(layer).frac),
                "hidden": (n.hidden_bits, hidden_frac),
                "c": (n.cell_bits, n.cell_frac),
            }[part]
            if largest > 2.0 ** (bits - 1 - frac):
                raise InputError(
                    f"{name} reaches {largest:.3g} on the calibration data, the program's format ends at "
                    f"{2.0 ** (bits - 1 - frac):.3g}; build a new bitstream"
                )


def quantize_network(
    model: Model,
    config: Config,
    calibration: Calibration,
    recipe: Recipe | None = None,
    input_format: Format | None = None,
    like: Like | None = None,
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
    like : Like, optional
        Formats to take over instead of those that the data asks for.

    Returns
    -------
    Network
    """
    recipe = recipe or RECIPES[config.rounding][0]
    check_widths(model, config)
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
            # A layer that is silent on the calibration data says nothing about its range.
            integer = _integer_bits(MARGIN * (calibration.ranges[layer.name] or 1.0))
        fracs[layer.name] = config.state_bits - 1 - integer
    finest, unused = MOST_SHIFT, 0
    if like is not None:
        like.check(model, calibration)
        fracs = {layer.name: layer.frac for layer in like.network.layers}
        input_format = like.network.input_format
        finest = unused = like.network.numbers.sum_shift - like.shift
    if input_format is None:
        input_format = choose_input_format(calibration.samples, config.activation_bits)
    drop = config.state_bits - config.activation_bits
    operand_frac = {"x": input_format.frac} | {name: f - drop for name, f in fracs.items()}

    drafts: list[
        tuple[
            Layer,
            list[
                tuple[
                    FloatGate,
                    IntArray,
                    IntArray,
                    IntArray,
                    IntArray,
                    FloatArray,
                    FloatArray,
                    IntArray,
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
            codes, bias = round_gate(
                row, calibration.moments[layer.name], config.weight_width(layer.name, row.gate.name), recipe,
                target + finest - frac_in, target + finest - operand_frac[layer.name],
            )  # fmt: skip
            w, u, w_frac, u_frac = codes
            acc = np.stack([
                np.where(np.abs(w).any(1) if w.size else False, w_frac + frac_in, target + unused),
                np.where(np.abs(u).any(1) if u.size else False, u_frac + operand_frac[layer.name], target + unused),
            ])  # fmt: skip
            sum_shift = max(sum_shift, int((acc - target).max()))
            gates.append((row, w, u, w_frac, u_frac, *bias, acc))
        drafts.append((layer, gates))

    hidden = max((v for k, v in calibration.ranges.items() if k.endswith(".hidden")), default=1.0)
    hidden_bits = config.gate_bits + 2
    hidden_frac = min(tables.pre_frac, hidden_bits - 1 - max(0, _integer_bits(MARGIN * hidden)))
    cell = max((v for k, v in calibration.ranges.items() if k.endswith(".c")), default=1.0)
    cell_bits = config.state_bits + 2
    if like is not None:
        sum_shift = like.network.numbers.sum_shift
    numbers = Numbers(
        max(config.weight_width(layer.name, row.gate.name)
            for layer, gates in drafts for row, *_ in gates if row.gate.source == "acc"),
        config.activation_bits, config.state_bits, config.gate_bits,
        config.activation, slopes.pop() if slopes else 0.2,
        sum_shift=sum_shift,
        hidden_shift=max(0, sum_shift + tables.pre_frac - hidden_frac),
        hidden_bits=hidden_bits,
        cell_bits=cell_bits,
        cell_frac=cell_bits - 1 - max(0, _integer_bits(MARGIN * cell)),
        threshold_input=config.thresholds[0],
        threshold=config.thresholds[1],
    )  # fmt: skip

    if like is not None:
        had = like.network.numbers
        numbers = replace(numbers, hidden_shift=had.hidden_shift, cell_frac=had.cell_frac)

    layers = []
    for layer, gates in drafts:
        made = []
        for row, w, u, w_frac, u_frac, b, c, acc in gates:
            target = tables.pre_frac if row.act in BOUNDED else fracs[layer.name]
            one = 2.0 ** (target + sum_shift)
            if row.gate.source != "acc":
                empty = np.zeros(layer.size, np.int64)
                made.append(
                    QGate(
                        row.gate, row.act, None, None, empty, empty, empty, empty, empty, empty,
                        bits=0,
                    )
                )  # fmt: skip
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
                    bits=config.weight_width(layer.name, row.gate.name),
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
