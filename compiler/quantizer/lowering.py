"""From a float model to a :class:`~.network.QNetwork`: formats, shifts, biases.

Every vector gets a format, every row of every gate rounded weights and the shifts that
bring its accumulators to the resolution of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import IntArray
from ..config import Config
from ..errors import InputError, did_you_mean
from ..ir.cells import LINEAR_GATE
from ..ir.model import Layer, Linear, Model, Recurrent
from ..ir.network import BOUNDED, SIGMOIDS, Datapath, QGate, QLayer, QNetwork
from ..numerics.activation import Activation
from .calibration import Calibration
from .formats import Formats, choose_formats
from .rounding import RECIPES, FloatGate, Recipe, Rounded, Rounder

__all__ = ["FrozenFormats", "check_support", "check_widths", "quantize_network"]

ROLES = ("gate", "candidate", "output", "activation")  # of layers, that have an activation

MOST_SHIFT = 20  # bits between the finest weights' accumulator and its pre-activation


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
        act = layer.act(gate)
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


def check_support(model: Model) -> None:
    """Refuse, by name, what the integer cells do not define.

    Raises
    ------
    InputError
        An activation that a role cannot have, or hard sigmoids of two slopes.
    """
    for layer in model.layers:
        if isinstance(layer, Recurrent):
            _check_activations(layer)
    _slope(model)


def _check_activations(layer: Recurrent) -> None:
    """Refuse an activation whose values have no place in the memory they go to."""
    title, why = layer.spec.title, "gates are numbers from 0 to 1"
    taken: dict[str, tuple[str, ...]] = {"gate": SIGMOIDS}
    if layer.spec.has_cell_state:
        taken |= {"candidate": BOUNDED, "output": BOUNDED}
    for role, acts in taken.items():
        act = getattr(layer, role)
        if act not in acts:
            why = why if role == "gate" else "it multiplies a gate, in the gate's format"
            raise InputError(
                f"{layer.name}: {role} activation {act!r} is not supported in the {title}: {why}; "
                f"use one of {', '.join(acts)}"
            )


def check_widths(model: Model, config: Config) -> None:
    """Refuse widths of layers or gates that the model does not have."""
    known = {
        layer.name: ["y"] if isinstance(layer, Linear) else [g.name for g in layer.spec.weighted]
        for layer in model.layers
    }
    for name in config.weight_widths:
        every = [*known, *(f"{n}.{g}" for n, gates in known.items() for g in gates)]
        if name not in every:
            have = ", ".join(f"{n} (gates {' '.join(gates)})" for n, gates in known.items())
            raise InputError(
                f"a weight width is given for {name!r}, which the model does not have"
                f"{did_you_mean(name, every) or ';'} it has {have}"
            )


@dataclass(frozen=True, eq=False)
class FrozenFormats:
    """Formats and shifts to take over, so that another model fits in a given hardware.

    Parameters
    ----------
    network : QNetwork
        The network the hardware was made for.
    shift : int
        The least shift that a row may have.
    """

    network: QNetwork
    shift: int

    def formats(self) -> Formats:
        """Return the formats of the program's vectors."""
        net, n = self.network, self.network.numbers
        hidden_frac = n.sum_shift + n.tables.pre_frac - n.hidden_shift
        return Formats(
            net.input_format,
            {layer.name: n.state_bits - 1 - layer.frac for layer in net.layers},
            n.hidden_bits - 1 - hidden_frac,
            n.cell_bits - 1 - n.cell_frac,
        )

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
    formats: Formats | None = None,
    rounder: Rounder | None = None,
    like: FrozenFormats | None = None,
) -> QNetwork:
    """Quantize a model.

    Parameters
    ----------
    model : Model
    config : Config
    calibration : Calibration
        From :func:`~.calibration.calibrate`.
    recipe : Recipe, optional
        Default: the first of the configured rounding.
    formats : Formats, optional
        Default: :func:`~.formats.choose_formats`.
    rounder : Rounder, optional
        Of the same calibration; keeps what it has computed for the next time.
    like : FrozenFormats, optional
        Formats and shifts to take over instead of those that the data asks for.

    Returns
    -------
    QNetwork
    """
    recipe = recipe or RECIPES[config.rounding][0]
    rounder = rounder or Rounder(calibration.moments)
    check_widths(model, config)
    check_support(model)
    for layer in model.layers:
        if getattr(layer, "reverse", False):
            raise InputError(
                f"{layer.name}: a network streams, and this layer starts at the end of a sequence; "
                "gatewright.compiler.quantize splits such a model into passes"
            )
    slope = _slope(model)
    finest, unused = MOST_SHIFT, 0
    if like is not None:
        like.check(model, calibration)
        formats = like.formats()
        finest = unused = like.network.numbers.sum_shift - like.shift
    formats = formats or choose_formats(model, config, calibration)
    tables = Activation(config.activation, config.gate_bits, config.state_bits)
    fracs = {name: config.state_bits - 1 - bits for name, bits in formats.integer.items()}
    drop = config.state_bits - config.activation_bits
    operand_frac = {"x": formats.x.frac} | {name: f - drop for name, f in fracs.items()}

    drafts: list[tuple[Layer, list[_Draft]]] = []
    for layer in model.layers:
        frac_in, frac_state = (
            max(operand_frac[name] for name in layer.inputs), operand_frac[layer.name],
        )  # fmt: skip
        gates = []
        for row in _rows(layer, config):
            target = tables.pre_frac if row.act in BOUNDED else fracs[layer.name]
            bits = config.weight_width(layer.name, row.gate.name) if row.gate.source == "acc" else 0
            made = bits and rounder.gate(
                layer.name,
                row,
                bits,
                recipe,
                target + finest - frac_in,
                target + finest - frac_state,
            )
            gates.append(
                _Draft(row, bits, target, target + unused, made or None, frac_in, frac_state)
            )
        drafts.append((layer, gates))
    every = [d for _, gates in drafts for d in gates if d.rounded]
    sum_shift = max(0, *(int((d.acc - d.target).max()) for d in every))
    if like is not None:
        sum_shift = like.network.numbers.sum_shift

    hidden_bits, cell_bits = config.gate_bits + 2, config.state_bits + 2
    hidden_frac = min(tables.pre_frac, hidden_bits - 1 - formats.hidden)
    numbers = Datapath(
        max(d.bits for d in every),
        config.activation_bits, config.state_bits, config.gate_bits, config.activation, slope,
        sum_shift=sum_shift,
        hidden_shift=max(0, sum_shift + tables.pre_frac - hidden_frac),
        hidden_bits=hidden_bits,
        cell_bits=cell_bits,
        cell_frac=cell_bits - 1 - formats.cell,
        threshold_input=config.thresholds[0],
        threshold=config.thresholds[1],
    )  # fmt: skip
    layers = tuple(
        QLayer(
            layer.name, layer.cell if isinstance(layer, Recurrent) else "linear", layer.size,
            layer.inputs, tuple(d.gate(sum_shift, layer.size) for d in gates), fracs[layer.name],
        )
        for layer, gates in drafts
    )  # fmt: skip
    network = QNetwork(model.input_size, formats.x, layers, model.outputs, numbers)
    acc_bits, sum_bits = network.bounds()
    if sum_bits > 62 or acc_bits > 52:
        raise InputError(
            f"the network needs accumulators of {acc_bits} and sums of {sum_bits} bits, the limits are "
            "52 and 62: weights or biases of very different size share a program; rescale the model"
        )
    return network


