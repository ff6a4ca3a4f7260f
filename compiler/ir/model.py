"""The float model every importer produces: named layers, checked shapes, one evaluation.

Data flows through named vectors. ``x`` is the model's input; every layer names the
vectors it reads (concatenated in that order) and makes one vector with its own name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, check_lengths, reverse_steps
from ..errors import InputError
from ..numerics.activation import ACTIVATIONS, float_activation
from .cells import CELLS, Cell

__all__ = [
    "Layer",
    "Linear",
    "Model",
    "Recurrent",
]

SIZE_LIMIT = 1 << 16


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


@dataclass(frozen=True, eq=False)
class Linear:
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


@dataclass(frozen=True, eq=False)
class Recurrent:
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
    gate, candidate : str
        Activations.
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

    @property
    def spec(self) -> Cell:
        """The cell's description."""
        return CELLS[self.cell]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(m.size for m in self.w.values()) + sum(m.size for m in self.u.values())

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
            act = {"gate": self.gate, "candidate": self.candidate}.get(gate.act, gate.act)
            a = np.broadcast_to(float_activation(act, p, self.slope), old.shape)
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


@dataclass(frozen=True, eq=False)
class Model:
    """A float model: layers in evaluation order.

    Parameters
    ----------
    input_size : int
        Features of x.
    layers : tuple of Layer
        Each reads ``x`` or earlier layers.
    outputs : tuple of str
        Vectors that make the output, concatenated; default: the last layer.
    source : str
        What it was read from, for people.
    notes : tuple of str
        What the importer understood or assumed, for people.
    """

    input_size: int
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("the model has no layers")
        sizes = {"x": self.input_size}
        for layer in self.layers:
            if layer.name in sizes:
                raise InputError(f"two vectors are named {layer.name!r}")
            missing = [name for name in layer.inputs if name not in sizes]
            if missing or not layer.inputs:
                raise InputError(
                    f"{layer.name}: reads {missing or 'nothing'}; known: {', '.join(sizes)}"
                )
            have = sum(sizes[name] for name in layer.inputs)
            if have != layer.input_size:
                raise InputError(
                    f"{layer.name}: takes {layer.input_size} inputs but {' + '.join(layer.inputs)} has {have}"
                )
            sizes[layer.name] = layer.size
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.layers[-1].name,))
        unknown = [name for name in self.outputs if name not in sizes or name == "x"]
        if unknown:
            raise InputError(
                f"outputs {unknown} are not layers; known: {', '.join(list(sizes)[1:])}"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Size of every vector by name."""
        return {"x": self.input_size} | {layer.name: layer.size for layer in self.layers}

    @property
    def output_size(self) -> int:
        """Number of outputs of a step."""
        return sum(self.sizes[name] for name in self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(layer.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        total = 0
        for layer in self.layers:
            if isinstance(layer, Linear):
                total += layer.w.size + np.asarray(layer.bias).size
            else:
                total += sum(
                    a.size for d in (layer.w, layer.u, layer.b, layer.c) for a in d.values()
                )
        return total

    @property
    def streams(self) -> bool:
        """Whether one pass from the first step to the last computes it: no layer is reversed."""
        return not any(isinstance(layer, Recurrent) and layer.reverse for layer in self.layers)

    def with_input_scale(self, exponents: npt.ArrayLike) -> Model:
        """Return the model that reads ``x * 2**-exponents`` and gives the same outputs.

        Parameters
        ----------
        exponents : array_like of int, shape (input_size,)
        """
        factor = 2.0 ** np.asarray(exponents, dtype=np.float64)
        layers: list[Layer] = []
        for layer in self.layers:
            scale = np.concatenate(
                [factor if name == "x" else np.ones(self.sizes[name]) for name in layer.inputs]
            )
            if isinstance(layer, Linear):
                layers.append(replace(layer, weight=layer.w * scale))
            else:
                w = {name: matrix * scale for name, matrix in layer.w.items()}
                layers.append(replace(layer, w=w))
        return replace(self, layers=tuple(layers))

    def initial_state(self, n: int) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Return zero states (h, c) of each recurrent layer for ``n`` sequences."""
        return {
            layer.name: (np.zeros((n, layer.size)), np.zeros((n, layer.size)))
            for layer in self.layers
            if isinstance(layer, Recurrent)
        }

    def run(
        self,
        x: npt.ArrayLike,
        state: dict[str, tuple[FloatArray, FloatArray]] | None = None,
        trace: dict[str, list[FloatArray]] | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> FloatArray:
        """Evaluate in float64, layer by layer over whole sequences.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : dict, optional
            Initial (h, c) by layer, updated in place; default zeros. A reversed layer starts
            with it at the last step.
        trace : dict, optional
            Filled with every vector and, as ``layer.gate``, every gate: lists over time of (N, size).
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences: where reversed layers start. Outputs in the
            padding mean nothing.

        Returns
        -------
        numpy.ndarray, shape (N, T, outputs) or (T, outputs)
        """
        data = np.asarray(x, dtype=np.float64)
        single = data.ndim == 2
        if single:
            data = data[None]
        if data.ndim != 3 or data.shape[2] != self.input_size:
            raise InputError(
                f"x has shape {np.shape(x)}, expected (steps, {self.input_size}) or (sequences, steps, {self.input_size})"
            )
        real = check_lengths(lengths, *data.shape[:2])
        state = self.initial_state(len(data)) if state is None else state
        values, gates = {"x": data}, dict[str, FloatArray]()
        for layer in self.layers:
            v = np.concatenate([values[name] for name in layer.inputs], axis=2)
            if isinstance(layer, Linear):
                y = float_activation(
                    layer.activation, v @ layer.w.T + np.asarray(layer.bias), layer.slope
                )
                values[layer.name] = y
                continue
            made, state[layer.name] = _walk(layer, v, state[layer.name], real, trace is not None)
            values[layer.name] = made.pop(layer.name)
            gates |= made
        if trace is not None:
            for name, v in (gates | values).items():
                trace.setdefault(name, []).extend(v.swapaxes(0, 1))
        out = np.concatenate([values[name] for name in self.outputs], axis=2)
        return out[0] if single else out


def _walk(
    layer: Recurrent, x: FloatArray, start: tuple[FloatArray, FloatArray],
    lengths: npt.NDArray[np.int64] | None, every_gate: bool,
) -> tuple[dict[str, FloatArray], tuple[FloatArray, FloatArray]]:  # fmt: skip
    """Run a layer over (N, T, I), from either end.

    Returns
    -------
    (vectors, state)
        The layer's vector by its name and, where asked for, its gates and cell state, shape
        (N, T, H) each; the state after the walk.
    """
    h, c = start
    x = reverse_steps(x, lengths) if layer.reverse else x
    n, steps = x.shape[:2]
    made = {layer.name: np.empty((n, steps, layer.size))}
    for t in range(steps):
        h, c, gates = layer.step(x[:, t], h, c)
        made[layer.name][:, t] = h
        if not every_gate:
            continue
        kept = {f"{layer.name}.{gate}": a for gate, a in gates.items()}
        kept |= {f"{layer.name}.c": c} if layer.spec.has_cell_state else {}
        for name, a in kept.items():
            made.setdefault(name, np.empty((n, steps, layer.size)))[:, t] = a
    if layer.reverse:
        made = {name: reverse_steps(v, lengths) for name, v in made.items()}
    return made, (h, c)
