"""One layer of quantization-aware training: the walk over time, and its gradient by hand.

:class:`Walk` interprets the gates of :mod:`.cells` on the numbers of a quantized layer, as
:mod:`.golden` does, but on floating-point tensors that hold integer codes. Such arithmetic is
exact while every sum stays below the mantissa: 2**53 in float64, which evaluation uses. In
float32, which training uses, codes differ from evaluation where a sum was rounded by float32,
and nowhere else.

The whole sequence is one node of autograd. Forward, ``+ 1/2`` of every rounding is part of a
bias and every scale part of a weight, so a rounding costs a floor; backward, roundings pass the
gradient on (straight-through, Bengio et al. 2013, arXiv 1308.3432), saturations stop it, and
activations have the slope of the smooth function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..ir.network import BOUNDED, QGate, QLayer, QNetwork
from ..numerics.activation import Activation

__all__ = ["Act", "Stack", "Walk", "act_layer"]

Tensor = torch.Tensor


@lru_cache(maxsize=64)
def _table(tables: Activation, act: str, align: int | None, dtype: torch.dtype) -> Tensor:
    """Return an activation's results for every pre-activation code, negative codes from the end.

    ``align`` None gives gate values; a number gives codes of a state (see ``Datapath.align``).
    """
    from ..numerics.fixed import shift

    size = 1 << tables.pre_bits
    codes, _ = tables(act, np.roll(np.arange(-size // 2, size // 2), size // 2))
    values = codes * 2.0**-tables.gate_frac if align is None else shift(codes, -align)
    return torch.from_numpy(values.astype(np.float64)).to(dtype)


@dataclass(frozen=True)
class Act:
    """An activation from pre-activation codes to gate values or to codes of a state.

    Parameters
    ----------
    tables : Activation
    name : str
    align : int or None
        Bits appended to make a state's code of the result; None: a gate's value.
    scale : float
        What a result of 1 is.
    """

    tables: Activation
    name: str
    align: int | None
    scale: float

    def __call__(self, pre: Tensor, out: Tensor, smooth: bool) -> None:
        """Write the activation of ``pre``, which holds codes plus 1/2, and is overwritten."""
        t = self.tables
        if smooth:
            out.copy_(self._smooth(pre))
        elif self.name in BOUNDED:
            half = 2.0 ** (t.pre_bits - 1)
            index = pre.floor_().clamp_(-half, half - 1).long()
            table = _table(t, self.name, self.align, pre.dtype)
            torch.take(table, index, out=out)
        else:
            high = 2.0 ** (t.result_bits - 1)
            low = 0.0 if self.name == "relu" else -high
            torch.floor(pre, out=out).clamp_(low, high - 1)

    def _smooth(self, pre: Tensor) -> Tensor:
        if self.name not in BOUNDED:
            return pre.clamp(min=0) if self.name == "relu" else pre
        v = pre * 2.0**-self.tables.pre_frac
        if self.name == "tanh":
            return self.scale * v.tanh()
        if self.name == "sigmoid":
            return self.scale * v.sigmoid()
        if self.name == "hard_tanh":
            return self.scale * v.clamp(-1, 1)
        return self.scale * (self.tables.slope * v + 0.5).clamp(0, 1)

    def slope(self, a: Tensor, smooth: bool) -> Tensor:
        """Return the derivative of the smooth function by the pre-activation code, from ``a``."""
        step = self.scale * 2.0**-self.tables.pre_frac
        if self.name == "tanh":
            return torch.addcmul(a.new_tensor(step), a, a, value=-step / self.scale**2)
        if self.name == "sigmoid":
            return torch.addcmul(a * (step / self.scale), a, a, value=-step / self.scale**2)
        if self.name == "hard_tanh":
            return (a.abs() < self.scale * (1 - 2.0**-self.tables.gate_frac)) * step
        if self.name == "hard_sigmoid":
            return ((a > 0) & (a < self.scale)) * (step * self.tables.slope)
        high = np.inf if smooth else (1 << (self.tables.result_bits - 1)) - 1
        low = 0 if self.name == "relu" else -high - 1
        return ((a > low) & (a < high)).to(a.dtype)


@dataclass(frozen=True, eq=False)
class Stack:
    """Gates of one block that share a recurrent product: those without reset first.

    Parameters
    ----------
    operand : {'h', 'rh', ''}
    plain, reset : tuple of QGate
        Their rows, in this order, are the rows of the product.
    groups : tuple of (Act, int, int)
        Activations of the plain gates, each for a range of gates.
    """

    operand: str
    plain: tuple[QGate, ...]
    reset: tuple[QGate, ...]
    groups: tuple[tuple[Act, int, int], ...]


class Walk:
    """The walk of one recurrent layer over time.

    Parameters
    ----------
    network : QNetwork
    layer : QLayer
        One of its recurrent layers.
    threshold : int
        An operand's code is passed on only where it differs by more from the last one passed.
    smooth : bool
        Leave out every rounding and saturation: the function whose gradient is computed. For
        tests.
    """

    def __init__(
        self, network: QNetwork, layer: QLayer, threshold: int = 0, smooth: bool = False
    ) -> None:
        self.n, self.layer, self.size = network.numbers, layer, layer.size
        self.threshold, self.smooth = threshold, smooth
        self.half = 0.0 if smooth else 0.5
        self.bounded = all(g.act in BOUNDED for g in layer.gates)
        self.blocks = [self._block(block) for block in layer.blocks]
        self.operands = sorted({s.operand for stacks, _ in self.blocks for s in stacks} - {""})

    def _block(self, gates: tuple[QGate, ...]) -> tuple[list[Stack], tuple[QGate, ...]]:
        weighted = [g for g in gates if g.gate.source == "acc"]
        stacks = []
        for operand in dict.fromkeys(g.gate.recurrent for g in weighted):
            mine = [g for g in weighted if g.gate.recurrent == operand]
            plain = [g for g in mine if not g.gate.reset]
            kinds = [self.act(g) for g in plain]
            plain = [g for act in dict.fromkeys(kinds) for g in plain if self.act(g) == act]
            groups, at = [], 0
            for act in dict.fromkeys(kinds):
                groups.append((act, at, at + kinds.count(act)))
                at += kinds.count(act)
            reset = tuple(g for g in mine if g.gate.reset)
            stacks.append(Stack(operand, tuple(plain), reset, tuple(groups)))
        return stacks, gates

    def act(self, g: QGate) -> Act:
        """Return the activation of a gate, in the form that what follows needs."""
        state = g.gate.post in ("blend", "leak") or (g.gate.post == "pass" and not g.gate.keep)
        n = self.n
        scale = 2.0 ** (n.state_bits - 1) if state else 1.0
        return Act(n.tables, g.act, n.align if state else None, scale)

    @property
    def stacks(self) -> list[Stack]:
        """All stacks, in the order in which :func:`.autograd.run_walk` takes their tensors."""
        return [stack for stacks, _ in self.blocks for stack in stacks]


class _ActNode(torch.autograd.Function):
    """A linear layer's activation on all steps at once."""

    @staticmethod
    def forward(ctx: Any, act: Act, pre: Tensor, smooth: bool) -> Tensor:  # type: ignore[override]
        out = torch.empty_like(pre)
        act(pre.clone(), out, smooth)
        if not smooth:
            high = 1 << (act.tables.result_bits - 1)
            out.clamp_(-high, high - 1)
        ctx.act, ctx.smooth = act, smooth
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[None, Tensor, None]:  # type: ignore[override]
        (out,) = ctx.saved_tensors
        return None, d_out * ctx.act.slope(out, ctx.smooth), None


def act_layer(network: QNetwork, layer: QLayer, pre: Tensor, smooth: bool = False) -> Tensor:
    """Return a linear layer's vector, in codes, from its sums plus 1/2, any shape."""
    (g,) = layer.gates
    n = network.numbers
    act = Act(n.tables, g.act, n.align, 2.0 ** (n.state_bits - 1))
    return _ActNode.apply(act, pre, smooth)  # type: ignore[no-any-return]
