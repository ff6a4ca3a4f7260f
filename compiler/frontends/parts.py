"""Modules that hold weights, and the chain that they make.

A :class:`Part` is one module under PyTorch's own tensor names. :func:`chains` finds the orders that
sizes allow, :func:`assemble` makes the model of a chain. Row order of the gates (r, z, n of a
GRU; i, f, g, o of an LSTM): documentation of ``torch.nn.GRU`` and ``torch.nn.LSTM``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray
from ..ir.model import Layer, Linear, Model, Recurrent

__all__ = ["GATES", "SEARCH_LIMIT", "Part", "assemble", "chains", "some", "understood"]

GATES = {"gru": "rzn", "lstm": "ifgo", "rnn": "n"}
"""Gates of each kind, in the order of PyTorch's rows."""

SEARCH_LIMIT = 50_000  # starts of a chain that are looked at
HARD_SIGMOID_SLOPE = 1 / 6


@dataclass(frozen=True, eq=False)
class Part:
    """One module that holds weights.

    Parameters
    ----------
    path : str
        Its name in the file or in the parent module.
    kind : {'gru', 'lstm', 'rnn', 'linear'}
        Also the start of its layers' names.
    tensors : dict of str -> numpy.ndarray
        Weights by PyTorch's name; a cell's are named as a stack of one (``weight_ih_l0``).
    activation : str
        What follows a linear layer, or the nonlinearity of an RNN.
    """

    path: str
    kind: str
    tensors: dict[str, FloatArray]
    activation: str = "none"

    @property
    def linear(self) -> bool:
        """True if it has no state."""
        return self.kind == "linear"

    @property
    def label(self) -> str:
        """Its path, or its kind where it has none."""
        return self.path or self.kind

    @property
    def depth(self) -> int:
        """Number of layers."""
        return 1 if self.linear else len(self._matrices()) // (1 + self.bidirectional)

    @property
    def bidirectional(self) -> bool:
        """True if each layer is one of either direction."""
        return any(name.endswith("_reverse") for name in self.tensors)

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.tensors["weight" if self.linear else "weight_ih_l0"].shape[1]

    @property
    def size(self) -> int:
        """Number of outputs, of a recurrent part the size of its state in both directions."""
        if self.linear:
            return self.tensors["weight"].shape[0]
        return self.hidden * (1 + self.bidirectional)

    @property
    def hidden(self) -> int:
        """Size of the state of a recurrent part, in one direction."""
        return self.tensors["weight_hh_l0"].shape[1]

    @property
    def bias(self) -> bool:
        """True if it has biases."""
        return any(name.startswith("bias") for name in self.tensors)

    def __str__(self) -> str:
        kind = self.kind if self.linear else self.kind.upper()
        kind = f"bidirectional {kind}" if self.bidirectional else kind
        return f"{self.path or 'unnamed'}: {kind} {self.input_size} -> {self.size}"

    def layers(
        self, reads: tuple[str, ...], numbers: Counter[str]
    ) -> tuple[list[Layer], tuple[str, ...]]:
        """Return the layers, and the names of the vectors that are the output.

        Parameters
        ----------
        reads : tuple of str
            Vectors that are the input.
        numbers : Counter
            Layers of each kind so far.
        """
        made: list[Layer] = []
        for k in range(self.depth):
            name = f"{self.kind}{numbers[self.kind]}"
            numbers[self.kind] += 1
            if self.linear:
                weight, bias = self.tensors["weight"], self.tensors.get("bias")
                made.append(Linear(name, reads, weight, bias, self.activation, HARD_SIGMOID_SLOPE))
                reads = (name,)
                continue
            ends = self._ends
            made += [self._recurrent(name + end, reads, f"l{k}{end}") for end in ends]
            reads = tuple(name + end for end in ends)
        return made, reads

    def stack(self) -> Iterator[list[Recurrent]]:
        """Yield the layers of each level, one of each direction."""
        for k in range(self.depth):
            yield [self._recurrent(f"{self.kind}{end}", ("x",), f"l{k}{end}") for end in self._ends]

    @property
    def _ends(self) -> tuple[str, ...]:
        return ("", "_reverse")[: 1 + self.bidirectional]

    def _recurrent(self, name: str, reads: tuple[str, ...], at: str) -> Recurrent:
        """Return the layer whose tensors' names end in ``at``."""
        return Recurrent(
            name,
            self.kind,
            reads,
            size=self.hidden,
            input_size=self.tensors[f"weight_ih_{at}"].shape[1],
            w=self._gates(f"weight_ih_{at}"),
            u=self._gates(f"weight_hh_{at}"),
            b=self._gates(f"bias_ih_{at}"),
            c=self._gates(f"bias_hh_{at}"),
            candidate=self.activation if self.kind == "rnn" else "tanh",
            reverse=at.endswith("_reverse"),
        )

    def _matrices(self) -> list[str]:
        return [name for name in self.tensors if name.startswith("weight_hh")]

    def _gates(self, name: str) -> dict[str, FloatArray]:
        """Cut the rows of a tensor into gates; a missing bias has none."""
        if name not in self.tensors:
            return {}
        gates = GATES[self.kind]
        return dict(zip(gates, np.split(self.tensors[name], len(gates)), strict=True))


def some(names: Sequence[str]) -> str:
    """List names for a message, not too many."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def understood(parts: Sequence[Part]) -> str:
    """Say which modules were recognized."""
    return f"understood: {some([str(part) for part in parts]) or 'nothing'}"


def _before(a: Part, b: Part) -> bool:
    """Return whether numbered siblings (``cells.0``, ``cells.1``) put ``a`` before ``b``."""
    (parent_a, _, last_a), (parent_b, _, last_b) = (p.path.rpartition(".") for p in (a, b))
    numbered = last_a.isdecimal() and last_b.isdecimal() and parent_a == parent_b
    return numbered and (len(last_a), last_a) < (len(last_b), last_b)


def chains(done: tuple[Part, ...], rest: list[Part]) -> Iterator[tuple[Part, ...]]:
    """Yield each order that chains and each start of one, so that a search can be bounded."""
    yield done
    for part in rest:
        fits = not done or done[-1].size == part.input_size
        if fits and not any(_before(other, part) for other in rest):
            yield from chains((*done, part), [other for other in rest if other is not part])


def assemble(parts: Sequence[Part], source: str, notes: Sequence[str] = ()) -> Model:
    """Make the model, with a line of notes on each part."""
    numbers: Counter[str] = Counter()
    layers: list[Layer] = []
    lines = []
    reads: tuple[str, ...] = ("x",)
    for part in parts:
        made, reads = part.layers(reads, numbers)
        layers += made
        lines.append(describe(part, [layer.name for layer in made]))
    return Model(parts[0].input_size, tuple(layers), reads, source, (*lines, *notes))


def describe(part: Part, names: Sequence[str]) -> str:
    """Say what became of a part."""
    where = f" ({part.path})" if part.path else ""
    bias = "bias" if part.bias else "no bias"
    form = {
        "gru": ", PyTorch order r,z,n, reset after",
        "lstm": ", PyTorch order i,f,g,o",
        "rnn": f", {part.activation}",
        "linear": "" if part.activation == "none" else f", then {part.activation}",
    }.get(part.kind, "")
    depth = "" if part.linear else f"{part.depth} layer{'s' * (part.depth > 1)}, "
    depth += "bidirectional, " if part.bidirectional else ""
    return (
        f"{', '.join(names)}{where}: {part.kind}, {depth}{part.input_size} -> {part.size}, "
        f"{bias}{form}"
    )
