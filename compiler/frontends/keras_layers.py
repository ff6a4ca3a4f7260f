"""Layers and operators of Keras without a state, as calls of :class:`~.graph.Graph`.

Settings and equations: the ``keras.layers`` reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from .graph_clip import clip
from .json_file import numbers
from .keras_config import KerasLayer, flatten
from .keras_walk import Translation, Walk

__all__ = ["LAYERS"]

Args = list[Any]
Kwargs = dict[str, Any]
SMALLEST = 1e-7  # keras.backend.epsilon()


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "i"


def _one(walk: Walk, args: Args) -> IntArray:
    values = flatten(args)
    if len(values) != 1 or not _is_tensor(values[0]):
        walk.refuse(f"reads {len(values)} inputs; one tensor is due")
    return np.asarray(values[0])


def _plain(translate: Callable[[Walk, KerasLayer, IntArray], Any]) -> Translation:
    """Translate a layer that reads one tensor and nothing else."""
    return lambda walk, layer, args, kwargs: translate(walk, layer, _one(walk, args))


def _moved(move: Callable[[IntArray, dict[str, Any]], IntArray]) -> Translation:
    """Translate what only moves elements."""
    return _plain(lambda walk, layer, x: move(x, layer.config))


def _dense(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    kernel, *bias = walk.arrays(layer)
    y = walk.graph.linear(x, kernel.T, bias[0] if bias else None)
    return walk.activate(y, layer.config.get("activation"))


def _embedding(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    if layer.config.get("mask_zero"):
        walk.notes.append(
            f"warning: {walk.graph.place}: steps of token 0 are skipped by Keras but computed here; "
            "leave padded steps out"
        )
    return walk.graph.embedding(x, walk.arrays(layer)[0])


def _time_distributed(walk: Walk, layer: KerasLayer, args: Args, kwargs: Kwargs) -> Any:
    x = _one(walk, args)
    if x.ndim < 3:
        walk.refuse(f"reads a tensor of {x.ndim} axes; three and more are due")
    inner, each = layer.inner[0], [x.reshape(-1, *x.shape[2:])]
    if inner.kind in walk.layers:  # under the wrapper's own name
        made = flatten(walk.layers[inner.kind](walk, inner, each, {}))
    else:
        made = walk.call(inner, each, {})
    return [y.reshape(*x.shape[:2], *y.shape[1:]) for y in made]


def _relu(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    config = layer.config
    slope = config.get("negative_slope", config.get("alpha"))
    slope = (0.3 if layer.kind == "LeakyReLU" else 0.0) if slope is None else slope
    if config.get("threshold"):
        walk.refuse(f"a ReLU with threshold {config['threshold']} jumps; use threshold=0")
    most = config.get("max_value")
    if most is not None and most <= 0:
        walk.refuse(f"ReLU with max_value {most} is constant for positive x; use a positive one")
    return walk.relu(x, most, numbers(slope, "the slope"))


def _prelu(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    return walk.relu(x, None, walk.arrays(layer)[0])


def _softmax(kind: str) -> Translation:
    def translate(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
        axis = layer.config.get("axis", -1)
        return walk.graph.softmax(x, -1 if axis is None else axis, kind)

    return _plain(translate)


def _batch_normalization(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    config, arrays = layer.config, list(walk.arrays(layer))
    gamma = arrays.pop(0) if config.get("scale", True) else 1.0
    beta = arrays.pop(0) if config.get("center", True) else 0.0
    mean, variance = arrays
    axis, least = config.get("axis", -1), config.get("epsilon", 1e-3)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if {np.shape(a) for a in arrays} != {(x.shape[axis],)}:
        walk.refuse(f"arrays of {mean.size} values for {x.shape[axis]} on axis {axis}; -1 is due")
    if not isinstance(least, (int, float)) or not (variance + least > 0).all():
        walk.refuse("variance + epsilon is not positive; train again")
    scale = gamma / np.sqrt(variance + least)
    along = [1] * x.ndim
    along[axis] = -1
    shift = beta - mean * scale
    return walk.graph.combine([(x, scale.reshape(along))], shift.reshape(along))


def _per_feature(walk: Walk, x: IntArray, value: Any) -> FloatArray:
    """Return one number a feature, where the setting is one for all or one for each."""
    array = numbers(value, f"{walk.graph.place}: a setting").ravel()
    if array.size not in (1, x.shape[-1]):
        walk.refuse(
            f"{array.size} values for {x.shape[-1]} features; only one for all or one a feature is "
            "supported"
        )
    return array


def _normalization(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    config = layer.config
    if config.get("axis", -1) not in (-1, x.ndim - 1, [-1], [x.ndim - 1], None):
        walk.refuse(f"normalizes over axis {config['axis']}; only features (-1) are supported")
    mean, variance = (config.get(key) for key in ("mean", "variance"))
    if mean is None or variance is None:
        mean, variance = walk.arrays(layer, 2)
    mean, variance = (_per_feature(walk, x, v) for v in (mean, variance))
    root = np.maximum(np.sqrt(variance), SMALLEST)
    if config.get("invert"):
        return walk.graph.combine([(x, root)], mean)
    return walk.graph.combine([(x, 1 / root)], -mean * (1 / root))


def _rescaling(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    scale, offset = (layer.config.get(key, d) for key, d in (("scale", 1.0), ("offset", 0.0)))
    return walk.graph.combine([(x, _per_feature(walk, x, scale))], _per_feature(walk, x, offset))


def _sum(weights: Callable[[int], list[float]]) -> Translation:
    """Translate a weighted sum of tensors and constants."""

    def translate(walk: Walk, layer: KerasLayer, args: Args, kwargs: Kwargs) -> Any:
        values = flatten([args, {k: v for k, v in kwargs.items() if k in ("y", "x2")}])
        factors = weights(len(values))
        tensors = [v for v in values if _is_tensor(v)]
        if len({t.ndim for t in tensors}) > 1:
            walk.refuse("adds tensors of different rank: one holds every step, the other one step")
        terms = [(v, f) for v, f in zip(values, factors, strict=True) if _is_tensor(v)]
        offset = sum(
            f * numbers(v, "a summand")
            for v, f in zip(values, factors, strict=True)
            if not _is_tensor(v)
        )
        return walk.graph.combine(terms, offset)

    return translate


def _product(divide: bool) -> Translation:
    def translate(walk: Walk, layer: KerasLayer, args: Args, kwargs: Kwargs) -> Any:
        first, second = flatten([args, {k: v for k, v in kwargs.items() if k in ("y", "x2")}])
        if _is_tensor(second) and (_is_tensor(first) or divide):
            walk.refuse(
                "multiplies or divides by what depends on the input (a gate or attention of its own); only "
                "recurrent cells do that"
            )
        x, factor = (second, first) if _is_tensor(second) else (first, second)
        factor = numbers(factor, "the factor")
        if divide and not np.all(factor):
            walk.refuse("divides by zero")
        return walk.graph.combine([(x, 1 / factor if divide else factor)])

    return translate


def _concatenate(walk: Walk, layer: KerasLayer, args: Args, kwargs: Kwargs) -> Any:
    values = flatten(args)
    axis = layer.config.get("axis", kwargs.get("axis", -1))
    if not all(map(_is_tensor, values)):
        walk.refuse(
            "joins constants and data (padding, or a shift by a step); that is for the host"
        )
    return np.concatenate(values, axis=axis)


def _get_item(walk: Walk, layer: KerasLayer, args: Args, kwargs: Kwargs) -> Any:
    x, key = args[0], args[1] if len(args) > 1 else kwargs.get("key", kwargs.get("slice_spec"))
    return x[tuple(key) if isinstance(key, list) else key]


def _clip(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    return clip(walk.graph, x, float(layer.config["x_min"]), float(layer.config["x_max"]))


def _mask(walk: Walk, layer: KerasLayer, x: IntArray) -> Any:
    walk.notes.append(
        f"warning: {walk.graph.place}: steps that equal {layer.config.get('mask_value')} in every "
        "feature are skipped by Keras but computed here; leave padded steps out"
    )
    return x


def _act(name: str | None = None) -> Translation:
    return _plain(lambda walk, layer, x: walk.activate(x, name or layer.config.get("activation")))


def _cropping(x: IntArray, config: dict[str, Any]) -> IntArray:
    start, end = np.broadcast_to(config.get("cropping", 1), 2)
    return x[:, start : x.shape[1] - end]


LAYERS: dict[str, Translation] = {
    **dict.fromkeys(
        ("Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianNoise", "GaussianDropout",
         "ActivityRegularization", "Identity"), _moved(lambda x, config: x)),
    "Dense": _plain(_dense),
    "Embedding": _plain(_embedding),
    "TimeDistributed": _time_distributed,
    "Activation": _act(),
    **{kind: _act(name) for kind, name in (
        ("Relu", "relu"), ("Relu6", "relu6"), ("Sigmoid", "sigmoid"), ("Tanh", "tanh"),
        ("HardSigmoid", "hard_sigmoid"), ("HardTanh", "hard_tanh"))},
    "ReLU": _plain(_relu),
    "LeakyReLU": _plain(_relu),
    "LeakyRelu": _plain(_relu),
    "PReLU": _plain(_prelu),
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Clip": _plain(_clip),
    "BatchNormalization": _plain(_batch_normalization),
    "Normalization": _plain(_normalization),
    "Rescaling": _plain(_rescaling),
    "Add": _sum(lambda n: [1.0] * n),
    "Average": _sum(lambda n: [1 / n] * n),
    "Subtract": _sum(lambda n: [1.0, -1.0]),
    "Negative": _sum(lambda n: [-1.0]),
    "Multiply": _product(False),
    "Divide": _product(True),
    "TrueDivide": _product(True),
    "Concatenate": _concatenate,
    "GetItem": _get_item,
    "Masking": _plain(_mask),
    "Flip": _moved(lambda x, config: np.flip(x, config["axis"])),
    "Flatten": _moved(lambda x, config: x.reshape(len(x), -1)),
    "Reshape": _moved(lambda x, config: x.reshape(len(x), *config["target_shape"])),
    "Permute": _moved(lambda x, config: x.transpose(0, *config["dims"])),
    "RepeatVector": _moved(lambda x, config: x[:, None].repeat(config["n"], 1)),
    "Cropping1D": _moved(_cropping),
    "Squeeze": _moved(lambda x, config: np.squeeze(x, config["axis"])),
    "ExpandDims": _moved(lambda x, config: np.expand_dims(x, config["axis"])),
}  # fmt: skip
