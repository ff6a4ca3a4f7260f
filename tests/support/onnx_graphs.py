"""Small ONNX graphs: recurrent nodes, classifiers around them, other precisions."""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATA = pathlib.Path(__file__).parents[1] / "data"


GTCRN = DATA / "gtcrn_simple.onnx"


GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def make(nodes, inputs, outputs, values=(), opset=17, **kwargs):
    """Build a model; ``inputs`` and ``outputs`` are name -> shape, ``values`` name -> array."""
    infos = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in part.items()]
        for part in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(values).items()]
    graph = helper.make_graph(nodes, "test", *infos, tensors)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, **kwargs)
    model = onnx.shape_inference.infer_shapes(model)
    for info in model.graph.output:
        info.type.tensor_type.shape.SetInParent()  # must be there, whatever it says
    return model


def weights(op, inputs=3, size=4, seed=1, bias=True):
    rng = np.random.default_rng(seed)
    n = GATES[op] * size
    shapes = {"W": (1, n, inputs), "R": (1, n, size)} | ({"B": (1, 2 * n)} if bias else {})
    return {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def recurrent(op, extra=(), values=None, layout=0, outputs=("Y",), **attributes):
    """Build a model of one recurrent node with open steps and batch."""
    node = helper.make_node(
        op, ["X", "W", "R", "B", *extra], outputs, name="cell", hidden_size=4,
        **({"layout": layout} if layout else {}), **attributes,
    )  # fmt: skip
    x = ["batch", "steps", 3] if layout else ["steps", "batch", 3]
    return make([node], {"X": x}, dict.fromkeys(outputs), weights(op) | (values or {}))


def random(*shape, seed=2):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32)


def both_ways(op, **attributes):
    """Build a model of one node of two directions."""
    model = recurrent(op, direction="bidirectional", **attributes)
    other = weights(op, seed=9)
    for tensor in model.graph.initializer:
        two = np.concatenate([numpy_helper.to_array(tensor), other[tensor.name]])
        tensor.CopyFrom(numpy_helper.from_array(two, tensor.name))
    return model


def classifier(middle, shape, output="out", batch_first=False):
    """GRU 3 -> 4 with Y squeezed to (steps, batch, 4) as 'seq', then ``middle``."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y", "Y_h"], name="gru", hidden_size=4,
                         linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "one"], ["seq"]),
        *middle,
    ]  # fmt: skip
    if not batch_first:
        nodes[0] = helper.make_node("Identity", ["x"], ["X"])
    values = weights("GRU") | {
        "one": np.array([1]),
        "zero": np.array([0]),
        "minus": np.array(-1),
        "M": random(4, 2),
        "N": random(2, 4, seed=7),
        "bias": random(2, seed=8),
        "Wg": weights("GRU", 4, 4, 5)["W"],
        "shape": np.array([0, 0, -1]),
    }
    return make(nodes, {"x": shape}, {output: None}, values)


def directed(op, direction):
    """Build a model of one recurrent node of one direction or both."""
    halves = [weights(op, seed=seed) for seed in range(1 + (direction == "bidirectional"))]
    values = {key: np.concatenate([half[key] for half in halves]) for key in halves[0]}
    form = {"linear_before_reset": 1} if op == "GRU" else {}
    return recurrent(op, values=values, direction=direction, **form)


def in_kind(model, kind):
    """Write every float of a graph in another type."""
    from gatewright.compiler.frontends.onnx_check import _in

    return _in(model, kind)
