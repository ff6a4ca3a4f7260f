"""Recurrent layers of a Keras file: GRU, LSTM, SimpleRNN, their cells, and both directions.

Equations and gate order: the ``keras.layers`` reference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from .keras_file import KerasLayer
from .stack import Stack

__all__ = ["CELLS", "Cells"]

ACTIVATIONS = {
    "linear": "none", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid", "hard_tanh": "hard_tanh",
}  # fmt: skip
CELLS = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}


def _activation(value: Any, name: str, slope: float) -> tuple[str, float]:
    """Return the activation that a setting names, and the slope of a hard sigmoid."""
    if isinstance(value, dict):  # Keras 3 may wrap a function's name
        value = value.get("config")
    if value is None:
        value = "linear"
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise InputError(
            f"{name}: activation {value!r} is not supported; known: {', '.join(ACTIVATIONS)}, "
            "and softmax as the last layer"
        )
    return ACTIVATIONS[value], slope


class Cells:
    """Adds recurrent layers to a stack.

    Parameters
    ----------
    stack : Stack
    version : str
        Of Keras, as the file states it.

    Attributes
    ----------
    flipped : bool
        Keras' sequence is end first at this point.
    """

    def __init__(self, stack: Stack, version: str) -> None:
        major = version.split(".")[0]
        # Keras 3 changed the hard sigmoid from 0.2x+0.5 to x/6+0.5.
        self.slope = 1 / 6 if major.isdigit() and int(major) >= 3 else 0.2
        self.stack, self.flipped = stack, False

    def _arrays(self, layer: KerasLayer, count: int) -> tuple[FloatArray, ...]:
        if len(layer.weights) != count:
            raise InputError(
                f"{layer.name}: {len(layer.weights)} weight arrays in the file, expected {count}; "
                "save the built model again, as .keras of Keras 3 or as .h5"
            )
        return layer.weights

    def _act(self, value: Any, layer: KerasLayer) -> tuple[str, float]:
        return _activation(value, layer.name, self.slope)

    def recurrent(self, layer: KerasLayer) -> None:
        backwards = bool(layer.config.get("go_backwards", False))
        self._cell(layer, self.flipped != backwards)
        # Keras leaves the outputs of such a layer in the order in which it made them.
        self.flipped = self.flipped != backwards
        self.stack.last_step = not layer.config.get("return_sequences", False)

    def rnn(self, layer: KerasLayer) -> None:
        """Take ``RNN`` around one cell as the layer of that cell."""
        inner = layer.config.get("cell")
        kind = str(inner.get("class_name")) if isinstance(inner, dict) else ""
        settings = inner.get("config") if isinstance(inner, dict) else None
        if kind.removesuffix("Cell") not in CELLS or not isinstance(settings, dict):
            raise InputError(
                f"{layer.name}: RNN is supported around {', '.join(f'{k}Cell' for k in CELLS)}, one "
                "at a time"
            )
        walk = {k: v for k, v in layer.config.items() if k not in ("cell", "name")}
        merged = {**settings, **walk}
        self.recurrent(replace(layer, kind=kind.removesuffix("Cell"), config=merged))

    def bidirectional(self, layer: KerasLayer) -> None:
        mode = layer.config.get("merge_mode", "concat")
        if mode not in ("concat", "sum", "ave"):
            raise InputError(
                f"{layer.name}: merge_mode {mode!r} is not supported; use 'concat', 'sum' or 'ave'"
            )
        inner: Any = layer.config.get("layer")
        sides = []
        for k, side in enumerate((inner, layer.config.get("backward_layer") or inner)):
            side = side if isinstance(side, dict) else {}
            config = side.get("config")
            if not isinstance(config, dict) or side.get("class_name") not in CELLS:
                raise InputError(
                    f"{layer.name}: Bidirectional is supported around {', '.join(CELLS)}"
                )
            if not config.get("return_sequences", False):
                raise InputError(
                    f"{layer.name}: Bidirectional with return_sequences=False joins the last step "
                    "of one direction with the first of the other; use return_sequences=True"
                )
            if k == 0 and config.get("go_backwards"):
                raise InputError(f"{layer.name}: its forward layer has go_backwards set")
            half = len(layer.weights) // 2
            weights = layer.weights[half:] if k else layer.weights[:half]
            name = layer.name + "_reverse" * k
            sides.append(KerasLayer(side["class_name"], name, config, weights))
        self.stack.side_by_side(
            lambda: self._cell(sides[0], self.flipped),
            lambda: self._cell(sides[1], not self.flipped),
        )
        if mode != "concat":
            one = np.eye(self.stack.size // 2) * (0.5 if mode == "ave" else 1.0)
            self.stack.linear(f"{layer.name}_{mode}", np.concatenate([one, one]), None)

    def _cell(self, layer: KerasLayer, reverse: bool) -> None:
        config, stack = layer.config, self.stack
        if config.get("time_major"):
            raise InputError(f"{layer.name}: time_major is not supported; put the batch first")
        if config.get("return_state"):
            raise InputError(f"{layer.name}: return_state is not supported; set it to False")
        cell = CELLS[layer.kind]
        if cell == "gru" and not config.get("reset_after", False):
            cell = "gru_reset_before"
        bias = bool(config.get("use_bias", True))
        arrays = self._arrays(layer, 2 + bias)
        candidate, slope = self._act(config.get("activation", "tanh"), layer)
        gate, slope = (
            ("sigmoid", slope)
            if cell == "rnn"
            else self._act(config.get("recurrent_activation", "sigmoid"), layer)
        )
        if cell == "lstm" and candidate != "tanh":
            raise InputError(
                f"{layer.name}: LSTM with activation {config.get('activation')!r} is not supported "
                "(its output activation is tanh here); use tanh"
            )
        stack.recurrent(
            layer.name, cell, arrays[0], arrays[1], arrays[2] if bias else None,
            gate=gate, candidate=candidate, slope=slope, reverse=reverse,
        )  # fmt: skip
        if config.get("stateful"):
            stack.notes.append(
                f"{layer.name}: stateful in Keras; here the caller resets or keeps h"
            )
