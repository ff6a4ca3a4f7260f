"""A walk over the operators of ``torch.export`` that follows every element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray
from .aten_layout import LAYOUT
from .graph import Graph
from .graph_node import Elements
from .pt2 import Exported, Name, Operator

__all__ = ["ADVICE", "Args", "Elements", "Walk"]

Args = Mapping[str, Any]
ROUNDING = {1, 2, 3, 4, 5, 6, 12, 13}  # types of a cast that would round


ADVICE = {
    "layer_norm": "its scale depends on the data of each step; train with BatchNorm1d, which is folded",
    "mean": "pooling over steps is for the host; import the part before it",
    "sum": "sums over features or steps are for the host",
    "max": "pooling over steps is for the host; import the part before it",
    "_pack_padded_sequence": "export with the padded tensor itself, without packing",
    "conv1d": "convolutions are for the host; import the recurrent part",
    "mm": "the program was decomposed; save it before run_decompositions",
}


class Walk:
    """A walk over exported operators; ``values`` holds the tensor of each name.

    Parameters
    ----------
    exported : Exported
    time : int
        Axis of the steps in the input.
    operators : mapping of str -> callable
        Of a walk and the arguments by name; returns one value or a list.
    """

    def __init__(self, exported: Exported, time: int, operators: Mapping[str, Translation]) -> None:
        self.graph = Graph()
        self.operators = operators
        self.exported = exported
        self.time = time
        self.done = 0
        self.x = self.graph.input(exported.shape, time, exported.tokens)
        self.values: dict[str, Any] = {**exported.tensors, exported.input: Elements(self.x)}

    @property
    def hot(self) -> bool:
        """True if the input is tokens that a table or one_hot reads."""
        return any(node.kind == "one_hot" for node in self.graph.nodes)

    def sequences(self, x: npt.NDArray[Any], size: int) -> FloatArray:
        """Arrange the input as (sequences, steps, features); tokens as one-hot vectors of ``size``."""
        lead = (
            [self.time] if x.ndim < 3 - self.exported.tokens else [0 if self.time else 1, self.time]
        )
        rest = [axis for axis in range(x.ndim) if axis not in lead]
        count, steps = self.graph.sequences, x.shape[self.time]
        ordered = x.transpose(rest + lead).reshape(-1, count, steps)
        if self.hot:
            hot = np.zeros((*ordered[0].shape, size))
            np.put_along_axis(hot, ordered[0][..., None], 1.0, axis=-1)
            return hot
        return np.moveaxis(ordered, 0, -1).astype(np.float64)

    def run(self) -> IntArray:
        """Return the element numbers of the output; an error leaves ``done`` where it happened."""
        makers: dict[str, Operator] = {}
        readers: dict[str, list[Operator]] = {}
        for operator in self.exported.operators:
            self.graph.place = operator.place
            name = operator.name
            changed = operator.arguments.get("self")
            if name.partition(".")[0].endswith("_") and name.partition(".")[0] != "detach_":
                name = name.replace("_.", ".", 1)
                own = makers.get(str(changed))
                if own is None or own.name in LAYOUT or readers.get(str(changed)):
                    self.graph.refuse(f"{operator.name} changes a tensor that others see; write it without "
                                      "changing in place")  # fmt: skip
            arguments = {key: self.value(a) for key, a in operator.arguments.items()}
            result = self.apply(name, arguments)
            results = result if isinstance(result, (list, tuple)) else [result]
            for output, value in zip(operator.outputs, results, strict=False):
                self.values[output], makers[output] = value, operator
            for argument in _names(operator.arguments):
                readers.setdefault(argument, []).append(operator)
            if name != operator.name:
                self.values[str(changed)] = self.values[operator.outputs[0]]
            self.done += 1
        self.graph.place = "the output"
        value = self.values[self.exported.output]
        if not isinstance(value, Elements):
            self.graph.refuse("it does not depend on the input")
        return value.numbers

    def value(self, argument: Any) -> Any:
        """Return the value of an argument."""
        if isinstance(argument, Name):
            return self.values[argument]
        return [self.value(a) for a in argument] if isinstance(argument, list) else argument

    def apply(self, name: str, a: dict[str, Any]) -> Any:
        """Apply one operator."""
        base = name.partition(".")[0]
        if a.get("training") or (a.get("train") and a.get("dropout", a.get("p", 1))):
            self.graph.refuse(f"{base} is in training mode: call net.eval() before the export")
        if name in LAYOUT:
            v = a.pop("self" if "self" in a else "input")
            if isinstance(v, Elements) and a.get("dtype") in ROUNDING - {self.exported.type}:
                if not self.exported.tokens:
                    self.graph.refuse("rounds data to integers or to 16 bits; that is for the host")
            if not isinstance(v, Elements):
                return LAYOUT[name](np.asarray(v), a)
            moved = LAYOUT[name](v.numbers, a)
            return [Elements(m) for m in moved] if isinstance(moved, list) else Elements(moved)
        if name not in self.operators:
            advice = ADVICE.get(base, "see docs/importing.md for what is taken")
            self.graph.refuse(f"{base} is not supported; {advice}")
        return self.operators[name](self, a)

    def elements(self, v: Any) -> IntArray:
        """Return the numbers of a tensor that must depend on the input."""
        if not isinstance(v, Elements):
            self.graph.refuse("computes on constants what should depend on the input")
        return v.numbers

    def constant(self, v: Any, what: str) -> FloatArray:
        """Return a tensor that must not depend on the input."""
        if isinstance(v, Elements):
            self.graph.refuse(f"{what} depends on the input; it must be a constant")
        return np.asarray(v, dtype=np.float64)


def _names(argument: Any) -> list[str]:
    if isinstance(argument, Name):
        return [str(argument)]
    values = (
        argument.values()
        if isinstance(argument, Mapping)
        else argument
        if isinstance(argument, list)
        else ()
    )
    return [name for value in values for name in _names(value)]


Translation = Callable[[Walk, Args], Any]
