"""Configurations of Keras models: a tree of layers, and the calls that join them.

Keras 2 and 3 write the same facts in different notations; here they are one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError

__all__ = [
    "CELLS",
    "CONSTANTS",
    "CUDNN",
    "MODELS",
    "Call",
    "KerasLayer",
    "Tensor",
    "flatten",
    "layer_tree",
    "tensors",
]

MODELS = ("Sequential", "Functional", "Model")
CELLS = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}
CUDNN = {"CuDNNGRU": "GRU", "CuDNNLSTM": "LSTM"}
CONSTANTS = ("__numpy__", "__tensor__")
OPERATORS = {  # of Keras 2 on tensors
    "__operators__.add": "Add", "math.add": "Add", "math.subtract": "Subtract", "math.multiply": "Multiply",
    "math.truediv": "TrueDivide", "math.negative": "Negative", "concat": "Concatenate", "nn.relu": "Relu",
    "math.tanh": "Tanh", "math.sigmoid": "Sigmoid", "nn.softmax": "Softmax", "__operators__.getitem": "GetItem",
}  # fmt: skip


class Tensor(NamedTuple):
    """One result of one call of a layer."""

    layer: str
    call: int
    result: int


class Call(NamedTuple):
    """Arguments of one call; tensors are :class:`Tensor`."""

    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(eq=False)
class KerasLayer:
    """A layer, wrapper or model as the file states it.

    Parameters
    ----------
    kind, name : str
        Class and name.
    config : dict
        Settings.
    inner : tuple of KerasLayer
        Layers of a model; layer, cell or directions of a wrapper.
    place : str
        Group of its arrays in a ``.keras`` file.
    calls : tuple of Call
        Of a functional model's layers.
    first : int
        Number of the first call: Keras 2 counts the making of an inner model as one.
    weights : tuple of ndarray
        In Keras' order; of layers without inner ones.
    stored : tuple of str
        Where the arrays are in the file.
    """

    kind: str
    name: str
    config: dict[str, Any]
    inner: tuple[KerasLayer, ...]
    place: str
    calls: tuple[Call, ...] = ()
    first: int = 0
    weights: tuple[FloatArray, ...] = ()
    stored: tuple[str, ...] = field(default=(), repr=False)

    def leaves(self) -> Iterator[KerasLayer]:
        """Yield the layers that hold arrays themselves."""
        if not self.inner:
            yield self
        for each in self.inner:
            yield from each.leaves()

    def branches(self) -> Iterator[KerasLayer]:
        """Yield it and everything inside it."""
        yield self
        for each in self.inner:
            yield from each.branches()

    @property
    def trainable(self) -> bool:
        """True if training changes it: older files sort arrays by that."""
        return bool(self.config.get("trainable", True))

    @property
    def counts(self) -> tuple[int, int]:
        """Number of its own arrays: trained, and others."""
        config, bias = self.config, bool(self.config.get("use_bias", True))
        kind = self.kind.removesuffix("Cell")
        if kind in CELLS or kind == "Dense":
            return (2 if kind in CELLS else 1) + bias, 0
        if kind == "BatchNormalization":
            return bool(config.get("scale", True)) + bool(config.get("center", True)), 2
        if kind == "Normalization":
            return 0, 0 if config.get("mean") is not None else 3
        return {**dict.fromkeys(CUDNN, 3), "Embedding": 1, "PReLU": 1}.get(kind, 0), 0

    @property
    def used(self) -> int:
        """Number of arrays that count; the third of a Normalization says how many samples it saw."""
        return 2 if self.kind == "Normalization" else 64


def layer_tree(entry: Any, place: str = "", model: bool = False) -> KerasLayer:
    """Read an entry and what is inside it.

    Parameters
    ----------
    entry : object
        With ``class_name`` and ``config``.
    place : str
        Group of its arrays.
    model : bool
        Whether the entry is the whole model of a file.
    """
    if not isinstance(entry, dict):
        raise InputError("the model's list of layers is empty or damaged; save the model again")
    kind, config = str(entry.get("class_name")), entry.get("config")
    if model and kind not in MODELS:
        raise InputError(
            f"the model is of class {kind!r}; Sequential and Functional models are supported: call "
            "yours on a keras.Input, and save keras.Model(inputs, outputs)"
        )
    if kind in MODELS and not isinstance(config, dict):  # of early Keras 2: a plain list
        config = {"layers": config}
    if not isinstance(config, dict):
        raise InputError(f"a layer of class {kind} has no settings; save the model again")
    name = str(entry.get("name") or config.get("name") or _group(kind))
    inner, seen = [], Counter[str]()
    for group, each in _parts(kind, config, name):
        number, one = seen[group], f"{place}/{group}".strip("/")
        seen[group] += 1
        inner.append(layer_tree(each, f"{one}_{number}" if number else one))
    calls = entry.get("inbound_nodes") or []
    first = int(
        bool(inner) and inner[0].kind == "InputLayer" and isinstance([*calls, None][0], list)
    )
    kind = OPERATORS.get(str(config.get("function")), kind) if kind.endswith("OpLambda") else kind
    return KerasLayer(
        kind, name, config, tuple(inner), place, tuple(_call(c) for c in calls), first
    )


def _parts(kind: str, config: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    """Return what is inside a layer, and where below its own arrays Keras 3 puts those of each."""

    def due(key: str) -> dict[str, Any]:
        value = config.get(key)
        if not isinstance(value, dict):
            raise InputError(f"{name}: {kind} has no setting {key!r}; save the model again")
        return value

    if kind in MODELS:
        layers = config.get("layers")
        if not isinstance(layers, list) or not layers or not all(map(_is_entry, layers)):
            raise InputError("the model's list of layers is empty or damaged; save the model again")
        return [(f"layers/{_group(str(each.get('class_name')))}", each) for each in layers]
    if kind == "Bidirectional":
        back = config.get("backward_layer") or due("layer")
        return [("forward_layer", due("layer")), ("backward_layer", back)]
    if kind == "TimeDistributed":
        return [("layer", due("layer"))]
    if kind in ("RNN", "StackedRNNCells"):
        cells = config.get("cell") if kind == "RNN" else config.get("cells")
        if isinstance(cells, list) and all(map(_is_entry, cells)):
            where = "cell/cells" if kind == "RNN" else "cells"
            return [(f"{where}/{_group(str(each.get('class_name')))}", each) for each in cells]
        return [("cell", due("cell"))]
    return []


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict)


def _group(kind: str) -> str:
    """Keras' snake case of a class name: ReLU is ``re_lu``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


