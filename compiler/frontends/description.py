"""A model that is stated by hand: layers in a small TOML file, weights in an ``.npz`` beside it.

Every cell of :data:`~..ir.cells.CELLS` can be said this way, in any form that it has: where the
reset gate is applied, what the update gate means, the order of gates, the activations. ``inspect``
prints the equations that result, and ``inspect MODEL -o FILE.toml`` writes any model so.
"""

from __future__ import annotations

import json
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError, did_you_mean
from ..files.atomic import atomic_write
from ..files.boundary import parsing
from ..files.budget import spend
from ..files.npy import read_npz, write_npz
from ..ir.cells import CELLS, Gate
from ..ir.model import SIZE_LIMIT, Layer, Linear, Model, Recurrent
from .format import Format

__all__ = ["FORMAT", "load_description", "write_description"]

TEXT_LIMIT = 1 << 20
LAYERS_LIMIT = 256
MODEL = {"inputs": int, "outputs": list, "weights": str, "layer": list}
LINEAR = {"name": str, "cell": str, "reads": list, "activation": str, "slope": float}
RECURRENT = {
    "name": str, "cell": str, "reads": list, "gates": str, "update": str, "gate": str,
    "candidate": str, "output": str, "slope": float, "reverse": bool,
}  # fmt: skip
MATRICES = {"W": "w", "U": "u", "b": "b", "d": "c"}
"""Letters of arrays, as in the equations, and the attributes of :class:`~..ir.layers.Recurrent`."""


def load_description(path: pathlib.Path, *, check: bool = True) -> Model:
    """Read a description.

    Parameters
    ----------
    path : pathlib.Path
        ``.toml`` file of up to 1 MiB. Arrays are in the ``.npz`` that ``weights`` names, in the same
        folder: ``LAYER.W_r`` (H, I), ``LAYER.U_r`` (H, H), ``LAYER.b_r`` and ``LAYER.d_r`` (H,) of a
        gate r; or ``LAYER.W`` and so on, the gates below each other as ``gates`` lists them. Of a
        linear layer ``LAYER.W`` (O, I) and ``LAYER.b``.
    check : bool
        Accepted for symmetry with the other readers; there is no framework to run.

    Raises
    ------
    InputError
        A key that is not known, an array that is missing, left over or of another shape.
    """
    path = pathlib.Path(path)
    if (size := path.stat().st_size) > TEXT_LIMIT:
        raise InputError(f"{path.name} has {size} bytes; a description has up to {TEXT_LIMIT}")
    spend(16 * size, path.name)
    with parsing(path.name, "a TOML file", "docs/files.md shows one"):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    _check(data, MODEL, ("inputs", "weights", "layer"), path.name)
    entries, weights = data["layer"], data["weights"]
    if not 0 < len(entries) <= LAYERS_LIMIT or not all(isinstance(e, dict) for e in entries):
        raise InputError(f"{path.name}: [[layer]] is there 1 to {LAYERS_LIMIT} times, as tables")
    if pathlib.PurePath(weights).name != weights or "\\" in weights:
        raise InputError(
            f"{path.name}: weights={weights!r}: a file of the same folder, by its name"
        )
    arrays = _Arrays(path.with_name(weights))
    if not 0 < data["inputs"] < SIZE_LIMIT:
        raise InputError(f"{path.name}: inputs is {data['inputs']}, expected 1 to {SIZE_LIMIT - 1}")
    layers: list[Layer] = []
    for entry in entries:
        before = layers[-1].name if layers else "x"
        if entry.get("name") in [layer.name for layer in layers]:
            raise InputError(f"{path.name}: two layers are named {str(entry['name'])[:40]!r}")
        layers.append(_layer(entry, before, arrays, path.name))
    if arrays.left:
        raise InputError(
            f"{weights}: {', '.join(sorted(arrays.left)[:8])} belongs to no gate of a layer in "
            f"{path.name}, or is there twice, joined and by itself"
        )
    outputs = tuple(map(str, data.get("outputs", ())))
    open_ = ("that this description is your model: it is computed by nothing else",)
    try:
        return Model(data["inputs"], tuple(layers), outputs, path.name, (), open_)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None


