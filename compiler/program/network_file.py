"""An integer network as the JSON object and the arrays of a program's folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import IntArray
from ..errors import InputError
from ..ir.cells import CELLS, LINEAR_GATE, Gate
from ..ir.network import Datapath, QGate, QLayer, QNetwork
from ..numerics.fixed import Format

__all__ = ["arrays", "build_network", "describe_network"]

ARRAYS = (
    "w", "u", "w_frac", "u_frac", "shift_input", "shift_recurrent", "bias_input", "bias_recurrent",
)  # fmt: skip
"""Fields of a gate that are arrays, in the order of a program's digest."""


def describe_network(network: QNetwork, exponents: tuple[int, ...]) -> dict[str, Any]:
    """Return everything but the arrays, as ``program.json`` holds it.

    Parameters
    ----------
    network : QNetwork
    exponents : tuple of int
        Powers of two that features of x are divided by.
    """
    numbers = network.numbers
    return {
        "input": {
            "size": network.input_size,
            "format": network.input_format.to_json(),
            "exponents": list(exponents),
        },
        "outputs": list(network.outputs),
        "numbers": {name: getattr(numbers, name) for name in numbers.__dataclass_fields__},
        "layers": [
            {
                "name": layer.name,
                "cell": layer.cell,
                "size": layer.size,
                "inputs": list(layer.inputs),
                "frac": layer.frac,
                "activations": {g.gate.name: g.act for g in layer.gates},
                "weight_bits": {g.gate.name: g.bits for g in layer.gates},
            }
            for layer in network.layers
        ],
    }


def arrays(network: QNetwork) -> dict[str, IntArray]:
    """Return the arrays of every gate, named ``layer/gate/array``; weights have 16 bits."""
    named = {
        f"{layer.name}/{g.gate.name}/{name}": getattr(g, name)
        for layer in network.layers
        for g in layer.gates
        for name in ARRAYS
    }
    return {
        name: array.astype(np.int16) if name.endswith(("/w", "/u")) else array
        for name, array in named.items()
        if array is not None
    }


def build_network(data: dict[str, Any], arrays: dict[str, IntArray]) -> QNetwork:
    """Build the network of a description and its arrays, without argmax.

    Raises
    ------
    InputError
        A cell that this version lacks.
    ValueError, KeyError, TypeError
        A damaged description or array, such as weights wider than they say.
    """
    return QNetwork(
        int(data["input"]["size"]), Format.from_json(data["input"]["format"]),
        tuple(_layer(item, arrays) for item in data["layers"]), tuple(data["outputs"]),
        Datapath(**data["numbers"]),
    )  # fmt: skip


def _layer(item: dict[str, Any], arrays: dict[str, IntArray]) -> QLayer:
    """Build one layer."""
    name, cell = item["name"], item["cell"]
    if cell != "linear" and cell not in CELLS:
        raise InputError(f"layer {name!r} has cell {cell!r}, which this version lacks")
    gates: tuple[Gate, ...] = (LINEAR_GATE,) if cell == "linear" else CELLS[cell].gates
    return QLayer(
        name, cell, int(item["size"]), tuple(item["inputs"]),
        tuple(_gate(item, gate, arrays) for gate in gates), int(item["frac"]),
    )  # fmt: skip


def _gate(item: dict[str, Any], gate: Gate, arrays: dict[str, IntArray]) -> QGate:
    """Build one gate of a layer; refuse weights beyond their width."""
    fields: dict[str, Any] = {n: arrays.get(f"{item['name']}/{gate.name}/{n}") for n in ARRAYS}
    bits = int(item["weight_bits"][gate.name])
    limit = 1 << max(0, bits - 1)
    for weights in (fields["w"], fields["u"]):
        if weights is not None and not (-limit <= weights).all() & (weights < limit).all():
            raise ValueError(f"weights of {item['name']}.{gate.name} pass {bits} bits")
    return QGate(gate, item["activations"][gate.name], bits=bits, **fields)
