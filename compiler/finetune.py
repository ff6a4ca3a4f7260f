"""From a float model to a trained fixed-point program: the network, and one way to train it.

:func:`trainable` starts from the quantizer's program, so that training can only improve on it;
:func:`finetune` lets its outputs follow those of the float model (distillation, Hinton et al.
2015, arXiv 1503.02531), which needs inputs and no labels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from . import golden
from .config import Config
from .errors import InputError
from .load import load
from .model import FloatArray, Linear, Model, check_lengths
from .program import Program, measured_quality, quantize
from .qat import Linear as QuantLinear
from .qat import Recurrent as QuantRecurrent
from .qat import _encode, adopt, run_layer, to_program
from .fixed import Format

__all__ = ["Trainable", "Training", "finetune", "trainable"]

Tensor = torch.Tensor
State = dict[str, dict[str, Tensor]]


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
        A :class:`~.qat.Recurrent` or :class:`~.qat.Linear` for each layer, in float64: their
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
            module = self.layers[_key(layer.name)]
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
                    "h": _encode(h, Format(n.state_bits, layer.frac)),
                    "c": _encode(c, Format(n.cell_bits, n.cell_frac)),
                }
        return made

    def to_program(
        self, x: npt.ArrayLike | None = None, lengths: npt.ArrayLike | None = None
    ) -> Program:
        """Return the program that evaluation equals, code for code.

        With data ``x``, as for :func:`gatewright.compiler.quantize`, its ``quality`` is measured.
        """
        program = to_program(self, self.config)
        if self.config.argmax:
            program.network = program.network.with_argmax()
        if x is not None:
            data = np.asarray(x, np.float64)
            data = data[None] if data.ndim == 2 else data
            real = check_lengths(lengths, *data.shape[:2])
            valid = np.arange(data.shape[1]) < (data.shape[1] if real is None else real[:, None])
            valid = np.broadcast_to(valid, data.shape[:2])
            plain = to_program(self, self.config)
            result = plain.evaluate(plain.encode(data))
            off = np.abs(plain.decode(result.outputs) - self.model.run(data))[valid]
            program.quality = measured_quality(off, result, False)
        return program


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
        from .qat_plan import gate_order

        made = QuantRecurrent(
            layer.cell, layer.input_size, layer.size, dtype=torch.float64,
            nonlinearity=layer.candidate, gate=layer.gate, slope=layer.slope,
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
    source : Model, torch.nn.Module, or what :func:`~.load.load` reads
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
