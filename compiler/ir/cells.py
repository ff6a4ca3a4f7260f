"""Every recurrent cell, described once.

A cell is a list of :class:`Gate`. Importers fill a weight matrix per gate, the
quantizer scales its rows, the golden model (:mod:`.golden`) and the gateware
(:mod:`gatewright.hw.engine.elementwise`) both interpret the same fields, and the
scheduler (:mod:`.schedule`) turns them into rows. Nothing else knows a cell by
name.

For one neuron a gate is evaluated as::

    u = W x + b            (input part)
    v = U s + c            (recurrent part, s = h or the product r*h)
    p = u + v              or, where ``reset`` names a kept gate,  p = u + reset * v
    a = act(p)
    y = post(a)            see ``Gate.post``

References: GRU reset-before, Cho et al. 2014 (arXiv 1406.1078); reset-after, the cuDNN
form; MGU and its variants, Heck & Salem 2017 (arXiv 1701.03452); LSTM without
peepholes, Gers et al. 2000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CELLS", "Cell", "Gate"]


@dataclass(frozen=True)
class Gate:
    """One gate (or candidate) of a cell.

    Parameters
    ----------
    name : str
        Short standard name: ``r z n`` (GRU), ``f n`` (MGU), ``i f g o`` (LSTM).
    act : {'gate', 'candidate', 'output'}
        Which activation of the layer is applied; ``output`` is that of an LSTM's cell state.
    input : bool
        Has an input product ``W x``.
    recurrent : {'h', 'rh', ''}
        Operand of the recurrent product: the old state, the product written by
        an earlier gate, or none.
    reset : str
        Kept gate that multiplies the recurrent part before the sum (reset-after form).
    source : {'acc', 'c'}
        Pre-activation: the accumulators, or the cell state just written (LSTM output).
    post : str
        ``pass``: a. ``blend``: a + k*(h - a). ``leak``: h + k*(a - h). ``times_h``: a*h.
        ``times``: k*a. ``cell``: a*c + k. Here k is the kept value named by ``by``.
    by : str
        Name of the kept value that ``post`` reads.
    keep : {'', 'act', 'post'}
        What to keep, under this gate's name, for a later gate of the same neuron.
    to : {'', 'h', 'rh', 'c'}
        Where the result goes: new state, recurrent operand of this step, cell state.
    """

    name: str
    act: str = "gate"
    input: bool = True
    recurrent: str = "h"
    reset: str = ""
    source: str = "acc"
    post: str = "pass"
    by: str = ""
    keep: str = ""
    to: str = ""

    def combine(self, a: Any, k: Any, h: Any, c: Any) -> Any:
        """Return ``post`` of real numbers, arrays of NumPy or tensors.

        Parameters
        ----------
        a : activation of the gate
        k : kept value named by ``by``
        h, c : old state, cell state
        """
        if self.post == "blend":
            return a + k * (h - a)
        if self.post == "leak":
            return h + k * (a - h)
        if self.post == "times_h":
            return a * h
        if self.post == "times":
            return k * a
        if self.post == "cell":
            return a * c + k
        return a


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Parameters
    ----------
    name, title : str
        Identifier in files, and the name for people.
    blocks : tuple of tuple of Gate
        Gates that share one walk over the operands. A later block may read what
        an earlier one produced for the whole layer (``rh``).
    bias_recurrent : tuple of str
        Gates whose recurrent bias must be kept apart (it is inside the reset product).
    """

    name: str
    title: str
    blocks: tuple[tuple[Gate, ...], ...]

    @property
    def gates(self) -> tuple[Gate, ...]:
        """All gates, in evaluation order."""
        return tuple(gate for block in self.blocks for gate in block)

    @property
    def weighted(self) -> tuple[Gate, ...]:
        """Gates that have weights (all but those computed from the cell state)."""
        return tuple(gate for gate in self.gates if gate.source == "acc")

    def equations(self, acts: Mapping[str, str]) -> list[str]:
        """Return the equations of a step as text, a line for each gate and each new vector.

        Parameters
        ----------
        acts : mapping
            Activations of the roles ``gate``, ``candidate`` and ``output``.
        """
        lines, kept = [], dict[str, str]()
        for gate in self.gates:
            g, by, state = gate.name, kept.get(gate.by, gate.by), kept.get("rh", "h")
            u = [f"W_{g} x", f"b_{g}"] if gate.input else [f"b_{g}"]
            v = [f"U_{g} {'h' if gate.recurrent == 'h' else state}"] if gate.recurrent else []
            v.append(f"d_{g}")
            if gate.reset:
                v = [f"{gate.reset} * ({' + '.join(v)})"]
            argument = "c'" if gate.source == "c" else " + ".join(u + v)
            value = argument if acts[gate.act] == "none" else f"{acts[gate.act]}({argument})"
            if gate.post in ("times", "pass") and gate.to == "h":  # one line: h' is the result
                lines.append(f"h' = {by} * {value}" if gate.post == "times" else f"h' = {value}")
                continue
            lines.append(f"{g} = {value}")
            result = {
                "blend": f"(1 - {by}) * {g} + {by} * h", "leak": f"(1 - {by}) * h + {by} * {g}",
                "times_h": f"({g} * h)", "times": f"{by} * {g}", "cell": f"{g} * c + {by}",
            }.get(gate.post, g)  # fmt: skip
            if gate.keep == "post":
                kept[g] = result
            if gate.to in ("h", "c"):
                lines.append(f"{gate.to}' = {result}")
            elif gate.to:
                kept[gate.to] = result
        return lines

    @property
    def has_cell_state(self) -> bool:
        """True if the cell carries a second state vector c (LSTM)."""
        return any(gate.to == "c" for gate in self.gates)