def _slope(model: Model) -> float:
    """Return the slope of the model's hard sigmoids, of which there may be one."""
    slopes = {
        x.slope for x in model.layers if "hard_sigmoid" in [getattr(x, role, "") for role in ROLES]
    }
    if len(slopes) > 1:
        raise InputError(
            f"layers use hard sigmoids of different slopes {sorted(slopes)}; one is supported: "
            "train with one kind"
        )
    return slopes.pop() if slopes else 0.2


@dataclass(frozen=True, eq=False)
class _Draft:
    """A gate whose weights are rounded (None: it has none), before the program's one shift is known.

    ``target`` is the fraction of its pre-activation, ``unused`` that of the accumulator of a row of
    zeros, ``frac_in`` and ``frac_state`` are those of its operands.
    """

    row: FloatGate
    bits: int
    target: int
    unused: int
    rounded: Rounded | None
    frac_in: int
    frac_state: int

    @property
    def acc(self) -> IntArray:
        """Fraction bits of each row's accumulators, shape (2, H)."""
        assert self.rounded is not None  # noqa: S101
        parts = (
            (self.rounded.w, self.rounded.w_frac + self.frac_in),
            (self.rounded.u, self.rounded.u_frac + self.frac_state),
        )
        return np.stack([
            np.where(np.abs(codes).any(1) if codes.size else False, frac, self.unused)
            for codes, frac in parts
        ])  # fmt: skip

    def gate(self, sum_shift: int, size: int) -> QGate:
        """Return the finished gate."""
        row, r = self.row, self.rounded
        if r is None:
            empty = np.zeros(size, np.int64)
            return QGate(
                row.gate, row.act, None, None, empty, empty, empty, empty, empty, empty, bits=0
            )
        one, acc, inside = 2.0 ** (self.target + sum_shift), self.acc, bool(row.gate.reset)
        return QGate(
            row.gate,
            row.act,
            r.w if row.gate.input else None,
            r.u if row.gate.recurrent else None,
            r.w_frac,
            r.u_frac,
            self.target + sum_shift - acc[0],
            self.target + sum_shift - acc[1],
            np.floor((r.b if inside else r.b + r.c) * one + 0.5).astype(np.int64),
            np.floor((r.c if inside else 0 * r.c) * one + 0.5).astype(np.int64),
            bits=self.bits,
        )
