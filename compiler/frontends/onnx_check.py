"""Comparison of an imported graph with ONNX's own evaluators, on random input and states.

``onnx.reference`` runs a copy of the graph in float64; ONNX Runtime, which has no float64 for
recurrent operators, runs it in float32 with a bound that follows from the network (:mod:`.noise`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import CheckError
from .graph import Graph
from .noise import FLOAT32, FLOAT64, Precision, bounds
from .onnx_fold import Array
from .onnx_graph import Import

__all__ = ["check_graph"]

LONGER = 3  # steps more, in a second comparison


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


def _evaluators(model: Any) -> Iterator[tuple[str, Precision, Run]]:
    """Yield name, precision and a function from feeds to outputs of everything that may run it."""
    from onnx import TensorProto
    from onnx.reference import ReferenceEvaluator

    def reference(feeds: dict[str, Array]) -> dict[str, Array]:
        double = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        evaluator = ReferenceEvaluator(_in(model, TensorProto.DOUBLE))
        return _named(model, evaluator.run(None, double))

    def runtime(feeds: dict[str, Array]) -> dict[str, Array]:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        single = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in feeds.items()}
        session = onnxruntime.InferenceSession(
            _in(model, TensorProto.FLOAT).SerializeToString(), options,
            providers=["CPUExecutionProvider"],
        )  # fmt: skip
        return _named(model, session.run(None, single))

    # onnx.reference takes the default activations whatever the attribute says
    if not any(a.name == "activations" for node in model.graph.node for a in node.attribute):
        yield "onnx.reference in float64", FLOAT64, reference
    yield "onnxruntime in float32", FLOAT32, runtime


def _named(model: Any, results: Any) -> dict[str, Array]:
    return {o.name: np.asarray(y) for o, y in zip(model.graph.output, results, strict=True)}


class _Case:
    """Random inputs of a graph, and what the model makes of them.

    Parameters
    ----------
    imported : Import
    steps : int
        Length of the sequences.
    """

    def __init__(self, imported: Import, steps: int) -> None:
        from onnx import helper

        self.imported, self.steps = imported, steps
        walk, model, rng = imported.walk, imported.model, np.random.default_rng(0)
        self.feeds: dict[str, Array] = {}
        for info in walk.onnx.graph.input:
            if info.name not in walk.shapes:
                continue
            shape = walk.shape_at(info.name, steps)
            dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            if dtype.kind in "iu":
                limit = model.input_size if imported.hot else 100
                self.feeds[info.name] = rng.integers(0, limit, shape).astype(dtype)
            else:
                self.feeds[info.name] = rng.uniform(-1, 1, shape).astype(dtype)
        given, graph = self.feeds[walk.x], Graph(streams=True)
        numbers = walk.layout.number(graph, given.shape)
        flat = np.empty(given.size)
        flat[numbers.ravel()] = given.ravel()
        x = flat.reshape(-1, graph.sequences, steps).transpose(1, 2, 0)
        self.x = np.eye(model.input_size)[x[..., 0].astype(np.int64)] if imported.hot else x
        self.state = model.initial_state(graph.sequences)
        for layer, which, source, part in imported.states:
            own = self.state[layer]["hc".index(which)]
            own[...] = self.feeds[source].ravel()[part].reshape(own.shape)
        self.trace: dict[str, list[FloatArray]] = {}
        self.y = model.run(self.x, dict(self.state), self.trace)

    def bounds(self, precision: Precision) -> dict[str, FloatArray]:
        """Bound of each vector at each step, in a precision."""
        return bounds(self.imported.model, self.x, precision, self.state)

    def differences(
        self, results: Mapping[str, Array], limits: FloatArray
    ) -> Iterator[tuple[str, float, int]]:
        """Yield each output's name, largest difference, and first step beyond the bound (-1: none)."""
        walk, before = self.imported.walk, self.imported.walk.graph.steps
        for name, output in self.imported.outputs:
            elements: IntArray | None = output.elements
            if self.steps != before:
                elements = output.at_length(walk.graph.sequences, before, self.steps)
            if elements is None:  # sequences and steps are one axis
                continue
            if elements.shape != results[name].shape:
                yield name, np.inf, 0
                continue
            got = replace(output, elements=elements).expected(self.y)
            limit = limits[elements % self.steps] * (2 if output.softmax else 1)
            yield name, *_away(got, results[name], limit, elements % self.steps)

    def begins(self, run: Run, limits: Mapping[str, FloatArray]) -> str:
        """Name the first recurrent node whose outputs differ, and the step."""
        from onnx import helper

        walk = self.imported.walk
        known = {o.name for o in walk.onnx.graph.output}
        nodes = [entry for entry in walk.recurrent if entry[1]]
        added = [output for _, output, _ in nodes if output not in known]
        kind = walk.onnx.graph.output[0].type.tensor_type.elem_type
        infos = [helper.make_tensor_value_info(name, kind, None) for name in added]
        walk.onnx.graph.output.extend(infos)
        try:
            results = run(self.feeds)
        except Exception:  # where it cannot tell more, the message stays short
            return ""
        finally:
            del walk.onnx.graph.output[len(walk.onnx.graph.output) - len(added) :]
        for node, output, elements in nodes:
            size = walk.graph.positions
            for first in {walk.graph.owner(f).first for f in np.unique(elements // size)}:
                layer = self.imported.layers.get(first, "")
                if layer not in self.trace:
                    continue
                values, chosen = np.stack(self.trace[layer]), elements // size >= first
                chosen &= elements // size < first + values.shape[-1]
                own = elements[chosen]
                at, step = own % size, own % self.steps
                got = values[step, at // self.steps, own // size - first]
                _, begin = _away(got, results[output][chosen], limits[layer][step], step)
                if begin >= 0:
                    return f"the difference begins in {node} at step {begin}"
        return "no recurrent node differs: a layer after them does"


def _away(got: FloatArray, want: Array, limit: FloatArray, step: Array) -> tuple[float, int]:
    """Return the largest difference, and the first step beyond its limit (-1: none)."""
    away = np.abs(got - want.astype(np.float64))
    wrong = ~(away <= limit)
    return float(away.max(initial=0.0)), int(step[wrong].min()) if wrong.any() else -1


def check_graph(imported: Import) -> tuple[str, tuple[str, ...]]:
    """Compare the model with the graph, also on longer sequences where the axis of time is open.

    Returns
    -------
    (note, not_compared)

    Raises
    ------
    CheckError
        Every evaluator that can run the graph gives something else.
    """
    walk, troubles, wrong = imported.walk, list[str](), ""
    lengths = [walk.graph.steps, walk.graph.steps + LONGER][: 1 + walk.any_length]
    for name, precision, run in _evaluators(walk.onnx):
        worst, text = 0.0, ""
        for steps in lengths:
            case = _Case(imported, steps)
            try:
                results = run(case.feeds)
            except Exception as error:  # not installed, or it lacks an operator, type or layout
                text = f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
                troubles.append(text)
                break
            limits = case.bounds(precision)
            for output, away, step in case.differences(results, limits[""]):
                worst = max(worst, away)
                if step >= 0 and not text:
                    text = f"output {output!r} differs from {name} by {away:.3g} on random input, "
                    text += f"{steps} steps, from step {step} on; {case.begins(run, limits)}"
                    wrong = wrong or text + ("; please report the file" if step == 0 else "")
        if not text:
            return f"checked against {name}: differs by {worst:.1e}", ()
    if wrong:
        raise CheckError(wrong)
    text = "; ".join(troubles)[:300]
    return f"warning: not checked: {text}", (f"the import with ONNX's evaluators ({text})",)


Run = Callable[[dict[str, Array]], dict[str, Array]]
