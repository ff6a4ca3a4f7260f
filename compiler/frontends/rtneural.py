"""Reads RTNeural's JSON, and the same format as the KlonCentaur pedal ships it.

Format: ``in_shape`` and a list ``layers`` of objects with ``type``, ``shape``, ``weights``
(Keras layout) and mostly ``activation``; RTNeural's ``model_loader.h`` is the reference.
"""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..ir.model import Model
from .format import Format
from .graph import Graph
from .graph_model import fold
from .json_file import read_json
from .kernels import recurrent_layer

__all__ = ["FORMAT", "load_rtneural"]

ACTIVATIONS = {"": "none", "linear": "none", "tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid"}
STEPS = 2  # of a sequence in the graph: any number that tells steps apart
ARRAYS = {"dense": (2, 1), "gru": (2, 2, 2), "lstm": (2, 2, 1)}  # rank of each array of a layer
TYPES = {"dense": "dense", "time-distributed-dense": "dense", "gru": "gru", "lstm": "lstm"}


def _read(path: pathlib.Path) -> dict[str, Any]:
    data = read_json(path)
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
    if not data["layers"]:
        raise InputError("the model has no layers; export it again")
    skip = data.get("in_skip", 0)
    if skip not in (0, 1, False, True, None):
        raise InputError(f"in_skip is {str(skip)[:40]!r}; 0 and 1 are known")
    graph, notes = Graph(), list[str]()
    x = y = graph.input((1, STEPS, _last(data.get("in_shape"), "in_shape")), 1)
    for index, layer in enumerate(data["layers"]):
        kind = layer.get("type") if isinstance(layer, dict) else None
        if kind != "activation" and (not isinstance(kind, str) or kind not in TYPES):
            raise InputError(
                f"layer {index} has type {kind!r}, which is not supported; "
                f"known: {', '.join(TYPES)}, activation"
            )
        kind = TYPES.get(kind, kind)
        name = graph.place = graph.name = f"{kind}_{index}"
        activation = _activation(name, layer)
        if kind in ("gru", "lstm"):
            if activation != "tanh" and layer.get("activation"):
                raise InputError(
                    f"{name}: activation {layer['activation']!r}; RTNeural's recurrent layers "
                    "compute tanh whatever is written here: train with tanh"
                )
            weights = recurrent_layer(name, kind, *_arrays(name, kind, layer.get("weights")))
            y = graph.recurrent(y.swapaxes(0, 1), weights)[0].swapaxes(0, 1)
        else:
            if kind == "dense":
                kernel, bias = _arrays(name, kind, layer.get("weights"))
                if len(bias) != kernel.shape[1]:
                    raise InputError(
                        f"{name}: bias has shape {bias.shape}, expected {kernel.shape[1:]}"
                    )
                y = graph.linear(y, kernel.T, bias)
                if "activation" not in layer:
                    notes.append(f"{name}: the file names no activation: none is applied")
            y = y if activation == "none" else graph.activation(y, activation)
        stated = (
            y.shape[-1] if kind == "activation" else _last(layer.get("shape"), f"{name}: shape")
        )
        if stated != y.shape[-1]:
            raise InputError(f"{name}: shape says {stated} units, the weights have {y.shape[-1]}")
    if skip:
        size = y.shape[-1]
        if size > x.shape[-1]:
            raise InputError(
                f"skip: {size} outputs, but x has {x.shape[-1]} features to add to them"
            )
        y = graph.combine([(y, 1.0), (x[..., :size], 1.0)])
        notes.append("the input is added to the output (in_skip)")
    for key in ("in_gain", "out_gain"):
        if data.get(key):
            notes.append(f"warning: {key} {data[key]!r} (decibels) is applied outside")
    open_ = ("the import with RTNeural, which is not run",)
    model, _ = fold(graph, y, "RTNeural JSON")
    return replace(model, notes=(*model.notes, *notes), not_compared=open_)


FORMAT = Format("RTNeural", (".json",), "", load_rtneural)