def _call(node: Any) -> Call:
    """Read an entry of ``inbound_nodes``: a mapping in Keras 3, nested lists in Keras 2."""
    if isinstance(node, dict):
        kwargs = tensors(node.get("kwargs") or {})
        args = tensors(node.get("args") or [])
        return Call(
            args if isinstance(args, list) else [args], kwargs if isinstance(kwargs, dict) else {}
        )
    first = node
    while isinstance(first, list) and first and isinstance(first[0], list):
        first = first[0]
    options = first[3] if isinstance(first, list) and len(first) > 3 else {}
    options = tensors(options) if isinstance(options, dict) else {}
    return Call([tensors(node)], options)


def tensors(value: Any) -> Any:
    """Put tensors, arrays and slices in the place of what a file writes for them."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            constant = value[0] == "_CONSTANT_VALUE"
            return tensors(value[2]) if constant else Tensor(value[0], value[1], int(value[2]))
        return [tensors(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, dict):
        layer, call, result = config["keras_history"]
        return Tensor(str(layer), int(call), int(result))
    if kind in CONSTANTS and isinstance(config, dict):
        return np.asarray(config["value"], dtype=np.float64)
    if kind == "__slice__" and isinstance(config, dict):
        return slice(*(config.get(key) for key in ("start", "stop", "step")))
    if set(value) == {"start", "stop", "step"}:
        return slice(value["start"], value["stop"], value["step"])
    if kind in ("__tuple__", "__ellipsis__"):
        return ... if kind == "__ellipsis__" else tensors(value.get("items") or config or [])
    return {key: tensors(each) for key, each in value.items()}


def flatten(value: Any) -> list[Any]:
    """Return the leaves of nested lists and mappings, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf for each in value for leaf in flatten(each)]
    return [value]
