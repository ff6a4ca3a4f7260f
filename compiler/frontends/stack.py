"""Layers in Keras' weight layout, stacked into a model.

Keras files and RTNeural JSON share this layout: kernels are (inputs, gates * units), gates
side by side in the order z r h (GRU), i f c o (LSTM); see the ``keras.layers`` reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import InputError
from ..ir.model import Layer, Linear, Model, Recurrent
from .sums import add_vectors

__all__ = ["Stack", "gate_columns"]

GATES = {"gru": ("z", "r", "n"), "lstm": ("i", "f", "g", "o"), "rnn": ("n",)}


def gate_columns(gates: tuple[str, ...], matrix: npt.ArrayLike, what: str) -> dict[str, FloatArray]:
    """Split ``(..., gates * H)`` into one transposed block per gate, shape (H, ...).

    Raises
    ------
    InputError
        The last axis does not hold a whole number of gates.
    """
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] % len(gates):
        raise InputError(
            f"{what} has shape {array.shape}; its last axis must hold {len(gates)} gates"
        )
    return {g: part.T for g, part in zip(gates, np.split(array, len(gates), -1), strict=True)}


@dataclass
class Stack:
    """A model under construction in which every layer reads the one before.

    Parameters
    ----------
    input_size : int
        Features of ``x``.
    layers, notes : list
        What was added so far.
    last_step : bool
        A layer handed on its last step only: from here on, layers must be free of memory.
    pending : (scale, shift), optional
        Normalization not yet folded into a layer.
    top : tuple of str
        Vectors that the next layer reads, joined.
    reverse : bool
        The last recurrent layer walks sequences from their end: its last step is the first.
    kept : set of str
        Vectors that others read as they are: nothing may be fused into their layers.
    """

    input_size: int
    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last_step: bool = False
    pending: tuple[FloatArray, FloatArray] | None = None
    top: tuple[str, ...] = ("x",)
    reverse: bool = False
    kept: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Size of the vectors on top."""
        sizes = {"x": self.input_size} | {layer.name: layer.size for layer in self.layers}
        return sum(sizes[name] for name in self.top)

    @property
    def _open(self) -> Linear | None:
        """The linear layer on top, where it can still be changed."""
        layer = self.layers[-1] if self.layers and self.top == (self.layers[-1].name,) else None
        if layer is not None and layer.name in self.kept:
            return None
        return layer if isinstance(layer, Linear) and layer.activation == "none" else None

    def _push(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.top, self.pending = (layer.name,), None

    def _place(self, name: str) -> dict[str, Any]:
        clean = re.sub(r"\W+", "_", name).strip("_") or "layer"
        taken = {"x", *(layer.name for layer in self.layers)}
        unique = next(
            n
            for n in (clean, *(f"{clean}_{k}" for k in range(1, len(taken) + 1)))
            if n not in taken
        )
        return {"name": unique, "inputs": self.top}

    def _fold_input(self, name: str, w: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Put a pending normalization into the weights that read it: W (s*x + t) + b."""
        if w.ndim != 2 or w.shape[1] != self.size:
            raise InputError(f"{name}: weights take {w.shape[1:]} inputs, but {self.size} come in")
        if self.pending is None:
            return w, b
        scale, shift = self.pending
        return w * scale, b + w @ shift

    def linear(
        self, name: str, kernel: npt.ArrayLike, bias: npt.ArrayLike | None,
        activation: str = "none", slope: float = 0.2,
    ) -> None:  # fmt: skip
        """Add a dense layer; ``kernel`` has shape (inputs, outputs)."""
        w = np.asarray(kernel, dtype=np.float64).T
        if w.ndim != 2:
            raise InputError(f"{name}: kernel has shape {w.T.shape}, expected (inputs, outputs)")
        b = np.zeros(len(w)) if bias is None else np.asarray(bias, dtype=np.float64)
        if b.shape != (len(w),):
            raise InputError(f"{name}: bias has shape {b.shape}, expected {(len(w),)}")
        w, b = self._fold_input(name, w, b)
        self._push(
            Linear(**self._place(name), weight=w, bias=b, activation=activation, slope=slope)
        )

    def recurrent(
        self, name: str, cell: str, kernel: npt.ArrayLike, recurrent: npt.ArrayLike,
        bias: npt.ArrayLike | None, *, gate: str = "sigmoid", candidate: str = "tanh",
        slope: float = 0.2, reverse: bool = False,
    ) -> None:  # fmt: skip
        """Add a recurrent layer.

        Parameters
        ----------
        cell : {'gru', 'gru_reset_before', 'lstm', 'rnn'}
        kernel, recurrent : shapes (I, gates * H), (H, gates * H)
        bias : shape (gates * H,), or (2, gates * H) with a row for each product, or None
        gate, candidate, slope : activations, see :class:`~.model.Recurrent`
        """
        if self.last_step:
            raise InputError(
                f"{name}: a recurrent layer reads a layer that hands on its last step only; "
                "let that one return its whole sequence"
            )
        gates = GATES[cell.removesuffix("_reset_before")]
        w = gate_columns(gates, kernel, f"{name}: kernel")
        u = gate_columns(gates, recurrent, f"{name}: recurrent kernel")
        size = len(u[gates[0]])
        rows = np.zeros((2, len(gates) * size))
        if bias is not None:
            given = np.atleast_2d(np.asarray(bias, dtype=np.float64))
            wanted = 2 if cell == "gru" else 1
            if given.shape != (wanted, len(gates) * size):
                raise InputError(
                    f"{name}: bias has shape {np.shape(bias)}, expected "
                    f"{wanted} row(s) of {len(gates) * size} for cell {cell!r}"
                )
            rows[:wanted] = given
        b, c = (gate_columns(gates, row, f"{name}: bias") for row in rows)
        for g in gates:
            if len(w[g]) != size:
                raise InputError(f"{name}: kernel has {len(w[g])} units, recurrent kernel {size}")
            w[g], b[g] = self._fold_input(name, w[g], b[g])
        self._push(
            Recurrent(
                **self._place(name), cell=cell, size=size, input_size=self.size, w=w, u=u, b=b, c=c,
                gate=gate, candidate=candidate, slope=slope, reverse=reverse,
            )
        )  # fmt: skip
        self.reverse = reverse

    def side_by_side(self, *add: Callable[[], None]) -> None:
        """Add layers that all read what is on top now; their vectors together are the new top."""
        before, made = (self.top, self.pending), list[str]()
        for one in add:
            self.top, self.pending = before
            one()
            made += self.top
        self.top = tuple(made)

    def activate(self, name: str, activation: str, slope: float = 0.2) -> None:
        """Apply an activation: fused into a linear layer, else as a layer of its own."""
        if activation == "none":
            return
        top = self._open
        if top is not None and self.pending is None:
            self.layers[-1] = replace(top, activation=activation, slope=slope)
        else:
            self.linear(name, np.eye(self.size), None, activation, slope)

    def sum_of(self, name: str, first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
        """Add two vectors, in the linear layer before where nothing else reads that."""
        sizes = {"x": self.input_size} | {layer.name: layer.size for layer in self.layers}
        self.top = first
        fuse = bool(self.layers) and self.layers[-1].name not in self.kept
        self.top = add_vectors(
            self.layers, sizes, first, second, self._place(name)["name"], fuse=fuse
        )
        return self.top

    def add_input(self, name: str) -> None:
        """Add the first features of x to what is on top."""
        if self.size > self.input_size:
            raise InputError(
                f"{name}: {self.size} outputs, but x has {self.input_size} features to add to them"
            )
        if self._open is None or "x" in self._open.inputs or self.pending is not None:
            self.linear(name, np.eye(self.size), None)
        top = self.layers[-1]
        if isinstance(top, Linear):
            weight = np.concatenate([top.w, np.eye(top.size, self.input_size)], axis=1)
            self.layers[-1] = replace(top, inputs=(*top.inputs, "x"), weight=weight)

    def normalize(self, scale: FloatArray, shift: FloatArray) -> None:
        """Apply ``scale * y + shift``, folded exactly into the layer before or after."""
        if scale.shape != (self.size,) or shift.shape != (self.size,):
            raise InputError(f"normalization has shape {scale.shape}, expected {(self.size,)}")
        top = self._open
        if self.pending is not None:
            first, offset = self.pending
            self.pending = first * scale, offset * scale + shift
        elif top is not None:
            bias = scale * np.asarray(top.bias) + shift
            self.layers[-1] = replace(top, weight=top.w * scale[:, None], bias=bias)
        else:
            self.pending = scale, shift

    def model(self, source: str) -> Model:
        """Return the finished model."""
        if self.pending is not None:
            self.linear("normalization", np.eye(self.size), None)
        if self.layers and "x" in self.top:  # outputs are layers
            self.linear("output", np.eye(self.size), None)
        if self.last_step:
            which = "first step, the last of its walk" if self.reverse else "last step"
            self.notes.append(f"the file's model returns the {which}; here every step is output")
        return Model(self.input_size, tuple(self.layers), self.top, source, tuple(self.notes))
