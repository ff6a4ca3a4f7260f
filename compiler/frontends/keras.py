"""Reads Keras models (``.keras``, ``.h5``) as data, and checks them where Keras is installed.

Equations and gate order: the ``keras.layers`` reference for GRU, LSTM, SimpleRNN, Dense and
BatchNormalization.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..ir.model import Model
from .format import Format
from .json_file import numbers
from .keras_cells import CELLS, Cells
from .keras_check import check_file
from .keras_file import KerasFile, KerasLayer, read_keras
from .stack import Stack

__all__ = ["FORMAT", "load_keras"]

PASSIVE = {"InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout",
           "ActivityRegularization"}  # fmt: skip


class _Place(NamedTuple):
    """State after a layer: vectors on top, what is not folded yet, and the order of steps."""

    top: tuple[str, ...]
    pending: tuple[FloatArray, FloatArray] | None
    last_step: bool
    reverse: bool
    flipped: bool


class _Builder(Cells):
    """Turns the layers of a file into a stack, one method a class."""

    def __init__(self, file: KerasFile) -> None:
        self.file = file
        super().__init__(Stack(self._input_size()), file.version)
        self.softmax = False
        self.places: dict[str, _Place] = {}

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

    def _final_softmax(self, layer: KerasLayer, value: Any) -> bool:
        """Leave out a softmax that ends the model: it orders the outputs as they are."""
        if value != "softmax" or layer.name != self.file.output:
            return False
        self.softmax = True
        self.stack.notes.append(
            f"warning: {layer.name}: the final softmax is left out; outputs are its arguments"
        )
        return True

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

    def standardize(self, layer: KerasLayer) -> None:
        config = layer.config
        if config.get("invert"):
            raise InputError(f"{layer.name}: Normalization with invert=True is not supported")
        mean, variance = (config.get(key) for key in ("mean", "variance"))
        if mean is None or variance is None:
            mean, variance = self._arrays(layer, 2)
        mean, variance = (self._per_feature(layer, v) for v in (mean, variance))
        scale = 1 / np.maximum(np.sqrt(variance), 1e-7)  # keras.backend.epsilon
        self.stack.normalize(scale, -mean * scale)

    def rescale(self, layer: KerasLayer) -> None:
        scale, offset = (layer.config.get(key, d) for key, d in (("scale", 1.0), ("offset", 0.0)))
        self.stack.normalize(self._per_feature(layer, scale), self._per_feature(layer, offset))

    def _per_feature(self, layer: KerasLayer, value: Any) -> FloatArray:
        """Return one number a feature, where the setting is one for all or one for each."""
        array = numbers(value, f"{layer.name}: a setting").ravel()
        if array.size not in (1, self.stack.size):
            raise InputError(
                f"{layer.name}: {array.size} values for {self.stack.size} features; only one for all "
                "or one a feature is supported"
            )
        return np.broadcast_to(array, (self.stack.size,))

    def _place(self) -> _Place:
        stack = self.stack
        reverse = stack.reverse and stack.last_step  # of every step it says nothing
        return _Place(stack.top, stack.pending, stack.last_step, reverse, self.flipped)

    def _set(self, place: _Place) -> None:
        stack = self.stack
        stack.top, stack.pending, stack.last_step, stack.reverse, self.flipped = place

    def _go_to(self, layer: KerasLayer) -> None:
        """Put what a layer reads on top; what several read is finished first, and not changed."""
        for name in layer.inputs:
            readers = sum(each.inputs.count(name) for each in self.file.layers)
            self._set(self.places[name])
            if readers > 1 and self.stack.pending is not None:
                self.stack.linear(f"{name}_scaled", np.eye(self.stack.size), None)
                self.places[name] = self._place()
            if readers > 1:
                self.stack.kept |= set(self.stack.top)
        if len(layer.inputs) > 1 and layer.kind not in ("Add", "Concatenate"):
            raise InputError(
                f"{layer.name}: {layer.kind} reads {', '.join(layer.inputs)}; one is due"
            )

    def _joined(self, layer: KerasLayer) -> list[tuple[str, ...]]:
        """Return the vectors of every input, all of the same steps."""
        places = []
        for name in layer.inputs:
            self._set(self.places[name])
            if self.stack.pending is not None:
                self.stack.linear(f"{name}_scaled", np.eye(self.stack.size), None)
            places.append(self._place())
        if len({place[2:] for place in places}) > 1:
            raise InputError(
                f"{layer.name}: its inputs are of different steps; that is not supported"
            )
        return [place.top for place in places]

    def add(self, layer: KerasLayer) -> None:
        first, *others = self._joined(layer)
        for other in others:
            first = self.stack.sum_of(layer.name, first, other)

    def concatenate(self, layer: KerasLayer) -> None:
        tops = self._joined(layer)
        if layer.config.get("axis", -1) not in (-1, 1 if self.stack.last_step else 2):
            raise InputError(f"{layer.name}: Concatenate over axis {layer.config['axis']}; only -1")
        self.stack.top = tuple(name for top in tops for name in top)

    def masking(self, layer: KerasLayer) -> None:
        self.stack.notes.append(
            f"warning: {layer.name}: steps that equal {layer.config.get('mask_value')} in every "
            "feature are skipped by Keras but computed here; leave padded steps out"
        )

    def steps(self) -> dict[str, Callable[[KerasLayer], None]]:
        """Return what to do with a layer, by its class."""
        return {
            **dict.fromkeys(CELLS, self.recurrent),
            **{kind: lambda _: None for kind in PASSIVE},
            "Dense": self.dense,
            "TimeDistributed": self.time_distributed,
            "Activation": self.activation,
            "Softmax": self.softmax_layer,
            "ReLU": self.relu,
            "BatchNormalization": self.normalization,
            "Normalization": self.standardize,
            "Rescaling": self.rescale,
            "Masking": self.masking,
            "Bidirectional": self.bidirectional,
            "RNN": self.rnn,
            "Add": self.add,
            "Concatenate": self.concatenate,
        }

    def build(self) -> Model:
        """Return the model of all layers."""
        steps = self.steps()
        for layer in self.file.layers:
            if layer.kind in ("CuDNNGRU", "CuDNNLSTM"):
                raise InputError(
                    f"{layer.name}: {layer.kind} stores its weights for one library: load the file in "
                    f"Keras 2, copy the weights into {layer.kind[5:]} (GRU with reset_after=True) by "
                    "set_weights, and save that model"
                )
            if layer.kind not in steps:
                raise InputError(
                    f"{layer.name}: layer class {layer.kind} is not supported; "
                    f"supported: {', '.join(sorted(steps))}"
                )
            self._go_to(layer)
            steps[layer.kind](layer)
            self.places[layer.name] = self._place()
        self._set(self.places[self.file.output])
        if self.flipped and not self.stack.last_step:
            self.stack.notes.append(
                "the file's model returns the sequence end first (go_backwards); here every output "
                "stands at its own step"
            )
        return self.stack.model(f"Keras {self.file.version or '(unknown version)'}")


def load_keras(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read a Keras model.

    Parameters
    ----------
    path : pathlib.Path
        ``.keras`` or ``.h5`` of a Sequential or functional model with one input and one output.
    check : bool
        Also run the file in Keras on random input, in float64, where Keras is installed with
        PyTorch (or imported already).

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
    note, open_ = check_file(
        path, builder.file, model, frozenset(builder.steps()), softmax=builder.softmax,
        flipped=builder.flipped, first=builder.stack.reverse,
    )  # fmt: skip
    return replace(model, notes=(*model.notes, note), not_compared=open_)


FORMAT = Format(
    "Keras 3 and HDF5: recurrent layers, Dense, normalization, Add, Concatenate",
    (".keras", ".h5"),
    "keras",
    load_keras,
)
