"""Quantization-aware training: PyTorch modules whose evaluation is the golden model, code for code.

``GRU``, ``LSTM``, ``RNN``, ``MGU`` and ``Linear`` have the signature and the tensors of
``torch.nn``'s modules of those names. Until :func:`~.network.calibrate` gives them formats they compute in
floating point; then in integers, with straight-through gradients. :func:`~.network.trainable` makes a
network of them from any float model, and :mod:`.finetune` trains it.

In evaluation mode (``module.eval()``) everything is float64 and exact. In training mode it is
float32: the same roundings, tables and saturations, and codes that differ only where a sum was
rounded by float32 as well.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..frontends.parts import HARD_SIGMOID_SLOPE, Part
from ..ir.cells import CELLS
from ..numerics.fixed import Format
from .float_layers import CellPart, LinearPart, float_act, float_layer
from .plan import Parameters, gate_order
from .quantizable import Quantizable

__all__ = ["GRU", "LSTM", "MGU", "RNN", "Linear", "Recurrent", "encode", "run_layer"]

Tensor = torch.Tensor


class Recurrent(Quantizable):
    """A stack of recurrent layers of one cell, quantized or not yet.

    Parameters
    ----------
    cell : str
        Key of :data:`~.cells.CELLS`.
    input_size, hidden_size, num_layers, bias, batch_first, dropout
        As in ``torch.nn.GRU``.
    nonlinearity, gate, output : str
        Activation of the candidate, of the gates, and of an LSTM's cell state.
    slope : float
        Of a hard sigmoid.

    Attributes
    ----------
    without_forget_bias : bool
        The first gate's bias is zero whatever the tensors hold, as in the second variant of MGU.

    Notes
    -----
    Tensors are named as in ``torch.nn.GRU`` and have the rows of each gate in PyTorch's order, of a
    cell that PyTorch lacks in the order of :data:`~.cells.CELLS`; a gate without an input or
    recurrent product has no rows in that matrix.
    """

    without_forget_bias = False

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, *, nonlinearity: str = "tanh",
        gate: str = "sigmoid", slope: float = 0.2, output: str = "tanh", bidirectional: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if bidirectional:
            raise InputError(
                "bidirectional layers cannot be trained in fixed point: they run as passes of "
                "several programs; train without, or quantize the float model"
            )
        if cell not in CELLS:
            raise InputError(f"cell {cell!r} is not one of {', '.join(CELLS)}")
        if min(input_size, hidden_size, num_layers) < 1:
            raise InputError(
                f"sizes are 1 or more, not input {input_size}, hidden {hidden_size}, layers {num_layers}"
            )
        self.cell, self.input_size, self.hidden_size = cell, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.nonlinearity, self.gate, self.slope = dropout, nonlinearity, gate, slope
        self.output = output
        gates = gate_order(cell)
        rows = {
            "weight_ih": sum(g.input for g in gates),
            "weight_hh": sum(bool(g.recurrent) for g in gates),
            "bias_ih": len(gates),
            "bias_hh": len(gates),
        }
        bound = 1 / math.sqrt(hidden_size)
        for k in range(num_layers):
            columns = {"weight_ih": input_size if k == 0 else hidden_size, "weight_hh": hidden_size}
            for name, count in rows.items():
                if name.startswith("bias") and not bias:
                    continue
                shape = (
                    (count * hidden_size, columns[name])
                    if name in columns
                    else (count * hidden_size,)
                )
                value = torch.empty(shape, device=device, dtype=dtype).uniform_(-bound, bound)
                self.register_parameter(f"{name}_l{k}", nn.Parameter(value))

    def extra_repr(self) -> str:
        return f"{self.cell}, {self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"

    def named_of(self, k: int) -> dict[str, Tensor | None]:
        names = {"w": "weight_ih", "u": "weight_hh", "b": "bias_ih", "c": "bias_hh"}
        return {field: getattr(self, f"{name}_l{k}", None) for field, name in names.items()}

    def parameters_of(self, k: int, dtype: torch.dtype) -> Parameters:
        found = {name: None if v is None else v.to(dtype) for name, v in self.named_of(k).items()}
        if self.without_forget_bias:  # the first gate's
            keep = torch.arange(2 * self.hidden_size) >= self.hidden_size
            found |= {name: None if (v := found[name]) is None else v * keep for name in "bc"}
        fracs = [getattr(self, f"{name}_l{k}", None) for name in ("frac_ih", "frac_hh")]
        return Parameters(**found, w_frac=fracs[0], u_frac=fracs[1])  # type: ignore[arg-type]

    def gatewright_part(self, path: str) -> Part:
        names = {"w": "weight_ih", "u": "weight_hh", "b": "bias_ih", "c": "bias_hh"}
        tensors = {
            f"{name}_l{k}": value.detach().numpy().copy()
            for k in range(self.num_layers)
            for field, name in names.items()
            if (value := getattr(self.parameters_of(k, torch.float64), field)) is not None
        }
        return CellPart(
            path, self.cell, tensors, self.nonlinearity, self.gate, self.slope, self.output
        )

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Evaluate as ``torch.nn.GRU`` does (``LSTM``: states are pairs).

        Parameters
        ----------
        input : (T, N, I), with ``batch_first`` (N, T, I), or (T, I)
        hx : (num_layers, N, H), optional
            First state of each layer; default zero.
        """
        x = input
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise InputError(
                f"input has shape {tuple(x.shape)}, expected (steps, sequences, {self.input_size})"
            )
        single = x.dim() == 2
        x = x.unsqueeze(1) if single else x.transpose(0, 1) if self.batch_first else x
        pair = CELLS[self.cell].has_cell_state
        states = (hx if pair else (hx,)) if hx is not None else ()
        first = [v.unsqueeze(1) if single else v for v in states]
        made: list[tuple[Tensor, Tensor]] = []
        for k in range(self.num_layers):
            state = [v[k] for v in first]
            x, h, c = self._layer(k, x, *state)
            made.append((h, c))
            if self.dropout and self.training and k < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout)
        x = x.to(input.dtype)
        x = x.squeeze(1) if single else x.transpose(0, 1) if self.batch_first else x
        last = tuple(torch.stack(v).to(input.dtype) for v in zip(*made, strict=True))
        last = tuple(v.squeeze(1) for v in last) if single else last
        return x, last if pair else last[0]

    def _layer(
        self, k: int, x: Tensor, h: Tensor | None = None, c: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate layer ``k`` on values (T, N, I): its vector, and the last states."""
        if not self.plans:
            return float_layer(self, self.parameters_of(k, x.dtype), x, h, c)
        plan, kind = self.plans[k], self.working_type
        n = plan.network.numbers
        size = self.hidden_size
        code = [
            x.new_zeros(x.shape[1], size, dtype=kind) if v is None
            else encode(v.to(kind), Format(bits, frac))
            for v, bits, frac in ((h, n.state_bits, plan.layer.frac), (c, n.cell_bits, n.cell_frac))
        ]  # fmt: skip
        made, after = run_layer(self, k, x.to(kind), {"h": code[0], "c": code[1]})
        return made, made[-1], after["c"] * 2.0**-n.cell_frac


def run_layer(
    module: Recurrent, k: int, x: Tensor, state: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Evaluate a quantized layer on values (T, N, I) from a state of codes.

    ``state`` has ``h`` and ``c``; with a threshold also the operands passed on last, as ``x``
    (values), ``h.last`` and ``rh.last``, where it is not the first. Returns the layer's vector,
    (T, N, H), and the state after it.
    """
    plan = module.plans[k]
    n, kind = plan.network.numbers, x.dtype
    p = module.parameters_of(k, kind)
    last: dict[str, Tensor] = {}
    before = None
    if any(module.thresholds):
        assert plan.walk is not None  # noqa: S101
        plan.walk.threshold = module.thresholds[1]
        before = state.get("x", x.new_zeros(x.shape[1:]))
        h = torch.floor(state["h"] * 2.0**-n.operand_shift + 0.5)
        last["h"] = state.get("h.last", h.clamp(max=2 ** (n.activation_bits - 1) - 1))
        last["rh"] = state.get("rh.last", torch.zeros_like(state["h"]))
        last = {name: v.detach() for name, v in last.items()}
    operand = plan.operand(x, before, module.thresholds)
    cell = state["c"] if plan.layer.has_cell_state else state["c"][:, :0]
    hs, cs = plan.recurrent(p, operand, state["h"], cell, last)
    after = {"h": hs[-1], "c": cs[-1] if plan.layer.has_cell_state else state["c"]}
    if last:
        after |= {"x": operand[-1].detach(), "h.last": last["h"], "rh.last": last["rh"]}
    return hs * 2.0**-plan.layer.frac, after


def encode(v: Tensor, fmt: Format) -> Tensor:
    """Values to codes, straight through inside the range."""
    code = v * 2.0**fmt.frac
    return code + (torch.floor(code + 0.5).clamp(fmt.low, fmt.high) - code).detach()


class GRU(Recurrent):
    """``torch.nn.GRU`` in fixed point; ``reset_after=False`` is the older form, as in Keras."""

    def __init__(self, *arguments: Any, reset_after: bool = True, **options: Any) -> None:
        super().__init__("gru" if reset_after else "gru_reset_before", *arguments, **options)


class LSTM(Recurrent):
    """``torch.nn.LSTM`` in fixed point."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__("lstm", *arguments, **options)


class RNN(Recurrent):
    """``torch.nn.RNN`` in fixed point."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", **options: Any
    ) -> None:  # fmt: skip
        super().__init__(
            "rnn", input_size, hidden_size, num_layers, nonlinearity=nonlinearity, **options
        )


