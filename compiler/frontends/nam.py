"""Reads LSTM models of Neural Amp Modeler (``.nam``).

Format: JSON with ``architecture``, ``config`` and one flat list of ``weights``. Of each layer: the
matrix over [x, h] by rows, gates i f g o; the sum of both biases; the state h and c to start from.
Then the weights and the bias of the head.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..ir.model import Layer, Linear, Model, Recurrent
from .format import Format
from .json_file import numbers, read_json, whole

__all__ = ["FORMAT", "load_nam"]

GATES = ("i", "f", "g", "o")


def load_nam(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read an LSTM of Neural Amp Modeler.

    Parameters
    ----------
    path : pathlib.Path
        ``.nam`` file, up to 256 MiB.
    check : bool
        Accepted for symmetry with the other importers; there is no framework to run.

    Raises
    ------
    InputError
        Another architecture, or weights that do not fit the sizes.
    """
    path = pathlib.Path(path)
    data = read_json(path)
    config: Any = data.get("config") if isinstance(data, dict) else None
    if not isinstance(config, dict) or data.get("architecture") != "LSTM":
        name = data.get("architecture") if isinstance(data, dict) else None
        raise InputError(
            f"{path.name}: architecture {name!r} is not supported; only LSTM is recurrent, train the "
            "capture with it"
        )
    unknown = sorted(set(config) - {"input_size", "hidden_size", "num_layers"})
    if unknown:
        raise InputError(f"{path.name}: config has {', '.join(unknown)}, which is not known")
    inputs, size, depth = (
        whole(config.get(key), f"{path.name}: {key}")
        for key in ("input_size", "hidden_size", "num_layers")
    )
    weights = numbers(data.get("weights"), f"{path.name}: weights").ravel()
    widths = [inputs, *[size] * (depth - 1)] if depth else []
    wanted = sum(4 * size * (width + size) + 6 * size for width in widths) + size + 1
    if not (inputs and size and depth) or weights.size != wanted:
        raise InputError(
            f"{path.name}: {weights.size} weights; {depth} layers of {size} over {inputs} inputs "
            f"take {wanted}"
        )
    layers: list[Layer] = []
    at = started = 0

    def take(*shape: int) -> FloatArray:
        nonlocal at
        at += int(np.prod(shape))
        return weights[at - int(np.prod(shape)) : at].reshape(shape)

    for k, width in enumerate(widths):
        matrix, bias = take(4 * size, width + size), take(4 * size)
        started += int(take(2 * size).any())
        w, u, b = (
            dict(zip(GATES, np.split(part, 4), strict=True))
            for part in (matrix[:, :width], matrix[:, width:], bias)
        )
        reads = (f"lstm{k - 1}",) if k else ("x",)
        layers.append(Recurrent(f"lstm{k}", "lstm", reads, size, width, w, u, b))
    layers.append(Linear("linear0", (layers[-1].name,), take(1, size), take(1)))
    open_ = ["the import with Neural Amp Modeler's own code, which is not run"]
    if started:
        open_.append(
            "the start: the file's layers start from a state that is not zero, that of silence; run "
            "a second of silence first, or load the state"
        )
    return Model(
        inputs, tuple(layers), source="Neural Amp Modeler", not_compared=tuple(open_),
        notes=(f"lstm, {depth} layers of {size}, gates i f g o; linear, {size} -> 1",),
    )  # fmt: skip


FORMAT = Format("Neural Amp Modeler: LSTM", (".nam",), "", load_nam)
