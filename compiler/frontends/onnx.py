"""Reads ONNX models: recurrent nodes, linear layers and activations, or one node of any graph."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError, InputError, MissingToolError
from ..files.budget import FILE_LIMIT, spend
from ..files.protobuf import count_parts
from ..ir.model import Model
from .onnx_cells import RECURRENT_OPS, attributes
from .onnx_fold import constants, node_name
from .onnx_graph import Walk
from .onnx_tensors import Array, Value

__all__ = ["list_nodes", "load_onnx"]

NODES_LIMIT = 20_000
COPIES = 3  # of the weights: as read, as parsed, as arrays
OLDEST = 7  # opset of the present meaning of GRU, LSTM and RNN
TOLERANCE = 1e-5


def _tensors(graph: Any) -> list[Any]:
    inner = [a for node in graph.node for a in node.attribute]
    return [*graph.initializer, *(a.t for a in inner if a.HasField("t"))]


def _read(path: pathlib.Path) -> Any:
    """Parse a file and check that it is a well-formed model which is complete in itself."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingToolError(
            "reading ONNX files needs the onnx package: pip install 'gatewright[onnx]'"
        ) from None
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise InputError(f"{path.name}: {size} bytes; an ONNX file may have up to {FILE_LIMIT}")
    spend(COPIES * size, path.name)
    content = path.read_bytes()
    count_parts(content, path.name)
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path.name}: not an ONNX file ({error}); export it again") from None
    if len(model.graph.node) > NODES_LIMIT:
        raise InputError(
            f"{path.name}: {len(model.graph.node)} nodes; up to {NODES_LIMIT} are read: simplify "
            "the graph, or export the recurrent part alone"
        )
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(
                f"{path.name}: {tensor.name or 'a constant'} is stored in another file (external "
                "data); save the model as one file (onnx.save with save_as_external_data=False)"
            )
    if model.graph.sparse_initializer:
        raise InputError(f"{path.name}: sparse initializers are not supported; store them dense")
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        text = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name}: not a valid ONNX model ({text}); export it again") from None
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version < OLDEST:
        raise InputError(f"{path.name}: opset {version}; opset {OLDEST} or later is supported")
    return model


def _nodes(model: Any) -> list[dict[str, Any]]:
    columns = {t.name: t.dims[2] for t in model.graph.initializer if len(t.dims) == 3}
    found = []
    for node in model.graph.node:
        if node.op_type in RECURRENT_OPS and node.domain in ("", "ai.onnx"):
            given = attributes(node)
            found.append(
                {
                    "name": node_name(model.graph, node),
                    "op": node.op_type,
                    "hidden": given.get("hidden_size", columns.get(node.input[2])),
                    "input": columns.get(node.input[1]),
                    "direction": given.get("direction", "forward"),
                    "lbr": given.get("linear_before_reset", 0),
                    "layout": given.get("layout", 0),
                }
            )
    return found


def list_nodes(path: pathlib.Path) -> list[dict[str, Any]]:
    """List the recurrent nodes of a file, as candidates for ``node`` of :func:`load_onnx`.

    Returns
    -------
    list of dict
        Keys ``name``, ``op``, ``hidden``, ``input`` (None where it is not stored as an
        initializer), ``direction``, ``lbr`` (linear_before_reset) and ``layout``.
    """
    return _nodes(_read(pathlib.Path(path)))


def _extract(model: Any, name: str) -> Any:
    """Make a model of one node: X and states that are no constants are its inputs, Y its output."""
    from onnx import TensorProto, helper, numpy_helper

    choices = [n for n in model.graph.node if n.op_type in RECURRENT_OPS]
    matches = [n for n in choices if node_name(model.graph, n) == name]
    if len(matches) != 1:
        known = ", ".join(node_name(model.graph, n) for n in choices) or "none"
        raise InputError(f"{len(matches)} recurrent nodes are named {name!r}; there are: {known}")
    node, known_values = type(matches[0])(), constants(model)
    node.CopyFrom(matches[0])
    node.name = name
    missing = [n for n in node.input[1:3] if n not in known_values]
    if missing:
        raise InputError(f"{name}: weights {', '.join(missing)} are no constants; freeze the model")
    given, weight = attributes(node), known_values[node.input[1]]
    if weight.ndim != 3:
        raise InputError(f"{name}: W has shape {weight.shape}, expected rank 3")
    batch_first, hidden = given.get("layout", 0), given.get("hidden_size", "hidden")
    count = weight.shape[0]  # of directions
    state = ["batch", count, hidden] if batch_first else [count, "batch", hidden]
    shapes = {0: ["batch", "steps"] if batch_first else ["steps", "batch"], 5: state, 6: state}
    shapes[0] = [*shapes[0], weight.shape[2]]
    inputs: list[Any] = []
    initializers: list[Any] = []
    for k, source in enumerate(node.input):
        if k and source in known_values:
            initializers.append(numpy_helper.from_array(known_values[source], source))
        elif k in shapes and source:
            info = helper.make_tensor_value_info(source, TensorProto.FLOAT, shapes[k])
            inputs += [info] if source not in [i.name for i in inputs] else []
        elif source:
            raise InputError(
                f"{name}: input {source!r} ({k}) is no constant; that is not supported"
            )
    node.ClearField("output")
    node.output.append("Y")
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "node", inputs, [output], initializers)
    return helper.make_model(
        graph,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
    )


