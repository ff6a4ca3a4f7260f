"""A computation in words: ``gru, fc1, relu, fc2`` over modules that are given by name.

Steps are separated by commas and each reads what the step before gave. A step is

- a module's name: ``gru``, ``encoder.fc``, or its last part where that is unique;
- an activation: ``tanh``, ``sigmoid``, ``relu``, ``hard_tanh``, ``hard_sigmoid``, ``none``;
- ``softmax`` or ``log_softmax``, at the end: left out, the outputs are its arguments;
- ``last``: from here on only the last step of each sequence counts;
- ``a + b`` or ``cat(a, b)`` of two or more names: modules, with the activation that follows them,
  and ``x``, the model's input;
- ``embedding(m)``: the rows of a table, chosen by one-hot input;
- ``rnn(a, b)``: the recurrence ``h = tanh(a(x) + b(h))`` of two linear modules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arrays import IntArray
from ..errors import InputError, did_you_mean
from ..ir.model import Model
from .graph import Graph
from .graph_model import fold
from .parts import HARD_SIGMOID_SLOPE, Part, some

__all__ = ["ACTIVATIONS", "compute", "steps_of"]

ACTIVATIONS = {
    "none": "none", "identity": "none", "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu",
    "hard_tanh": "hard_tanh", "hardtanh": "hard_tanh",
    "hard_sigmoid": "hard_sigmoid", "hardsigmoid": "hard_sigmoid",
}  # fmt: skip
SOFTMAX = ("softmax", "log_softmax")
STEPS_LIMIT = 256
STEPS = 5  # of the sequence that the graph walks; any number from two gives the same

_CALL = re.compile(r"(cat|embedding|rnn)\s*\(([^()]*)\)")


def steps_of(forward: str | Sequence[str]) -> list[str]:
    """Split a text at its commas, those inside parentheses left out."""
    if isinstance(forward, str):
        forward = re.split(r",(?![^()]*\))", forward)
    steps = [step.strip() for step in forward]
    if not steps or "" in steps or len(steps) > STEPS_LIMIT:
        raise InputError(
            f"forward={','.join(steps)[:60]!r} is a list of up to {STEPS_LIMIT} modules and "
            'activations in the order of the data, such as "gru, fc1, relu, fc2"'
        )
    return steps


def compute(
    forward: str | Sequence[str], parts: Sequence[Part], source: str, nonlinearity: str = "tanh"
) -> Model:
    """Make the model of a computation; ``nonlinearity`` is that of ``rnn(a, b)``.

    Raises
    ------
    InputError
        A step names no module, sizes do not fit, or a module is not used.
    """
    steps = steps_of(forward)
    walk = _Walk(parts, source, steps, nonlinearity)
    for k, step in enumerate(steps):
        walk.take(step, k)
    return walk.model()


@dataclass
class _Walk:
    """The steps so far, as tensors of a graph: one sequence of :data:`STEPS` steps."""

    parts: Sequence[Part]
    source: str
    steps: list[str]
    nonlinearity: str
    graph: Graph = field(default_factory=Graph)

    def __post_init__(self) -> None:
        self.vectors: dict[str, IntArray] = {}  # shape (1, steps, features)
        self.used: set[str] = set()
        self.top: IntArray | None = None
        self.current = ""  # what is on top
        self.last = self.ended = False

    def take(self, step: str, k: int) -> None:
        """Apply one step."""
        if self.ended:
            raise self._error(f"{step!r} follows {self.steps[k - 1]!r}, which can only end it")
        known = {part.label for part in self.parts}
        call = _CALL.fullmatch(step)
        if step not in known and step.lower() in ACTIVATIONS:
            self._activate(ACTIVATIONS[step.lower()])
        elif step not in known and step.lower() in SOFTMAX:
            self.ended = True
            self.top = self.graph.softmax(self._begun(step), -1, step.lower())
        elif step not in known and step.lower() == "last":
            self.top, self.last = self._begun(step)[:, -1:], True
        elif call and call[1] == "embedding":
            self._embedding(self._part(call[2].strip()))
        elif call and call[1] == "rnn":
            self._module(self._rnn([self._part(name.strip()) for name in call[2].split(",")]))
        elif call:
            names = [name.strip() for name in call[2].split(",")]
            self._begun("cat")
            self.top = np.concatenate([self._vector(name) for name in names], axis=-1)
            self.current = step
        elif "+" in step:
            self._add([name.strip() for name in step.split("+")], step)
        else:
            self._module(self._part(step))

    def _error(self, text: str) -> InputError:
        return InputError(f"{self.source}: forward={', '.join(self.steps)!r}: {text}")

    def _part(self, name: str) -> Part:
        paths = {part.label: part for part in self.parts}
        ends = [p for p in self.parts if name and p.label.endswith(f".{name}")]
        if name in paths or len(ends) == 1:
            return paths.get(name) or ends[0]
        if not name or len(ends) > 1:
            raise self._error(f"{name!r} is not one module; there are: {some(list(paths))}")
        hint = did_you_mean(name, [*paths, *ACTIVATIONS, *SOFTMAX, "last"])
        raise self._error(
            f"{name!r} is no module and no activation{hint or '.'} Modules: {some(list(paths))}; "
            f"activations: {', '.join(ACTIVATIONS)}"
        )

    def _begun(self, step: str) -> IntArray:
        """Return what is on top."""
        if self.top is None:
            raise self._error(f"{step} comes before any module: apply it to the input yourself")
        return self.top

    def _module(self, part: Part) -> None:
        if self.top is None:
            self.graph.place = self.source
            self.top = self.vectors["x"] = self.graph.input((1, STEPS, part.input_size), 1)
        top = self.top
        if part.input_size != top.shape[-1]:
            raise self._error(
                f"{part} reads {self.current or 'x'}, which has {top.shape[-1]} values"
            )
        if self.last and not part.linear:
            raise self._error(f"{part.label} is recurrent and reads only the last step")
        self.graph.place = part.label
        if part.linear:
            top = self.graph.linear(top, part.tensors["weight"], part.tensors.get("bias"))
        else:
            walked = top.swapaxes(0, 1)
            for layers in part.stack():
                sides = [self.graph.recurrent(walked, layer)[0] for layer in layers]
                walked = np.concatenate(sides, axis=-1)
            top = walked.swapaxes(0, 1)
        self.used.add(part.label)
        self._name(part.label, top)

    def _name(self, path: str, top: IntArray) -> None:
        self.current, self.top = path, top
        self.vectors[path] = self.vectors[path.rpartition(".")[2]] = top

    def _embedding(self, part: Part) -> None:
        if not part.linear or part.bias:
            raise self._error(f"{part} is no table of an embedding: one matrix without bias")
        self._module(replace(part, tensors={"weight": part.tensors["weight"].T}))

    def _rnn(self, pair: list[Part]) -> Part:
        if len(pair) != 2 or not all(part.linear for part in pair):
            raise self._error("rnn(a, b) takes two linear modules: of the input, of the state")
        (a, b), size = pair, pair[1].size
        if (a.size, b.input_size) != (size, size):
            raise self._error(f"{a} and {b} make no recurrence: b maps the state onto itself")
        tensors = {"weight_ih_l0": a.tensors["weight"], "weight_hh_l0": b.tensors["weight"]}
        zero = np.zeros(size)
        if a.bias or b.bias:
            tensors["bias_ih_l0"] = a.tensors.get("bias", zero)
            tensors["bias_hh_l0"] = b.tensors.get("bias", zero)
        self.used.update((a.label, b.label))
        return Part(f"{a.label}+{b.label}", "rnn", tensors, self.nonlinearity)

    def _activate(self, activation: str) -> None:
        top = self._begun(activation)
        if activation != "none":
            top = self.graph.activation(top, activation, HARD_SIGMOID_SLOPE)
            self._name(self.current, top)

    def _vector(self, name: str) -> IntArray:
        if name not in self.vectors:
            hint = did_you_mean(name, self.vectors)
            raise self._error(
                f"{name!r} is no earlier module{hint or '.'} There are: {some(list(self.vectors))}"
            )
        vector = self.vectors[name]
        return vector[:, -1:] if self.last else vector

    def _add(self, names: list[str], step: str) -> None:
        self._begun("a sum")
        terms = [self._vector(name) for name in names]
        if len({term.shape[-1] for term in terms}) > 1:
            sizes = [f"{n} has {t.shape[-1]}" for n, t in zip(names, terms, strict=True)]
            raise self._error(f"{', '.join(sizes)} values; a sum takes as many of each")
        self.graph.place = self.current = step
        self.top = self.graph.combine([(term, 1.0) for term in terms])

    def model(self) -> Model:
        """Return the model of all steps."""
        unused = [part.label for part in self.parts if part.label not in self.used]
        if unused:
            raise self._error(
                f"does not use {some(unused)}; add them, or leave them out by ignore="
            )
        return fold(self.graph, self._begun("the end"), self.source)[0]
