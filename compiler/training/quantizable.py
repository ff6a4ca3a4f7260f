"""Formats and parameters of a trainable module, however it evaluates."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..frontends.parts import Part
from .plan import Parameters, Plan

__all__ = ["Quantizable"]

Tensor = torch.Tensor


class Quantizable(nn.Module):
    """Base of the trainable modules: a plan for each layer once :func:`~.network.calibrate` has run."""

    plans: tuple[Plan, ...] = ()
    thresholds: tuple[int, int] = (0, 0)

    def parameters_of(self, k: int, dtype: torch.dtype) -> Parameters:
        """Return the parameters of layer ``k``."""
        raise NotImplementedError

    def gatewright_part(self, path: str) -> Part:
        """Return the module as :func:`.from_module` takes it."""
        raise NotImplementedError

    @property
    def working_type(self) -> torch.dtype:
        """float32 in training, float64 in evaluation."""
        return torch.float32 if self.training else torch.float64

    def adopt(self, plans: tuple[Plan, ...], thresholds: tuple[int, int], learn: bool) -> None:
        """Take formats, and start from the weights that the quantizer rounded."""
        self.plans, self.thresholds = plans, thresholds
        for k, plan in enumerate(plans):
            for name, frac in zip(("frac_ih", "frac_hh"), plan.fracs(), strict=True):
                key = f"{name}_l{k}"
                self._parameters.pop(key, None)
                self._buffers.pop(key, None)
                if learn and frac.numel():
                    self.register_parameter(key, nn.Parameter(frac.clone()))
                else:
                    self.register_buffer(key, frac, persistent=False)
            self._start(k, plan)

    def _start(self, k: int, plan: Plan) -> None:
        """Move each weight to the value of the quantizer's code."""
        p = self.parameters_of(k, torch.float64)
        size = plan.layer.size
        with torch.no_grad():
            for value, frac, gates, part, columns in (
                (p.w, p.w_frac, plan.with_w, "w", plan.columns),
                (p.u, p.u_frac, plan.with_u, "u", None),
            ):
                if not gates:
                    continue
                codes = torch.from_numpy(np.concatenate([getattr(g, part) for g in gates]))
                start = codes * torch.exp2(-frac)
                value.copy_(start if columns is None else start / columns)
            for j, g in enumerate(plan.gates):
                at = slice(j * size, (j + 1) * size)
                one = 2.0 ** (plan.target[g.gate.name] + plan.network.numbers.sum_shift)
                b, c = (
                    torch.from_numpy(v).double() / one for v in (g.bias_input, g.bias_recurrent)
                )
                if p.b is not None:
                    # Without reset the two are one bias; the recurrent one keeps its value.
                    fixed = p.c is not None and not g.gate.reset
                    p.b[at] = b - p.c[at] if fixed and p.c is not None else b
                if p.c is not None and g.gate.reset:
                    p.c[at] = c
            self._store(k, p)

    def unit(self, name: str) -> Tensor | float:
        """Return how far one code is in a parameter, (rows, columns or 1): of a bias, on average."""
        kind, _, k = name.rpartition("_l")
        plan = self.plans[int(k) if kind else 0]
        p = self.parameters_of(int(k) if kind else 0, torch.float64)
        with torch.no_grad():
            if name.startswith("frac"):
                return 0.5
            if name.startswith("weight_hh"):
                return torch.exp2(-p.u_frac)
            if name.startswith("weight"):
                return torch.exp2(-p.w_frac) / plan.columns
            return float(torch.exp2(-torch.cat([p.w_frac, p.u_frac])).mean())

    def _store(self, k: int, p: Parameters) -> None:
        """Write parameters back."""
        for name, value in self.named_of(k).items():
            new = getattr(p, name)
            if value is not None and new is not None:
                value.copy_(new)

    def named_of(self, k: int) -> dict[str, Tensor | None]:
        """Return the parameter tensors of layer ``k`` by the field of :class:`Parameters`."""
        raise NotImplementedError
