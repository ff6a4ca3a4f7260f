"""Reads RTNeural's JSON, and the same format as the KlonCentaur pedal ships it.

Format: ``in_shape`` and a list ``layers`` of objects with ``type``, ``shape``, ``weights``
(Keras layout) and mostly ``activation``; RTNeural's ``model_loader.h`` is the reference.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..files.json_file import read_json
from ..ir.model import Model
from .stack import Stack

__all__ = ["load_rtneural"]

FILE_LIMIT = 256 << 20
ACTIVATIONS = {"": "none", "linear": "none", "tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid"}
ARRAYS = {"dense": (2, 1), "gru": (2, 2, 2), "lstm": (2, 2, 1)}  # rank of each array of a layer
TYPES = {"dense": "dense", "time-distributed-dense": "dense", "gru": "gru", "lstm": "lstm"}


def _read(path: pathlib.Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise InputError(f"{path.name}: {size} bytes; a JSON model may have up to {FILE_LIMIT}")
    data = read_json(path.read_bytes(), path.name, "export the model again")
    if not isinstance(data, dict) or not isinstance(data.get("layers"), list):
        raise InputError(
            f"{path.name}: no list 'layers', so not RTNeural's JSON; export it with RTNeural's "
            "model_utils.py, or give the trained .pt, .keras or .onnx file"
        )
    return data


def _last(shape: Any, what: str) -> int:
    size = shape[-1] if isinstance(shape, list) and shape else None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"{what} is {shape!r}; its last entry must be a positive size")
    return size


def _arrays(name: str, kind: str, weights: Any) -> list[FloatArray]:
    ranks = ARRAYS[kind]
    if not isinstance(weights, list) or len(weights) != len(ranks):
        raise InputError(f"{name}: 'weights' must hold {len(ranks)} arrays for a {kind} layer")
    arrays = []
    for index, (value, rank) in enumerate(zip(weights, ranks, strict=True)):
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.array(None)
        if array.ndim != rank:
            raise InputError(f"{name}: weights[{index}] is not an array of numbers of rank {rank}")
        arrays.append(array)
    return arrays


def _activation(name: str, layer: dict[str, Any]) -> str:
    given = layer.get("activation", "")
    if not isinstance(given, str) or given not in ACTIVATIONS:
        raise InputError(
            f"{name}: activation {given!r} is not supported; "
            f"known: {', '.join(filter(None, ACTIVATIONS))}"
        )
    return ACTIVATIONS[given]


def load_rtneural(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read an RTNeural or KlonCentaur JSON model.

    Parameters
    ----------
    path : pathlib.Path
        JSON file, up to 256 MiB.
    check : bool
        Accepted for symmetry with the other importers; the format has no framework to run.

    Returns
    -------
    Model

    Raises
    ------
    InputError
        Not such a file, or a layer or activation that is not supported, by name.
    """
    data = _read(pathlib.Path(path))
    if data.get("in_skip"):
        raise InputError(
            f"in_skip is {data['in_skip']!r}: the input is added to the output, which is not "
            "supported; set it to 0 and add the input outside"
        )
    stack = Stack(_last(data.get("in_shape"), "in_shape"))
    for index, layer in enumerate(data["layers"]):
        kind = layer.get("type") if isinstance(layer, dict) else None
        name = f"{kind}_{index}"
        if kind == "activation":
            stack.activate(name, _activation(name, layer))
            continue
        if not isinstance(kind, str) or kind not in TYPES:
            raise InputError(
                f"layer {index} has type {kind!r}, which is not supported; "
                f"known: {', '.join(TYPES)}, activation"
            )
        kind = TYPES[kind]
        name = f"{kind}_{index}"
        arrays = _arrays(name, kind, layer.get("weights"))
        if kind == "dense":
            stack.linear(name, arrays[0], arrays[1], _activation(name, layer))
            if "activation" not in layer:
                stack.notes.append(f"{name}: the file names no activation: none is applied")
        else:
            if _activation(name, layer) != "tanh" and layer.get("activation"):
                raise InputError(
                    f"{name}: activation {layer['activation']!r}; RTNeural's recurrent layers "
                    "compute tanh whatever is written here: train with tanh"
                )
            stack.recurrent(name, kind, *arrays)
        stated = _last(layer.get("shape"), f"{name}: shape")
        if stated != stack.size:
            raise InputError(f"{name}: shape says {stated} units, the weights have {stack.size}")
    for key in ("in_gain", "out_gain"):
        if data.get(key):
            stack.notes.append(f"warning: {key} {data[key]!r} (decibels) is applied outside")
    return stack.model("RTNeural JSON")
