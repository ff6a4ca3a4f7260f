"""``.pt2`` files of ``torch.export.save``, read without torch.

The file is a zip: ``models/model.json`` is the graph of operators, ``data/weights`` and
``data/constants`` hold raw tensors, whose sizes, strides and types stand in a JSON file each.
Reading runs no code of the file and unpickles nothing: only ``data/sample_inputs`` and
tensors that are marked so are pickles; the first are never opened, the second are refused.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.boundary import parsing
from ..files.budget import spend
from ..files.json_file import read_json

__all__ = ["Exported", "Name", "Operator", "read_pt2"]

VALUES_LIMIT = 1 << 28  # weights of one model
OPERATORS_LIMIT = 20_000
TYPES = {1: "|u1", 2: "|i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f2", 7: "<f4", 8: "<f8", 12: "|b1",
         13: "bfloat16"}  # fmt: skip
INTEGERS = (1, 2, 3, 4, 5)
SLASH = r"[/\\]"
CONTIGUOUS_LAYOUT = 7  # torch.strided


class Name(str):
    """The name of a value, as an argument of an operator."""

    __slots__ = ()


@dataclass(frozen=True)
class Operator:
    """One operator: its name (``gru.input``), arguments by name, names of its values."""

    name: str
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    place: str


@dataclass(frozen=True, eq=False)
class Exported:
    """What ``torch.export`` kept of a module.

    Parameters
    ----------
    operators : tuple of Operator
    tensors : dict of str -> ndarray
        Weights, buffers and constants by their name in the graph.
    input : str
    shape : tuple of int
        Of the input in the example.
    type : int
        Number of the input's type, as torch.export counts them.
    output : str
        First tensor of what forward returns.
    others : tuple of str
        Names of the other tensors it returns.
    """

    operators: tuple[Operator, ...]
    tensors: dict[str, npt.NDArray[Any]]
    input: str
    shape: tuple[int, ...]
    type: int
    output: str
    others: tuple[str, ...]

    @property
    def tokens(self) -> bool:
        """Whether the input is integers."""
        return self.type in INTEGERS


def read_pt2(file: Path | io.BytesIO, name: str) -> Exported:
    """Read an exported program.

    Raises
    ------
    InputError
        The file is damaged, of an older version, too large, or needs unpickling.
    """
    with (
        parsing(name, "a file of torch.export.save", "save it again"),
        zipfile.ZipFile(file) as archive,
    ):
        return _read(archive, name)


def _read(archive: zipfile.ZipFile, name: str) -> Exported:
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    if "byteorder" in members and archive.read(members["byteorder"])[:7] != b"little":
        raise InputError(f"{name} is not little-endian; save it on another machine")
    if "models/model.json" not in members:
        old = any(
            m.filename.endswith("serialized_exported_program.json") for m in archive.infolist()
        )
        graphs = [m for m in members if re.fullmatch(r"models/[^/]+\.json", m)]
        why = "was written by an older PyTorch" if old else (
            f"holds {', '.join(graphs)} and no graph named 'model'" if graphs else "holds no graph")  # fmt: skip
        raise InputError(f"{name} {why}: save it by torch.export.save of PyTorch 2.9 or later")

    def text(member: str) -> Any:
        if member not in members:
            return {"config": {}}
        spend(members[member].file_size, member)
        return read_json(archive.read(members[member]), f"{name}: {member}", "save it again")

    module = text("models/model.json")["graph_module"]
    graph, signature = module["graph"], module["signature"]
    if len(graph["nodes"]) > OPERATORS_LIMIT:
        raise InputError(
            f"{name} has {len(graph['nodes'])} operators; the limit is {OPERATORS_LIMIT}"
        )
    tensors: dict[str, npt.NDArray[Any]] = {}
    inputs, held = [], {}
    for spec in signature["input_specs"]:
        ((kind, given),) = spec.items()
        if kind == "user_input":
            inputs.append(given["arg"])
        else:
            key = {"parameter": "parameter_name", "buffer": "buffer_name",
                   "tensor_constant": "tensor_constant_name"}.get(kind)  # fmt: skip
            if key is None:
                raise InputError(f"{name}: an input of kind {kind} is not supported")
            held[given["arg"]["name"]] = given[key]
    total = 0
    for folder, which in (("data/weights", "weights"), ("data/constants", "constants")):
        config = text(f"{folder}/model_{which}_config.json")["config"]
        for local, full in held.items():
            if full in config and local not in tensors:
                meta = config[full]
                total += math.prod(size["as_int"] for size in meta["tensor_meta"]["sizes"])
                if total > VALUES_LIMIT:
                    raise InputError(f"{name} holds more than {VALUES_LIMIT} weights, the limit")
                tensors[local] = _tensor(
                    archive, members, f"{folder}/{meta['path_name']}", meta, full
                )
    missing = [full for local, full in held.items() if local not in tensors]
    if missing:
        raise InputError(f"{name}: the values of {', '.join(missing[:8])} are not in the file")
    example = [arg for arg in inputs if "as_tensor" in arg]
    if len(example) != 1:
        raise InputError(
            f"{name}: forward takes {len(example)} tensors; one input x is supported. Export a "
            "wrapper that takes x alone and starts from zero states"
        )
    x = example[0]["as_tensor"]["name"]
    about = graph["tensor_values"][x]
    results = [s["user_output"]["arg"] for s in signature["output_specs"] if "user_output" in s]
    outputs = [a["as_tensor"]["name"] for a in results if "as_tensor" in a]
    if not outputs:
        raise InputError(f"{name}: forward returns no tensor")
    if any("user_output" not in s for s in signature["output_specs"]):
        raise InputError(f"{name}: forward changes a buffer, a state between calls; "
                         "give it a forward without such a state, in eval mode")  # fmt: skip
    return Exported(
        tuple(_operator(node) for node in graph["nodes"]), tensors, x,
        tuple(_size(size) for size in about["sizes"]), int(about["dtype"]),
        outputs[0], tuple(outputs[1:]),
    )  # fmt: skip


def _size(given: Mapping[str, Any]) -> int:
    """Return a size; of a dynamic one that of the example."""
    return int(given["as_int"] if "as_int" in given else given["as_expr"]["hint"]["as_int"])


def _tensor(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    member: str,
    meta: Any,
    full: str,
) -> npt.NDArray[Any]:
    """Read one raw tensor, after a look at its size."""
    about = meta["tensor_meta"]
    if meta["use_pickle"]:
        raise InputError(
            f"{full} is stored as a pickle, which is never opened; save a plain dense tensor"
        )
    if about["layout"] != CONTIGUOUS_LAYOUT or about["dtype"] not in TYPES:
        raise InputError(f"{full} is sparse, or of a type ({about['dtype']}) that is not supported")
    sizes = [int(size["as_int"]) for size in about["sizes"]]
    strides = [int(stride["as_int"]) for stride in about["strides"]]
    offset = int(about["storage_offset"]["as_int"])
    kind = TYPES[about["dtype"]]
    item = 2 if kind == "bfloat16" else np.dtype(kind).itemsize
    stored = members[member].file_size // item
    if len(sizes) != len(strides) or min([*sizes, 1]) < 1 or min([*strides, offset, 0]) < 0:
        raise InputError(
            f"{full}: sizes {sizes}, strides {strides}: a size of zero is not supported"
        )
    end = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if end >= stored or math.prod(sizes) > stored or stored > VALUES_LIMIT:
        raise InputError(
            f"{full}: sizes {sizes} do not fit the {members[member].file_size} bytes stored"
        )
    spend(members[member].file_size + 16 * math.prod(sizes), full)
    raw = archive.read(members[member])
    flat = np.frombuffer(raw, "<u2" if kind == "bfloat16" else kind, stored)
    if kind == "bfloat16":  # the upper half of a float32
        flat = (flat.astype("<u4") << 16).view("<f4")
    view = np.lib.stride_tricks.as_strided(
        flat[offset:], sizes, [stride * flat.itemsize for stride in strides], writeable=False
    )
    return view.astype(np.float64) if view.dtype.kind == "f" else view.copy()


def _operator(node: Mapping[str, Any]) -> Operator:
    outputs: list[str] = []
    for output in node["outputs"]:
        ((kind, given),) = output.items()
        if kind == "as_tensors":
            outputs += [one["name"] for one in given]
        else:
            outputs.append(given["name"] if kind == "as_tensor" else str(given.get("as_name")))
    return Operator(
        str(node["target"]).removeprefix("torch.ops.aten."),
        {str(one["name"]): _argument(one["arg"]) for one in node["inputs"]},
        tuple(outputs),
        _place(str(node["target"]), node.get("metadata", {})),
    )


def _argument(given: Mapping[str, Any]) -> Any:
    """Return an argument: a number, a list, None, or the name of a value."""
    ((kind, value),) = given.items()
    if kind == "as_tensor":
        return Name(value["name"])
    if kind == "as_tensors":
        return [Name(one["name"]) for one in value]
    if kind in ("as_optional_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
        ((inner, what),) = value.items()
        if inner == "as_tensor":
            return Name(what["name"])
        return Name(what) if inner == "as_name" else (None if inner == "as_none" else what)
    if kind in ("as_sym_ints", "as_optional_tensors"):
        single = kind.removesuffix("s")
        return [_argument({single: one}) for one in value]
    if kind in ("as_device", "as_layout", "as_memory_format", "as_none"):
        return None
    return float(value) if kind == "as_float" else value  # "as_float" may be the text "inf"


def _place(target: str, metadata: Mapping[str, Any]) -> str:
    """Name the module, and the line of the user's own code, of an operator."""
    stack = str(metadata.get("nn_module_stack", "")).split(";")[-1].split(",")
    path = stack[1] if len(stack) == 3 and stack[2].startswith("torch.") else ""
    lines = re.findall(
        r'File "([^"]*)", line (\d+), in \w+\n *([^\n]*)', str(metadata.get("stack_trace", ""))
    )
    own = [line for line in lines if not re.search(f"{SLASH}torch{SLASH}", line[0])]
    short = target.removeprefix("torch.ops.aten.").partition(".")[0]
    code = f" in {stack[1]}" if len(stack) == 3 and stack[1] else ""
    if own and not path:
        file, number, source = own[-1]
        code += f" at {re.split(SLASH, file)[-1]} line {number}, {source[:60]}"
    return path or short + code
