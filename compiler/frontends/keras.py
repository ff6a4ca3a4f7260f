"""Reads Keras models (``.keras``, ``.h5``) as data, and checks them where Keras is installed."""

from __future__ import annotations

import pathlib
from dataclasses import replace

from ..arrays import IntArray
from ..errors import InputError
from ..files.boundary import parsing
from ..ir.model import Model
from .format import Format
from .graph_model import fold
from .graph_output import Output, find_output
from .keras_cells import RECURRENT
from .keras_check import check_file
from .keras_config import CELLS, KerasLayer, flatten, tensors
from .keras_file import KerasFile, read_keras
from .keras_layers import LAYERS
from .keras_walk import Walk

__all__ = ["FORMAT", "load_keras"]

KNOWN = {**LAYERS, **RECURRENT}
STEPS = (7, 11)  # lengths that are tried where the file leaves the length open
FIXED = range(2, 257)  # lengths that are taken from the file
SEQUENCES = 2


def _input_shape(model: KerasLayer) -> tuple[int | None, list[int]]:
    """Return the number of steps, None if any is taken, and the sizes of the axes behind it."""
    first = model
    while first.inner:
        inputs = [t for t in flatten(tensors([first.config.get("input_layers")])) if t]
        named = {layer.name: layer for layer in first.inner}
        first = named.get(inputs[0].layer, first.inner[0]) if inputs else first.inner[0]
    for config in (first.config, model.inner[0].config):
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) in (2, 3):
            break
    else:
        shape = None
    kinds = {layer.kind for layer in model.branches()}
    if shape is None and first.weights and first.kind in ("Dense", *CELLS):
        return None, [len(first.weights[0])]
    if shape and len(shape) == 3 and isinstance(shape[-1], int):
        return shape[1] if shape[1] in FIXED else None, shape[2:]
    if shape and len(shape) == 2 and kinds & {"Embedding", "Reshape", "ExpandDims"}:
        return shape[1] if shape[1] in FIXED else None, shape[2:]
    stated = shape or first.config.get("batch_shape") or first.config.get("batch_input_shape")
    raise InputError(
        f"the model's input has shape {stated}, expected (batch, steps, features); "
        "build the model with an Input layer and save it again"
    )


def _translate(file: KerasFile, shape: tuple[int, ...]) -> tuple[Walk, IntArray, int]:
    """Walk over the layers for an input of one shape; return the first output, and how many there are."""
    walk = Walk(file, KNOWN)
    x = walk.graph.input(shape, 1, tokens=len(shape) == 2)
    outputs = walk.model(file.model, [x])
    return walk, outputs[0], len(outputs)


def _same(walk: Walk, first: Output, other: Output) -> None:
    """Refuse an output that is another one for another number of steps."""
    if first.steps != other.steps or first.features.tolist() != other.features.tolist():
        walk.refuse("the output depends on the number of steps; count steps from the end: y[:, -1]")


def load_keras(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read a Keras model.

    Parameters
    ----------
    path : pathlib.Path
        ``.keras`` or ``.h5`` of a Sequential or functional model with one input.
    check : bool
        Also run the file in Keras on random input, in float64, where Keras is installed with
        PyTorch (or imported already).

    Returns
    -------
    Model
        Its notes say what was left out, folded or assumed.

    Raises
    ------
    InputError
        The file is damaged, or holds a layer or setting that is not supported, by name.
    CheckError
        The imported model differs from Keras.
    MissingToolError
        h5py is not installed.
    """
    path = pathlib.Path(path)
    file = read_keras(path)
    with parsing(path.name, "a Keras model", "save the model again"):
        steps, features = _input_shape(file.model)
        lengths = [steps] if steps else STEPS
        walk, elements, count = _translate(file, (SEQUENCES, lengths[0], *features))
        model, output = fold(walk.graph, elements, f"Keras {file.version or '(unknown version)'}")
        for length in lengths[1:]:
            other, moved, _ = _translate(file, (SEQUENCES, length, *features))
            _same(other, output, find_output(other.graph, moved))
        notes = [*model.notes, *dict.fromkeys(walk.notes)]
        if count > 1:
            notes.append(f"the first output is read; {count - 1} more of the file's are not")
        model = replace(model, notes=tuple(notes))
    if not check:
        return model

    def outputs(shape: tuple[int, ...]) -> Output:
        walk, elements, _ = _translate(file, shape)
        return replace(find_output(walk.graph, elements), columns=output.columns)

    note, open_ = check_file(path, file, model, frozenset(KNOWN), steps, features, outputs)
    return replace(model, notes=(*model.notes, note), not_compared=open_)


FORMAT = Format(
    "Keras 3 and HDF5: Sequential and functional models",
    (".keras", ".h5"),
    "keras",
    load_keras,
)
