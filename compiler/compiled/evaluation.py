"""One run of a network in the compiled form: structures for ``run.cpp``, and what it filled in.

It takes only what it can prove to be exact: :func:`evaluate` returns None for all else, and NumPy
computes that.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import BoolArray, IntArray
from ..ir.network import QGate, QLayer, QNetwork
from ..numerics.activation import GUARD, SLOPE_FRAC
from ..numerics.fixed import round_shift, saturate
from .library import library
from .structures import Delta, Gate, Layer, Run, Source
from .weights import Packed, PackedLayer, packed

__all__ = ["Outcome", "evaluate"]


class Outcome(NamedTuple):
    """Results of a run by name, as ``golden.Result`` and ``golden.State`` hold them."""

    outputs: IntArray
    h: dict[str, IntArray]
    c: dict[str, IntArray]
    last: dict[str, IntArray]
    saturations: Counter[str]
    narrowings: Counter[str]
    trace: dict[str, IntArray]
    changed: dict[str, BoolArray]


def evaluate(
    network: QNetwork, x: IntArray, h: Mapping[str, IntArray], c: Mapping[str, IntArray],
    last: Mapping[str, IntArray], trace: bool,
) -> Outcome | None:  # fmt: skip
    """Evaluate a network on input codes of its input format.

    Parameters
    ----------
    network : QNetwork
    x : ndarray of int64, shape (N, T, I)
    h, c, last : mapping of str -> ndarray of int64
        As ``golden.State`` has them; not changed.
    trace : bool

    Returns
    -------
    Outcome or None
        None without the library, or where a code or a sum might not fit.
    """
    run = library().run
    if run is None or not x.size or x.dtype != np.int64:
        return None
    weights = packed(network)
    if weights is None or not _states_fit(network, len(x), h, c, last):
        return None
    return _Evaluation(network, weights, x, h, c, last, trace)(run)


def _states_fit(
    network: QNetwork, sequences: int, h: Mapping[str, IntArray], c: Mapping[str, IntArray],
    last: Mapping[str, IntArray],
) -> bool:  # fmt: skip
    """Whether the states have the shapes and the ranges of codes of the network."""
    n = network.numbers
    given: list[tuple[IntArray | None, int, int]] = []
    for layer in network.layers:
        operands = {f"{layer.name}<{name}": network.size(name) for name in layer.inputs}
        if layer.recurrent:
            given.append((h.get(layer.name), n.state_bits, layer.size))
            operands |= {f"{layer.name}.h": layer.size, f"{layer.name}.rh": layer.size}
        if layer.has_cell_state:
            given.append((c.get(layer.name), n.cell_bits, layer.size))
        given += [(last[k], n.activation_bits, size) for k, size in operands.items() if k in last]
    return all(
        codes is not None
        and codes.shape == (sequences, size)
        and -(1 << (bits - 1)) <= codes.min()
        and codes.max() < 1 << (bits - 1)
        for codes, bits, size in given
    )


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


class _Evaluation:
    """The structures of one run, and the arrays that they point to."""

    def __init__(
        self, network: QNetwork, weights: Packed, x: IntArray, h: Mapping[str, IntArray],
        c: Mapping[str, IntArray], last: Mapping[str, IntArray], trace: bool,
    ) -> None:  # fmt: skip
        self.network, self.weights, self.tracing = network, weights, trace
        self.x, self.shape = np.ascontiguousarray(x), x.shape[:2]
        self.h = {name: np.array(v, np.int64, order="C") for name, v in h.items()}
        self.c = {name: np.array(v, np.int64, order="C") for name, v in c.items()}
        self.last = dict(last)
        self.trace: dict[str, IntArray] = {}
        self.changed: dict[str, BoolArray] = {}
        self.held: list[Any] = []  # what only addresses know
        self.vectors = {"x": 0} | {v.name: k + 1 for k, v in enumerate(network.layers)}

    def traced(self, name: str, size: int, wanted: bool = True) -> int | None:
        """Return where a named intermediate is to be written, if at all."""
        if not (self.tracing and wanted):
            return None
        self.trace[name] = np.empty((*self.shape, size), np.int64)
        return _address(self.trace[name])

    def delta(self, name: str, size: int, before: IntArray | None = None) -> Any:
        """Return the structure of an operand that is passed on where it has changed."""
        n = self.network.numbers
        threshold = n.threshold_input if name.endswith("<x") else n.threshold
        if threshold < 0:
            return Delta(-1, None, None)
        if before is None:
            before = np.zeros((self.shape[0], size), np.int64)
        self.last[name] = np.array(self.last.get(name, before), np.int64, order="C")
        self.changed[name] = np.empty((*self.shape, size), np.bool_)
        return Delta(threshold, _address(self.last[name]), _address(self.changed[name]))

    def layer(self, layer: QLayer, made: PackedLayer) -> Any:
        n, net, size, name = self.network.numbers, self.network, layer.size, layer.name
        gates = type(made.gates).from_buffer_copy(made.gates)
        if self.tracing:
            for g, each in zip(_ordered(layer), gates, strict=True):
                place = f"{name}.{g.gate.name}"
                each.sums = self.traced(f"{place}.acc", size, g.gate.source != "c")
                each.trace = self.traced(place, size)
        read = [
            Source(self.vectors[v], amount, self.delta(f"{name}<{v}", net.size(v)))
            for v, amount in zip(layer.inputs, made.shifts, strict=True)
        ]
        sources = (Source * len(read))(*read)
        self.held += [gates, sources]
        delta_h = delta_rh = Delta(-1, None, None)
        if layer.recurrent and n.threshold >= 0:
            code = saturate(round_shift(self.h[name], n.operand_shift), n.activation_bits)[0]
            delta_h = self.delta(f"{name}.h", size, code)
        if any(g.gate.to == "rh" for g in layer.gates):
            delta_rh = self.delta(f"{name}.rh", size)
        return Layer(
            size, layer.recurrent, len(layer.blocks), made.read, len(gates), len(sources),
            ctypes.addressof(gates), ctypes.addressof(sources),
            *(made.weights[operand].matrix for operand in ("x", "h", "rh")), delta_h, delta_rh,
            _address(self.h[name]) if layer.recurrent else None,
            _address(self.c[name]) if layer.has_cell_state else None,
            self.traced(name, size), self.traced(f"{name}.c", size, layer.has_cell_state),
        )  # fmt: skip

    def __call__(self, run: Any) -> Outcome:
        net, n, tables = self.network, self.network.numbers, self.network.numbers.tables
        pairs = zip(net.layers, self.weights.layers, strict=True)
        layers = (Layer * len(net.layers))(*(self.layer(*pair) for pair in pairs))
        outputs = np.empty((*self.shape, net.output_size), np.int64)
        emitted = np.array([self.vectors[name] - 1 for name in net.outputs], np.int64)
        base, rise = self.weights.base, self.weights.rise
        run(ctypes.byref(Run(
            *self.shape, net.input_size, len(layers), len(emitted), net.elements, net.argmax,
            n.activation_bits, n.state_bits, n.gate_bits, n.sum_shift, n.hidden_shift,
            n.hidden_bits, n.cell_bits, n.cell_frac, tables.pre_bits, tables.pre_frac,
            tables.argument_bits, tables.fraction_bits, tables.kind == "direct",
            tables.slope_code, SLOPE_FRAC, GUARD, len(base), _address(base), _address(rise),
            ctypes.addressof(layers), _address(emitted), _address(self.x), _address(outputs),
        )))  # fmt: skip
        return Outcome(
            outputs, self.h, self.c, self.last, *self.counted(layers), self.trace, self.changed
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
            gates = (Gate * made.gate_count).from_address(made.gates)
            for g, each in zip(_ordered(layer), gates, strict=True):
                count(f"{layer.name}.{g.gate.name}", each.clipped, 1, layer.size)
                count(f"{layer.name}.hidden", each.hidden_clipped, bool(g.gate.reset), layer.size)
            written = [g.gate.to for g in layer.gates]
            operands = made.read + made.recurrent + written.count("rh")
            count(f"{layer.name}.operand", made.operand_clipped, operands, layer.size)
            count(f"{layer.name}.c", made.cell_clipped, written.count("c"), layer.size)
        return saturations, narrowings


def _ordered(layer: QLayer) -> list[QGate]:
    return [g for block in layer.blocks for g in block]
