"""Evaluates the parts of an ONNX graph that do not depend on its inputs, and layout operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.budget import BudgetError, spend

__all__ = ["ELEMENTS_LIMIT", "FOLDED", "GLUE", "constants", "evaluate", "node_name", "operator"]

Array = npt.NDArray[Any]

ELEMENTS_LIMIT = 1 << 26
"""Largest tensor that is made while a graph is read."""

BYTES = 40
"""Bytes of memory for an element: as it is evaluated, in float64, and copies."""
DIMENSIONS = 32
FLOATS = (1, 10, 11, 16)  # TensorProto.FLOAT, FLOAT16, DOUBLE, BFLOAT16

GLUE = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Slice", "Gather",
        "Split", "Concat", "Expand", "Tile"}  # fmt: skip
"""Operators that only move or choose elements."""

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Equal", "Where", "Pow", "Less", "Greater", "Max", "Min", "Sum",
               "And", "Or", "Mod"}  # fmt: skip
FOLDED = GLUE | ELEMENTWISE | {"Constant", "Shape", "Size", "Cast", "ConstantOfShape", "Neg", "Sqrt",
                               "Reciprocal", "Not", "MatMul", "Gemm", "Tanh", "Sigmoid", "Relu", "Range", "ReduceSum", "ReduceL2", "ReduceProd"}  # fmt: skip
"""Operators that are evaluated where all inputs are constant."""


def node_name(graph: Any, node: Any) -> str:
    """Name of a node; unnamed ones are called after their place."""
    return str(node.name or f"{node.op_type}_{list(graph.node).index(node)}")


def operator(node: Any) -> str:
    """Operator of a node, with its domain where that is not ONNX's own."""
    return f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _count(shape: Iterable[float]) -> int:
    """Return the elements of a shape, at most 2**62."""
    return int(min(np.prod(np.array([*shape], float)), 2.0**62))


def _evaluate(node: Any, arrays: list[Array | None], model: Any) -> list[Array]:
    """Run one node in NumPy, after a look at how large its result can get."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    present = {n: a for n, a in zip(node.input, arrays, strict=True) if n and a is not None}
    given = [a for a in arrays if a is not None]  # an input that is there twice counts twice
    total = sum(a.size for a in given)
    shapes = [a.shape for a in given]
    if node.op_type in ("ConstantOfShape", "Expand"):
        if given[-1].ndim != 1 or given[-1].size > DIMENSIONS:
            raise InputError(f"{node.op_type} is given a shape of shape {given[-1].shape}")
        wanted = np.maximum(given[-1].astype(float), 1.0)
        if node.op_type == "Expand":  # both ways: neither of the two need be as large
            old = np.array([*[1] * (len(wanted) - given[0].ndim), *given[0].shape], float)
            wanted = np.maximum([*[1.0] * (len(old) - len(wanted)), *wanted], old)
        total += _count(wanted)
    elif node.op_type == "Cast" and any(a.i == TensorProto.STRING for a in node.attribute):
        raise InputError("Cast to text is not supported")
    elif node.op_type == "Cast" and any(a.i in FLOATS for a in node.attribute):
        spend(BYTES * total, f"Cast of {total} elements")
        return [given[0].astype(np.float64)]  # no float is rounded here
    elif node.op_type == "Constant" and any(a.name == "sparse_value" for a in node.attribute):
        raise InputError("a sparse Constant is not supported; store it dense")
    elif node.op_type in ELEMENTWISE:
        total += _count(np.broadcast_shapes(*shapes))
    elif node.op_type == "Tile":
        total *= max(1, _count(given[-1].ravel()))
    elif node.op_type == "Gemm":
        total += _count([max(shape, default=1) for shape in shapes[:2]])
    elif node.op_type == "MatMul":
        total += _count([*shapes[0][:-1], *shapes[1]])
    elif node.op_type == "Range":
        start, end, step = (float(a.reshape(())) for a in given)
        total += _count([max(0.0, (end - start) / step)]) + 1
    elif node.op_type == "Gather":
        total *= max(1, _count(shapes[-1]))
    if total > ELEMENTS_LIMIT:
        raise InputError(f"{node.op_type} makes {total} elements, up to {ELEMENTS_LIMIT} allowed")
    spend(BYTES * total, f"{node.op_type} of {total} elements")
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in present.items()
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in node.output]
    graph = helper.make_graph([node], "node", infos, outputs)
    single = helper.make_model(graph, opset_imports=model.opset_import)
    return [in_float64(np.asarray(a)) for a in ReferenceEvaluator(single).run(None, present)]


def in_float64(array: Array) -> Array:
    """Return floating-point numbers in float64, and others as they are."""
    return array.astype(np.float64) if array.dtype.kind not in "biuSUO" else array


def evaluate(node: Any, arrays: list[Array | None], model: Any) -> list[Array]:
    """Run one node in NumPy.

    Raises
    ------
    InputError
        The result would be too large, or the node is malformed.
    """
    try:
        return _evaluate(node, arrays, model)
    except InputError:
        raise
    except Exception as error:  # the evaluator raises whatever its NumPy code does
        raise InputError(
            f"{node_name(model.graph, node)}: {node.op_type} cannot be evaluated "
            f"({type(error).__name__}: {error})"
        ) from None


def constants(model: Any) -> dict[str, Array]:
    """Return every tensor of a graph that does not depend on its inputs."""
    from onnx import numpy_helper

    known = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        spend(8 * array.size, f"{tensor.name} in float64")
        known[tensor.name] = in_float64(array)
    for node in model.graph.node:
        if operator(node) in FOLDED and all(not n or n in known for n in node.input):
            arrays = [known.get(n) for n in node.input]
            try:
                results = evaluate(node, arrays, model)
            except BudgetError:
                raise
            except InputError:
                continue  # whoever needs the value will name it
            known.update((n, a) for n, a in zip(node.output, results, strict=True) if n)
    return known
