"""The quantized network: integer layers, the formats of every vector, and constant shifts.

This is the contract between the quantizer, which makes it, the golden model, which
evaluates it, and the scheduler, which lays it out for the hardware.

For one row (one neuron of one gate), with ``f`` the fraction bits of an accumulator::

    u = (acc_input     << row.shift_input)     + row.bias_input
    v = (acc_recurrent << row.shift_recurrent) + row.bias_recurrent      exact
    s = u + v                                                            exact
    s = u + shift(k * saturate(round_shift(v, hidden_shift)), gate_frac - hidden_shift)
    pre = saturate(round_shift(s, sum_shift))

where the second form of ``s`` is that of a gate with a reset product, k the kept reset
gate. The row's own shifts bring both accumulators to one resolution, so that ``sum_shift``
is one constant of the whole program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..arrays import IntArray
from ..errors import InputError
from ..numerics.activation import Activation
from ..numerics.fixed import Format, bits_signed
from .cells import CELLS, Gate

__all__ = ["Datapath", "Joined", "QGate", "QLayer", "QNetwork"]

BOUNDED = ("tanh", "sigmoid", "hard_tanh", "hard_sigmoid")
SIGMOIDS = ("sigmoid", "hard_sigmoid")
"""Activations from 0 to exactly 1."""


@dataclass(frozen=True)
class Datapath:
    """Widths and constant shifts that one program uses everywhere.

    Parameters
    ----------
    weight_bits : int
        Width of the widest weights; gates may have narrower ones (:attr:`QGate.bits`).
    activation_bits, state_bits, gate_bits : int
        The user's widths, see ``docs/numerics.md``.
    activation : str
        Kind of table, see :class:`~.activation.Activation`.
    slope : float
        Slope of the hard sigmoid.
    sum_shift : int
        Bits that are rounded away between a row's sum and its pre-activation.
    hidden_shift, hidden_bits : int
        Bits rounded away from the recurrent part before a reset product, and its width.
    cell_bits, cell_frac : int
        Format of the LSTM cell state.
    threshold_input, threshold : int
        By how much the code of an element of x, or of an operand made from a state, must differ
        from the one last passed on to be passed on itself; -1: all are, as the dense engine does.
    """

    weight_bits: int
    activation_bits: int
    state_bits: int
    gate_bits: int
    activation: str
    slope: float
    sum_shift: int
    hidden_shift: int
    hidden_bits: int
    cell_bits: int
    cell_frac: int
    threshold_input: int = -1
    threshold: int = -1

    @property
    def tables(self) -> Activation:
        """The activation functions."""
        return Activation(self.activation, self.gate_bits, self.state_bits, self.slope)

    @property
    def gate_frac(self) -> int:
        """Fraction bits of a gate."""
        return self.gate_bits - 1

    @property
    def align(self) -> int:
        """Bits appended to a bounded activation to make it a state (negative: rounded away)."""
        return self.state_bits - self.gate_bits

    @property
    def operand_shift(self) -> int:
        """Bits rounded away between a state and the operand made from it."""
        return self.state_bits - self.activation_bits


@dataclass(frozen=True, eq=False)
class QGate:
    """Integer weights of one gate of one layer.

    Parameters
    ----------
    gate : Gate
        Its description.
    act : str
        Its activation, one of :data:`~.activation.ACTIVATIONS`.
    w : ndarray (H, I) or None
        Input weights.
    u : ndarray (H, H) or None
        Recurrent weights.
    w_frac, u_frac : ndarray (H,)
        Fraction bits of the weights of each row.
    shift_input, shift_recurrent : ndarray (H,)
        Left shift of each accumulator, zero or more.
    bias_input, bias_recurrent : ndarray (H,)
        Biases at the resolution of the sum.
    bits : int
        Width of the weights; 0 where there are none.
    """

    gate: Gate
    act: str
    w: IntArray | None
    u: IntArray | None
    w_frac: IntArray
    u_frac: IntArray
    shift_input: IntArray
    shift_recurrent: IntArray
    bias_input: IntArray
    bias_recurrent: IntArray
    bits: int


class Joined(NamedTuple):
    """Weights that multiply one operand, the gates' matrices below each other.

    Parameters
    ----------
    weights : ndarray (rows, K)
    first : dict of str -> int
        First row of each gate by name.
    """

    weights: IntArray
    first: dict[str, int]


@dataclass(frozen=True, eq=False)
class QLayer:
    """One integer layer.

    Parameters
    ----------
    name : str
    cell : str
        Key of :data:`~.cells.CELLS`, or ``linear``.
    size : int
        H, number of neurons.
    inputs : tuple of str
        Vectors read, concatenated.
    gates : tuple of QGate
    frac : int
        Fraction bits of the layer's vector, which has ``state_bits`` bits.
    """

    name: str
    cell: str
    size: int
    inputs: tuple[str, ...]
    gates: tuple[QGate, ...]
    frac: int

    @property
    def recurrent(self) -> bool:
        """True if the layer has a state."""
        return self.cell != "linear"

    @property
    def has_cell_state(self) -> bool:
        """True if the layer has a second state vector c."""
        return self.recurrent and CELLS[self.cell].has_cell_state

    def joined(self, operand: str) -> Joined | None:
        """Return all weights that multiply ``x``, ``h`` or ``rh``; None where nothing does."""
        parts = [
            (g.gate.name, matrix)
            for g in self.gates
            for name, matrix in (("x", g.w), (g.gate.recurrent, g.u))
            if name == operand and matrix is not None
        ]
        if not parts:
            return None
        first = {name: k * self.size for k, (name, _) in enumerate(parts)}
        return Joined(np.concatenate([matrix for _, matrix in parts]), first)

    @property
    def blocks(self) -> tuple[tuple[QGate, ...], ...]:
        """Gates grouped by the walk they share."""
        if not self.recurrent:
            return (self.gates,)
        by_name = {gate.gate.name: gate for gate in self.gates}
        return tuple(tuple(by_name[g.name] for g in block) for block in CELLS[self.cell].blocks)


@dataclass(frozen=True, eq=False)
class QNetwork:
    """A quantized network.

    Parameters
    ----------
    input_size : int
    input_format : Format
        Format of one input element.
    layers : tuple of QLayer
        In evaluation order.
    outputs : tuple of str
        Vectors that make the output, in order.
    numbers : Datapath
    argmax : bool
        Emit the index of the largest output instead of the outputs; the first of equals.
    """

    input_size: int
    input_format: Format
    layers: tuple[QLayer, ...]
    outputs: tuple[str, ...]
    numbers: Datapath
    argmax: bool = False

    def layer(self, name: str) -> QLayer:
        """Return the layer with this name."""
        return next(layer for layer in self.layers if layer.name == name)

    def size(self, vector: str) -> int:
        """Return the number of elements of a vector."""
        return self.input_size if vector == "x" else self.layer(vector).size

    @property
    def has_cell_state(self) -> bool:
        """True if any layer has a second state vector c."""
        return any(layer.has_cell_state for layer in self.layers)

    @property
    def state_width(self) -> int:
        """Bits of a word that holds an element of any state."""
        numbers = self.numbers
        return max(numbers.state_bits, numbers.cell_bits if self.has_cell_state else 0)

    def operand(self, vector: str) -> Format:
        """Return the format in which a vector is multiplied."""
        if vector == "x":
            return self.input_format
        bits = self.numbers.activation_bits
        return Format(bits, self.layer(vector).frac - self.numbers.operand_shift)

    def operand_frac(self, layer: QLayer) -> int:
        """Return the fraction bits all inputs of a layer are brought to."""
        return max(self.operand(name).frac for name in layer.inputs)

    def input_shifts(self, layer: QLayer) -> tuple[int, ...]:
        """Return the left shift of each input vector that brings it to ``operand_frac``."""
        frac = self.operand_frac(layer)
        return tuple(frac - self.operand(name).frac for name in layer.inputs)

    def with_argmax(self) -> QNetwork:
        """Return the network that emits the index of its largest output."""
        limit = 1 << (self.numbers.state_bits - 1)
        if len(self.outputs) > 1 or self.elements > limit:
            raise InputError(
                f"argmax takes one output vector of at most {limit} elements, not "
                f"{', '.join(self.outputs)} of {self.elements}; leave it off or raise state_bits"
            )
        return replace(self, argmax=True)

    def check_hardware(self) -> None:
        """Refuse what the golden model computes and no gateware does.

        Raises
        ------
        InputError
            A delta threshold above zero.
        """
        n = self.numbers
        if max(n.threshold, n.threshold_input) > 0:
            raise InputError(
                f"the program has delta thresholds of {n.threshold_input} for x and {n.threshold} for "
                "states, and there is no gateware that skips columns yet: emulate and report work; "
                "for hardware, quantize with threshold=0"
            )

    @property
    def elements(self) -> int:
        """Number of elements of the output vectors."""
        return sum(self.size(name) for name in self.outputs)

    @property
    def output_size(self) -> int:
        """Number of outputs of a step: the elements, or their one argmax."""
        return 1 if self.argmax else self.elements

    @property
    def output_steps(self) -> np.ndarray:
        """Value of one code step of every output, shape (outputs,)."""
        if self.argmax:
            return np.ones(1)
        return np.concatenate(
            [np.full(self.size(name), 2.0 ** -self.layer(name).frac) for name in self.outputs]
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(
            m.size
            for layer in self.layers
            for g in layer.gates
            for m in (g.w, g.u)
            if m is not None
        )

    def state_formats(self, layer: QLayer) -> tuple[Format, ...]:
        """Return the formats of a layer's states: of h, and of c where it has one."""
        n = self.numbers
        h, c = Format(n.state_bits, layer.frac), Format(n.cell_bits, n.cell_frac)
        return (h, c)[: layer.recurrent + layer.has_cell_state]

    @property
    def blends_sigmoid(self) -> bool:
        """True if a new state is blended with a value that can be exactly 1, beyond a state's top."""
        return any(
            g.act in SIGMOIDS and g.gate.post in ("blend", "leak")
            for layer in self.layers
            for g in layer.gates
        )

    @property
    def operand_bits(self) -> int:
        """Width of an operand after the shift that aligns concatenated inputs."""
        widest = max(s for layer in self.layers for s in self.input_shifts(layer))
        return self.numbers.activation_bits + widest

    def bounds(self) -> tuple[int, int]:
        """Return the widths of an accumulator and of a row's sum that can never overflow.

        The bound is the sum of |weight| of each row times the largest operand, plus the
        bias, so it holds for every input, not just for the data seen.
        """
        largest = 1 << (self.numbers.activation_bits - 1)
        acc = total = 1
        for layer in self.layers:
            scale = np.repeat(
                [largest << s for s in self.input_shifts(layer)],
                [self.size(name) for name in layer.inputs],
            )
            for g in layer.gates:
                u = np.zeros(layer.size, np.int64) if g.w is None else np.abs(g.w) @ scale
                v = np.zeros(layer.size, np.int64) if g.u is None else np.abs(g.u).sum(1) * largest
                acc = max(acc, int(u.max()), int(v.max()))
                # Python integers: a wide program may pass 64 bits before it is refused.
                for i in range(layer.size):
                    a = (int(u[i]) << int(g.shift_input[i])) + abs(int(g.bias_input[i]))
                    b = (int(v[i]) << int(g.shift_recurrent[i])) + abs(int(g.bias_recurrent[i]))
                    total = max(total, a + b)
        n = self.numbers
        product = (1 << (n.hidden_bits + n.gate_bits)) >> max(0, n.gate_frac - n.hidden_shift)
        if any(g.gate.reset for layer in self.layers for g in layer.gates):
            total += product << max(0, n.hidden_shift - n.gate_frac)
        # One more bit for the rounding addend.
        return bits_signed(-acc, acc), bits_signed(-2 * total, 2 * total)
