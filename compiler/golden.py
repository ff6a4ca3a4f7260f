"""The golden model: what the hardware must compute, code for code, in NumPy integers.

This file is the contract. It is vectorised over sequences and loops over time. Matrix
products run in float64, which is exact here: the quantizer refuses a network whose
accumulators could leave 53 bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .arrays import FloatArray, IntArray
from .compiled.evaluation import evaluate
from .errors import InputError
from .ir.network import BOUNDED, QGate, QLayer, QNetwork
from .numerics.fixed import round_shift, saturate, shift

__all__ = ["Result", "State", "reference", "run"]


@dataclass
class State:
    """State codes of every recurrent layer, shape (N, H) each.

    Parameters
    ----------
    h : dict of str -> ndarray
        State, ``state_bits`` wide.
    c : dict of str -> ndarray
        Cell state, ``cell_bits`` wide; only layers that have one.
    last : dict of str -> ndarray
        Delta engine: operands last passed on, by ``layer.h``, ``layer.rh`` and ``layer<vector``.
        Missing ones are zero, of ``layer.h`` the operand of the state: a state that is loaded is
        passed on whole.
    """

    h: dict[str, IntArray]
    c: dict[str, IntArray]
    last: dict[str, IntArray] = field(default_factory=dict)

    @classmethod
    def zeros(cls, network: QNetwork, n: int) -> State:
        """Return the reset state for ``n`` sequences."""
        layers = [layer for layer in network.layers if layer.recurrent]
        zero = {layer.name: np.zeros((n, layer.size), np.int64) for layer in layers}
        return cls(dict(zero), {x.name: zero[x.name] for x in layers if x.has_cell_state})

    @classmethod
    def encode(cls, network: QNetwork, values: Mapping[str, Sequence[FloatArray]]) -> State:
        """Round states (h, c) by layer, as :meth:`.Model.run` takes them, to codes."""
        h: dict[str, IntArray] = {}
        c: dict[str, IntArray] = {}
        for layer in network.layers:
            if layer.recurrent:
                formats = network.state_formats(layer)
                for codes, fmt, value in zip((h, c), formats, values[layer.name], strict=False):
                    codes[layer.name] = fmt.quantize(value)
        return cls(h, c)

    def flat(self, network: QNetwork) -> IntArray:
        """Return the codes in the order of the hardware's state port, shape (N, words)."""
        parts = []
        for layer in network.layers:
            if layer.recurrent:
                parts.append(self.h[layer.name])
                if layer.has_cell_state:
                    parts.append(self.c[layer.name])
        n = len(next(iter(self.h.values()))) if self.h else 1
        return np.concatenate(parts, axis=1) if parts else np.zeros((n, 0), np.int64)

    @classmethod
    def unflat(cls, network: QNetwork, codes: IntArray) -> State:
        """Rebuild a state from codes in the order of :meth:`flat`, shape (N, words)."""
        state, at = cls.zeros(network, len(codes)), 0
        expected = state.flat(network).shape[1]
        if codes.ndim != 2 or codes.shape[1] != expected:
            raise InputError(f"a state has {expected} words, not {codes.shape[-1]}")
        for layer in network.layers:
            if layer.recurrent:
                state.h[layer.name] = codes[:, at : at + layer.size]
                at += layer.size
                if layer.has_cell_state:
                    state.c[layer.name] = codes[:, at : at + layer.size]
                    at += layer.size
        return state


@dataclass
class Result:
    """Outputs of a run, its last state, and its counts.

    Attributes
    ----------
    outputs : ndarray of int64, shape (N, T, outputs)
        Output codes.
    state : State
        State after the last step.
    saturations : Counter
        Clipped values by ``layer.place``; places are ``x``, gate names, ``hidden``, ``c``, ``operand``.
    narrowings : Counter
        How many values passed each place, same keys.
    trace : dict of str -> ndarray, shape (N, T, H)
        Named intermediates, where asked for: ``layer.gate`` (activation codes), ``layer.gate.acc``
        (sums before rounding), ``layer`` (vector codes), ``layer.c``.
    changed : dict of str -> ndarray of bool, shape (N, T, size)
        Delta engine: which operands were passed on, by the names of :attr:`State.last`.
    """

    outputs: IntArray
    state: State
    saturations: Counter[str] = field(default_factory=Counter)
    narrowings: Counter[str] = field(default_factory=Counter)
    trace: dict[str, IntArray] = field(default_factory=dict)
    changed: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


