"""Roundings of training: those of the hardware, with straight-through gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..numerics.fixed import Format

__all__ = ["Nearest", "Round", "round_to"]

Tensor = torch.Tensor


class Round(torch.autograd.Function):
    """Round half up to ``frac`` fraction bits and saturate; the gradient stops where clipped."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, frac: Tensor, low: Tensor, high: Tensor) -> Tensor:  # type: ignore[override]
        step = torch.exp2(-torch.floor(frac + 0.5))
        code = torch.floor(v / step + 0.5)
        out = torch.minimum(torch.maximum(code, low), high)
        ctx.save_for_backward(v, out * step, code == out)
        return out * step

    @staticmethod
    def backward(ctx: Any, grad: Tensor):  # type: ignore[no-untyped-def, override]
        v, out, inside = ctx.saved_tensors
        d_frac = None
        if ctx.needs_input_grad[1]:
            # Learned step size quantization (Esser et al. 2020, arXiv 1902.08153), by log2(step).
            by_step = torch.where(inside, out - v, out)
            d_frac = -np.log(2.0) * (grad * by_step).sum(1, keepdim=True)
        return grad * inside, d_frac, None, None


class Nearest(torch.autograd.Function):
    """Round half up to whole numbers, straight through."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:  # type: ignore[override]
        return torch.floor(v + 0.5)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class Operand(torch.autograd.Function):
    """Values to values of a format, and by a threshold to the ones passed on."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, v: Tensor, fmt: Format, threshold: int, last: Tensor | None
    ) -> Tensor:
        code = torch.floor(v * 2.0**fmt.frac + 0.5)
        out = code.clamp(fmt.low, fmt.high)
        # Rounding up to one beyond the top code is not a saturation.
        ctx.save_for_backward((code - out).abs() <= 1)
        if threshold and last is not None:
            before = last * 2.0**fmt.frac
            for now in out.unbind(0):
                now.copy_(torch.where((now - before).abs() > threshold, now, before))
                before = now
        return out * 2.0**-fmt.frac

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None


def round_to(v: Tensor, fmt: Format, threshold: int = 0, last: Tensor | None = None) -> Tensor:
    """Round values to a format, straight through.

    Parameters
    ----------
    v : (T, N, size)
    fmt : Format
    threshold : int
        Codes by which a value must differ from the last one passed on to be passed on itself.
    last : (N, size), optional
        Values passed on before the first step; needed with a threshold.
    """
    return Operand.apply(v, fmt, threshold, last)  # type: ignore[no-any-return]
