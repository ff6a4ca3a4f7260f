"""The compiled form of the golden model: the same codes as :mod:`.golden`, many times sooner.

Lays a network out as ``compiled.cpp`` reads it and runs whole sequences there. It takes only what
it can prove to be exact: :func:`evaluate` returns None for all else, and NumPy computes that.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from .arrays import BoolArray, IntArray
from .ir.network import BOUNDED, QGate, QLayer, QNetwork
from .native import library
from .numerics.activation import ACTIVATIONS, GUARD, SLOPE_FRAC
from .numerics.fixed import round_shift, saturate

__all__ = ["Outcome", "evaluate"]

ROWS = 16  # rows of a tile of weights
POSTS = ("pass", "blend", "leak", "times_h", "times", "cell")
KEEPS = ("", "act", "post")
PLACES = ("", "h", "rh", "c")
NARROW = (1 << 31) - 1  # largest sum of products of 16-bit integers
WIDE = 1 << 53


class Outcome(NamedTuple):
    """Results of a run by name, as :class:`.golden.Result` and :class:`.golden.State` hold them."""

    outputs: IntArray
    h: dict[str, IntArray]
    c: dict[str, IntArray]
    last: dict[str, IntArray]
    saturations: Counter[str]
    narrowings: Counter[str]
    trace: dict[str, IntArray]
    changed: dict[str, BoolArray]


def _structure(name: str, *fields: tuple[str, Any]) -> Any:
    """Return a structure of 64-bit integers, pointers and other structures."""
    split = [(each, kind) for names, kind in fields for each in names.split()]
    return type(name, (ctypes.Structure,), {"_fields_": split})


I64, POINTER = ctypes.c_int64, ctypes.c_void_p
_Matrix = _structure("_Matrix", ("wide rows columns", I64), ("weights", POINTER))
_Delta = _structure("_Delta", ("threshold", I64), ("last changed", POINTER))
_Source = _structure("_Source", ("vector shift", I64), ("delta", _Delta))
_Gate = _structure(
    "_Gate",
    ("act bounded from_c walk input recurrent from_rh reset post by keep to", I64),
    ("shift_input shift_recurrent bias_input bias_recurrent sums trace", POINTER),
    ("clipped hidden_clipped", I64),
)
_Layer = _structure(
    "_Layer",
    ("size recurrent walks read gate_count source_count", I64),
    ("gates sources", POINTER), ("x h rh", _Matrix), ("delta_h delta_rh", _Delta),
    ("state cell trace trace_cell", POINTER), ("operand_clipped cell_clipped", I64),
)  # fmt: skip
_Run = _structure(
    "_Run",
    ("n steps inputs layer_count output_count outputs argmax", I64),
    ("activation_bits state_bits gate_bits sum_shift hidden_shift hidden_bits cell_bits", I64),
    ("cell_frac pre_bits pre_frac argument_bits fraction_bits direct slope slope_frac guard", I64),
    ("table_size", I64), ("base rise layers output_layers x out", POINTER),
)  # fmt: skip


class _Weights(NamedTuple):
    """The matrices of a layer that multiply one operand, below each other, in tiles."""

    matrix: Any
    tiles: npt.NDArray[Any] | None
    first: dict[str, int]  # row of each gate


class _Packed:
    """What does not change between the runs of a network.

    Raises
    ------
    OverflowError
        Codes that the compiled form has no room for.
    """

    def __init__(self, network: QNetwork) -> None:
        n = network.numbers
        tables = n.tables
        narrow_enough = (
            max(n.state_bits, n.gate_bits) <= 16 and n.activation_bits <= 16
            and max(n.hidden_bits, n.cell_bits) <= 31 and tables.pre_bits <= 24
            and min(n.operand_shift, n.sum_shift, n.hidden_shift) >= 0
            and max(n.sum_shift, n.hidden_shift, abs(n.cell_frac)) <= 62
            and 0 <= tables.slope_code < 1 << 31
        )  # fmt: skip
        shifts = [s for layer in network.layers for s in network.input_shifts(layer)]
        if not narrow_enough or max(shifts) > 16 or (network.argmax and len(network.outputs) > 1):
            raise OverflowError
        # A sum of 62 bits leaves room for the rounding addend.
        if network.bounds()[1] > 62:
            raise OverflowError
        largest = 1 << (n.activation_bits - 1)
        self.layers = []
        for layer in network.layers:
            scale = np.repeat(
                [largest << s for s in network.input_shifts(layer)],
                [network.size(name) for name in layer.inputs],
            )
            whole = np.full(layer.size, largest)
            by_operand = {
                "x": _pack([(g.gate.name, g.w) for g in layer.gates if g.w is not None], scale),
                "h": _pack(_recurrent(layer, "h"), whole),
                "rh": _pack(_recurrent(layer, "rh"), whole),
            }
            self.layers.append(by_operand)
        if tables.kind == "hard":
            self.base = self.rise = np.zeros(1, np.int32)
        else:
            self.base, self.rise = (part.astype(np.int32) for part in tables.table)


def _recurrent(layer: QLayer, operand: str) -> list[tuple[str, IntArray]]:
    return [
        (g.gate.name, g.u) for g in layer.gates if g.u is not None and g.gate.recurrent == operand
    ]


def _pack(gates: list[tuple[str, IntArray]], scale: IntArray) -> _Weights:
    """Put matrices below each other in tiles of rows; ``scale`` is the largest operand of a column."""
    if not gates:
        return _Weights(_Matrix(), None, {})
    w = np.concatenate([m for _, m in gates])
    first = dict(
        zip(
            [name for name, _ in gates],
            np.cumsum([0] + [len(m) for _, m in gates]).tolist(),
            strict=False,
        )
    )
    most = int(np.abs(w).astype(np.float64).__matmul__(scale.astype(np.float64)).max())
    if most >= WIDE:
        raise OverflowError
    fits = (
        most <= NARROW
        and int(scale.max()) <= 1 << 15
        and -(1 << 15) <= w.min()
        and w.max() < 1 << 15
    )
    pair = 2 if fits else 1
    rows, columns = -len(w) % ROWS + len(w), -w.shape[1] % pair + w.shape[1]
    padded = np.zeros((rows, columns), np.int16 if fits else np.float64)
    padded[: len(w), : w.shape[1]] = w
    tiles = padded.reshape(rows // ROWS, ROWS, columns // pair, pair).transpose(0, 2, 1, 3).copy()
    return _Weights(_Matrix(not fits, rows, columns, tiles.ctypes.data), tiles, first)


_packed: WeakKeyDictionary[QNetwork, _Packed | None] = WeakKeyDictionary()


def _of(network: QNetwork) -> _Packed | None:
    """Return the network's layout, made once; None where it has none."""
    if network not in _packed:
        try:
            _packed[network] = _Packed(network)
        except OverflowError:
            _packed[network] = None
    return _packed[network]


