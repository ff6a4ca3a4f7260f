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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, did_you_mean
from ..ir.model import Layer, Linear, Model
from .parts import HARD_SIGMOID_SLOPE, Part, describe, some
from .sums import add_vectors

__all__ = ["ACTIVATIONS", "compute", "steps_of"]

ACTIVATIONS = {
    "none": "none", "identity": "none", "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu",
    "hard_tanh": "hard_tanh", "hardtanh": "hard_tanh",
    "hard_sigmoid": "hard_sigmoid", "hardsigmoid": "hard_sigmoid",
}  # fmt: skip
SOFTMAX = ("softmax", "log_softmax")
STEPS_LIMIT = 256

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
    """The layers of the steps so far."""

    parts: Sequence[Part]
    source: str
    steps: list[str]
    nonlinearity: str

    def __post_init__(self) -> None:
        self.layers: list[Layer] = []
        self.notes: list[str] = []
        self.numbers: Counter[str] = Counter()
        self.vectors: dict[str, tuple[str, ...]] = {}
        self.used: set[str] = set()
        self.top: tuple[str, ...] = ("x",)
        self.input_size = 0
        self.current = ""  # path of the module on top
        self.last = self.ended = False

    @property
    def sizes(self) -> dict[str, int]:
        return {"x": self.input_size} | {layer.name: layer.size for layer in self.layers}

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
            self.notes.append(f"warning: the final {step} is left out; outputs are its arguments")
        elif step not in known and step.lower() == "last":
            self.last = True
        elif call and call[1] == "embedding":
            self._embedding(self._part(call[2].strip()))
        elif call and call[1] == "rnn":
            self._module(self._rnn([self._part(name.strip()) for name in call[2].split(",")]))
        elif call:
            self._join([name.strip() for name in call[2].split(",")])
        elif "+" in step:
            self._add([name.strip() for name in step.split("+")], k)
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

    def _module(self, part: Part) -> None:
        if not self.layers and not self.input_size:
            self.input_size = part.input_size
        size = sum(self.sizes[name] for name in self.top)
        if part.input_size != size:
            raise self._error(f"{part} reads {self.current or 'x'}, which has {size} values")
        if self.last and not part.linear:
            raise self._error(f"{part.label} is recurrent and reads only the last step")
        made, self.top = part.layers(self.top, self.numbers)
        self.layers += made
        self.notes.append(describe(part, [layer.name for layer in made]))
        self.used.add(part.label)
        self._name(part.label)

    def _name(self, path: str) -> None:
        self.current = path
        self.vectors[path] = self.vectors[path.rpartition(".")[2]] = self.top

    def _embedding(self, part: Part) -> None:
        if not part.linear or part.bias:
            raise self._error(f"{part} is no table of an embedding: one matrix without bias")
        rows, features = part.tensors["weight"].shape
        self._module(replace(part, tensors={"weight": part.tensors["weight"].T}))
        self.notes[-1] = (
            f"{self.top[0]} ({part.label}): embedding of {rows} rows, {features} values each; x is "
            "one-hot: 1 at the token, 0 elsewhere"
        )

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

    def _place(self) -> str:
        name = f"linear{self.numbers['linear']}"
        self.numbers["linear"] += 1
        return name

    def _begun(self, step: str) -> None:
        if not self.layers:
            raise self._error(f"{step} comes before any module: apply it to the input yourself")

    def _activate(self, activation: str) -> None:
        self._begun(activation)
        top = self.layers[-1]
        if activation == "none":
            return
        if isinstance(top, Linear) and top.activation == "none" and self.top == (top.name,):
            self.layers[-1] = replace(top, activation=activation, slope=HARD_SIGMOID_SLOPE)
        else:
            size = sum(self.sizes[name] for name in self.top)
            unit = Linear(
                self._place(), self.top, np.eye(size), None, activation, HARD_SIGMOID_SLOPE
            )
            self.layers.append(unit)
            self.top = (unit.name,)
            self._name(self.current)
        self.notes.append(f"{self.top[0]}: then {activation}")

    def _vector(self, name: str) -> tuple[str, ...]:
        if name == "x":
            return ("x",)
        if name not in self.vectors:
            hint = did_you_mean(name, self.vectors)
            raise self._error(
                f"{name!r} is no earlier module{hint or '.'} There are: x, {some(list(self.vectors))}"
            )
        return self.vectors[name]

    def _join(self, names: list[str]) -> None:
        self._begun("cat")
        self.top = tuple(vector for name in names for vector in self._vector(name))
        self.current = f"cat({', '.join(names)})"

    def _add(self, names: list[str], k: int) -> None:
        self._begun("a sum")
        later = [self.vectors.get(n) for n in re.findall(r"[\w.]+", " ".join(self.steps[k + 1 :]))]
        total = self._vector(names[0])
        for name in names[1:]:
            fuse = (self.layers[-1].name,) not in later
            place = f"linear{self.numbers['linear']}"
            total = add_vectors(
                self.layers, self.sizes, total, self._vector(name), place, fuse=fuse
            )
            self.numbers["linear"] += total == (place,)
        self.top, self.current = total, " + ".join(names)
        self.notes.append(f"{total[0]}: the sum {' + '.join(names)}")

    def model(self) -> Model:
        """Return the model of all steps."""
        unused = [part.label for part in self.parts if part.label not in self.used]
        if unused:
            raise self._error(
                f"does not use {some(unused)}; add them, or leave them out by ignore="
            )
        self._begun("the end")
        if self.last:
            self.notes.append("only its last step is given out by the model; here, every step")
        return Model(self.input_size, tuple(self.layers), self.top, self.source, tuple(self.notes))
