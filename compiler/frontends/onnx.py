"""Reads ONNX models: recurrent nodes, linear layers and activations, or one node of any graph."""

from __future__ import annotations

import math
import pathlib
from dataclasses import replace
from typing import Any

from ..errors import InputError, MissingToolError
from ..files.budget import FILE_LIMIT, spend
from ..files.protobuf import count_parts
from ..ir.model import Model
from .format import Format
from .onnx_cells import RECURRENT_OPS, attributes
from .onnx_check import check_graph
from .onnx_fold import constants, node_name
from .onnx_graph import translate

__all__ = ["FORMAT", "list_nodes", "load_onnx"]

NODES_LIMIT = 20_000
COPIES = 3  # of the weights: as read, as parsed, as arrays
OLDEST = 7  # opset of the present meaning of GRU, LSTM and RNN


def _tensors(graph: Any) -> list[Any]:
    inner = [a for node in graph.node for a in node.attribute]
    return [*graph.initializer, *(a.t for a in inner if a.HasField("t"))]


def _read_external(path: pathlib.Path, model: Any) -> None:
    """Bring tensors of a plain file in the same folder into the model.

    ``torch.onnx.export`` writes weights beside the graph (``m.onnx.data``). Links, other folders and
    more bytes than the file has are refused before anything is read.
    """
    import onnx

    total = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        what = f"{path.name}: {tensor.name or 'a constant'}"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        beside = path.parent / name
        if name in ("", ".", "..") or pathlib.PurePath(name).name != name or "\\" in name:
            raise InputError(
                f"{what} is stored in {name!r}; only a file beside the model is read: save the model "
                "as one file, torch.onnx.export(..., external_data=False)"
            )
        if beside.is_symlink() or not beside.is_file():
            raise InputError(
                f"{what} is stored in {name!r}, which is not there: copy it beside the model, or "
                "export one file, torch.onnx.export(..., external_data=False)"
            )
        bits = {onnx.TensorProto.DOUBLE: 64, onnx.TensorProto.INT64: 64, onnx.TensorProto.FLOAT: 32,
                onnx.TensorProto.INT32: 32, onnx.TensorProto.FLOAT16: 16,
                onnx.TensorProto.BFLOAT16: 16, onnx.TensorProto.BOOL: 8}  # fmt: skip
        count = math.prod(tensor.dims)
        offset, length = entries.get("offset", "0"), entries.get("length", "")
        size = count * bits.get(tensor.data_type, 0) // 8
        total += size
        known = beside.stat().st_size
        whole = offset.isdecimal() and (not length or length == str(size))
        if not size or not whole or int(offset) + size > known or total > FILE_LIMIT:
            raise InputError(
                f"{what} takes {size} bytes at {offset[:20]!r} of {name!r}, which has {known}; "
                "copy both files again"
            )
        spend(COPIES * size, path.name)
        with beside.open("rb") as file:
            file.seek(int(offset))
            tensor.raw_data = file.read(size)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


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
    _read_external(path, model)
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


def load_onnx(path: pathlib.Path, *, check: bool = True, node: str | None = None) -> Model:
    """Read an ONNX model.

    Parameters
    ----------
    path : pathlib.Path
        ``.onnx`` file up to 1 GiB; weights may be in a plain file beside it.
    check : bool
        Also run the graph in float64 with ``onnx.reference``, or else in float32 with
        onnxruntime, on random input and states, and compare every output.
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
        imported = translate(_extract(graph, node) if node is not None else graph)
        note, open_ = check_graph(imported) if check else ("", ())
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
    notes = (*imported.notes, note) if note else imported.notes
    source = f"ONNX ({producer or 'unknown producer'})"
    return replace(imported.model, source=source, notes=notes, not_compared=open_)


FORMAT = Format("GRU, LSTM, RNN, Gemm, MatMul and activations", (".onnx",), "onnx", load_onnx)