class _Evaluation:
    """One run: the structures, and the arrays that they point to."""

    def __init__(
        self, network: QNetwork, packed: _Packed, x: IntArray, h: Mapping[str, IntArray],
        c: Mapping[str, IntArray], last: Mapping[str, IntArray], trace: bool,
    ) -> None:  # fmt: skip
        self.network, self.packed, self.x, self.tracing = (
            network,
            packed,
            np.ascontiguousarray(x, np.int64),
            trace,
        )
        self.shape = x.shape[:2]
        self.kept: list[npt.NDArray[Any]] = []  # alive for as long as pointers to them
        self.h = {name: np.array(v, np.int64) for name, v in h.items()}
        self.c = {name: np.array(v, np.int64) for name, v in c.items()}
        self.last = dict(last)
        self.trace: dict[str, IntArray] = {}
        self.changed: dict[str, BoolArray] = {}
        self.gates: list[Any] = []

    def pointer(self, array: npt.NDArray[Any]) -> int:
        self.kept.append(array)
        return int(array.ctypes.data)

    def traced(self, name: str, size: int) -> int | None:
        if not self.tracing:
            return None
        self.trace[name] = np.zeros((*self.shape, size), np.int64)
        return int(self.trace[name].ctypes.data)

    def delta(self, name: str, size: int, before: IntArray | None = None) -> Any:
        n = self.network.numbers
        threshold = n.threshold_input if name.endswith("<x") else n.threshold
        if threshold < 0:
            return _Delta(-1, None, None)
        if name in self.last:
            before = self.last[name]
        elif before is None:
            before = np.zeros((self.shape[0], size), np.int64)
        self.last[name] = np.array(before, np.int64)
        self.changed[name] = np.zeros((*self.shape, size), np.bool_)
        return _Delta(threshold, self.last[name].ctypes.data, self.changed[name].ctypes.data)

    def gate(
        self,
        layer: QLayer,
        g: QGate,
        walk: int,
        weights: dict[str, _Weights],
        index: dict[str, int],
    ) -> Any:
        gate, place = g.gate, f"{layer.name}.{g.gate.name}"
        kept = {x.gate.name for x in layer.gates if x.gate.keep}
        recurrent = weights.get(gate.recurrent)
        rows = [
            self.pointer(np.ascontiguousarray(a, np.int64))
            for a in (g.shift_input, g.shift_recurrent, g.bias_input, g.bias_recurrent)
        ]
        return _Gate(
            ACTIVATIONS.index(g.act), g.act in BOUNDED, gate.source == "c", walk,
            weights["x"].first.get(gate.name, -1),
            recurrent.first.get(gate.name, -1) if recurrent else -1, gate.recurrent == "rh",
            index[gate.reset] if gate.reset else -1, POSTS.index(gate.post),
            index[gate.by] if gate.by in kept else -1, KEEPS.index(gate.keep),
            PLACES.index(gate.to), *rows,
            self.traced(f"{place}.acc", layer.size) if gate.source != "c" else None,
            self.traced(place, layer.size), 0, 0,
        )  # fmt: skip

    def layer(self, layer: QLayer, weights: dict[str, _Weights], vectors: dict[str, int]) -> Any:
        n, size = self.network.numbers, layer.size
        index = {g.gate.name: k for k, g in enumerate(g for block in layer.blocks for g in block)}
        made = [
            self.gate(layer, g, walk, weights, index)
            for walk, block in enumerate(layer.blocks)
            for g in block
        ]
        gates = (_Gate * len(made))(*made)
        self.gates.append(gates)
        shifts = self.network.input_shifts(layer)
        sources = [
            _Source(
                vectors[name], amount, self.delta(f"{layer.name}<{name}", self.network.size(name))
            )
            for name, amount in zip(layer.inputs, shifts, strict=True)
        ]
        held = (_Source * len(sources))(*sources)
        self.gates.append(held)
        none = _Delta(-1, None, None)
        delta_h = delta_rh = none
        if layer.recurrent:
            operand, _ = saturate(
                round_shift(self.h[layer.name], n.operand_shift), n.activation_bits
            )
            delta_h = self.delta(f"{layer.name}.h", size, operand)
            if any(g.gate.to == "rh" for g in layer.gates):
                delta_rh = self.delta(f"{layer.name}.rh", size)
        read = any(layer.name in other.inputs for other in self.network.layers)
        cell = self.c[layer.name].ctypes.data if layer.has_cell_state else None
        return _Layer(
            size, layer.recurrent, len(layer.blocks), read, len(made), len(sources),
            ctypes.addressof(gates), ctypes.addressof(held),
            weights["x"].matrix, weights["h"].matrix, weights["rh"].matrix, delta_h, delta_rh,
            self.h[layer.name].ctypes.data if layer.recurrent else None, cell,
            self.traced(layer.name, size),
            self.traced(f"{layer.name}.c", size) if layer.has_cell_state else None, 0, 0,
        )  # fmt: skip

    def __call__(self, run: Any) -> Outcome:
        net, n, tables = self.network, self.network.numbers, self.network.numbers.tables
        vectors = {"x": 0} | {layer.name: k + 1 for k, layer in enumerate(net.layers)}
        layers = (_Layer * len(net.layers))(
            *(
                self.layer(x, w, vectors)
                for x, w in zip(net.layers, self.packed.layers, strict=True)
            )
        )
        outputs = np.zeros((*self.shape, net.output_size), np.int64)
        emitted = np.array([vectors[name] - 1 for name in net.outputs], np.int64)
        run(ctypes.byref(_Run(
            *self.shape, net.input_size, len(layers), len(emitted), net.elements, net.argmax,
            n.activation_bits, n.state_bits, n.gate_bits, n.sum_shift, n.hidden_shift,
            n.hidden_bits, n.cell_bits, n.cell_frac, tables.pre_bits, tables.pre_frac,
            tables.argument_bits, tables.fraction_bits, tables.kind == "direct",
            tables.slope_code, SLOPE_FRAC, GUARD, len(self.packed.base),
            self.packed.base.ctypes.data, self.packed.rise.ctypes.data, ctypes.addressof(layers),
            emitted.ctypes.data, self.x.ctypes.data, outputs.ctypes.data,
        )))  # fmt: skip
        saturations, narrowings = self.counted(layers)
        return Outcome(
            outputs, self.h, self.c, self.last, saturations, narrowings, self.trace, self.changed
        )

    def counted(self, layers: Any) -> tuple[Counter[str], Counter[str]]:
        """Return how many values were clipped at each place, and how many passed it."""
        saturations, narrowings = Counter[str](), Counter[str]()

        def count(place: str, clipped: int, times: int, size: int) -> None:
            if times:
                narrowings[place] += times * size * self.shape[0] * self.shape[1]
            if clipped:
                saturations[place] += clipped

        for layer, made in zip(self.network.layers, layers, strict=True):
            ordered = [g for block in layer.blocks for g in block]
            gates = (_Gate * made.gate_count).from_address(made.gates)
            for g, each in zip(ordered, gates, strict=True):
                count(f"{layer.name}.{g.gate.name}", each.clipped, 1, layer.size)
                count(f"{layer.name}.hidden", each.hidden_clipped, bool(g.gate.reset), layer.size)
            operands = made.read + made.recurrent + sum(g.gate.to == "rh" for g in layer.gates)
            count(f"{layer.name}.operand", made.operand_clipped, operands, layer.size)
            cells = sum(g.gate.to == "c" for g in layer.gates)
            count(f"{layer.name}.c", made.cell_clipped, cells, layer.size)
        return saturations, narrowings


def _within(values: Mapping[str, IntArray], bits: int) -> bool:
    half = 1 << (bits - 1)
    return all(not v.size or (-half <= v.min() and v.max() < half) for v in values.values())


def evaluate(
    network: QNetwork, x: IntArray, h: Mapping[str, IntArray], c: Mapping[str, IntArray],
    last: Mapping[str, IntArray], trace: bool,
) -> Outcome | None:  # fmt: skip
    """Evaluate a network on checked input codes, as :func:`.golden.run` does.

    Parameters
    ----------
    network : QNetwork
    x : ndarray of int64, shape (N, T, I)
    h, c, last : mapping of str -> ndarray of int64
        See :class:`.golden.State`.
    trace : bool

    Returns
    -------
    Outcome or None
        None where the library or a proof that all sums fit is missing.
    """
    run = library().run
    n = network.numbers
    if (
        run is None
        or not x.size
        or not (_within(h, n.state_bits) and _within(c, n.cell_bits) and _within(last, 24))
    ):
        return None
    packed = _of(network)
    if packed is None:
        return None
    return _Evaluation(network, packed, x, h, c, last, trace)(run)
