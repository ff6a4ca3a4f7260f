"""The operators of ``torch.export`` that compute, as calls of :class:`~.graph.Graph`.

Operators and their arguments: PyTorch's ``native_functions.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir.model import Model
from ..numerics.activation import float_activation
from .aten_recurrent import read_cell, read_stack
from .aten_walk import Args, Walk
from .graph_clip import clip
from .graph_model import fold
from .graph_node import Elements, first_axis
from .graph_output import Output
from .parts import HARD_SIGMOID_SLOPE
from .pt2 import Exported

__all__ = ["OPERATORS", "translate"]

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "hardsigmoid": "hard_sigmoid"}
CLIPS = {"hardtanh": ("min_val", "max_val", -1, 1), "clamp": ("min", "max", None, None),
         "clip": ("min", "max", None, None), "clamp_min": ("min", "max", None, None)}  # fmt: skip


def _combine(sign: int) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        factor = sign * a.get("alpha", 1)
        first, second = a["self"], a["other"]
        if not isinstance(first, Elements) and not isinstance(second, Elements):
            return np.asarray(first) + factor * np.asarray(second)
        terms = [
            (v.numbers, f)
            for v, f in ((first, 1.0), (second, float(factor)))
            if isinstance(v, Elements)
        ]
        offset = sum(
            f * np.asarray(v, float)
            for v, f in ((first, 1), (second, factor))
            if not isinstance(v, Elements)
        )
        return Elements(walk.graph.combine(terms, offset))

    return read


def _multiply(walk: Walk, a: Args) -> Any:
    first, second = a["self"], a["other"]
    if isinstance(first, Elements) and isinstance(second, Elements):
        walk.graph.refuse("multiplies two vectors that depend on the input (a gate or attention of its own); "
                          "only recurrent cells do that")  # fmt: skip
    if isinstance(second, Elements):
        first, second = second, first
    if not isinstance(first, Elements):
        return np.asarray(first) * np.asarray(second)
    return Elements(walk.graph.combine([(first.numbers, np.asarray(second, float))]))


def _divide(walk: Walk, a: Args) -> Any:
    divisor = walk.constant(a["other"], "the divisor")
    if a.get("rounding_mode") or (divisor == 0).any():
        walk.graph.refuse("a division that rounds, or by zero")
    return _multiply(walk, {"self": a["self"], "other": 1 / divisor})


def _linear(walk: Walk, a: Args) -> Any:
    bias = None if a.get("bias") is None else walk.constant(a["bias"], "the bias")
    if not isinstance(a["input"], Elements):
        weight = walk.constant(a["weight"], "the weight")
        return np.asarray(a["input"]) @ weight.T + (0.0 if bias is None else bias)
    return Elements(
        walk.graph.linear(walk.elements(a["input"]), walk.constant(a["weight"], "the weight"), bias)
    )


def _matmul(walk: Walk, a: Args) -> Any:
    first, second = a.get("self", a.get("mat1")), a.get("other", a.get("mat2"))
    if not isinstance(first, Elements):
        walk.graph.refuse("a product of matrices whose left one is a constant; write x @ W.T")
    weight = walk.constant(second, "the right matrix")
    if weight.ndim != 2:
        walk.graph.refuse(
            f"a product with a tensor of shape {weight.shape}; two axes are supported"
        )
    return Elements(walk.graph.linear(first.numbers, weight.T, None))


def _addmm(walk: Walk, a: Args) -> Any:
    if a.get("beta", 1) != 1 or a.get("alpha", 1) != 1:
        walk.graph.refuse("alpha and beta of addmm are not supported")
    weight, bias = (
        walk.constant(a["mat2"], "the right matrix"),
        walk.constant(a["self"], "the summand"),
    )
    return Elements(walk.graph.linear(walk.elements(a["mat1"]), weight.T, bias))


def _normalize(walk: Walk, a: Args) -> Any:
    x = walk.elements(a["input"])
    mean, var = (walk.constant(a[key], key) for key in ("running_mean", "running_var"))
    scale = (1.0 if a.get("weight") is None else walk.constant(a["weight"], "weight")) / np.sqrt(
        var + a["eps"]
    )
    shift = (0.0 if a.get("bias") is None else walk.constant(a["bias"], "bias")) - mean * scale
    along = (-1, *[1] * (x.ndim - 2))  # features are the second axis
    return Elements(walk.graph.combine([(x, scale.reshape(along))], shift.reshape(along)))


def _clip(low: str, high: str, least: Any, most: Any) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        limits = a.get(low, least), a.get(high, most)
        return Elements(clip(walk.graph, walk.elements(a["self"]), *limits))

    return read


def _act(name: str) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        if not isinstance(a["self"], Elements):
            return float_activation(name, np.asarray(a["self"]), HARD_SIGMOID_SLOPE)
        return Elements(walk.graph.activation(a["self"].numbers, name, HARD_SIGMOID_SLOPE))

    return read


def _softmax(kind: str) -> Callable[[Walk, Args], Any]:
    return lambda walk, a: Elements(walk.graph.softmax(walk.elements(a["self"]), a["dim"], kind))


def _join(join: Callable[..., Any]) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        tensors, axis = a["tensors"], a.get("dim", 0)
        if sum((t.numbers if isinstance(t, Elements) else t).size for t in tensors) > 1 << 24:
            walk.graph.refuse("joins to more than 16 million elements")
        if all(isinstance(t, Elements) for t in tensors):
            return Elements(join([t.numbers for t in tensors], axis))
        if any(isinstance(t, Elements) for t in tensors):
            walk.graph.refuse(
                "joins constants and data (padding, or a shift by a step); that is for the host"
            )
        return join(tensors, axis)

    return read


def _full(value: float | None) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        like: Any = a.get("self")
        like = like.numbers if isinstance(like, Elements) else like
        shape = a["size"] if "size" in a else np.shape(like)
        if np.prod(np.array(shape, float)) > 1 << 24:
            walk.graph.refuse(f"a constant of shape {shape}")
        return np.full(shape, a["fill_value"] if value is None else value)

    return read


def _weight_norm(walk: Walk, a: Args) -> Any:
    v, g, axis = walk.constant(a["v"], "v"), walk.constant(a["g"], "g"), a.get("dim", 0)
    others = tuple(k for k in range(v.ndim) if k != axis)
    return v * (g / np.sqrt((v**2).sum(axis=others, keepdims=True)))


def _embedding(walk: Walk, a: Args) -> Any:
    table = walk.constant(a["weight"], "the table")
    return Elements(walk.graph.embedding(walk.elements(a["indices"]), table))


def _one_hot(walk: Walk, a: Args) -> Any:
    return Elements(walk.graph.embedding(walk.elements(a["self"]), None, a.get("num_classes", -1)))


def _size(walk: Walk, a: Args) -> Any:
    v = a["self"]
    return int((v.numbers if isinstance(v, Elements) else np.asarray(v)).shape[a["dim"]])


def _nothing(walk: Walk, a: Args) -> Any:
    return None


OPERATORS: dict[str, Callable[[Walk, Args], Any]] = {
    "gru.input": read_stack("gru"),
    "lstm.input": read_stack("lstm"),
    "rnn_tanh.input": read_stack("rnn"),
    "rnn_relu.input": read_stack("rnn", "relu"),
    "gru_cell.default": read_cell("gru"),
    "lstm_cell.default": read_cell("lstm"),
    "rnn_tanh_cell.default": read_cell("rnn"),
    "rnn_relu_cell.default": read_cell("rnn", "relu"),
    "linear.default": _linear,
    "matmul.default": _matmul,
    "mm.default": _matmul,
    "addmm.default": _addmm,
    "batch_norm.default": _normalize,
    "embedding.default": _embedding,
    "one_hot.default": _one_hot,
    "_weight_norm.default": _weight_norm,
    **{f"{name}.{form}": _combine(sign) for name, sign in (("add", 1), ("sub", -1)) for form in ("Tensor", "Scalar")},
    **{f"mul.{form}": _multiply for form in ("Tensor", "Scalar")},
    **{f"div.{form}": _divide for form in ("Tensor", "Scalar")},
    "rsub.Scalar": lambda walk, a: _combine(-1)(walk, {**a, "self": a["other"], "other": a["self"]}),
    "neg.default": lambda walk, a: _multiply(walk, {"self": a["self"], "other": -1.0}),
    "reciprocal.default": lambda walk, a: 1 / walk.constant(a["self"], "the divisor"),
    "sqrt.default": lambda walk, a: np.sqrt(walk.constant(a["self"], "the root")),
    **{f"{name}.default": _act(ours) for name, ours in ACTIVATIONS.items()},
    **{f"{name}.default": _clip(*limits) for name, limits in CLIPS.items()},
    "softmax.int": _softmax("softmax"),
    "log_softmax.int": _softmax("log_softmax"),
    "cat.default": _join(np.concatenate),
    "stack.default": _join(np.stack),
    "zeros.default": _full(0.0),
    "ones.default": _full(1.0),
    "full.default": _full(None),
    "zeros_like.default": _full(0.0),
    "ones_like.default": _full(1.0),
    "new_zeros.default": _full(0.0),
    "sym_size.int": _size,
    "_assert_tensor_metadata.default": _nothing,
}  # fmt: skip


def translate(exported: Exported, source: str) -> tuple[Model, Output, Walk]:
    """Make the model of an exported forward.

    Raises
    ------
    InputError
        Names the operator that is not taken.
    """
    axes = [1, 0, *range(2, len(exported.shape))] if len(exported.shape) > 1 else [0]
    if len(exported.shape) == 2 and not exported.tokens:
        axes = [0, 1]

    def read(time: int) -> tuple[Model, Output, Walk]:
        walk = Walk(exported, time, OPERATORS)
        try:
            return *fold(walk.graph, walk.run(), source), walk
        except InputError:
            raise
        except (
            AttributeError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:
            raise InputError(
                f"malformed at {walk.graph.place} ({type(error).__name__}: {error})"
            ) from error

    try:
        return first_axis(axes, read)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error.__cause__