class _Arrays:
    """Arrays by name, of which each is used once."""

    def __init__(self, path: pathlib.Path) -> None:
        self.name = path.name
        self.left = dict(read_npz(path, name=path.name, kinds="fiu", way_out="save it as float"))

    def take(self, key: str) -> FloatArray | None:
        """Return an array in float64, or None if there is none of that name."""
        value = self.left.pop(key, None)
        return None if value is None else value.astype(np.float64)

    def of_gates(self, layer: str, letter: str, gates: list[Gate], order: str) -> dict[str, Any]:
        """Return the part of each gate, given by itself or below the others."""
        joined = self.take(f"{layer}.{letter}")
        if joined is None:
            parts = {gate.name: self.take(f"{layer}.{letter}_{gate.name}") for gate in gates}
            return {name: part for name, part in parts.items() if part is not None}
        names = [name for name in order if name in {gate.name for gate in gates}]
        if not order:
            raise InputError(
                f"{self.name}: {layer}.{letter} holds all gates: say their order, as in gates = "
                f'"{"".join(gate.name for gate in gates)}"'
            )
        if joined.ndim == 0 or not names or len(joined) % len(names):
            raise InputError(
                f"{self.name}: {layer}.{letter} has shape {joined.shape}; its rows are those of the "
                f"{len(names)} gates {', '.join(names)}"
            )
        return dict(zip(names, np.split(joined, len(names)), strict=True))


def _check(
    table: Mapping[str, Any], keys: Mapping[str, type], needed: tuple[str, ...], where: str
) -> None:
    """Refuse a key that is not known, missing or of another type."""
    for key, value in table.items():
        if key not in keys:
            hint = did_you_mean(key, keys)
            raise InputError(
                f"{where}: {key!r} is not known{hint or ';'} it takes {', '.join(keys)}"
            )
        wanted = keys[key]
        number = wanted is float and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and type(value) is not wanted:
            raise InputError(f"{where}: {key} is {str(value)[:40]!r}, expected {_KINDS[wanted]}")
    for key in needed:
        if key not in table:
            raise InputError(f"{where}: {key} is missing")


_KINDS = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list",
}  # fmt: skip


def _layer(entry: dict[str, Any], before: str, arrays: _Arrays, where: str) -> Layer:
    """Return the layer of one table."""
    name, cell = str(entry.get("name", "")), str(entry.get("cell", ""))
    where = f"{where}: layer {name or '?'}"
    linear = cell == "linear"
    if not linear and cell not in CELLS:
        hint = did_you_mean(cell, (*CELLS, "linear"))
        raise InputError(f"{where}: cell {cell!r} is none of {', '.join(CELLS)}, linear{hint}")
    _check(entry, LINEAR if linear else RECURRENT, ("name", "cell"), where)
    acts = [entry.get(key) for key in ("activation", "gate", "candidate", "output")]
    if ("hard_sigmoid" in acts) != ("slope" in entry):
        raise InputError(
            f"{where}: say the slope of the hard sigmoid: 0.2 in Keras 2, or 1/6"
            if "hard_sigmoid" in acts
            else f"{where}: no activation of it has a slope: leave out slope"
        )
    reads = tuple(map(str, entry.get("reads", (before,))))
    slope = float(entry.get("slope", 0.2))
    if linear:
        weight = arrays.take(f"{name}.W")
        if weight is None:
            raise InputError(f"{where}: {arrays.name} holds no {name}.W, shape (outputs, inputs)")
        bias = arrays.take(f"{name}.b")
        return Linear(name, reads, weight, bias, entry.get("activation", "none"), slope)
    return _recurrent(entry, name, cell, reads, slope, arrays, where)