def _mgu(name: str, title: str, *, forget_input: bool, forget_recurrent: bool) -> Cell:
    forget = Gate(
        "f", input=forget_input, recurrent="h" if forget_recurrent else "",
        post="times_h", keep="act", to="rh",
    )  # fmt: skip
    candidate = Gate("n", act="candidate", recurrent="rh", post="leak", by="f", to="h")
    return Cell(name, title, ((forget,), (candidate,)))


CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell(
            "gru",
            "GRU, reset after the recurrent product",
            (
                (
                    Gate("r", keep="act"),
                    Gate("z", keep="act"),
                    Gate("n", act="candidate", reset="r", post="blend", by="z", to="h"),
                ),
            ),
        ),
        Cell(
            "gru_reset_before",
            "GRU, reset before the recurrent product",
            (
                (Gate("r", post="times_h", to="rh"), Gate("z", keep="act")),
                (Gate("n", act="candidate", recurrent="rh", post="blend", by="z", to="h"),),
            ),
        ),
        _mgu("mgu", "minimal gated unit", forget_input=True, forget_recurrent=True),
        _mgu("mgu1", "minimal gated unit 1 (forget gate without input)",
             forget_input=False, forget_recurrent=True),
        _mgu("mgu2", "minimal gated unit 2 (forget gate without input and bias)",
             forget_input=False, forget_recurrent=True),
        _mgu("mgu3", "minimal gated unit 3 (forget gate from its bias only)",
             forget_input=False, forget_recurrent=False),
        Cell(
            "lstm",
            "LSTM without peepholes",
            (
                (
                    Gate("i", keep="act"),
                    Gate("g", act="candidate", post="times", by="i", keep="post"),
                    Gate("f", post="cell", by="g", to="c"),
                    Gate("o", keep="act"),
                    Gate("h", act="output", source="c", post="times", by="o", to="h"),
                ),
            ),
        ),
        Cell("rnn", "plain RNN", ((Gate("n", act="candidate", to="h"),),)),
    )
}  # fmt: skip
"""All cells by name."""

LINEAR_GATE = Gate("y", act="candidate", recurrent="")
"""The one gate of a linear layer."""
