"""The modules of :mod:`.layers` before they are quantized: floating point, and how they are imported."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..frontends.parts import HARD_SIGMOID_SLOPE, Part
from ..ir.cells import CELLS
from ..ir.model import Layer
from ..ir.model import Recurrent as FloatRecurrent
from .plan import Parameters, gate_order

__all__ = ["CellPart", "LinearPart", "float_act", "float_layer"]

Tensor = torch.Tensor


def float_act(name: str, v: Tensor, slope: float) -> Tensor:
    """Evaluate an activation of :data:`~.activation.ACTIVATIONS`."""
    if name == "hard_sigmoid":
        return (slope * v + 0.5).clamp(0, 1)
    if name == "hard_tanh":
        return v.clamp(-1, 1)
    return v if name == "none" else getattr(torch, name)(v)  # type: ignore[no-any-return]


def _compiled(module: Any, p: Parameters, x: Tensor, h: Tensor, c: Tensor) -> Any:
    """Evaluate by PyTorch's own kernel, where there is one; otherwise None."""
    plain = module.gate == "sigmoid" and not module.without_forget_bias
    name = {"gru": "gru", "lstm": "lstm", "rnn": f"rnn_{module.nonlinearity}"}.get(module.cell, "")
    if (
        not plain
        or not hasattr(torch, name)
        or (name in ("gru", "lstm") and (module.nonlinearity, module.output) != ("tanh", "tanh"))
    ):
        return None
    weights = [v for v in (p.w, p.u, p.b, p.c) if v is not None]
    first: Any = h[None] if name != "lstm" else (h[None], c[None])
    kernel = getattr(torch, name)
    made = kernel(x, first, weights, p.b is not None, 1, 0.0, module.training, False, False)
    return made[0], made[1][0], made[2][0] if name == "lstm" else c


def float_layer(
    module: Any, p: Parameters, x: Tensor, h: Tensor | None, c: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate a layer of a :class:`~.layers.Recurrent` in floating point.

    Parameters
    ----------
    module : Recurrent
    p : Parameters
        Of the layer.
    x : (T, N, I)
    h, c : (N, H), optional
        First state; default zero.

    Returns
    -------
    (vector (T, N, H), h (N, H), c (N, H))
        The states are the last ones.
    """
    size, gates = module.hidden_size, gate_order(module.cell)
    h = x.new_zeros(x.shape[1], size) if h is None else h
    c = x.new_zeros(x.shape[1], size) if c is None else c
    if (done := _compiled(module, p, x, h, c)) is not None:
        return done  # type: ignore[no-any-return]
    zero = p.w.new_zeros(len(gates) * size)
    b, bc = (
        dict(zip((g.name for g in gates), (zero if v is None else v).split(size), strict=True))
        for v in (p.b, p.c)
    )
    u = dict(zip((g.name for g in gates if g.recurrent), p.u.split(size), strict=True))
    w = dict(zip((g.name for g in gates if g.input), p.w.split(size), strict=True))
    inputs = {
        g.name: b[g.name] + (x @ w[g.name].t() if g.input else x.new_zeros(*x.shape[:2], size))
        for g in gates
    }
    out = []
    for t in range(len(x)):
        old, kept = h, dict[str, Tensor]()
        for g in CELLS[module.cell].gates:
            if g.source == "c":
                pre = c
            else:
                operand = {"h": old, "rh": kept.get("rh")}.get(g.recurrent)
                v = bc[g.name] if operand is None else operand @ u[g.name].t() + bc[g.name]
                pre = inputs[g.name][t] + (kept[g.reset] * v if g.reset else v)
            acts = {"gate": module.gate, "candidate": module.nonlinearity, "output": module.output}
            act = acts[g.act]
            a = float_act(act, pre, module.slope)
            y = g.combine(a, kept.get(g.by, a), old, c)
            if g.keep:
                kept[g.name] = a if g.keep == "act" else y
            if g.to == "h":
                h = y
            elif g.to == "c":
                c = y
            elif g.to:
                kept[g.to] = y
        out.append(h)
    return torch.stack(out), h, c


@dataclass(frozen=True, eq=False)
class CellPart(Part):
    """A part of any cell, in the row order of :func:`~.plan.gate_order`.

    Parameters
    ----------
    gate : str
        Activation of the gates; ``activation`` is that of the candidate.
    slope : float
        Slope of a hard sigmoid.
    output : str
        Activation of an LSTM's cell state.
    """

    gate: str = "sigmoid"
    slope: float = 0.2
    output: str = "tanh"

    def _recurrent(self, name: str, reads: tuple[str, ...], at: str) -> FloatRecurrent:
        gates = gate_order(self.kind)
        which = {
            "weight_ih": [g.name for g in gates if g.input],
            "weight_hh": [g.name for g in gates if g.recurrent],
            "bias_ih": [g.name for g in gates],
            "bias_hh": [g.name for g in gates],
        }
        found = [
            dict(zip(names, np.split(self.tensors[f"{tensor}_{at}"], len(names)), strict=True))
            if f"{tensor}_{at}" in self.tensors else {}
            for tensor, names in which.items()
        ]  # fmt: skip
        inputs = self.tensors[f"weight_ih_{at}"].shape[1]
        return FloatRecurrent(
            name, self.kind, reads, self.hidden, inputs, w=found[0], u=found[1], b=found[2], c=found[3],
            gate=self.gate, candidate=self.activation, slope=self.slope, output=self.output,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class LinearPart(Part):
    """A linear part whose hard sigmoid has a slope of its own."""

    slope: float = HARD_SIGMOID_SLOPE

    def layers(
        self, reads: tuple[str, ...], numbers: Counter[str]
    ) -> tuple[list[Layer], tuple[str, ...]]:
        made, reads = super().layers(reads, numbers)
        return [replace(layer, slope=self.slope) for layer in made], reads
