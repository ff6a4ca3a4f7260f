"""Walks an ONNX graph and collects the layers of a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir.model import Linear, Model, Recurrent
from .onnx_affine import Affine
from .onnx_cells import RECURRENT_OPS, attributes, directions, read_cell
from .onnx_fold import FOLDED, GLUE, evaluate, operator
from .onnx_tensors import Array, Span, Value
from .sums import fold_scales

__all__ = ["Walk"]

ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}


class Walk(Affine):
    """The layers found in a graph.

    Parameters
    ----------
    model : onnx.ModelProto
        Checked, without external data.

    Attributes
    ----------
    layers : dict of str -> Layer
        In the order of evaluation.
    states : list of (str, str, Span, numpy.ndarray)
        Initial states that come from graph inputs: layer, 'h' or 'c', the input's span, and
        which element of the input is which of the state.
    notes : list of str
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.states: list[tuple[str, str, Span, Array]] = []
        self.notes: list[str] = []
        makers = {
            **dict.fromkeys(RECURRENT_OPS, self._recurrent),
            **dict.fromkeys(("MatMul", "Gemm"), self._linear),
            **dict.fromkeys((*ACTIVATIONS, "HardSigmoid", "Clip"), self._activation),
            **dict.fromkeys(("Softmax", "LogSoftmax"), self._softmax),
            "Add": self._add_to,
            **dict.fromkeys(("Sub", "Mul", "Div", "BatchNormalization"), self._affine),
            "Dropout": self._dropout,
            "Cast": self._cast,
        }
        todo = [n for n in self.graph.node if not all(o in self.env for o in n.output if o)]
        unknown = Counter(op for op in map(operator, todo) if op not in {*makers, *FOLDED})
        if unknown:
            listed = ", ".join(f"{op} ({count})" for op, count in sorted(unknown.items()))
            raise InputError(f"the graph has operators that are not supported: {listed}")
        for node in todo:
            if not self._glue(node):
                op = operator(node)
                if op not in makers:
                    raise self._error(node, f"{op} of these inputs is not supported")
                makers[op](node)

    def _glue(self, node: Any) -> bool:
        """Apply a node that computes a constant, or moves elements of tensors."""
        op = operator(node)
        inputs = [self.env.get(name) for name in node.input]
        values = [v for v in inputs if isinstance(v, Value)]
        if op not in FOLDED or any(v.final for v in values):
            return False
        plain = [v.index if isinstance(v, Value) else v for v in inputs]
        if not values or op in ("Shape", "Size"):
            results = evaluate(node, plain, self.onnx)
            self.env.update((n, a) for n, a in zip(node.output, results, strict=True) if n)
            return True
        if op not in GLUE or len(values) != (len(inputs) if op == "Concat" else 1):
            return False
        if values[0] is not inputs[0]:
            return False
        made = replace(
            values[0],
            sole=values[0].sole and len(node.output) == 1 and op != "Concat",
            state=all(v.state for v in values),
        )
        for k, index in enumerate(evaluate(node, plain, self.onnx)):
            self.put(node, replace(made, index=index), k)
        return True

    def _recurrent(self, node: Any) -> None:
        name, given = self._name(node), attributes(node)
        w, r = self.constant(node, 1, "W"), self.constant(node, 2, "R")
        b, p = self.constant(node, 3, "B"), self.constant(node, 7, "P")
        if w is None or r is None:
            raise self._error(node, "W or R is missing; export the model again")
        value = self.value(node)
        sources, rows = self.read(node, value)
        layers = [
            read_cell(node, name + "_reverse" * bool(k), sources, w, r, b, p, k)
            for k in range(len(directions(node)))
        ]
        if rows.ndim != 2 or layers[0].input_size != value.index.shape[-1]:
            raise self._error(
                node,
                f"X has shape {value.index.shape}, W takes {layers[0].input_size} features of "
                "(steps, batch)",
            )
        batch_first = bool(given.get("layout", 0))
        rows = rows.T if batch_first else rows
        self.find_time(node, rows)
        lengths = self.constant(node, 4, "sequence_lens")
        if lengths is not None and (lengths != len(rows)).any():
            raise self._error(
                node,
                f"sequence_lens {lengths.tolist()} differ from the {len(rows)} steps of X; run "
                "sequences one by one instead",
            )
        self._initial(node, layers, 5, "h", int(batch_first))
        self._initial(node, layers, 6, "c", int(batch_first))
        if "pytorch" in self.onnx.producer_name.lower() and layers[0].cell == "gru_reset_before":
            self.notes.append(
                f"warning: {name}: linear_before_reset is 0, but PyTorch's GRU resets after the "
                "product; some versions of its exporter write that wrongly: export with "
                "linear_before_reset=1 (onnxscript 0.7 or later), or give the .pt file"
            )
        made: list[list[Array]] = [[], [], []]  # Y, Y_h, Y_c of each direction
        for layer in layers:
            self.layers[layer.name] = layer
            spans = [
                self.add_span(layer.name, kind, self.row_numbers.size, layer.size)
                for kind in ("layer", "cell")[: 2 if layer.spec.has_cell_state else 1]
            ]
            made[0].append(spans[0].index(rows))  # (T, B, H)
            for parts, span in zip(made[1:], spans, strict=False):
                parts.append(span.index(rows[0 if layer.reverse else -1]))  # (B, H)
        y = np.stack(made[0], axis=1)
        self.put(node, Value(y.transpose(2, 0, 1, 3) if batch_first else y))
        for k, parts in enumerate(made[1:], 1):
            if parts:
                self.put(node, Value(np.stack(parts, axis=int(batch_first)), state=True), k)

    def _initial(self, node: Any, layers: list[Recurrent], k: int, which: str, axis: int) -> None:
        """Accept an initial state that is zero or left to the caller."""
        if k >= len(node.input) or not node.input[k]:
            return
        what, value = f"initial_{which}", self.env.get(node.input[k])
        if isinstance(value, np.ndarray):
            if value.any():
                raise self._error(
                    node,
                    f"{what} is a constant that is not zero; that is not supported: make it an "
                    "input, and load the state at the start",
                )
            return
        spans = self.spans_of(value.index) if isinstance(value, Value) else []
        if value is None or [s.kind for s in spans] != ["input"] or spans[0].name == self.x:
            raise self._error(node, f"{what} is computed by the graph; that is not supported")
        parts = np.moveaxis(value.index - spans[0].start, axis, 0)
        if len(parts) != len(layers):
            raise self._error(node, f"{what} has shape {value.index.shape}, one a direction is due")
        for layer, part in zip(layers, parts, strict=True):
            self.states.append((layer.name, which, spans[0], part))
            self.notes.append(
                f"{layer.name}: {what} comes from input {spans[0].name!r}: here the core keeps the "
                "state, and the caller may load it"
            )

    def _linear(self, node: Any) -> None:
        given = attributes(node)
        value, weight = self.value(node), self.constant(node, 1, "the weight")
        sources, rows = self.read(node, value)
        if given.get("transA"):
            raise self._error(node, "Gemm with transA is not supported")
        if weight is None or weight.ndim != 2:
            raise self._error(node, f"weight {node.input[1]!r} must have 2 axes")
        matrix = (weight if given.get("transB") else weight.T).astype(np.float64)
        if matrix.shape[1] != value.index.shape[-1]:
            raise self._error(
                node, f"the weight takes {matrix.shape[1]} features, not {value.index.shape[-1]}"
            )
        bias = self.constant(node, 2, "the bias")
        if bias is not None:
            bias = given.get("beta", 1.0) * self._per_feature(
                node, bias, len(matrix), rows.ndim + 1
            )
        matrix = given.get("alpha", 1.0) * matrix
        self._add(node, Linear(self._name(node), sources, matrix, bias), rows)

    def _activation(self, node: Any) -> None:
        given, slope = attributes(node), 0.2
        activation = ACTIVATIONS.get(node.op_type, "hard_sigmoid")
        if node.op_type == "HardSigmoid":
            slope = given.get("alpha", 0.2)
            if given.get("beta", 0.5) != 0.5:
                raise self._error(node, f"HardSigmoid with beta {given['beta']:g}; only 0.5 is")
        elif node.op_type == "Clip":
            activation = "hard_tanh"
            limits = [
                np.asarray(given.get(key, self.constant(node, k, key))).ravel().tolist()
                for k, key in ((1, "min"), (2, "max"))
            ]
            if limits != [[-1.0], [1.0]]:
                raise self._error(node, f"Clip to {limits} is not supported; only -1 to 1 is")
        value = self.value(node)
        layer = self._open_linear(value)
        if layer is not None:
            self.layers[layer.name] = replace(layer, activation=activation, slope=slope)
            self.put(node, value)
            return
        sources, rows = self.read(node, value)
        unit = np.eye(value.index.shape[-1])
        self._add(node, Linear(self._name(node), sources, unit, None, activation, slope), rows)

    def _dropout(self, node: Any) -> None:
        if np.any(self.constant(node, 2, "training_mode")):
            raise self._error(node, "Dropout in training mode; export in evaluation mode")
        self.put(node, self.value(node))

    def _cast(self, node: Any) -> None:
        """Pass on what is cast from one floating-point type to another: here all are float64."""
        from onnx import TensorProto as T

        kind = attributes(node).get("to")
        if kind not in (T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE):
            raise self._error(node, f"Cast of data to type {kind}; only to floating point")
        self.put(node, self.value(node))

    def _softmax(self, node: Any) -> None:
        value = self.value(node)
        self.read(node, value)
        opset = next(o.version for o in self.onnx.opset_import if o.domain in ("", "ai.onnx"))
        axis = attributes(node).get("axis", -1 if opset >= 13 else 1)
        if axis not in (-1, value.index.ndim - 1):
            raise self._error(node, f"{node.op_type} over axis {axis}; only the last is supported")
        self.notes.append(
            f"warning: the final {node.op_type} is left out; outputs are its arguments"
        )
        self.put(node, replace(value, final=node.op_type, sole=False))

    def model(self) -> Model:
        """Return the model that makes the graph's outputs."""
        found: dict[str, list[str]] = {k: [] for k in ("all", "last", "first", "state", "cell")}
        reverse = any(isinstance(n, Recurrent) and n.reverse for n in self.layers.values())
        for info in self.graph.output:
            value = self.env.get(info.name)
            if not isinstance(value, Value):
                raise InputError(f"output {info.name!r} is a constant; remove it")
            for span in self.spans_of(value.index):
                if span.kind == "input":
                    raise InputError(f"output {info.name!r} holds inputs; remove it")
                covered = self.coverage(span, value.index)
                if not covered or (covered == "first" and not reverse):
                    raise InputError(f"output {info.name!r} holds only some of {span.name!r}")
                key = "cell" if span.kind == "cell" else "state" if value.state else covered
                found[key].append(span.name)
        steps = [*found["all"], *found["last"], *found["first"]]
        if not steps:
            for name in found.pop("state"):
                layer = self.layers[name]
                backwards = isinstance(layer, Recurrent) and layer.reverse
                found["first" if backwards else "last"].append(name)
                steps.append(name)
        outputs = tuple(dict.fromkeys(steps))
        if not outputs:
            raise InputError("the graph has no output that a layer makes")
        for which in ("last", "first"):
            for name in dict.fromkeys(found[which]):
                self.notes.append(f"the graph returns the {which} step of {name}; here, every step")
        for name in dict.fromkeys(found.get("state", []) + found["cell"]):
            self.notes.append(f"the final state of {name} is kept inside the core")
        size = self.shapes[self.x][-1]
        layers = fold_scales(list(self.layers.values()), outputs)
        return Model(size, tuple(layers), outputs, notes=tuple(self.notes))
