"""The operators of ONNX that compute, as calls of :class:`~.graph.Graph`.

Operators, attributes and defaults: the ONNX operator reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import IntArray
from .graph_clip import clip
from .onnx_cells import attributes
from .onnx_fold import Array
from .onnx_recurrent import read_recurrent
from .onnx_walk import RECURRENT, Tensor, Translation, Walk

__all__ = ["ADVICE", "OPERATORS"]

POOL = "pooling over steps is for the host; import the part before it"
LOOP = "unroll it, or write the recurrence as GRU, LSTM or RNN"
QUANTIZED = "the graph is quantized; give the float model from before"
ADVICE = {
    "ArgMax": "the largest is for the host; remove the output",
    "Conv": "convolutions are for the host; import the recurrent part",
    "LayerNormalization": "its scale depends on the data of each step; train with BatchNorm1d, which is folded",
    "ai.onnx.ml::ZipMap": "convert with options={'zipmap': False}, or remove the output",
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean"), POOL),
    **dict.fromkeys(("DynamicQuantizeLSTM", "DynamicQuantizeLinear", "QuantizeLinear"), QUANTIZED),
    **dict.fromkeys(("If", "Loop", "Scan"), LOOP),
}  # fmt: skip
GATE = (
    "multiplies two tensors that depend on the input (a gate or attention of its own); that needs "
    f"a recurrent layer {RECURRENT}"
)


def _add(
    walk: Walk, values: Sequence[Array | Tensor | None], factors: Sequence[float]
) -> list[IntArray]:
    """Add tensors and constants, each by its factor."""
    terms: list[tuple[IntArray, float]] = []
    offset: Any = 0.0
    for value, factor in zip(values, factors, strict=True):
        if isinstance(value, Tensor):
            terms.append((value.numbers, factor))
        elif value is not None:
            offset = offset + factor * np.asarray(value, np.float64)
    return [walk.graph.combine(terms, offset)]


def _sum(*factors: float) -> Translation:
    def read(walk: Walk, node: Any) -> list[IntArray]:
        count = len(node.input)
        each = factors or (1.0 / (count if node.op_type == "Mean" else 1),) * count
        values = [walk.value(node, k) for k in range(count)]
        for k, value in enumerate(values):
            if isinstance(value, Tensor):
                walk.data(node, k)
        return _add(walk, values, each)

    return read


def _multiply(walk: Walk, node: Any) -> list[IntArray]:
    k = int(not isinstance(walk.value(node, 0), Tensor))
    if isinstance(walk.value(node, 1 - k), Tensor):
        walk.graph.refuse(GATE)
    return [walk.graph.combine([(walk.data(node, k), walk.numbers(node, 1 - k, "the factor"))])]


def _divide(walk: Walk, node: Any) -> list[IntArray]:
    divisor = walk.numbers(node, 1, "the divisor")
    if (divisor == 0).any():
        walk.graph.refuse("divides by zero")
    return [walk.graph.combine([(walk.data(node), 1 / divisor)])]


def _normalize(walk: Walk, node: Any) -> list[IntArray]:
    given, x = attributes(node), walk.data(node)
    if given.get("training_mode"):
        walk.graph.refuse("in training mode; export in evaluation mode")
    gamma, beta, mean, variance = (walk.numbers(node, k, "a parameter") for k in range(1, 5))
    variance = variance + given.get("epsilon", 1e-5)
    if not (variance > 0).all():
        walk.graph.refuse("variance + epsilon is not positive; train again")
    scale = gamma / np.sqrt(variance)
    along = (-1, *[1] * (x.ndim - 2))  # features are the second axis
    shift = (beta - mean * scale).reshape(along)
    return [walk.graph.combine([(x, scale.reshape(along))], shift)]


def _gemm(walk: Walk, node: Any) -> list[IntArray]:
    given, x = attributes(node), walk.data(node)
    weight = walk.numbers(node, 1, "the weight")
    if weight.ndim != 2:
        walk.graph.refuse(f"the weight has shape {weight.shape}; two axes are supported")
    matrix = given.get("alpha", 1.0) * (weight if given.get("transB") else weight.T)
    y = walk.graph.linear(x.T if given.get("transA") else x, matrix, None)
    summand = walk.value(node, 2)
    return [y] if summand is None else _add(walk, [Tensor(y), summand], (1, given.get("beta", 1.0)))


def _matmul(walk: Walk, node: Any) -> list[IntArray]:
    right = int(isinstance(walk.value(node, 0), Tensor))
    if right and isinstance(walk.value(node, 1), Tensor):
        walk.graph.refuse(GATE)
    x, weight = walk.data(node, 1 - right), walk.numbers(node, right, "the weight")
    while weight.ndim > 2 and len(weight) == 1 and weight.ndim <= x.ndim:
        weight = weight[0]
    if weight.ndim != 2 or x.ndim < 2:
        walk.graph.refuse(f"weights of shape {weight.shape} on {x.shape}; two axes are supported")
    if right:
        return [walk.graph.linear(x, weight.T, None)]
    return [np.swapaxes(walk.graph.linear(np.swapaxes(x, -1, -2), weight, None), -1, -2)]


def _activation(name: str) -> Translation:
    return lambda walk, node: [walk.graph.activation(walk.data(node), name)]


def _hard_sigmoid(walk: Walk, node: Any) -> list[IntArray]:
    given = attributes(node)
    if given.get("beta", 0.5) != 0.5:
        walk.graph.refuse(f"HardSigmoid with beta {given['beta']:g}; only 0.5 is supported")
    return [walk.graph.activation(walk.data(node), "hard_sigmoid", given.get("alpha", 0.2))]


def _clip(walk: Walk, node: Any) -> list[IntArray]:
    given = attributes(node)
    limits: list[float | None] = []
    for k, key in ((1, "min"), (2, "max")):
        limit = given.get(key, walk.constant(node, k, key))
        value = None if limit is None else float(np.asarray(limit).reshape(()))
        limits.append(None if value is not None and abs(value) > 3e38 else value)
    return [clip(walk.graph, walk.data(node), *limits)]


def _limit(walk: Walk, node: Any) -> list[IntArray]:
    k = int(not isinstance(walk.value(node, 0), Tensor))
    if len(node.input) != 2 or walk.numbers(node, 1 - k, "the limit").size != 1:
        walk.graph.refuse(f"{node.op_type} is supported of one tensor and one number")
    limit = float(walk.numbers(node, 1 - k, "the limit").reshape(()))
    low, high = (limit, None) if node.op_type == "Max" else (None, limit)
    return [clip(walk.graph, walk.data(node, k), low, high)]


def _softmax(kind: str) -> Translation:
    def read(walk: Walk, node: Any) -> list[IntArray]:
        x, axis = walk.data(node), attributes(node).get("axis", -1 if walk.opset >= 13 else 1)
        if walk.opset >= 13:
            return [walk.graph.softmax(x, axis, kind)]
        rows = int(np.prod(x.shape[: axis % x.ndim]))  # all axes from this one on are one
        return [walk.graph.softmax(x.reshape(rows, -1), -1, kind).reshape(x.shape)]

    return read


def _embedding(walk: Walk, node: Any) -> list[IntArray]:
    table = walk.numbers(node, 0, "the table of rows that data choose")
    if table.ndim != 2 or attributes(node).get("axis", 0):
        walk.graph.refuse(
            f"looks up a table of shape {table.shape}; rows of two axes are supported"
        )
    return [walk.graph.embedding(walk.data(node, 1), table)]


def _one_hot(walk: Walk, node: Any) -> list[IntArray]:
    depth, (off, on) = walk.numbers(node, 1, "depth"), walk.numbers(node, 2, "values")
    hot = walk.graph.embedding(walk.data(node), None, int(depth.reshape(())))
    if (off, on) != (0, 1):
        hot = walk.graph.combine([(hot, on - off)], off)
    return [np.moveaxis(hot, -1, attributes(node).get("axis", -1))]


def _reverse(walk: Walk, node: Any) -> list[IntArray]:
    x, given = walk.data(node), attributes(node)
    time, lengths = given.get("time_axis", 0), walk.numbers(node, 1, "sequence_lens")
    if (lengths != x.shape[time]).any():
        walk.graph.refuse(f"reverses {lengths.astype(int).tolist()[:8]} of {x.shape[time]} steps; sequences of the full "
                          "length are supported: run others one by one")  # fmt: skip
    return [np.flip(x, time)]


def _dropout(walk: Walk, node: Any) -> list[Tensor]:
    if np.any(walk.constant(node, 2, "training_mode")):
        walk.graph.refuse("Dropout in training mode; export in evaluation mode")
    return [walk.tensor(node)]


def _cast(walk: Walk, node: Any) -> list[Tensor]:
    """Pass on what is cast between floating-point types, or from tokens: here all are float64."""
    from onnx import TensorProto as T

    kind, integers = attributes(node).get("to"), (T.INT32, T.INT64)
    if kind not in (T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE) and not (
        kind in integers and walk.layout.tokens
    ):
        walk.graph.refuse(f"Cast of data to type {kind}; only to floating point")
    return [walk.tensor(node)]


OPERATORS: dict[str, Translation] = {
    **dict.fromkeys(("GRU", "LSTM", "RNN"), read_recurrent),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _sum(1, 1),
    "Sub": _sum(1, -1),
    "Neg": _sum(-1),
    "Sum": _sum(),
    "Mean": _sum(),
    "Mul": _multiply,
    "Div": _divide,
    "BatchNormalization": _normalize,
    "Relu": _activation("relu"),
    "Tanh": _activation("tanh"),
    "Sigmoid": _activation("sigmoid"),
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "Max": _limit,
    "Min": _limit,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Gather": _embedding,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse,
    "Dropout": _dropout,
    "Cast": _cast,
}
