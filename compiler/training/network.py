"""A quantized network that can be trained, made from a float model, and the program it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..arrays import FloatArray, check_lengths, valid_steps
from ..config import Config
from ..errors import InputError
from ..frontends.pytorch import from_module
from ..frontends.registry import load
from ..ir.model import Linear, Model
from ..numerics.fixed import Format
from ..program.program import Program
from ..quantizer.pipeline import quantize
from ..quantizer.quality import clipped_inputs, measured_quality
from .layers import Linear as QuantLinear
from .layers import Recurrent as QuantRecurrent
from .layers import encode, run_layer
from .plan import Plan, gate_order
from .quantizable import Quantizable

__all__ = ["State", "Trainable", "calibrate", "to_program", "trainable"]

Tensor = torch.Tensor
State = dict[str, dict[str, Tensor]]
"""Codes by layer, and there by ``h``, ``c`` and, with a threshold, what was passed on last."""


class Trainable(nn.Module):
    """A quantized network with the wiring of a float model. Made by :func:`trainable`.

    Parameters
    ----------
    model : Model
        One that streams.
    program : Program
        What the quantizer made of it.
    learn_scales : bool

    Attributes
    ----------
    layers : torch.nn.ModuleDict
        A :class:`~.layers.Recurrent` or :class:`~.layers.Linear` for each layer, in float64: their
        biases are fine enough that the network starts as the program, to the last bit.
    """

    def __init__(self, model: Model, program: Program, learn_scales: bool = False) -> None:
        super().__init__()
        self.model, self.config, self.network = model, program.config, program.network
        self.layers = nn.ModuleDict()
        for layer in model.layers:
            self.layers[_key(layer.name)] = _module(layer)
        owners = [(m, 0) for m in self.layers.values()]
        adopt(owners, program, learn_scales)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate from the reset state.

        Parameters
        ----------
        x : (N, T, I)

        Returns
        -------
        Tensor (N, T, outputs)
            Values of the output codes, of type float32 in training and float64 in evaluation.
        """
        return self.walk(x)[0]

    def walk(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Evaluate from a state, and return the one after the last step as well.

        ``state`` comes from :meth:`encode` or from another call; detach it to cut the gradient.
        """
        if x.dim() != 3 or x.shape[2] != self.model.input_size:
            raise InputError(
                f"x has shape {tuple(x.shape)}, expected (sequences, steps, {self.model.input_size})"
            )
        kind = torch.float32 if self.training else torch.float64
        values = {"x": x.transpose(0, 1).to(kind)}
        after: State = {}
        for layer in self.network.layers:
            module: Any = self.layers[_key(layer.name)]
            given = torch.cat([values[name] for name in layer.inputs], -1) if len(layer.inputs) > 1 else values[layer.inputs[0]]  # fmt: skip
            old = {k: v.to(kind) for k, v in (state or {}).get(layer.name, {}).items()}
            if isinstance(module, QuantRecurrent):
                zero = given.new_zeros(given.shape[1], layer.size)
                values[layer.name], new = run_layer(module, 0, given, {"h": zero, "c": zero} | old)
            else:
                values[layer.name], new = module.run(given, old)
            after[layer.name] = new
        out = torch.cat([values[name] for name in self.network.outputs], -1)
        return out.transpose(0, 1), after

    def encode(self, state: Mapping[str, tuple[FloatArray, FloatArray]]) -> State:
        """Round states (h, c) by layer, as :meth:`.Model.run` takes them, to codes."""
        n, made = self.network.numbers, State()
        for layer in self.network.layers:
            if layer.name in state:
                h, c = (torch.from_numpy(np.asarray(v, np.float64)) for v in state[layer.name])
                made[layer.name] = {
                    "h": encode(h, Format(n.state_bits, layer.frac)),
                    "c": encode(c, Format(n.cell_bits, n.cell_frac)),
                }
        return made

    def to_program(
        self, x: npt.ArrayLike | None = None, lengths: npt.ArrayLike | None = None
    ) -> Program:
        """Return the program that evaluation equals, code for code.

        With data ``x``, as for :func:`gatewright.compiler.quantize`, its ``quality`` is measured.
        """
        if x is None:
            return to_program(self, self.config)
        data = np.asarray(x, np.float64)
        data = data[None] if data.ndim == 2 else data
        valid = valid_steps(check_lengths(lengths, *data.shape[:2]), *data.shape[:2])
        # The error is that of the outputs, also where only their argmax is emitted.
        plain = to_program(self, replace(self.config, argmax=False))
        result = plain.evaluate(plain.encode(data))
        off = np.abs(plain.decode(result.outputs) - self.model.run(data))
        inputs = clipped_inputs(data, plain.input_format, valid, plain.exponents)
        return to_program(self, self.config, measured_quality(off[valid], result, False, inputs))


def _key(name: str) -> str:
    return name.replace(".", "_")


def _module(layer: Any) -> QuantRecurrent | QuantLinear:
    """Return the module of a float layer, with its weights."""
    if isinstance(layer, Linear):
        made: Any = QuantLinear(
            layer.input_size, layer.size, dtype=torch.float64,
            activation=layer.activation, slope=layer.slope,
        )  # fmt: skip
        tensors = {"weight": layer.w, "bias": np.asarray(layer.bias)}
    else:
        made = QuantRecurrent(
            layer.cell, layer.input_size, layer.size, dtype=torch.float64,
            nonlinearity=layer.candidate, gate=layer.gate, slope=layer.slope, output=layer.output,
        )  # fmt: skip
        gates = [g.name for g in gate_order(layer.cell)]
        tensors = {
            f"{name}_l0": np.concatenate([part[g] for g in gates if g in part])
            for name, part in (
                ("weight_ih", layer.w), ("weight_hh", layer.u), ("bias_ih", layer.b), ("bias_hh", layer.c),
            )
        }  # fmt: skip
    with torch.no_grad():
        for name, value in tensors.items():
            getattr(made, name).copy_(torch.from_numpy(np.array(value)))
    return made  # type: ignore[no-any-return]


def trainable(
    source: Any,
    x: npt.ArrayLike | None,
    config: Config | None = None,
    *,
    learn_scales: bool = False,
    **options: Any,
) -> Trainable:
    """Make a quantized network that can be trained.

    Parameters
    ----------
    source : Model, torch.nn.Module, or what :func:`~..frontends.registry.load` reads
    x : array_like, shape (N, T, I) or (T, I)
        Calibration input.
    config : Config, optional
    learn_scales : bool
        Train the power of two of each row of weights as well.
    **options
        ``lengths`` and ``state``, as in :func:`gatewright.compiler.quantize`.

    Returns
    -------
    Trainable
        In evaluation mode, equal to the quantizer's program.
    """
    model = source if isinstance(source, Model) else load(source)
    if not model.streams:
        raise InputError(
            "a model with a layer that walks sequences from their end cannot be trained in fixed "
            "point: it is a chain of several programs; train a model without, or quantize it as it is"
        )
    program = quantize(model, x, config, **options)
    return Trainable(model, program, learn_scales).eval()  # type: ignore[arg-type]


def _modules(root: nn.Module) -> Iterator[Quantizable]:
    """Yield the quantizable modules, in the order of their registration."""
    return (m for m in root.modules() if isinstance(m, Quantizable))


def calibrate(
    module: nn.Module,
    x: npt.ArrayLike | None,
    config: Config | None = None,
    *,
    learn_scales: bool = False,
    **options: Any,
) -> Program:
    """Give formats to the quantizable modules inside a module; it then computes in fixed point.

    Parameters
    ----------
    module : torch.nn.Module
        A chain of this file's modules, in the order of their registration, as
        :func:`.from_module` reads it. Once calibrated it can be calibrated again.
    x : array_like, shape (N, T, I) or (T, I)
        Calibration input.
    config : Config, optional
    learn_scales : bool
        Train the power of two of each row as well; otherwise the quantizer's stay.
    **options
        ``lengths`` and ``state``, as in :func:`gatewright.compiler.quantize`.

    Returns
    -------
    Program
        What the quantizer made; the module evaluates it.

    Raises
    ------
    InputError
        Not such a chain, or with layers of ``torch.nn`` (use :func:`trainable` for those).
    """
    if config is not None and max(config.thresholds) > 0:
        raise InputError(
            f"delta thresholds of {config.thresholds} need to know which axis is time, and a module "
            "may hand its layers any: train with trainable(module), or with threshold 0"
        )
    for m in _modules(module):
        m.plans = ()
    model = from_module(module)
    program = quantize(model, x, config, **options)
    assert isinstance(program, Program)  # noqa: S101
    layers = list(program.network.layers)
    owners = [(m, k) for m in _modules(module) for k in range(getattr(m, "num_layers", 1))]
    fits = len(owners) == len(layers) and all(
        isinstance(m, QuantLinear) != layer.recurrent for (m, _), layer in zip(owners, layers, strict=True)
    )  # fmt: skip
    if not fits:
        raise InputError(
            f"{type(module).__name__} has layers or activations that are not quantizable modules; "
            "use gatewright.compiler.training.layers' GRU, LSTM, RNN, MGU and Linear(activation=...) "
            "throughout, or make a network of it: gatewright.compiler.trainable.trainable(module)"
        )
    adopt(owners, program, learn_scales)
    return program


def adopt(owners: list[tuple[Quantizable, int]], program: Program, learn: bool) -> None:
    """Hand each module the plans of its layers, which are given in the program's order."""
    net, n = program.network, program.network.numbers
    thresholds = max(n.threshold_input, 0), max(n.threshold, 0)
    plans: dict[int, list[Plan]] = {}
    for (m, _), layer in zip(owners, net.layers, strict=True):
        plans.setdefault(id(m), []).append(Plan(net, layer, program.exponents))
    for m in {id(m): m for m, _ in owners}.values():
        m.adopt(tuple(plans[id(m)]), thresholds, learn)


def to_program(module: nn.Module, config: Config, quality: dict[str, Any] | None = None) -> Program:
    """Return the program that the module's evaluation equals, code for code.

    Parameters
    ----------
    module : torch.nn.Module
        Calibrated.
    config : Config
        Lanes and the like may differ from calibration; widths may not.
    quality : dict, optional
        What was measured of it, for reports.
    """
    layers, network = [], None
    exponents: tuple[int, ...] = ()
    for m in _modules(module):
        for k, plan in enumerate(m.plans):
            layers.append(plan.export(m.parameters_of(k, torch.float64)))
            network, exponents = plan.network, plan.exponents
    if network is None:
        raise InputError(f"{type(module).__name__} is not calibrated: call calibrate first")
    made = replace(network, layers=tuple(layers), argmax=False)
    made = made.with_argmax() if config.argmax else made
    return Program(made, config, quality, exponents=exponents)
