"""Constants that scale and shift tensors of an ONNX graph, and sums of two tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir.model import Layer, Linear
from .onnx_cells import attributes
from .onnx_fold import node_name, operator
from .onnx_tensors import Array, Tensors, Value
from .sums import add_vectors

__all__ = ["Affine"]


class Affine(Tensors):
    """Tensors of a graph, and the layers found so far.

    Attributes
    ----------
    layers : dict of str -> Layer
        In the order of evaluation.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.layers: dict[str, Layer] = {}

    def _error(self, node: Any, text: str) -> InputError:
        return InputError(f"{node_name(self.graph, node)}: {text}")

    def _name(self, node: Any) -> str:
        clean = re.sub(r"\W+", "_", node_name(self.graph, node)).strip("_") or node.op_type
        taken = {"x", *self.layers}
        others = (f"{clean}_{k}" for k in range(1, len(taken) + 1))
        return next(name for name in (clean, *others) if name not in taken)

    def _add(self, node: Any, layer: Layer, rows: Array) -> None:
        span = self.add_span(layer.name, "layer", self.row_numbers.size, layer.size)
        self.layers[layer.name] = layer
        self.put(node, Value(span.index(rows), sole=True))

    def _per_feature(self, node: Any, bias: Array, size: int, rank: int) -> Array:
        if bias.ndim > rank or bias.size not in (1, size) or bias.size != (1, *bias.shape)[-1]:
            raise self._error(
                node,
                f"a constant of shape {bias.shape} is added; one value a feature ({size}) is "
                "expected",
            )
        return np.broadcast_to(bias.reshape(-1).astype(np.float64), (size,))

    def _open_linear(self, value: Value) -> Linear | None:
        """Return the linear layer that made a tensor, where it can still be changed."""
        spans = self.spans_of(value.index)
        layer = self.layers.get(spans[0].name) if value.sole and len(spans) == 1 else None
        return layer if isinstance(layer, Linear) and layer.activation == "none" else None

    def _bias(self, node: Any) -> None:
        k = int(isinstance(self.env.get(node.input[0]), np.ndarray))
        value, constant = self.value(node, k), self.constant(node, 1 - k, "the other summand")
        sources, rows = self.read(node, value)
        size = value.index.shape[-1]
        bias = self._per_feature(node, np.asarray(constant), size, value.index.ndim)
        layer = self._open_linear(value)
        if layer is not None:
            self.layers[layer.name] = replace(layer, bias=np.asarray(layer.bias) + bias)
            self.put(node, value)
        else:
            self._add(node, Linear(self._name(node), sources, np.eye(size), bias), rows)

    def _add_to(self, node: Any) -> None:
        """Add a constant, or another tensor of the same steps and features."""
        pair = [self.env.get(name) for name in node.input]
        if not all(isinstance(value, Value) for value in pair):
            self._bias(node)
            return
        values = [self.value(node, k) for k in range(2)]
        spans = [self.spans_of(value.index) for value in values]
        if any(len(s) != 1 for s in spans) or values[0].index.shape != values[1].index.shape:
            raise self._error(node, "a sum of tensors that are joined or of different shapes")
        (a,), (b,) = spans
        if a.size != b.size or ((values[0].index - a.start) != (values[1].index - b.start)).any():
            raise self._error(node, "a sum of different steps or features; that is not supported")
        names = [self._source(node_name(self.graph, node), span) for span in (a, b)]
        layers = list(self.layers.values())
        sizes = {"x": self.shapes[self.x][-1] if self.x else 0}
        sizes |= {layer.name: layer.size for layer in layers}
        last = layers[-1].name if layers else ""
        fuse = any(v.sole and name == last for v, name in zip(values, names, strict=True))
        (name,) = add_vectors(
            layers, sizes, (names[0],), (names[1],), self._name(node), fuse=fuse and a != b
        )
        self.layers = {layer.name: layer for layer in layers}
        if name in names:
            self.put(node, replace(values[names.index(name)], sole=True, state=False))
            return
        span = self.add_span(name, "layer", a.rows, a.size)
        self.put(node, Value(values[0].index - a.start + span.start, sole=True))

    def _affine(self, node: Any) -> None:
        """Scale and shift each feature by constants, wherever the features stand."""
        op, k = operator(node), 0
        if op == "BatchNormalization":
            if attributes(node).get("training_mode"):
                raise self._error(node, "in training mode; export in evaluation mode")
            scale, shift = self._normalization(node)
        else:
            k = int(isinstance(self.env.get(node.input[0]), np.ndarray))
            constant = self.constant(node, 1 - k, "one of the two inputs")
            c = np.asarray(constant, dtype=np.float64)
            if op == "Div" and (k == 1 or not c.all()):
                raise self._error(node, "Div by data, or by zero; that is not supported")
            scale, shift = {
                "Mul": (c, np.zeros(())),
                "Div": (1 / c if op == "Div" else c, np.zeros(())),
                "Sub": (np.array(-1.0 if k else 1.0), c if k else -c),
            }[op]
        value = self.value(node, k)
        index, spans = value.index, self.spans_of(value.index)
        if np.broadcast_shapes(index.shape, scale.shape, shift.shape) != index.shape:
            raise self._error(
                node, f"constants of shape {scale.shape} or {shift.shape} on {index.shape}"
            )
        if len(spans) != 1:
            raise self._error(node, f"{op} of joined tensors is not supported")
        span = spans[0]
        source = self._source(node_name(self.graph, node), span)
        feature = (index - span.start) % span.size
        pair = []
        for values, neutral in ((scale, 1.0), (shift, 0.0)):
            per = np.full(span.size, neutral)
            per[feature] = np.broadcast_to(values, index.shape)
            if (per[feature] != values).any():
                raise self._error(node, f"{op} by constants that differ between steps")
            pair.append(per)
        factor, offset = pair
        layer = self._open_linear(value)
        if layer is not None:
            bias = factor * np.asarray(layer.bias) + offset
            self.layers[layer.name] = replace(layer, weight=layer.w * factor[:, None], bias=bias)
            self.put(node, value)
            return
        name = self._name(node)
        self.layers[name] = Linear(name, (source,), np.diag(factor), offset)
        made = self.add_span(name, "layer", span.rows, span.size)
        self.put(node, Value(index - span.start + made.start, sole=True))

    def _normalization(self, node: Any) -> tuple[Array, Array]:
        gamma, beta, mean, variance = (
            np.asarray(self.constant(node, k, "a parameter"), dtype=np.float64) for k in range(1, 5)
        )
        epsilon = attributes(node).get("epsilon", 1e-5)
        if not (variance + epsilon > 0).all():
            raise self._error(node, "variance + epsilon is not positive; train again")
        scale = gamma / np.sqrt(variance + epsilon)
        after = (-1, *[1] * (self.value(node).index.ndim - 2))  # features are on axis 1
        return scale.reshape(after), (beta - mean * scale).reshape(after)
