"""Plan of a layer's training: its formats, and its parameters as integer codes.

A :class:`Plan` holds what stays fixed in training (formats, shifts, widths) and turns the float
parameters of a layer into the tensors of a :class:`~.walk.Walk`, or into the integers of a
:class:`~.network.QLayer`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import InputError
from ..ir.cells import CELLS, Gate
from ..ir.network import BOUNDED, QGate, QLayer, QNetwork
from .autograd import run_walk
from .rounding import Nearest, Round, round_to
from .walk import Walk, act_layer

__all__ = ["MANTISSA", "Parameters", "Plan", "gate_order"]

Tensor = torch.Tensor
MANTISSA = 53
"""Bits that float64 adds exactly."""


class Parameters(NamedTuple):
    """Float parameters of a layer, gates in the order of :func:`gate_order`.

    Parameters
    ----------
    w : Tensor (R, I)
        Input weights of the gates that have some.
    u : Tensor (Q, H)
        Recurrent weights of the gates that have some; no rows in a linear layer.
    b, c : Tensor (G H,) or None
        Biases of all gates with weights.
    w_frac, u_frac : Tensor (R, 1) and (Q, 1)
        Fraction bits of the weights of every row; rounded to whole numbers where they are used.
    """

    w: Tensor
    u: Tensor
    b: Tensor | None
    c: Tensor | None
    w_frac: Tensor
    u_frac: Tensor


def gate_order(cell: str) -> tuple[Gate, ...]:
    """Return the weighted gates of a cell in the order of their rows in parameters: PyTorch's."""
    gates = CELLS[cell].weighted
    order = {"lstm": "ifgo"}.get(cell)
    return tuple(sorted(gates, key=lambda g: order.index(g.name))) if order else gates