def _run(model: Any, feeds: dict[str, Array]) -> tuple[str, Any]:
    """Run a graph with ONNX Runtime, or else with ONNX's own reference; return who and what."""
    try:
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return f"onnxruntime {onnxruntime.__version__}", session.run(None, feeds)
    except Exception:  # not installed, or it lacks an operator, type or layout of this graph
        from onnx.reference import ReferenceEvaluator

        if any(a.name == "activations" for node in model.graph.node for a in node.attribute):
            return "", "onnxruntime cannot run it, and onnx.reference ignores 'activations'"
        try:
            return "onnx.reference", ReferenceEvaluator(model).run(None, feeds)
        except Exception as error:  # it raises whatever its NumPy code does
            return "", f"{type(error).__name__}: {error}"


def _elements(walk: Walk, model: Model, feeds: dict[str, Array]) -> FloatArray:
    """Run the model on a graph's inputs; return every element that the walk has numbered."""
    x = feeds[walk.x].astype(np.float64)
    x = np.moveaxis(x, walk.time, 0) if walk.time is not None else x[None]
    lead = x.shape[:-1]  # time, then the axes that are sequences here
    sequences = x.reshape(lead[0], -1, x.shape[-1]).swapaxes(0, 1)
    state = model.initial_state(len(sequences))
    for layer, which, span, index in walk.states:
        part = state[layer]["hc".index(which)]
        part[...] = feeds[span.name].ravel()[index].reshape(part.shape)
    trace: dict[str, list[FloatArray]] = {}
    model.run(sequences, state, trace)
    elements = np.full(walk.elements, np.nan)
    for span in walk.spans:
        if span.kind != "input":
            key = f"{span.name}.c" if span.kind == "cell" else span.name
            vector = np.stack(trace[key]).reshape(*lead, span.size)
            vector = np.moveaxis(vector, 0, walk.time) if walk.time is not None else vector
            elements[span.start : span.start + vector.size] = vector.ravel()
    return elements


def _check(walk: Walk, model: Model) -> str:
    """Compare the model with the graph, on random input and state; return a note."""
    from onnx import helper

    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for info in walk.graph.input:
        if info.name in walk.shapes:
            dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            feeds[info.name] = rng.uniform(-1, 1, walk.shapes[info.name]).astype(dtype)
    runner, results = _run(walk.onnx, feeds)
    if not runner:
        return f"warning: not checked: {results}"
    elements = _elements(walk, model, feeds)
    worst = 0.0
    for info, result in zip(walk.graph.output, results, strict=True):
        made = walk.env[info.name]
        if not isinstance(made, Value):
            continue
        y = elements[made.index]
        if made.final:
            y = y - y.max(-1, keepdims=True)
            y = y - np.log(np.exp(y).sum(-1, keepdims=True))
            y = np.exp(y) if made.final == "Softmax" else y
        same = y.shape == np.shape(result)
        difference = float(np.abs(y - result).max()) if same else np.inf
        if not difference <= TOLERANCE * max(1.0, float(np.abs(y).max())):
            raise CheckError(
                f"output {info.name!r} differs from {runner} by {difference:.3g} on random input, "
                f"more than {TOLERANCE:g}; please report the file"
            )
        worst = max(worst, difference)
    return f"checked against {runner}: differs by {worst:.1e}"


def load_onnx(path: pathlib.Path, *, check: bool = True, node: str | None = None) -> Model:
    """Read an ONNX model.

    Parameters
    ----------
    path : pathlib.Path
        ``.onnx`` file up to 1 GiB, without external data.
    check : bool
        Also run the graph with onnxruntime, or else with ``onnx.reference``, on random input and
        states, and compare every output within 1e-5.
    node : str, optional
        Read just this recurrent node (see :func:`list_nodes`); its X is the model's input.

    Returns
    -------
    Model
        Its notes say what was left out or assumed.

    Raises
    ------
    InputError
        The file is damaged, or has an operator or form that is not supported, by name.
    CheckError
        The imported model differs from the graph.
    MissingToolError
        The onnx package is not installed.
    """
    path = pathlib.Path(path)
    graph = _read(path)
    try:
        walk = Walk(_extract(graph, node) if node is not None else graph)
        model = walk.model()
        notes = (*model.notes, _check(walk, model)) if check else model.notes
    except InputError as error:
        names = [entry["name"] for entry in _nodes(graph)]
        if node is not None or not names:
            raise InputError(f"{path.name}: {error}") from None
        raise InputError(
            f"{path.name}: {error}. Recurrent nodes that can be chosen with --node: "
            f"{', '.join(names)}"
        ) from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        # Attributes and tensors of the wrong type, which ONNX's own checker lets pass.
        raise InputError(
            f"{path.name}: malformed ({type(error).__name__}: {error}); export it again"
        ) from error
    producer = f"{graph.producer_name} {graph.producer_version}".strip()
    return replace(model, source=f"ONNX ({producer or 'unknown producer'})", notes=notes)
