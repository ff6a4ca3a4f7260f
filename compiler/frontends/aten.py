"""The operators of ``torch.export`` that compute, as calls of :class:`~.graph.Graph`.

Operators and their arguments: PyTorch's ``native_functions.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir.model import Model
from .aten_walk import ADVICE, Args, Elements, Walk
from .graph_fold import Output, fold
from .parts import HARD_SIGMOID_SLOPE
from .pt2 import Exported

__all__ = ["OPERATORS", "translate"]

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "hardsigmoid": "hard_sigmoid"}
CLIPS = {"hardtanh": ("min_val", "max_val", -1, 1), "clamp": ("min", "max", None, None),
         "clip": ("min", "max", None, None), "clamp_min": ("min", "max", None, None)}  # fmt: skip


def _stack(kind: str, candidate: str = "tanh") -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        if "data" in a:
            walk.graph.refuse(f"packed sequences: {ADVICE['_pack_padded_sequence']}")
        states = a["hx"] if kind == "lstm" else [a["hx"]]
        if any(isinstance(s, Elements) or np.any(s) for s in states):
            walk.graph.refuse("starts from a state that is not zero; the core starts from zeros")
        per, ways = (4 if a["has_biases"] else 2), 1 + bool(a["bidirectional"])
        if len(a["params"]) != per * ways * a["num_layers"]:
            walk.graph.refuse(
                "proj_size projects the state; train with proj_size=0 and a smaller hidden_size"
            )
        x = walk.elements(a["input"])
        single = x.ndim == 2
        x = x[:, None] if single else (np.swapaxes(x, 0, 1) if a["batch_first"] else x)
        h, c = [], []
        for k in range(a["num_layers"]):
            halves = []
            for way in range(ways):
                at = (k * ways + way) * per
                layer = walk.layer(kind, a["params"][at : at + per], candidate, bool(way))
                y, last, cell = walk.graph.recurrent(x, layer)
                halves.append(y)
                h.append(last)
                c.append(cell)
            x = np.concatenate(halves, axis=2)
        x = x[:, 0] if single else (np.swapaxes(x, 0, 1) if a["batch_first"] else x)
        ends = [np.stack(s)[:, 0] if single else np.stack(s) for s in (h, c)]
        return [Elements(v) for v in (x, *ends)]

    return read


def _cell(kind: str, candidate: str = "tanh") -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        tensors = [a[key] for key in ("w_ih", "w_hh", "b_ih", "b_hh") if a.get(key) is not None]
        layer = walk.layer(kind, tensors, candidate)
        states = [s.numbers if isinstance(s, Elements) else np.asarray(s) for s in
                  (a["hx"] if kind == "lstm" else [a["hx"]])]  # fmt: skip
        x = walk.elements(a["input"])
        # The cell state's numbers follow the state's own: the twin of the same vector.
        h, c = walk.graph.cell(x, states[0], layer, lambda s: s.dtype.kind == "i")
        if kind == "lstm":
            expected = states[0] + layer.size * walk.graph.positions
            zero = states[0].dtype.kind != "i" and not np.any(states[1])
            if not zero and not np.array_equal(states[1], expected):
                walk.graph.refuse("an LSTM cell's c is not its own of the step before")
            return [Elements(h), Elements(c)]
        return Elements(h)

    return read


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
        name = {(-1, 1): "hard_tanh", (0, None): "relu"}.get(limits)
        if name is None:
            walk.graph.refuse(
                f"clips to {limits[0]} to {limits[1]}; -1 to 1 and 0 upwards are supported"
            )
        return Elements(walk.graph.activation(walk.elements(a["self"]), name))

    return read


def _act(name: str) -> Callable[[Walk, Args], Any]:
    return lambda walk, a: Elements(
        walk.graph.activation(walk.elements(a["self"]), name, HARD_SIGMOID_SLOPE)
    )


def _softmax(kind: str) -> Callable[[Walk, Args], Any]:
    return lambda walk, a: Elements(walk.graph.softmax(walk.elements(a["self"]), a["dim"], kind))


def _join(join: Callable[..., Any]) -> Callable[[Walk, Args], Any]:
    def read(walk: Walk, a: Args) -> Any:
        tensors, axis = a["tensors"], a.get("dim", 0)
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
        like = a.get("self")
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
    "gru.input": _stack("gru"),
    "lstm.input": _stack("lstm"),
    "rnn_tanh.input": _stack("rnn"),
    "rnn_relu.input": _stack("rnn", "relu"),
    "gru_cell.default": _cell("gru"),
    "lstm_cell.default": _cell("lstm"),
    "rnn_tanh_cell.default": _cell("rnn"),
    "rnn_relu_cell.default": _cell("rnn", "relu"),
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
        Names the operator that got furthest with any axis as time.
    """
    axes = [1, 0, *range(2, len(exported.shape))] if len(exported.shape) > 1 else [0]
    if len(exported.shape) == 2 and not exported.tokens:
        axes = [0, 1]
    errors: list[tuple[int, bool, InputError]] = []
    for time in axes:
        walk = Walk(exported, time, OPERATORS)
        try:
            return *fold(walk.graph, walk.run(), source), walk
        except InputError as error:
            errors.append((walk.done, "one step" in str(error), error))
        except (
            AttributeError,
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:
            raise InputError(
                f"{source}: malformed at {walk.graph.place} ({type(error).__name__}: {error})"
            ) from error
    raise InputError(f"{source}: {max(errors, key=lambda e: e[:2])[2]}")
