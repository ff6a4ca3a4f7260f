"""A walk over the layers of a Keras model, in the order of its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InputError
from .graph import Graph
from .graph_clip import clip
from .keras_config import MODELS, Call, KerasLayer, Tensor, flatten, tensors
from .keras_file import KerasFile

__all__ = ["Translation", "Walk"]

ACTIVATIONS = {
    "linear": "none", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid", "hard_tanh": "hard_tanh",
}  # fmt: skip
ADVICE = {
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"),
        "its scale depends on the data of each step; train with BatchNormalization, which is folded",
    ),
    **dict.fromkeys(
        ("Lambda", "TFOpLambda", "SlicingOpLambda"),
        "it runs Python code that is not in the file; build it of layers: Rescaling, Add, Activation",
    ),
    **dict.fromkeys(
        ("Conv1D", "SeparableConv1D", "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D",
         "GlobalAveragePooling1D", "UpSampling1D", "ZeroPadding1D", "STFTSpectrogram"),
        "it reads several steps at once and is for the host; save the recurrent part as a model of its "
        "own: keras.Model(x, y)",
    ),
    **dict.fromkeys(
        ("Attention", "AdditiveAttention", "MultiHeadAttention", "Multiply", "Dot"),
        "it multiplies vectors that depend on the input; only recurrent cells do that",
    ),
}  # fmt: skip


class Walk:
    """One translation of a file into a graph.

    Parameters
    ----------
    file : KerasFile
    layers : mapping of str -> callable
        Translation of each class: of the walk, the layer, its tensors and its other arguments;
        returns a tensor or a list.

    Attributes
    ----------
    slope : float
        Of the hard sigmoid, which Keras 3 changed from 0.2 x + 0.5 to x / 6 + 0.5.
    notes : list of str
    """

    def __init__(self, file: KerasFile, layers: Mapping[str, Translation]) -> None:
        self.graph = Graph(recurrent_layers="(GRU, LSTM, SimpleRNN or RNN)")
        self.layers = layers
        self.slope = 0.2 if file.old else 1 / 6
        self.notes: list[str] = []
        self.path: list[str] = []

    def refuse(self, text: str) -> NoReturn:
        """Raise an error that names the layer."""
        self.graph.refuse(text)

    def arrays(self, layer: KerasLayer, count: int | None = None) -> tuple[FloatArray, ...]:
        """Return a layer's arrays, which must be as many as its settings say."""
        wanted = sum(layer.counts) if count is None else count
        if len(layer.weights) != wanted:
            self.refuse(
                f"{len(layer.weights)} weight arrays in the file, expected {wanted}; save the built "
                "model again, as .keras of Keras 3 or as .h5"
            )
        return layer.weights

    def activation_name(self, value: Any) -> str:
        """Return our name of an activation that a setting names."""
        name = _function(value)
        if name not in ACTIVATIONS:
            self.refuse(f"activation {name!r} is not supported; known: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def activate(self, x: IntArray, value: Any) -> IntArray:
        """Apply the activation that a setting names."""
        kind = str(value.get("class_name")) if isinstance(value, dict) else ""
        if kind in self.layers and isinstance(value["config"], dict):  # a layer as an activation
            return self.call(KerasLayer(kind, self.graph.name, value["config"], (), ""), [x], {})[0]
        name = _function(value)
        if name in ("softmax", "log_softmax"):
            return self.graph.softmax(x, -1, name)
        if name in ("relu6", "leaky_relu"):
            return self.relu(x, *((6.0, 0.0) if name == "relu6" else (None, 0.2)))
        name = self.activation_name(value)
        return x if name == "none" else self.graph.activation(x, name, self.slope)

    def relu(self, x: IntArray, most: float | None, slope: FloatArray | float) -> IntArray:
        """Apply a ReLU with a limit or a slope on the left, of plain ones."""
        graph = self.graph
        y = clip(graph, x, 0.0, most)
        if np.any(slope):
            below = graph.activation(graph.combine([(x, -1.0)]), "relu")
            y = graph.combine([(y, 1.0), (below, -np.asarray(slope, dtype=float))])
        return y

    def call(self, layer: KerasLayer, args: list[Any], kwargs: dict[str, Any]) -> list[IntArray]:
        """Call a layer or an inner model."""
        self.path.append(layer.name)
        before = self.graph.place, self.graph.name
        self.graph.place = self.graph.name = "/".join(self.path)
        try:
            if kwargs.get("training") and layer.kind not in MODELS:
                self.refuse("is called with training=True; call it without, as inference does")
            if kwargs.get("mask") is not None:
                self.refuse("is called with a mask; leave padded steps out instead")
            if layer.kind in MODELS:
                return self.model(layer, flatten(args))
            if layer.kind not in self.layers:
                known = f"taken are: {', '.join(sorted(self.layers))}"
                self.refuse(
                    f"layer class {layer.kind} is not supported; {ADVICE.get(layer.kind, known)}"
                )
            made = self.layers[layer.kind](self, layer, args, kwargs)
            return made if isinstance(made, list) else [made]
        except InputError:
            raise
        except (
            ValueError,
            IndexError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
        ) as error:
            raise InputError(
                f"{self.graph.place}: {layer.kind} has settings, weights or inputs that do not fit "
                f"({type(error).__name__}: {error}); save the built model again"
            ) from error
        finally:
            self.path.pop()
            self.graph.place, self.graph.name = before

    def model(self, model: KerasLayer, inputs: list[Any]) -> list[IntArray]:
        """Evaluate a model; what no output needs is left out, as by Keras."""
        if model.kind == "Sequential":
            x = inputs
            for layer in model.inner:
                if len(x) > 1:
                    self.refuse(
                        f"{layer.name} reads {len(x)} tensors, one is due in a Sequential model"
                    )
                x = x if layer.kind == "InputLayer" else self.call(layer, x, {})
            return x
        layers = {layer.name: layer for layer in model.inner}
        given = [t for t in flatten(tensors([model.config.get("input_layers")])) if t is not None]
        outputs = [
            t for t in flatten(tensors([model.config.get("output_layers")])) if t is not None
        ]
        if not outputs or not all(isinstance(t, Tensor) for t in (*given, *outputs)):
            self.refuse("the model does not say its outputs; save it again")
        if len(given) != len(inputs):
            names = ", ".join(t.layer for t in given)
            self.refuse(
                f"the model has {len(given)} inputs ({names}); one is supported: give one tensor with the "
                "features of all, cut by x[:, :, :n]"
            )
        done = {(t.layer, t.call): [x] for t, x in zip(given, inputs, strict=True)}
        pending, waiting = [t[:2] for t in reversed(outputs)], set[tuple[str, int]]()
        while pending:
            name, number = at = pending[-1]
            if at in done:
                pending.pop()
                continue
            if name not in layers or not 0 <= number - layers[name].first < len(layers[name].calls):
                self.refuse(f"layer {name!r} is read, but is not in the file or reads nothing")
            layer = layers[name]
            call = layer.calls[number - layer.first]
            needs = [t[:2] for t in flatten([call.args, call.kwargs]) if isinstance(t, Tensor)]
            if missing := [t for t in needs if t not in done]:
                if at in waiting:
                    self.refuse(f"layer {name!r} reads its own output; save the model again")
                waiting.add(at)
                pending += missing
                continue
            args, kwargs = _bound(list(call), done)
            done[at] = self.call(layer, args, kwargs)
        return [done[t[:2]][t.result] for t in outputs]


Translation = Callable[[Walk, KerasLayer, list[Any], dict[str, Any]], Any]


def _bound(value: Any, done: dict[tuple[str, int], list[IntArray]]) -> Any:
    """Put arrays in the place of tensors."""
    if isinstance(value, Tensor):
        return done[value[:2]][value.result]
    if isinstance(value, (list, Call)):
        return [_bound(each, done) for each in value]
    return {k: _bound(v, done) for k, v in value.items()} if isinstance(value, dict) else value


def _function(value: Any) -> Any:
    """Return the name of a function, which Keras 3 may wrap."""
    while isinstance(value, dict):
        value = value.get("config")
    return "linear" if value is None else value if isinstance(value, str) else repr(value)[:40]