class _Products:
    """The products of one layer: all gates that multiply an operand at once, in float64."""

    def __init__(self, layer: QLayer) -> None:
        self.size = layer.size
        self.joined = {name: layer.joined(name) for name in ("x", "h", "rh")}
        self.weights = {
            name: joined.weights.T.astype(np.float64)
            for name, joined in self.joined.items()
            if joined is not None
        }
        self.sums: dict[str, IntArray] = {}

    def load(self, name: str, operand: IntArray) -> None:
        """Multiply an operand, shape (N, K)."""
        if name in self.weights:
            self.sums[name] = (operand.astype(np.float64) @ self.weights[name]).astype(np.int64)

    def of(self, name: str, gate: str) -> IntArray | int:
        """Return the sums of one gate, shape (N, H), or 0 where it has no such product."""
        joined = self.joined.get(name)
        if joined is None or gate not in joined.first:
            return 0
        first = joined.first[gate]
        return self.sums[name][:, first : first + self.size]


class _Run:
    """One evaluation: the network, and the counters that every narrowing feeds."""

    def __init__(
        self, network: QNetwork, trace: bool, last: dict[str, IntArray], room: int = 0
    ) -> None:
        self.network, self.n, self.last, self.room = network, network.numbers, last, room
        self.products = {layer.name: _Products(layer) for layer in network.layers}
        self.changed: dict[str, list[npt.NDArray[np.bool_]]] = {}
        self.tables = replace(self.n.tables, result_bits=self.n.state_bits + room)
        self.saturations: Counter[str] = Counter()
        self.narrowings: Counter[str] = Counter()
        self.lists: dict[str, list[IntArray]] | None = {} if trace else None

    def saturate(self, value: IntArray, bits: int) -> tuple[IntArray, int]:
        """Clip to ``bits``, and the room that every format has here."""
        return saturate(value, bits + self.room)

    def keep(self, name: str, value: IntArray) -> None:
        if self.lists is not None:
            self.lists.setdefault(name, []).append(value)

    def count(self, place: str, narrowed: tuple[IntArray, int]) -> IntArray:
        value, clipped = narrowed
        self.narrowings[place] += value.size
        if clipped:
            self.saturations[place] += clipped
        return value

    def operand(self, name: str, code: IntArray) -> IntArray:
        """Round a state to the operand that the next product multiplies."""
        rounded = round_shift(code, self.n.operand_shift)
        value, _ = self.saturate(rounded, self.n.activation_bits)
        # Rounding up to just beyond the top code is not a saturation worth reporting.
        return self.count(f"{name}.operand", (value, int((np.abs(rounded - value) > 1).sum())))

    def passed(self, name: str, code: IntArray, before: IntArray | None = None) -> IntArray:
        """Keep what was passed on last where an operand has hardly changed."""
        threshold = self.n.threshold_input if name.endswith("<x") else self.n.threshold
        if threshold < 0:
            return code
        before = self.last.get(name, np.zeros_like(code) if before is None else before)
        changed = np.abs(code - before) > threshold
        self.changed.setdefault(name, []).append(changed)
        self.last[name] = np.where(changed, code, before)
        return self.last[name]

    def pre(
        self, layer: QLayer, g: QGate, u: IntArray, v: IntArray, kept: dict[str, IntArray]
    ) -> IntArray:
        """Sum the two parts of a row and round to the pre-activation."""
        if g.gate.reset:
            hidden = self.saturate(round_shift(v, self.n.hidden_shift), self.n.hidden_bits)
            v = self.count(f"{layer.name}.hidden", hidden)
            v = shift(kept[g.gate.reset] * v, self.n.gate_frac - self.n.hidden_shift)
        self.keep(f"{layer.name}.{g.gate.name}.acc", u + v)
        # Beyond +-16 sigmoid and tanh are flat: clipping there loses nothing.
        return self.saturate(round_shift(u + v, self.n.sum_shift), self.tables.pre_bits)[0]

    def layer(
        self, layer: QLayer, x: IntArray, h: IntArray, c: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Evaluate one layer: operand codes (N, I), state codes (N, H) -> new h and c."""
        n, old = self.n, h
        products = self.products[layer.name]
        products.load("x", x)
        if layer.recurrent:
            code = self.operand(layer.name, h)
            products.load("h", self.passed(f"{layer.name}.h", code, code))
        kept: dict[str, IntArray] = {}
        for g in (gate for block in layer.blocks for gate in block):
            gate, place = g.gate, f"{layer.name}.{g.gate.name}"
            if gate.source == "c":
                pre = self.saturate(
                    shift(c, n.cell_frac - self.tables.pre_frac), self.tables.pre_bits
                )[0]
            else:
                u = (products.of("x", gate.name) << g.shift_input) + g.bias_input
                v = (products.of(gate.recurrent, gate.name) << g.shift_recurrent) + g.bias_recurrent
                u, v = (np.broadcast_to(part, (len(x), layer.size)) for part in (u, v))
                pre = self.pre(layer, g, u, v, kept)
            a = self.count(place, self.tables(g.act, pre))
            self.keep(place, a)
            # A bounded activation has the gate format; as a value it takes the state's.
            value = shift(a, -n.align) if g.act in BOUNDED else a
            k = kept.get(gate.by, a)
            if gate.post == "pass":
                y = value
            elif gate.post == "blend":
                y = value + round_shift(k * (old - value), n.gate_frac)
            elif gate.post == "leak":
                y = old + round_shift(k * (value - old), n.gate_frac)
            elif gate.post == "times_h":
                y = round_shift(a * old, n.gate_frac)
            elif gate.post == "times" and gate.to == "h":
                y = shift(k * a, 2 * n.gate_frac - (n.state_bits - 1))
            elif gate.post == "times":
                # Rounding can carry k * a just beyond the cell's top code.
                y = self.saturate(shift(k * a, 2 * n.gate_frac - n.cell_frac), n.cell_bits)[0]
            else:
                y = round_shift(a * c, n.gate_frac) + k
            if gate.to in ("h", ""):
                y = self.saturate(y, n.state_bits)[0] if not gate.keep else y
            if gate.keep:
                kept[gate.name] = a if gate.keep == "act" else y
            if gate.to == "h":
                h = y
            elif gate.to == "c":
                c = self.count(f"{layer.name}.c", self.saturate(y, n.cell_bits))
                self.keep(f"{layer.name}.c", c)
            elif gate.to == "rh":
                products.load("rh", self.passed(f"{layer.name}.rh", self.operand(layer.name, y)))
        if not layer.recurrent:
            h = y
        self.keep(layer.name, h)
        return h, c


def run(
    network: QNetwork, x: IntArray, state: State | None = None, *, trace: bool = False
) -> Result:
    """Evaluate the network on input codes.

    Parameters
    ----------
    network : QNetwork
    x : ndarray of int64, shape (N, T, I)
        Input codes of ``network.input_format``.
    state : State, optional
        State before the first step; default zero.
    trace : bool
        Keep the named intermediates (memory: every gate of every step).

    Returns
    -------
    Result
    """
    if x.ndim != 3 or x.shape[2] != network.input_size:
        raise InputError(
            f"x has shape {x.shape}, expected (sequences, steps, {network.input_size})"
        )
    state = State.zeros(network, len(x)) if state is None else state
    fmt = network.input_format
    if x.size and (x.min() < fmt.low or x.max() > fmt.high):
        raise InputError(
            f"input codes span {x.min()} to {x.max()}, {fmt} holds {fmt.low} to {fmt.high}"
        )
    done = evaluate(network, x, state.h, state.c, state.last, trace)
    if done is None:
        return reference(network, x, state, trace=trace)
    after = State(done.h, done.c, done.last)
    return Result(done.outputs, after, done.saturations, done.narrowings, done.trace, done.changed)


def reference(
    network: QNetwork, x: IntArray, state: State | None = None, *, trace: bool = False,
    room: int = 0,
) -> Result:  # fmt: skip
    """Evaluate as :func:`run` does, in NumPy alone and without its checks: the contract.

    ``room`` bits are added at the top of every format, to see what clipping costs.
    """
    state = State.zeros(network, len(x)) if state is None else state
    state = State(dict(state.h), dict(state.c), dict(state.last))
    work = _Run(network, trace, state.last, room)
    outputs = np.zeros((*x.shape[:2], network.output_size), np.int64)
    none = np.zeros((len(x), 0), np.int64)
    for t in range(x.shape[1]):
        values = {"x": x[:, t]}
        operands = {"x": x[:, t]}
        for layer in network.layers:
            parts = []
            for name, amount in zip(layer.inputs, network.input_shifts(layer), strict=True):
                if name not in operands:
                    operands[name] = work.operand(name, values[name])
                parts.append(work.passed(f"{layer.name}<{name}", operands[name]) << amount)
            h, c = state.h.get(layer.name, none), state.c.get(layer.name, none)
            y, c = work.layer(layer, np.concatenate(parts, axis=1), h, c)
            if layer.recurrent:
                state.h[layer.name] = y
            if layer.has_cell_state:
                state.c[layer.name] = c
            values[layer.name] = y
        emitted = np.concatenate([values[name] for name in network.outputs], axis=1)
        outputs[:, t] = emitted.argmax(axis=1)[:, None] if network.argmax else emitted
    trace_arrays = {k: np.stack(v, axis=1) for k, v in (work.lists or {}).items()}
    changed = {k: np.stack(v, axis=1) for k, v in work.changed.items()}
    return Result(outputs, state, work.saturations, work.narrowings, trace_arrays, changed)