class MGU(Recurrent):
    """Minimal gated unit, or one of its variants 1 to 3 (see :mod:`.cells`)."""

    def __init__(self, *arguments: Any, variant: int = 0, **options: Any) -> None:
        if variant not in range(4):
            raise InputError(f"variant is 0 (the plain unit) to 3, not {variant!r}")
        super().__init__(f"mgu{variant or ''}", *arguments, **options)
        self.without_forget_bias = variant == 2


class Linear(Quantizable):
    """``torch.nn.Linear`` in fixed point, with its activation."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None, *, activation: str = "none", slope: float = HARD_SIGMOID_SLOPE,
    ) -> None:  # fmt: skip
        super().__init__()
        plain = nn.Linear(in_features, out_features, bias, device, dtype)
        self.in_features, self.out_features = in_features, out_features
        self.weight, self.bias = plain.weight, plain.bias
        self.activation, self.slope = activation, slope

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, activation={self.activation}"

    def named_of(self, k: int) -> dict[str, Tensor | None]:
        return {"w": self.weight, "u": None, "b": self.bias, "c": None}

    def parameters_of(self, k: int, dtype: torch.dtype) -> Parameters:
        none = torch.zeros(0, 0, dtype=dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        fracs = [getattr(self, f"{name}_l0", None) for name in ("frac_ih", "frac_hh")]
        return Parameters(self.weight.to(dtype), none, bias, None, fracs[0], fracs[1])  # type: ignore[arg-type]

    def gatewright_part(self, path: str) -> Part:
        tensors = {
            name: value.detach().double().numpy().copy()
            for name, value in (("weight", self.weight), ("bias", self.bias)) if value is not None
        }  # fmt: skip
        return LinearPart(path, "linear", tensors, self.activation, self.slope)

    def forward(self, input: Tensor) -> Tensor:
        """Evaluate on (..., in_features)."""
        if not self.plans:
            bias = None if self.bias is None else self.bias.to(input)
            v = nn.functional.linear(input, self.weight.to(input), bias)
            return float_act(self.activation, v, self.slope)
        x = input.to(self.working_type)
        made, _ = self.run(x.reshape(1, -1, x.shape[-1]), {})
        return made.reshape(*input.shape[:-1], -1).to(input.dtype)

    def run(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate on values (T, N, I); ``state`` as in :func:`run_layer`, only its ``x``."""
        (plan,) = self.plans
        before = state.get("x", x.new_zeros(x.shape[1:])) if any(self.thresholds) else None
        operand = plan.operand(x, before, self.thresholds)
        after = {} if before is None else {"x": operand[-1].detach()}
        return plan.linear(self.parameters_of(0, x.dtype), operand), after
