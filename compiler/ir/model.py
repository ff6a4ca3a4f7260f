"""The float model every importer produces: named layers, checked shapes, one evaluation.

Data flows through named vectors. ``x`` is the model's input; every layer names the
vectors it reads (concatenated in that order) and makes one vector with its own name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, check_lengths, reverse_steps
from ..errors import InputError
from ..numerics.activation import float_activation
from ..shown import Shown
from .layers import SIZE_LIMIT, Layer, Linear, Recurrent

__all__ = [
    "SIZE_LIMIT",
    "Layer",
    "Linear",
    "Model",
    "Recurrent",
]

SHOWN = 6
"""Layers that are named at a glance."""


@dataclass(frozen=True, eq=False, repr=False)
class Model(Shown):
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
    not_compared : tuple of str
        What was taken for granted: compared with nothing that the user's own model gave.
    """

    input_size: int
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

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

    def facts(self) -> dict[str, str]:
        """Return layers, sizes, and what is taken for granted."""
        shown = ", ".join(layer.facts()["layer"] for layer in self.layers[:SHOWN])
        more = len(self.layers) - SHOWN
        open_ = {"not compared": f"not compared: {'; '.join(self.not_compared)}"}
        return {
            "layers": shown + (f" and {more} more" if more > 0 else ""),
            "parameters": f"{self.parameters:,} parameters",
            "work": f"{self.macs:,} multiply-accumulates a step",
        } | (open_ if self.not_compared else {})

    @property
    def streams(self) -> bool:
        """True if one sweep from the first step to the last computes it: no layer is reversed."""
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