class Plan:
    """Formats, shifts and widths that stay fixed while a quantized layer is trained.

    Parameters
    ----------
    network : QNetwork
    layer : QLayer
        One of its layers.
    exponents : tuple of int
        As in a :class:`~.program.Program`.
    smooth : bool
        See :class:`~.walk.Walk`; for tests.
    """

    def __init__(
        self,
        network: QNetwork,
        layer: QLayer,
        exponents: tuple[int, ...] = (),
        smooth: bool = False,
    ) -> None:
        self.network, self.layer, self.smooth = network, layer, smooth
        self.exponents = exponents
        n = network.numbers
        self.walk = Walk(network, layer, smooth=smooth) if layer.recurrent else None
        by_name = {g.gate.name: g for g in layer.gates}
        names = [g.name for g in gate_order(layer.cell)] if layer.recurrent else list(by_name)
        self.gates = [by_name[name] for name in names]
        self.with_w = [g for g in self.gates if g.w is not None]
        self.with_u = [g for g in self.gates if g.u is not None]
        self.inputs = [(network.size(name), network.operand(name)) for name in layer.inputs]
        one = [np.zeros(network.size(name)) for name in layer.inputs]
        if exponents and "x" in layer.inputs:
            one[layer.inputs.index("x")] = np.array(exponents)
        #: What a column of the weights is multiplied by, its input divided.
        self.columns = torch.from_numpy(2.0 ** np.concatenate(one))
        self.frac_in = network.operand_frac(layer)
        self.frac_h = layer.frac - n.operand_shift
        self.target = {
            g.gate.name: n.tables.pre_frac if g.act in BOUNDED else layer.frac for g in self.gates
        }
        self.limits = self._limit(self.with_w, self.frac_in), self._limit(self.with_u, self.frac_h)
        self.tops = tuple(
            self._rows(gates, lambda g: 2 ** (g.bits - 1)) for gates in (self.with_w, self.with_u)
        )

    # -- parameters -----------------------------------------------------------

    def _rows(self, gates: list[QGate], value: Any) -> Tensor:
        """Return a number per gate as a column over its rows."""
        each = [np.full((self.layer.size, 1), float(value(g))) for g in gates]
        return torch.from_numpy(np.concatenate(each) if each else np.zeros((0, 1)))

    def _limit(self, gates: list[QGate], frac: int) -> Tensor:
        """Return the most fraction bits of the rows of weights that multiply ``frac`` bits."""
        return self._rows(
            gates, lambda g: self.target[g.gate.name] + self.network.numbers.sum_shift - frac
        )

    def fracs(self) -> tuple[Tensor, Tensor]:
        """Return the quantizer's fraction bits of every row of the weights, (R, 1) and (Q, 1)."""
        made = []
        for gates, name, limit in (
            (self.with_w, "w_frac", self.limits[0]),
            (self.with_u, "u_frac", self.limits[1]),
        ):
            rows = [getattr(g, name) for g in gates]
            values = np.concatenate(rows).astype(np.float64)[:, None] if rows else np.zeros((0, 1))
            made.append(torch.minimum(torch.from_numpy(values), limit))
        return made[0], made[1]

    def _weights(self, v: Tensor, frac: Tensor, part: int) -> Tensor:
        """Round input (part 0) or recurrent weights (1), straight through."""
        if self.smooth:
            return v
        top = self.tops[part].to(v)
        frac = torch.minimum(frac.to(v), self.limits[part].to(v))
        return Round.apply(v, frac, -top, top - 1)  # type: ignore[no-any-return]

    def _bias(self, v: Tensor, scale: float) -> Tensor:
        """Round a bias at a resolution, straight through."""
        return v if self.smooth else Nearest.apply(v * scale) / scale  # type: ignore[no-untyped-call]

    def quantized(self, p: Parameters) -> tuple[Tensor, Tensor]:
        """Return the values of the rounded weights, (R, I) and (Q, H)."""
        w = self._weights(p.w * self.columns.to(p.w), p.w_frac, 0)
        return w, self._weights(p.u, p.u_frac, 1)

    # -- evaluation -----------------------------------------------------------

    def operand(self, x: Tensor, last: Tensor | None, thresholds: tuple[int, int]) -> Tensor:
        """Round the layer's input to operands, shape (T, N, I).

        Parameters
        ----------
        x : (T, N, I)
            Values of its input vectors, joined.
        last : (N, I), optional
            Operands passed on before the first step.
        thresholds : (int, int)
            Of the model's input, and of vectors that layers made.
        """
        x = x / self.columns.to(x)
        if self.smooth:
            return x
        parts, at = [], 0
        for name, (size, fmt) in zip(self.layer.inputs, self.inputs, strict=True):
            part = x[..., at : at + size]
            before = None if last is None else last[..., at : at + size]
            parts.append(round_to(part, fmt, thresholds[name != "x"], before))
            at += size
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def linear(self, p: Parameters, x: Tensor) -> Tensor:
        """Evaluate a linear layer on operands (T, N, I): the values of its vector."""
        (g,) = self.gates
        target, n = self.target[g.gate.name], self.network.numbers
        w, _ = self.quantized(p)
        self._check(w, None, p)
        b = torch.zeros_like(w[:, 0]) if p.b is None else p.b
        half = 0.0 if self.smooth else 0.5
        b = self._bias(b, 2.0 ** (target + n.sum_shift)) * 2.0**target + half
        sums = torch.nn.functional.linear(x, w * 2.0**target, b)
        codes = act_layer(self.network, self.layer, sums, self.smooth)
        return codes * 2.0**-self.layer.frac

    def recurrent(
        self, p: Parameters, x: Tensor, h: Tensor, c: Tensor, last: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Evaluate a recurrent layer on operands (T, N, I).

        Parameters
        ----------
        h, c : (N, H)
            State codes.
        last : dict
            As in :meth:`.Walk.__call__`.

        Returns
        -------
        (h, c) : (T, N, H) each
            State codes after every step.
        """
        assert self.walk is not None  # noqa: S101
        w, u = self.quantized(p)
        self._check(w, u, p)
        n, size = self.network.numbers, self.layer.size
        half = 0.0 if self.smooth else 0.5
        zero = w.new_zeros(len(self.gates) * size)
        b, c_bias = (zero if v is None else v for v in (p.b, p.c))
        index = {g.gate.name: k for k, g in enumerate(self.gates)}
        index_w = {g.gate.name: k for k, g in enumerate(self.with_w)}
        index_u = {g.gate.name: k for k, g in enumerate(self.with_u)}

        def rows(v: Tensor, where: dict[str, int], g: QGate, columns: int) -> Tensor:
            k = where.get(g.gate.name)
            return v.new_zeros(size, columns) if k is None else v[k * size : (k + 1) * size]

        def bias(v: Tensor, g: QGate) -> Tensor:
            k = index[g.gate.name]
            v = self._bias(
                v[k * size : (k + 1) * size], 2.0 ** (self.target[g.gate.name] + n.sum_shift)
            )
            return v * 2.0 ** self.target[g.gate.name]  # fmt: skip

        bases, extras, us = [], [], []
        for stack in self.walk.stacks:
            made = []
            if stack.plain:
                scaled = [
                    rows(w, index_w, g, w.shape[1]) * 2.0 ** self.target[g.gate.name]
                    for g in stack.plain
                ]
                # One bias in hardware, so it is rounded once.
                both = torch.cat([bias(b + c_bias, g) for g in stack.plain]) + half
                made.append(torch.nn.functional.linear(x, torch.cat(scaled), both))
            for g in stack.reset:
                one = 2.0 ** self.target[g.gate.name]
                extras.append(
                    torch.nn.functional.linear(
                        x, rows(w, index_w, g, w.shape[1]) * one, bias(b, g) + half
                    )
                )
                hidden = bias(c_bias, g) * 2.0 ** (n.sum_shift - n.hidden_shift) + half
                made.append(hidden.expand(*x.shape[:2], -1))
            bases.append(made[0] if len(made) == 1 else torch.cat(made, -1))
            if stack.operand:
                scaled = []
                for g in (*stack.plain, *stack.reset):
                    unit = self.target[g.gate.name] - self.frac_h
                    unit += (n.sum_shift - n.hidden_shift) * bool(g.gate.reset)
                    scaled.append(rows(u, index_u, g, size) * 2.0**unit)
                us.append(torch.cat(scaled))
        return run_walk(self.walk, bases, extras, us, h, c, last)

    def _check(self, w: Tensor, u: Tensor | None, p: Parameters) -> None:
        """Refuse an evaluation whose sums float64 would have to round."""
        if w.dtype != torch.float64 or self.smooth:
            return
        n = self.network.numbers
        with torch.no_grad():
            largest = torch.cat([w.new_full((s,), -fmt.low * fmt.step) for s, fmt in self.inputs])
            total = (w.abs() @ largest).amax() if w.numel() else w.new_zeros(())
            if u is not None and u.numel():
                total = total + u.abs().sum(1).amax() * 2.0 ** (n.activation_bits - 1 - self.frac_h)
            total = total + sum(v.abs().amax() for v in (p.b, p.c) if v is not None and v.numel())
        most = float(total) * 2.0 ** (max(self.target.values()) + n.sum_shift)
        if self.walk and any(s.reset for s in self.walk.stacks):
            most += 2.0 ** (n.hidden_bits + n.hidden_shift)
        bits = math.ceil(math.log2(max(most, 1.0))) + 2
        if bits > MANTISSA:
            raise InputError(
                f"{self.layer.name}: its sums can have {bits} bits, and float64 adds {MANTISSA} exactly; "
                "lower weight_bits or activation_bits, or train without the layer's large biases"
            )

    # -- integers -------------------------------------------------------------

    def export(self, p: Parameters) -> QLayer:
        """Return the integer layer that evaluation equals."""
        n, layer, size = self.network.numbers, self.layer, self.layer.size
        with torch.no_grad():
            p = Parameters(*(None if v is None else v.detach().double() for v in p))  # type: ignore[arg-type]
            w, u = self.quantized(p)
        fracs = [
            torch.floor(torch.minimum(frac, limit) + 0.5).numpy().astype(np.int64)
            for frac, limit in zip((p.w_frac, p.u_frac), self.limits, strict=True)
        ]
        codes = [
            np.floor(v.numpy() * 2.0**f + 0.5).astype(np.int64)
            for v, f in zip((w, u), fracs, strict=True)
        ]
        zero = torch.zeros(len(self.gates) * size, dtype=torch.float64)
        biases = [(zero if v is None else v).numpy() for v in (p.b, p.c)]
        made = {}
        for k, g in enumerate(self.gates):
            target = self.target[g.gate.name]
            one = 2.0 ** (target + n.sum_shift)
            found: dict[str, Any] = {}
            for part, gates, code, frac, frac_in in (
                ("w", self.with_w, codes[0], fracs[0], self.frac_in),
                ("u", self.with_u, codes[1], fracs[1], self.frac_h),
            ):
                side = "input" if part == "w" else "recurrent"
                if g not in gates:
                    found |= {part: None, f"{part}_frac": getattr(g, f"{part}_frac"),
                              f"shift_{side}": getattr(g, f"shift_{side}")}  # fmt: skip
                    continue
                at = slice(gates.index(g) * size, (gates.index(g) + 1) * size)
                used = np.abs(code[at]).any(1)
                rows = np.where(used, frac[at, 0], getattr(g, f"{part}_frac"))
                found |= {
                    part: code[at],
                    f"{part}_frac": rows,
                    f"shift_{side}": np.where(
                        used, target + n.sum_shift - rows - frac_in, n.sum_shift
                    ),
                }
            b, c = (v[k * size : (k + 1) * size] for v in biases)
            inside = bool(g.gate.reset)
            for side, v in (
                ("input", b if inside else b + c),
                ("recurrent", c if inside else 0 * c),
            ):
                found[f"bias_{side}"] = np.floor(v * one + 0.5).astype(np.int64)
            made[g.gate.name] = replace(g, **found)
        return replace(layer, gates=tuple(made.get(g.gate.name, g) for g in layer.gates))