def _recurrent(
    entry: dict[str, Any], name: str, cell: str, reads: tuple[str, ...], slope: float,
    arrays: _Arrays, where: str,
) -> Recurrent:  # fmt: skip
    """Return a recurrent layer; an update gate of the other sense is turned."""
    gates, order = list(CELLS[cell].weighted), entry.get("gates", "")
    known = "".join(gate.name for gate in gates)
    if order and sorted(order) != sorted(known):
        raise InputError(f"{where}: gates={order!r} must name each of {known!r} once")
    update = entry.get("update", "keep")
    if "update" in entry and "z" not in known:
        raise InputError(f"{where}: a cell {cell!r} has no update gate z: leave out update")
    if update not in ("keep", "replace"):
        raise InputError(
            f"{where}: update={update!r}; of a GRU it is 'keep' (z keeps the old state, h' = (1 - z) n "
            "+ z h) or 'replace' (h' = z n + (1 - z) h)"
        )
    if "output" in entry and not CELLS[cell].has_cell_state:
        raise InputError(f"{where}: only an LSTM has an output activation: leave out output")
    parts: dict[str, Any] = {
        attribute: arrays.of_gates(
            name, letter, [g for g in gates if {"W": g.input, "U": g.recurrent}.get(letter, True)], order
        )
        for letter, attribute in MATRICES.items()
    }  # fmt: skip
    for gate in gates:
        for letter, wanted in (("W", gate.input), ("U", bool(gate.recurrent))):
            part = parts[MATRICES[letter]].get(gate.name)
            if wanted and (part is None or part.ndim != 2):
                have = "no" if part is None else f"of shape {part.shape}, not a matrix,"
                raise InputError(f"{where}: {arrays.name} holds {have} {name}.{letter}_{gate.name}")
    if update == "replace":  # 1 - sigmoid(a) = sigmoid(-a), of hard sigmoids too
        parts = {k: v | ({"z": -v["z"]} if "z" in v else {}) for k, v in parts.items()}
    size, inputs = next(iter(parts["w"].values())).shape
    options: dict[str, Any] = {
        key: entry[key] for key in ("gate", "candidate", "output", "reverse") if key in entry
    }
    try:
        return Recurrent(name, cell, reads, size, inputs, **parts, slope=slope, **options)
    except InputError as error:
        raise InputError(f"{arrays.name} for {where}: {error}") from None


def write_description(model: Model, path: str | pathlib.Path) -> None:
    """Write a model as ``path`` (``.toml``) and the ``.npz`` of the same name beside it.

    Each file appears whole or not at all; the same model gives the same bytes.

    Raises
    ------
    InputError
        Another ending, or the files cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".toml":
        raise InputError(f"{path}: a description ends in .toml, not {path.suffix!r}")
    weights = path.with_suffix(".npz")
    if weights.exists() and not path.exists():  # it is not the half of a description
        raise InputError(f"{weights} exists; choose another name, so that it stays")
    arrays: dict[str, FloatArray] = {}
    lines = [
        f"inputs = {model.input_size}", f"outputs = {json.dumps(list(model.outputs))}",
        f"weights = {json.dumps(weights.name)}",
    ]  # fmt: skip
    for layer in model.layers:
        entry: dict[str, Any] = {"name": layer.name, "cell": "linear", "reads": list(layer.inputs)}
        if isinstance(layer, Linear):
            arrays |= {f"{layer.name}.W": layer.w, f"{layer.name}.b": np.asarray(layer.bias)}
            entry["activation"] = layer.activation
        else:
            entry["cell"] = layer.cell
            roles = ("gate", "candidate", *["output"] * layer.spec.has_cell_state)
            entry |= {role: getattr(layer, role) for role in roles} | {"reverse": layer.reverse}
            for letter, attribute in MATRICES.items():
                for gate, array in getattr(layer, attribute).items():
                    arrays[f"{layer.name}.{letter}_{gate}"] = array
        if "hard_sigmoid" in entry.values():
            entry["slope"] = float(layer.slope)
        lines += ["", "[[layer]]", *(f"{k} = {json.dumps(v)}" for k, v in entry.items())]
    text = "\n".join(lines) + "\n"
    atomic_write(weights, lambda file: write_npz(file, arrays))
    atomic_write(path, lambda file: file.write(text.encode()))


FORMAT = Format(
    "description of a model by hand, with an .npz beside it", (".toml",), "", load_description
)
