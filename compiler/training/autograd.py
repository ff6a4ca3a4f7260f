"""The walk over time of a layer in training: forward, and backward by hand.

Both loops interpret the gates of :mod:`.cells`; what they compute is said in :mod:`.walk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .walk import Walk

__all__ = ["Node", "run_walk"]

Tensor = torch.Tensor


class Node(torch.autograd.Function):
    """The walk of a layer as one node of autograd; :class:`.Walk` says what the tensors are."""

    @staticmethod
    def forward(ctx: Any, walk: Walk, last: dict[str, Tensor], h: Tensor, c: Tensor, *given: Tensor):  # type: ignore[no-untyped-def, override] # fmt: skip
        n, size, smooth = walk.n, walk.size, walk.smooth
        k = len(walk.stacks)
        bases, rest = given[:k], list(given[k:])
        extras = [rest.pop(0) for s in walk.stacks for _ in s.reset]
        matrices = [rest.pop(0).t() if s.operand else None for s in walk.stacks]
        steps, batch = bases[0].shape[:2]

        def new(columns: int, more: int = 0) -> Tensor:
            return bases[0].new_empty(steps + more, batch, columns)

        hs, cs = new(size, 1), new(c.shape[1], 1)
        hs[0], cs[0] = h, c
        drop = 2.0**-n.operand_shift
        # Bounds as floats: a tensor operation would convert whole numbers each time.
        top, state_top, cell_top, hidden_top = (
            2.0 ** (bits - 1) - 1
            for bits in (n.activation_bits, n.state_bits, n.cell_bits, n.hidden_bits)
        )
        half = bases[0].new_tensor(0.5)
        operands = {name: new(size) for name in walk.operands}
        views = {name: buffer.unbind(0) for name, buffer in operands.items()}
        h_at, c_at = hs.unbind(0), cs.unbind(0)
        base_at, extra_at = [b.unbind(0) for b in bases], [e.unbind(0) for e in extras]
        acts: dict[str, Tensor] = {}  # by gate: (T, N, H), parts of what a group shares
        group_at = []
        for stack in walk.stacks:
            for act, low, high in stack.groups:
                buffer = new((high - low) * size)
                group_at.append((act, low * size, high * size, buffer.unbind(0)))
                for i, g in enumerate(stack.plain[low:high]):
                    acts[g.gate.name] = buffer[:, :, i * size : (i + 1) * size]
        hidden = {g.gate.name: new(size) for s in walk.stacks for g in s.reset}
        for _, gates in walk.blocks:
            for g in gates:
                if g.gate.name not in acts:
                    acts[g.gate.name] = new(size)
        act_at = {name: buffer.unbind(0) for name, buffer in acts.items()}
        hidden_at = {name: buffer.unbind(0) for name, buffer in hidden.items()}
        kinds = {g.gate.name: walk.act(g) for _, gates in walk.blocks for g in gates}
        passed = dict(last)

        def operand(name: str, code: Tensor, t: int) -> Tensor:
            op = views[name][t]
            if smooth:
                return torch.mul(code, drop, out=op)
            if n.operand_shift:
                torch.add(half, code, alpha=drop, out=op).floor_().clamp_(max=top)
            else:
                op.copy_(code)
            if walk.threshold:
                before = passed[name]
                op.copy_(torch.where((op - before).abs() > walk.threshold, op, before))
                passed[name] = op
            return op

        def rounded(value: Tensor) -> Tensor:
            return value if smooth else value.add_(0.5).floor_()

        for t in range(steps):
            old, new_h, new_c = h_at[t], h_at[t + 1], c_at[t + 1]
            ops = {"h": operand("h", old, t)} if "h" in views else {}
            kept: dict[str, Tensor] = {}
            at = group = 0
            for stacks, gates in walk.blocks:
                sums = {}
                for stack in stacks:
                    base, u = base_at[at][t], matrices[at]
                    at += 1
                    total = base.clone() if u is None else torch.addmm(base, ops[stack.operand], u)
                    for _ in stack.groups:
                        act, low, high, out = group_at[group]
                        group += 1
                        act(total[:, low:high], out[t], smooth)
                    for i, g in enumerate(stack.reset, len(stack.plain)):
                        sums[g.gate.name] = total[:, i * size : (i + 1) * size]
                for g in gates:
                    gate, a = g.gate, act_at[g.gate.name][t]
                    if gate.reset:
                        v = hidden_at[gate.name][t]
                        if smooth:
                            v.copy_(sums[gate.name])
                        else:
                            torch.floor(sums[gate.name], out=v).clamp_(-hidden_top - 1, hidden_top)
                        part, scale = kept[gate.reset] * v, 2.0 ** (n.hidden_shift - n.sum_shift)
                        if n.gate_frac > n.hidden_shift and not smooth:
                            part = part.mul_(2.0**n.hidden_shift).add_(0.5).floor_()
                            scale = 2.0**-n.sum_shift
                        extra = extra_at[list(hidden).index(gate.name)][t]
                        kinds[gate.name](torch.add(extra, part, alpha=scale), a, smooth)
                    elif gate.source == "c":
                        pre = new_c * 2.0 ** (n.tables.pre_frac - n.cell_frac)
                        kinds[gate.name](pre if smooth else pre.add_(0.5), a, smooth)
                    k_, post = kept.get(gate.by, a), gate.post
                    if post == "blend":
                        y = rounded(k_ * (old - a)).add_(a)
                    elif post == "leak":
                        y = rounded(k_ * (a - old)).add_(old)
                    elif post == "times_h":
                        y = rounded(a * old)
                    elif post == "times":
                        bits = n.state_bits - 1 if gate.to == "h" else n.cell_frac
                        y = rounded((k_ * a).mul_(2.0**bits))
                        if gate.to != "h" and not smooth:
                            y.clamp_(-cell_top - 1, cell_top)
                    elif post == "cell":
                        y = rounded(a * c_at[t]).add_(k_)
                    else:
                        y = a
                    if gate.keep:
                        kept[gate.name] = a if gate.keep == "act" else y
                    if gate.to == "rh":
                        ops["rh"] = operand("rh", y, t)
                    elif gate.to == "h" and smooth:
                        new_h.copy_(y)
                    elif gate.to == "h":
                        torch.clamp(y, -state_top - 1, state_top, out=new_h)
                    elif gate.to == "c" and smooth:
                        new_c.copy_(y)
                    elif gate.to == "c":
                        torch.clamp(y, -cell_top - 1, cell_top, out=new_c)
        last.update({name: value.clone() for name, value in passed.items()})
        ctx.walk, ctx.matrices = walk, [m for m in matrices if m is not None]
        ctx.names = (list(acts), list(hidden), list(operands))
        ctx.save_for_backward(hs, cs, *acts.values(), *hidden.values(), *operands.values())
        return hs[1:], cs[1:]

    @staticmethod
    def backward(ctx: Any, d_h: Tensor, d_c: Tensor):  # type: ignore[no-untyped-def, override]
        walk: Walk = ctx.walk
        n, size = walk.n, walk.size
        hs, cs, *saved = ctx.saved_tensors
        names = iter(saved)
        acts, hidden, operands = ({name: next(names) for name in part} for part in ctx.names)
        steps, batch = d_h.shape[:2]
        old = hs[:-1]
        # Everything that does not depend on the gradient is computed for all steps at once.
        slopes, others, factors = {}, {}, {}
        gates = [g for _, block in walk.blocks for g in block]
        values: dict[str, Tensor] = {}  # what a later gate of the neuron reads, by its name
        for g in gates:
            gate, a = g.gate, acts[g.gate.name]
            slopes[gate.name] = walk.act(g).slope(a, walk.smooth)
            k = values.get(gate.by)
            if gate.post == "blend" and k is not None:
                others[gate.name], factors[gate.name] = 1 - k, old - a
            elif gate.post == "leak" and k is not None:
                others[gate.name], factors[gate.name] = 1 - k, a - old
            if gate.keep == "act":
                values[gate.name] = a
            if gate.reset:
                scale = 2.0 ** (n.hidden_shift - n.sum_shift)
                top = (1 << (n.hidden_bits - 1)) - 1
                v = hidden[gate.name]
                inside = True if walk.smooth else (v < top) & (v > -top - 1)
                factors[f"{gate.name}.v"] = v * scale
                others[f"{gate.name}.k"] = values[gate.reset] * (scale * inside)
        masks: dict[str, Tensor] = {}
        for name, after, bits, needed in (
            ("h", hs[1:], n.state_bits, not walk.bounded),
            ("c", cs[1:], n.cell_bits, True),
        ):
            top = (1 << (bits - 1)) - 1
            inside = (after < top) & (after > -top - 1)
            if needed and not walk.smooth and not bool(inside.all()):
                masks[name] = inside.to(hs.dtype)
        d_bases = [
            hs.new_empty(steps, batch, (len(s.plain) + len(s.reset)) * size) for s in walk.stacks
        ]
        d_extras = {name: hs.new_empty(steps, batch, size) for name in hidden}
        drop = 2.0**-n.operand_shift
        # Views of all steps, made at once.
        steps_of: dict[str, Any] = {
            kind: {name: v.unbind(0) for name, v in part.items()}
            for kind, part in (
                ("act", acts), ("slope", slopes), ("other", others), ("factor", factors),
                ("value", values), ("mask", masks), ("extra", d_extras),
            )
        }  # fmt: skip
        acts, slopes, others, factors, values, masks = (
            steps_of[kind] for kind in ("act", "slope", "other", "factor", "value", "mask")
        )
        out_h, out_c, old_at, c_at = d_h.unbind(0), d_c.unbind(0), old.unbind(0), cs.unbind(0)
        base_at = [v.unbind(0) for v in d_bases]
        g_h, g_c = torch.zeros_like(hs[0]), torch.zeros_like(cs[0])
        for t in reversed(range(steps)):
            g_h = g_h + out_h[t]
            g_c = g_c + out_c[t]
            if "h" in masks:
                g_h = g_h * masks["h"][t]
            d_old: Tensor | None = None
            d_kept: dict[str, Tensor] = {}
            d_ops: dict[str, Tensor] = {}
            at = len(walk.stacks)

            def keep(name: str, value: Tensor, d_kept: dict[str, Tensor] = d_kept) -> None:
                d_kept[name] = d_kept[name] + value if name in d_kept else value

            for stacks, block in reversed(walk.blocks):
                at -= len(stacks)
                place = {
                    g.gate.name: base_at[at + i][t][:, j * size : (j + 1) * size]
                    for i, s in enumerate(stacks)
                    for j, g in enumerate((*s.plain, *s.reset))
                }
                for g in reversed(block):
                    gate, name, post = g.gate, g.gate.name, g.gate.post
                    a = acts[name][t]
                    d_y: Any = None
                    if gate.to == "h":
                        d_y = g_h
                    elif gate.to == "c":
                        d_y = g_c * masks["c"][t] if "c" in masks else g_c
                    elif gate.to == "rh":
                        d_y = d_ops["rh"] * drop
                    elif gate.keep == "post":
                        d_y = d_kept[name]
                    d_a: Tensor | None = None
                    if post in ("blend", "leak"):
                        k = values[gate.by][t]
                        keep(gate.by, d_y * factors[name][t])
                        with_k, without = d_y * k, d_y * others[name][t]
                        d_a, more = (without, with_k) if post == "blend" else (with_k, without)
                        d_old = more if d_old is None else d_old + more
                    elif post == "times_h":
                        d_a, more = d_y * old_at[t], d_y * a
                        d_old = more if d_old is None else d_old + more
                    elif post == "times":
                        scaled = d_y * 2.0 ** (n.state_bits - 1 if gate.to == "h" else n.cell_frac)
                        d_a = scaled * values[gate.by][t]
                        keep(gate.by, scaled * a)
                    elif post == "cell":
                        d_a, g_c = d_y * c_at[t], d_y * a
                        keep(gate.by, d_y)
                    elif d_y is not None:
                        d_a = d_y
                    if gate.keep == "act":
                        d_a = d_kept[name] if d_a is None else d_a + d_kept[name]
                    assert d_a is not None  # noqa: S101
                    d_pre = d_a * slopes[name][t]
                    if gate.source == "c":
                        g_c = g_c + d_pre * 2.0 ** (n.tables.pre_frac - n.cell_frac)
                    elif gate.reset:
                        steps_of["extra"][name][t].copy_(d_pre)
                        keep(gate.reset, d_pre * factors[f"{name}.v"][t])
                        torch.mul(d_pre, others[f"{name}.k"][t], out=place[name])
                    else:
                        place[name].copy_(d_pre)
                for i, s in enumerate(stacks):
                    if s.operand:
                        u = ctx.matrices[sum(bool(q.operand) for q in walk.stacks[: at + i])]
                        more = base_at[at + i][t] @ u.t()
                        d_ops[s.operand] = d_ops[s.operand] + more if s.operand in d_ops else more
            if "h" in d_ops:
                back = d_ops["h"] * drop
                d_old = back if d_old is None else d_old + back
            g_h = torch.zeros_like(g_h) if d_old is None else d_old
        d_us = [
            base.flatten(0, 1).t() @ operands[s.operand].flatten(0, 1)
            for s, base in zip(walk.stacks, d_bases, strict=True)
            if s.operand
        ]
        return None, None, g_h, g_c, *d_bases, *d_extras.values(), *d_us


def run_walk(
    walk: Walk,
    bases: Sequence[Tensor],
    extras: Sequence[Tensor],
    us: Sequence[Tensor],
    h: Tensor,
    c: Tensor,
    last: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """Walk a batch of sequences.

    Parameters
    ----------
    walk : Walk
    bases : sequence of (T, N, R H)
        For each stack the part of its sums that is known before the walk, plus 1/2: of plain
        gates input products and biases, in codes of the pre-activation; of gates with a
        reset product the recurrent bias, in codes of ``hidden``.
    extras : sequence of (T, N, H)
        For each gate with a reset product its input product and bias, as in ``bases``.
    us : sequence of (R H, H)
        For each stack with a recurrent product its weights, scaled to the same codes.
    h, c : (N, H)
        State and cell state codes; ``c`` has no columns where the cell has none.
    last : dict of str -> (N, H)
        Operands passed on last, by ``h`` and ``rh``; updated in place where there is a
        threshold.

    Returns
    -------
    (h, c) : (T, N, H) each
        State codes after every step.
    """
    return Node.apply(walk, last, h, c, *bases, *extras, *us)  # type: ignore[no-any-return]
