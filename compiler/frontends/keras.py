"""Reads Keras models (``.keras``, ``.h5``) as data, and checks them where Keras is installed.

Equations and gate order: the ``keras.layers`` reference for GRU, LSTM, SimpleRNN, Dense and
BatchNormalization.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError, InputError
from ..ir.model import Model
from .keras_file import KerasFile, KerasLayer, read_keras
from .stack import Stack

__all__ = ["load_keras"]

TOLERANCE = 1e-5
STEPS = 40
ACTIVATIONS = {
    "linear": "none", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid", "hard_tanh": "hard_tanh",
}  # fmt: skip
CELLS = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}
PASSIVE = {"InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout",
           "ActivityRegularization"}  # fmt: skip


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


class _Builder:
    """Turns the layers of a file into a stack, one method a class."""

    def __init__(self, file: KerasFile) -> None:
        self.file = file
        major = file.version.split(".")[0]
        # Keras 3 changed the hard sigmoid from 0.2x+0.5 to x/6+0.5.
        self.slope = 1 / 6 if major.isdigit() and int(major) >= 3 else 0.2
        self.stack = Stack(self._input_size())
        self.softmax = False
        self.flipped = False  # Keras' sequence is end first at this point

    def _input_size(self) -> int:
        first = self.file.layers[0]
        shape = first.config.get("batch_shape") or first.config.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) == 3 and isinstance(shape[-1], int):
            return shape[-1]
        if first.weights and first.kind in ("Dense", *CELLS) and first.weights[0].ndim == 2:
            return len(first.weights[0])
        raise InputError(
            f"the model's input has shape {shape}, expected (batch, steps, features); "
            "build the model with an Input layer and save it again"
        )

    def _arrays(self, layer: KerasLayer, count: int) -> tuple[FloatArray, ...]:
        if len(layer.weights) != count:
            raise InputError(
                f"{layer.name}: {len(layer.weights)} weight arrays in the file, expected {count}; "
                "save the built model again, as .keras of Keras 3 or as .h5"
            )
        return layer.weights

    def _act(self, value: Any, layer: KerasLayer) -> tuple[str, float]:
        return _activation(value, layer.name, self.slope)

    def _final_softmax(self, layer: KerasLayer, value: Any) -> bool:
        """Leave out a softmax that ends the model: it orders the outputs as they are."""
        if value != "softmax" or layer.name != self.file.layers[-1].name:
            return False
        self.softmax = True
        self.stack.notes.append(
            f"warning: {layer.name}: the final softmax is left out; outputs are its arguments"
        )
        return True

    def recurrent(self, layer: KerasLayer) -> None:
        backwards = bool(layer.config.get("go_backwards", False))
        self._cell(layer, self.flipped != backwards)
        # Keras leaves the outputs of such a layer in the order in which it made them.
        self.flipped = self.flipped != backwards
        self.stack.last_step = not layer.config.get("return_sequences", False)

    def bidirectional(self, layer: KerasLayer) -> None:
        if (mode := layer.config.get("merge_mode", "concat")) != "concat":
            raise InputError(
                f"{layer.name}: merge_mode {mode!r} is not supported; use 'concat', and a Dense "
                "layer where the sum or mean is wanted"
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

    def dense(self, layer: KerasLayer) -> None:
        config, bias = layer.config, bool(layer.config.get("use_bias", True))
        arrays = self._arrays(layer, 1 + bias)
        plain = self._final_softmax(layer, config.get("activation"))
        activation, slope = self._act(None if plain else config.get("activation"), layer)
        self.stack.linear(layer.name, arrays[0], arrays[1] if bias else None, activation, slope)

    def time_distributed(self, layer: KerasLayer) -> None:
        inner = layer.config.get("layer")
        inner = inner if isinstance(inner, dict) else {}
        if inner.get("class_name") != "Dense" or not isinstance(inner.get("config"), dict):
            raise InputError(f"{layer.name}: TimeDistributed is supported around Dense only")
        self.dense(KerasLayer("Dense", layer.name, inner["config"], layer.weights))

    def activation(self, layer: KerasLayer) -> None:
        if not self._final_softmax(layer, layer.config.get("activation")):
            self.stack.activate(layer.name, *self._act(layer.config.get("activation"), layer))

    def softmax_layer(self, layer: KerasLayer) -> None:
        if layer.config.get("axis", -1) not in (-1, 2) or not self._final_softmax(layer, "softmax"):
            raise InputError(f"{layer.name}: Softmax is supported as the last layer only")

    def relu(self, layer: KerasLayer) -> None:
        for key in ("max_value", "negative_slope", "threshold"):
            if layer.config.get(key):
                raise InputError(
                    f"{layer.name}: ReLU with {key} {layer.config[key]} is not supported"
                )
        if layer.config.get("max_value") == 0:
            raise InputError(f"{layer.name}: ReLU with max_value 0 is not supported")
        self.stack.activate(layer.name, "relu")

    def normalization(self, layer: KerasLayer) -> None:
        config, arrays = layer.config, list(layer.weights)
        axis = config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        if axis not in (-1, 1 if self.stack.last_step else 2):
            raise InputError(f"{layer.name}: normalization over axis {axis}; only features (-1)")
        scale_and_center = [bool(config.get(key, True)) for key in ("scale", "center")]
        self._arrays(layer, 2 + sum(scale_and_center))
        gamma = arrays.pop(0) if scale_and_center[0] else np.ones(self.stack.size)
        beta = arrays.pop(0) if scale_and_center[1] else np.zeros(self.stack.size)
        mean, variance = arrays
        epsilon = config.get("epsilon", 1e-3)
        if {a.shape for a in (gamma, beta, mean, variance)} != {(self.stack.size,)}:
            raise InputError(f"{layer.name}: arrays do not have one value a feature")
        if not isinstance(epsilon, (int, float)) or not (variance + epsilon > 0).all():
            raise InputError(f"{layer.name}: variance + epsilon is not positive; train again")
        scale = gamma / np.sqrt(variance + epsilon)
        self.stack.normalize(scale, beta - mean * scale)

    def masking(self, layer: KerasLayer) -> None:
        self.stack.notes.append(
            f"warning: {layer.name}: steps that equal {layer.config.get('mask_value')} in every "
            "feature are skipped by Keras but computed here; leave padded steps out"
        )

    def build(self) -> Model:
        """Return the model of all layers."""
        steps: dict[str, Callable[[KerasLayer], None]] = {
            **dict.fromkeys(CELLS, self.recurrent),
            **{kind: lambda _: None for kind in PASSIVE},
            "Dense": self.dense,
            "TimeDistributed": self.time_distributed,
            "Activation": self.activation,
            "Softmax": self.softmax_layer,
            "ReLU": self.relu,
            "BatchNormalization": self.normalization,
            "Masking": self.masking,
            "Bidirectional": self.bidirectional,
        }
        for layer in self.file.layers:
            if layer.kind not in steps:
                raise InputError(
                    f"{layer.name}: layer class {layer.kind} is not supported; "
                    f"supported: {', '.join(sorted(steps))}"
                )
            steps[layer.kind](layer)
        if self.flipped and not self.stack.last_step:
            self.stack.notes.append(
                "the file's model returns the sequence end first (go_backwards); here every output "
                "stands at its own step"
            )
        return self.stack.model(f"Keras {self.file.version or '(unknown version)'}")


def _harmless(config: Any) -> bool:
    """Return whether Keras would build nothing from a configuration but its own layers and settings."""
    if isinstance(config, list):
        return all(_harmless(value) for value in config)
    if not isinstance(config, dict):
        return True
    known = {*CELLS, *PASSIVE, "Dense", "TimeDistributed", "Bidirectional", "Activation", "Softmax", "ReLU",
             "BatchNormalization", "Masking", "Sequential", "Functional", "Model",
             "__keras_tensor__", "DTypePolicy"}  # fmt: skip
    kind, module = config.get("class_name"), config.get("module")
    settings = ("keras.initializers", "keras.regularizers", "keras.constraints")
    if kind is not None and kind not in known and module not in settings:
        return False
    return all(_harmless(value) for key, value in config.items() if key != "compile_config")


def _compare(path: pathlib.Path, builder: _Builder, model: Model) -> str:
    """Run the file in Keras on random input; return a note."""
    # Never start TensorFlow by surprise: use what the caller runs already, or PyTorch.
    if "keras" not in sys.modules:
        if not (importlib.util.find_spec("keras") and importlib.util.find_spec("torch")):
            return "not checked against Keras: Keras with PyTorch is not installed"
        os.environ.setdefault("KERAS_BACKEND", "torch")
    if not _harmless(builder.file.config):
        return "warning: not checked against Keras: the file names objects of other modules"
    try:
        import keras  # type: ignore[import-not-found]

        reference = keras.saving.load_model(path, compile=False, safe_mode=True)
        shape = reference.input_shape
        x = np.random.default_rng(0).normal(
            size=(shape[0] or 2, shape[1] or STEPS, model.input_size)
        )
        expected = np.asarray(reference.predict_on_batch(x.astype(np.float32)), dtype=np.float64)
    except Exception as error:  # whatever a broken installation or an older file brings
        return f"warning: not checked against Keras: {type(error).__name__}: {error}"[:300]
    y = model.run(x.astype(np.float32))
    if builder.softmax:
        y = np.exp(y - y.max(-1, keepdims=True))
        y /= y.sum(-1, keepdims=True)
    if expected.ndim == 2:
        y = y[:, 0 if builder.stack.reverse else -1]
    elif builder.flipped:
        y = y[:, ::-1]
    difference = float(np.abs(y - expected).max()) if y.shape == expected.shape else np.inf
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise CheckError(
            f"{path.name}: the imported model differs from Keras by {difference:.3g} on random "
            f"input, more than {TOLERANCE:g}; please report the file"
        )
    return f"checked against Keras {keras.__version__}: differs by {difference:.1e}"


def load_keras(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read a Keras model.

    Parameters
    ----------
    path : pathlib.Path
        ``.keras`` or ``.h5`` of a Sequential or functional chain.
    check : bool
        Also run the file in Keras on random input, where Keras is installed with PyTorch (or
        imported already), and compare within 1e-5.

    Returns
    -------
    Model
        Its notes say what was left out, folded or assumed.

    Raises
    ------
    InputError
        The file is damaged, or holds a layer or setting that is not supported, by name.
    CheckError
        The imported model differs from Keras.
    MissingToolError
        h5py is not installed.
    """
    path = pathlib.Path(path)
    builder = _Builder(read_keras(path))
    model = builder.build()
    if not check:
        return model
    note = _compare(path, builder, model)
    return Model(model.input_size, model.layers, model.outputs, model.source, (*model.notes, note))
