"""Comparison of an imported graph with ONNX's own evaluators, on random input and states.

``onnx.reference`` runs a copy of the graph in float64; ONNX Runtime, which has no float64 for
recurrent operators, runs it in float32 with a bound that follows from the network (:mod:`.noise`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError
from ..ir.model import Model
from .expected import log_softmax
from .noise import FLOAT32, FLOAT64, Precision, bounds
from .onnx_cells import RECURRENT_OPS
from .onnx_fold import node_name
from .onnx_graph import Walk
from .onnx_tensors import Array, Value

__all__ = ["check_graph"]


def _in(model: Any, kind: int) -> Any:
    """Copy a graph with every floating-point tensor of one kind, such as TensorProto.DOUBLE."""
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    floats = (T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE)
    dtype = helper.tensor_dtype_to_np_dtype(kind)

    def convert(tensor: Any) -> None:
        if tensor.data_type in floats:
            array = numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    copy = type(model)()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for info in (*copy.graph.input, *copy.graph.output):
        if info.type.tensor_type.elem_type in floats:
            info.type.tensor_type.elem_type = kind
    for tensor in copy.graph.initializer:
        convert(tensor)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                convert(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in floats:
                attribute.i = kind
    return copy


def _evaluators(model: Any) -> Iterator[tuple[str, Precision, Any]]:
    """Yield name, precision and a function from feeds to outputs of everything that may run it."""
    from onnx import TensorProto
    from onnx.reference import ReferenceEvaluator

    def reference(feeds: dict[str, Array]) -> list[Array]:
        double = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        evaluator = ReferenceEvaluator(_in(model, TensorProto.DOUBLE))
        return [np.asarray(y) for y in evaluator.run(None, double)]

    def runtime(feeds: dict[str, Array]) -> list[Array]:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        single = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        session = onnxruntime.InferenceSession(
            _in(model, TensorProto.FLOAT).SerializeToString(), options,
            providers=["CPUExecutionProvider"],
        )  # fmt: skip
        return [np.asarray(y) for y in session.run(None, single)]

    # onnx.reference takes the default activations whatever the attribute says
    if not any(a.name == "activations" for node in model.graph.node for a in node.attribute):
        yield "onnx.reference in float64", FLOAT64, reference
    yield "onnxruntime in float32", FLOAT32, runtime


class _Ours:
    """Every element that the walk has numbered: its value, its step, and its bound."""

    def __init__(self, walk: Walk, model: Model, feeds: dict[str, Array]) -> None:
        x = feeds[walk.x].astype(np.float64)
        x = np.moveaxis(x, walk.time, 0) if walk.time is not None else x[None]
        self.walk, self.model, self.lead = walk, model, x.shape[:-1]
        self.x = x.reshape(self.lead[0], -1, x.shape[-1]).swapaxes(0, 1)
        self.state = model.initial_state(len(self.x))
        for layer, which, span, index in walk.states:
            part = self.state[layer]["hc".index(which)]
            part[...] = feeds[span.name].ravel()[index].reshape(part.shape)
        trace: dict[str, list[FloatArray]] = {}
        model.run(self.x, dict(self.state), trace)
        self.values = self.elements({name: np.stack(v) for name, v in trace.items()})
        steps = np.arange(self.lead[0], dtype=np.float64)
        self.steps = self.elements({name: steps for name in trace})

    def elements(self, vectors: dict[str, FloatArray]) -> FloatArray:
        """Lay out vectors, shape (T, N, size), or one value a step, as the walk numbers them."""
        walk, made = self.walk, np.full(self.walk.elements, np.nan)
        for span in walk.spans:
            key = f"{span.name}.c" if span.kind == "cell" else span.name
            if span.kind == "input" or key not in vectors:  # a scale that was folded
                continue
            vector = vectors[key]
            if vector.ndim == 1:
                vector = np.broadcast_to(
                    vector[:, None, None], (len(vector), len(self.x), span.size)
                )
            vector = vector.reshape(*self.lead, span.size)
            vector = np.moveaxis(vector, 0, walk.time) if walk.time is not None else vector
            made[span.start : span.start + vector.size] = vector.ravel()
        return made

    def bounds(self, precision: Precision) -> FloatArray:
        """Bound of each element in a precision."""
        return self.elements(bounds(self.model, self.x, precision, self.state))

    def away(self, made: Value, result: Array, limits: FloatArray) -> tuple[float, int]:
        """Return the largest difference, and the first step beyond its bound (-1: none)."""
        y, limit = self.values[made.index], limits[made.index]
        if made.final:
            y, limit = log_softmax(y), np.broadcast_to(2 * limit.max(-1, keepdims=True), y.shape)
            y = np.exp(y) if made.final == "Softmax" else y
        if y.shape != result.shape:
            return np.inf, 0
        away = np.abs(y - result.astype(np.float64))
        wrong = ~(away <= limit)
        first = int(self.steps[made.index][wrong].min()) if wrong.any() else -1
        return float(away.max(initial=0.0)), first


def _begins(walk: Walk, run: Any, ours: _Ours, feeds: dict[str, Array], limits: FloatArray) -> str:
    """Name the first recurrent node whose outputs differ, and the step."""
    from onnx import helper

    nodes = [n for n in walk.graph.node if n.op_type in RECURRENT_OPS and n.output[0]]
    known = {o.name for o in walk.graph.output}
    added = [n.output[0] for n in nodes if n.output[0] not in known]
    kind = walk.graph.output[0].type.tensor_type.elem_type
    walk.graph.output.extend(helper.make_tensor_value_info(n, kind, None) for n in added)
    try:
        results = dict(zip([o.name for o in walk.graph.output], run(feeds), strict=True))
    except Exception:  # where it cannot tell more, the message stays short
        return ""
    finally:
        del walk.graph.output[len(walk.graph.output) - len(added) :]
    for node in nodes:
        made = walk.env[node.output[0]]
        if isinstance(made, Value):
            _, step = ours.away(made, results[node.output[0]], limits)
            if step >= 0:
                return f"the difference begins in {node_name(walk.graph, node)} at step {step}"
    return "no recurrent node differs: a layer after them does"


def check_graph(walk: Walk, model: Model) -> tuple[str, tuple[str, ...]]:
    """Compare the model with the graph.

    Returns
    -------
    (note, not_compared)

    Raises
    ------
    CheckError
        Every evaluator that can run the graph gives something else.
    """
    from onnx import helper

    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for info in walk.graph.input:
        if info.name in walk.shapes:
            dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            feeds[info.name] = rng.uniform(-1, 1, walk.shapes[info.name]).astype(dtype)
    ours, troubles, wrong = _Ours(walk, model, feeds), list[str](), ""
    for name, precision, run in _evaluators(walk.onnx):
        try:
            results = run(feeds)
        except Exception as error:  # not installed, or it lacks an operator, type or layout
            troubles.append(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            continue
        limits, worst = ours.bounds(precision), 0.0
        for info, result in zip(walk.graph.output, results, strict=True):
            made = walk.env[info.name]
            if not isinstance(made, Value):
                continue
            away, step = ours.away(made, result, limits)
            if step >= 0:
                text = _begins(walk, run, ours, feeds, limits)
                report = "; please report the file" if step == 0 else ""
                wrong = wrong or (
                    f"output {info.name!r} differs from {name} by {away:.3g} on random input, from "
                    f"step {step} on; {text}{report}"
                )
                break
            worst = max(worst, away)
        else:
            return f"checked against {name}: differs by {worst:.1e}", ()
    if wrong:
        raise CheckError(wrong)
    text = "; ".join(troubles)[:300]
    return f"warning: not checked: {text}", (f"the import with ONNX's evaluators ({text})",)
