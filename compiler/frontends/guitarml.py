"""Reads GuitarML's JSON (NeuralPi, Proteus): a recurrent layer, a linear one, and the input added.

Format: ``model_data`` says the sizes and ``skip``, ``state_dict`` holds PyTorch's tensors of ``rec``
and ``lin``; the trained network computes ``lin(rec(x)) + x[:skip]``.
"""

from __future__ import annotations

import pathlib
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..ir.model import Linear, Model
from .format import Format
from .json_file import numbers, read_json, whole
from .tensors import from_state_dict

__all__ = ["FORMAT", "load_guitarml"]

UNITS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


def load_guitarml(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read a GuitarML JSON model.

    Parameters
    ----------
    path : pathlib.Path
        JSON file, up to 256 MiB.
    check : bool
        Compare the layers with PyTorch's, where it is installed.

    Raises
    ------
    InputError
        Another network than a recurrent layer with a linear one, or sizes that do not agree.
    """
    path = pathlib.Path(path)
    data = read_json(path)
    data = data if isinstance(data, dict) else {}
    about, state = data.get("model_data"), data.get("state_dict")
    if not isinstance(about, dict) or not isinstance(state, dict):
        raise InputError(f"{path.name}: model_data and state_dict must be objects; export it again")
    kind, unit = about.get("model", "SimpleRNN"), about.get("unit_type")
    if kind != "SimpleRNN" or unit not in UNITS:
        raise InputError(
            f"{path.name}: model {kind!r} of unit_type {unit!r} is not supported; SimpleRNN of "
            f"{', '.join(UNITS)} is"
        )
    tensors = {str(name): numbers(value, f"{path.name}: {name}") for name, value in state.items()}
    model = from_state_dict(tensors, forward="rec, lin", check=check, source=path.name)
    skip = whole(about.get("skip", 0), f"{path.name}: skip")
    first = model.layers[0]
    stated = (
        ("input_size", model.input_size), ("output_size", model.output_size),
        ("hidden_size", first.size), ("num_layers", len(model.layers) - 1),
    )  # fmt: skip
    for key, size in stated:
        if about.get(key, size) != size:
            raise InputError(f"{path.name}: {key} is {about[key]!r}, the tensors have {size}")
    if not first.name.startswith(UNITS[unit]):
        raise InputError(f"{path.name}: unit_type is {unit}, the tensors are of {first.name[:-1]}")
    notes = [note for note in model.notes if not note.startswith("forward")]
    if skip:
        if skip not in (1, model.output_size) or skip > model.input_size:
            raise InputError(
                f"{path.name}: skip {skip} with {model.output_size} outputs; export it again"
            )
        last = model.layers[-1]
        if isinstance(last, Linear):
            # One feature is added to every output, several each to its own
            columns = np.zeros((last.size, model.input_size))
            columns[range(last.size), range(last.size) if skip > 1 else 0] = 1.0
            weight = np.concatenate([last.w, columns], axis=1)
            last = replace(last, inputs=(*last.inputs, "x"), weight=weight)
        model = replace(model, layers=(*model.layers[:-1], last))
        notes.append(f"{last.name}: the input is added to the output (skip {skip})")
    return replace(
        model, source="GuitarML JSON", notes=tuple(notes),
        not_compared=("the import with GuitarML's own code, which is not run",),
    )  # fmt: skip


def _matches(path: pathlib.Path) -> bool:
    """Return whether a JSON file names GuitarML's two parts."""
    text = path.read_bytes()
    return b'"model_data"' in text and b'"state_dict"' in text


FORMAT = Format("GuitarML, NeuralPi and Proteus", (".json",), "", load_guitarml, _matches)
