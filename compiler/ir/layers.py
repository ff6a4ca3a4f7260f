"""Layers of a float model: named, with checked shapes, each with its float arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import InputError
from ..numerics.activation import ACTIVATIONS, float_activation
from ..shown import Shown
from .cells import CELLS, Cell, Gate

__all__ = ["SIZE_LIMIT", "Layer", "Linear", "Recurrent"]

SIZE_LIMIT = 1 << 16
SLOPE_LIMIT = 16


def _array(value: npt.ArrayLike, shape: tuple[int, ...], what: str) -> FloatArray:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{what} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"{what} holds {array[index]} at {list(index)}; weights must be finite: "
            "train again or repair the file"
        )
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Shown):
    """``y = act(W x + b)`` on every step.

    Parameters
    ----------
    name : str
        Name of the layer and of its output vector.
    inputs : tuple of str
        Vectors that are concatenated to make x.
    weight : array_like, shape (outputs, inputs)
    bias : array_like, shape (outputs,), optional
    activation : str
        One of :data:`~.activation.ACTIVATIONS`.
    slope : float
        Slope of a hard sigmoid.
    """

    name: str
    inputs: tuple[str, ...]
    weight: npt.ArrayLike
    bias: npt.ArrayLike | None = None
    activation: str = "none"
    slope: float = 0.2

    def __post_init__(self) -> None:
        weight = np.asarray(self.weight)
        if weight.ndim != 2 or 0 in weight.shape:
            raise InputError(
                f"{self.name}: weight has shape {weight.shape}, expected (outputs, inputs)"
            )
        object.__setattr__(self, "weight", _array(weight, weight.shape, f"{self.name}: weight"))
        bias = np.zeros(len(weight)) if self.bias is None else self.bias
        object.__setattr__(self, "bias", _array(bias, (len(weight),), f"{self.name}: bias"))
        _check_activation(self.name, self.activation)
        _check_slope(self.name, self.slope)

    @property
    def w(self) -> FloatArray:
        """Weights, shape (outputs, inputs)."""
        return np.asarray(self.weight)

    @property
    def size(self) -> int:
        """Number of outputs."""
        return self.w.shape[0]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.w.shape[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return self.w.size

    @property
    def equations(self) -> list[str]:
        """Equations of a step as text."""
        return ["y = W x + b" if self.activation == "none" else f"y = {self.activation}(W x + b)"]

    def facts(self) -> dict[str, str]:
        """Return kind, sizes and activation."""
        act = {} if self.activation == "none" else {"activation": self.activation}
        return {"layer": f"linear {self.input_size} -> {self.size}"} | act


@dataclass(frozen=True, eq=False, repr=False)
class Recurrent(Shown):
    """One recurrent layer, of any cell in :data:`~.cells.CELLS`.

    Parameters
    ----------
    name : str
        Name of the layer and of its output vector, the new state.
    cell : str
        Key of :data:`~.cells.CELLS`.
    inputs : tuple of str
        Vectors that are concatenated to make x.
    size, input_size : int
        H and I.
    w, u : dict of gate name -> array, shapes (H, I) and (H, H)
        Input and recurrent matrix of each gate. A gate without that product has none.
    b, c : dict of gate name -> array, shape (H,)
        Input and recurrent bias. Missing means zero.
    gate, candidate, output : str
        Activations, one of :data:`~.activation.ACTIVATIONS`; ``output`` is that of an LSTM's cell
        state on its way to h.
    slope : float
        Slope of a hard sigmoid.
    reverse : bool
        Walk each sequence from its last step to its first. The output of a step stays at that
        step. A bidirectional layer is two layers, one of each direction, that are read together.
    """

    name: str
    cell: str
    inputs: tuple[str, ...]
    size: int
    input_size: int
    w: dict[str, FloatArray]
    u: dict[str, FloatArray]
    b: dict[str, FloatArray] = field(default_factory=dict)
    c: dict[str, FloatArray] = field(default_factory=dict)
    gate: str = "sigmoid"
    candidate: str = "tanh"
    slope: float = 0.2
    reverse: bool = False
    output: str = "tanh"

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise InputError(
                f"{self.name}: cell {self.cell!r} is not supported; use one of {', '.join(CELLS)}"
            )
        h, i = self.size, self.input_size
        if not (0 < h < SIZE_LIMIT and 0 < i < SIZE_LIMIT):
            raise InputError(f"{self.name}: sizes are 1 to {SIZE_LIMIT - 1}, not H={h}, I={i}")
        for attribute, shape in (("w", (h, i)), ("u", (h, h)), ("b", (h,)), ("c", (h,))):
            given = getattr(self, attribute)
            made: dict[str, FloatArray] = {}
            for gate in self.spec.weighted:
                used = {"w": gate.input, "u": bool(gate.recurrent)}.get(attribute, True)
                what = f"{self.name}: {attribute}[{gate.name}]"
                if gate.name not in given:
                    if used and len(shape) == 2:
                        raise InputError(f"{what} is missing")
                    if len(shape) == 1:
                        made[gate.name] = _array(np.zeros(h), shape, what)
                elif used:
                    made[gate.name] = _array(given[gate.name], shape, what)
            unknown = set(given) - {gate.name for gate in self.spec.weighted}
            if unknown:
                raise InputError(f"{self.name}: {attribute} has unknown gates {sorted(unknown)}")
            object.__setattr__(self, attribute, made)
        _check_activation(self.name, self.gate)
        _check_activation(self.name, self.candidate)
        _check_activation(self.name, self.output)
        _check_slope(self.name, self.slope)

    @property
    def spec(self) -> Cell:
        """The cell's description."""
        return CELLS[self.cell]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(m.size for m in self.w.values()) + sum(m.size for m in self.u.values())

    @property
    def equations(self) -> list[str]:
        """Equations of a step as text; see :meth:`.Cell.equations`."""
        roles = ("gate", "candidate", "output")
        return self.spec.equations({role: getattr(self, role) for role in roles})

    def facts(self) -> dict[str, str]:
        """Return cell, sizes, activations and direction."""
        layer = f"{self.cell} {self.input_size} -> {self.size}"
        acts = {name: getattr(self, name) for name in ("gate", "candidate")}
        used = {"activations": " and ".join(acts.values())}
        return {"layer": layer} | used | ({"direction": "backwards"} if self.reverse else {})

    def act(self, gate: Gate) -> str:
        """Return the activation of one of the cell's gates."""
        return str(getattr(self, gate.act))

    def step(
        self, x: FloatArray, h: FloatArray, c: FloatArray
    ) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """Advance one step in floating point.

        Parameters
        ----------
        x : shape (N, I)
        h, c : shape (N, H)
            State and cell state (ignored by cells without one).

        Returns
        -------
        (h, c, named)
            New states, shape (N, H), and every gate's activation by name.
        """
        old = h
        kept: dict[str, FloatArray] = {}
        named: dict[str, FloatArray] = {}
        for gate in self.spec.gates:
            if gate.source == "c":
                p = c
            else:
                u = self.b[gate.name] + (x @ self.w[gate.name].T if gate.input else 0.0)
                operand = {"h": old, "rh": kept.get("rh"), "": None}[gate.recurrent]
                v = self.c[gate.name] + (0.0 if operand is None else operand @ self.u[gate.name].T)
                p = u + (kept[gate.reset] * v if gate.reset else v)
            a = np.broadcast_to(float_activation(self.act(gate), p, self.slope), old.shape)
            named[gate.name] = a
            y = gate.combine(a, kept.get(gate.by, a), old, c)
            if gate.keep:
                kept[gate.name] = a if gate.keep == "act" else y
            if gate.to == "h":
                h = y
            elif gate.to == "c":
                c = y
            elif gate.to:
                kept[gate.to] = y
        return h, c, named


Layer = Linear | Recurrent


def _check_activation(name: str, activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise InputError(
            f"{name}: activation {activation!r} is not supported; use one of {', '.join(ACTIVATIONS)}"
        )


def _check_slope(name: str, slope: float) -> None:
    if not 0 < slope <= SLOPE_LIMIT:
        raise InputError(f"{name}: slope of a hard sigmoid is {slope:g}, above 0 to {SLOPE_LIMIT}")
