"""A network as the compiled form reads it, where it can be proven to be exact."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray, ceil_div
from ..ir.network import BOUNDED, Joined, QGate, QLayer, QNetwork
from ..numerics.activation import ACTIVATIONS
from .structures import Gate, Matrix

__all__ = ["Packed", "PackedLayer", "packed"]

ROWS = 16  # rows of a tile of weights
HALF = 1 << 15  # codes of 16 bits on one side of zero
NARROW_SUM = 1 << 31  # sums of products of 16-bit integers stay below
WIDE_SUM = 1 << 53  # those of float64
POSTS = ("pass", "blend", "leak", "times_h", "times", "cell")
KEEPS = ("", "act", "post")
PLACES = ("", "h", "rh", "c")


class Weights(NamedTuple):
    """The matrices of a layer that multiply one operand, in tiles of rows.

    Parameters
    ----------
    matrix : Matrix
    tiles : ndarray or None
        What the matrix points to.
    first : dict of str -> int
        First row of each gate.
    """

    matrix: Any
    tiles: npt.NDArray[Any] | None
    first: dict[str, int]


class PackedLayer(NamedTuple):
    """One layer.

    Parameters
    ----------
    weights : dict of str -> Weights
        By operand: ``x``, ``h``, ``rh``.
    gates : array of Gate
        In the order of evaluation, without places for traces.
    shifts : tuple of int
        Left shift of each input vector.
    read : bool
        Whether another layer reads the layer's vector.
    held : list of ndarray
        What the gates point to.
    """

    weights: dict[str, Weights]
    gates: Any
    shifts: tuple[int, ...]
    read: bool
    held: list[IntArray]


class Packed(NamedTuple):
    """What does not change between the runs of a network.

    Parameters
    ----------
    layers : list of PackedLayer
    base, rise : ndarray of int32
        The table of the activations, and the difference to the next entry.
    """

    layers: list[PackedLayer]
    base: npt.NDArray[np.int32]
    rise: npt.NDArray[np.int32]


_known: WeakKeyDictionary[QNetwork, Packed | None] = WeakKeyDictionary()


def packed(network: QNetwork) -> Packed | None:
    """Return the network's weights, packed once; None where a code might not fit."""
    if network not in _known:
        _known[network] = _pack(network) if _fits(network) else None
    return _known[network]


def _fits(network: QNetwork) -> bool:
    """Whether every code and sum of every input has room in the integers of ``run.cpp``."""
    n, tables = network.numbers, network.numbers.tables
    gates = [(layer, g) for layer in network.layers for g in layer.gates]
    widths = n.activation_bits, n.state_bits, n.gate_bits
    shifts = [a for _, g in gates for a in (g.shift_input, g.shift_recurrent)]
    rows = [(x, a) for x, g in gates for a in (g.bias_input, g.bias_recurrent)]
    rows += [(x, a) for x, g in gates for a in (g.shift_input, g.shift_recurrent)]
    tabled = any(g.act in ("tanh", "sigmoid") for _, g in gates)
    return (
        2 <= min(widths) and max(widths) <= 16
        and 1 <= min(n.hidden_bits, n.cell_bits) and max(n.hidden_bits, n.cell_bits) <= 31
        and 0 <= n.cell_frac <= 30
        and 0 <= min(n.operand_shift, n.sum_shift, n.hidden_shift)
        and max(n.sum_shift, n.hidden_shift) <= 62
        and network.input_format.signed and network.input_format.bits <= n.activation_bits
        and 0 <= tables.slope_code < 1 << 31
        and not (tabled and int(np.abs(tables.table[1]).max()) << tables.fraction_bits >= 1 << 31)
        and all(array.shape == (layer.size,) for layer, array in rows)
        and all(0 <= array.min() and array.max() <= 62 for array in shifts)
        and all(s <= 16 for layer in network.layers for s in network.input_shifts(layer))
        and not (network.argmax and len(network.outputs) > 1)
        and network.bounds()[1] <= 62  # the rounding addend included
    )  # fmt: skip


def _pack(network: QNetwork) -> Packed | None:
    largest, layers = 1 << (network.numbers.activation_bits - 1), []
    for layer in network.layers:
        inputs = np.repeat(
            [largest << s for s in network.input_shifts(layer)],
            [network.size(name) for name in layer.inputs],
        )
        states = np.full(layer.size, largest)
        each = {
            name: _tiles(layer.joined(name), inputs if name == "x" else states)
            for name in ("x", "h", "rh")
        }
        weights = {name: w for name, w in each.items() if w is not None}
        if len(weights) < len(each):
            return None
        held: list[IntArray] = []
        gates = [_gate(layer, g, k, weights, held) for k, b in enumerate(layer.blocks) for g in b]
        read = any(layer.name in other.inputs for other in network.layers)
        shifts = network.input_shifts(layer)
        layers.append(PackedLayer(weights, (Gate * len(gates))(*gates), shifts, read, held))
    base, rise = network.numbers.tables.table
    return Packed(layers, base.astype(np.int32), rise.astype(np.int32))


def _tiles(joined: Joined | None, largest: IntArray) -> Weights | None:
    """Lay weights out in tiles, ``largest`` operands of each column; None where sums do not fit."""
    if joined is None:
        return Weights(Matrix(), None, {})
    w = joined.weights
    if w.shape[1] != len(largest):
        return None
    most = (np.abs(w).astype(np.float64) @ largest.astype(np.float64)).max()
    if most >= WIDE_SUM:
        return None
    narrow = most < NARROW_SUM and largest.max() <= HALF and -HALF <= w.min() and w.max() < HALF
    pair = 2 if narrow else 1
    rows, columns = ceil_div(len(w), ROWS) * ROWS, ceil_div(w.shape[1], pair) * pair
    padded = np.zeros((rows, columns), np.int16 if narrow else np.float64)
    padded[: len(w), : w.shape[1]] = w
    tiles = padded.reshape(rows // ROWS, ROWS, columns // pair, pair).transpose(0, 2, 1, 3).copy()
    return Weights(Matrix(not narrow, rows, columns, tiles.ctypes.data), tiles, joined.first)


def _gate(
    layer: QLayer, g: QGate, walk: int, weights: dict[str, Weights], held: list[IntArray]
) -> Any:
    """Return a gate of a walk; ``held`` gets the arrays that it points to."""
    gate = g.gate
    index = {each.gate.name: k for k, each in enumerate(g for b in layer.blocks for g in b)}
    kept = {each.gate.name for each in layer.gates if each.gate.keep}
    u_rows = weights[gate.recurrent].first if gate.recurrent else {}
    rows = [
        np.array(array, np.int64, order="C")
        for array in (g.shift_input, g.shift_recurrent, g.bias_input, g.bias_recurrent)
    ]
    held += rows
    return Gate(
        ACTIVATIONS.index(g.act), g.act in BOUNDED, gate.source == "c", walk,
        weights["x"].first.get(gate.name, -1), u_rows.get(gate.name, -1),
        gate.recurrent == "rh", index[gate.reset] if gate.reset else -1,
        POSTS.index(gate.post), index[gate.by] if gate.by in kept else -1,
        KEEPS.index(gate.keep), PLACES.index(gate.to), *(a.ctypes.data for a in rows),
    )  # fmt: skip
