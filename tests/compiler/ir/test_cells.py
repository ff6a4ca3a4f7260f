"""The table of cells is consistent, and each cell computes its published equations."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Recurrent
from support.randoms import recurrent

FEATURES, H, T = 5, 7, 20


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def equations(
    layer: Recurrent, x: np.ndarray, h: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step as the papers write it, one sequence, no reference to the table of cells."""
    w, u, b, d = layer.w, layer.u, layer.b, layer.c
    if layer.cell == "gru":
        r = sigmoid(w["r"] @ x + b["r"] + u["r"] @ h + d["r"])
        z = sigmoid(w["z"] @ x + b["z"] + u["z"] @ h + d["z"])
        n = np.tanh(w["n"] @ x + b["n"] + r * (u["n"] @ h + d["n"]))
        return (1 - z) * n + z * h, c
    if layer.cell == "gru_reset_before":
        r = sigmoid(w["r"] @ x + b["r"] + u["r"] @ h + d["r"])
        z = sigmoid(w["z"] @ x + b["z"] + u["z"] @ h + d["z"])
        n = np.tanh(w["n"] @ x + b["n"] + u["n"] @ (r * h) + d["n"])
        return (1 - z) * n + z * h, c
    if layer.cell.startswith("mgu"):
        f = b["f"] + d["f"]
        if layer.cell in ("mgu",):
            f = f + w["f"] @ x
        if layer.cell != "mgu3":
            f = f + u["f"] @ h
        f = sigmoid(f)
        n = np.tanh(w["n"] @ x + b["n"] + u["n"] @ (f * h) + d["n"])
        return (1 - f) * h + f * n, c
    if layer.cell == "lstm":
        i, f, o = (sigmoid(w[g] @ x + b[g] + u[g] @ h + d[g]) for g in "ifo")
        g = np.tanh(w["g"] @ x + b["g"] + u["g"] @ h + d["g"])
        c = f * c + i * g
        return o * np.tanh(c), c
    assert layer.cell == "rnn"
    return np.tanh(w["n"] @ x + b["n"] + u["n"] @ h + d["n"]), c


@pytest.mark.parametrize("cell", CELLS)
def test_float_step_is_the_published_one(cell: str) -> None:
    rng = np.random.default_rng(1)
    layer = recurrent(rng, "layer", cell, ("x",), FEATURES, H)
    h, c = np.zeros(H), np.zeros(H)
    h2, c2 = h[None], c[None]
    for x in rng.normal(size=(T, FEATURES)):
        h, c = equations(layer, x, h, c)
        h2, c2, _ = layer.step(x[None], h2, c2)
        assert np.abs(h2[0] - h).max() < 1e-12
        assert np.abs(c2[0] - c).max() < 1e-12


@pytest.mark.parametrize("cell", CELLS)
def test_printed_equations_are_what_a_step_computes(cell: str) -> None:
    rng = np.random.default_rng(2)
    layer = recurrent(rng, "layer", cell, ("x",), FEATURES, H)
    (x,), (h,), (c,) = (rng.normal(size=(1, size)) for size in (FEATURES, H, H))
    values = {"x": x, "h": h, "c": c, "sigmoid": sigmoid, "tanh": np.tanh}
    for letter, arrays in (("W", layer.w), ("U", layer.u), ("b", layer.b), ("d", layer.c)):
        values |= {f"{letter}_{gate}": array for gate, array in arrays.items()}
    for line in layer.equations:
        product = re.sub(r"([WU]_\w) (\w|\([^()]*\))", r"(\1 @ \2)", line).replace("'", "_new")
        name, _, text = product.partition(" = ")
        values[name] = eval(text, {}, values)
    want_h, want_c, _ = layer.step(x[None], h[None], c[None])
    assert np.abs(values["h_new"] - want_h[0]).max() < 1e-12
    assert np.abs(values.get("c_new", c) - want_c[0]).max() < 1e-12


def test_an_lstm_has_three_activations() -> None:
    rng = np.random.default_rng(3)
    layer = replace(
        recurrent(rng, "layer", "lstm", ("x",), FEATURES, H),
        gate="hard_sigmoid", candidate="sigmoid", output="hard_tanh", slope=1 / 6,
    )  # fmt: skip
    (x,), (h,), (c,) = (rng.normal(size=(1, size)) for size in (FEATURES, H, H))
    pre = {g: layer.w[g] @ x + layer.b[g] + layer.u[g] @ h + layer.c[g] for g in "ifgo"}
    i, f, o = (np.clip(pre[g] / 6 + 0.5, 0, 1) for g in "ifo")
    want_c = f * c + i * sigmoid(pre["g"])
    got_h, got_c, _ = layer.step(x[None], h[None], c[None])
    assert np.abs(got_c[0] - want_c).max() < 1e-12
    assert np.abs(got_h[0] - o * np.clip(want_c, -1, 1)).max() < 1e-12


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_gate_reads_what_was_written_before(cell) -> None:  # type: ignore[no-untyped-def]
    """Kept values come from earlier gates; a product ``rh`` from an earlier block."""
    kept: set[str] = set()
    made: set[str] = set()
    for block in cell.blocks:
        before = set(made)
        for gate in block:
            for name in (gate.reset, gate.by):
                assert not name or name in kept
            assert gate.recurrent != "rh" or "rh" in before
            assert gate.source != "c" or "c" in made
            assert gate.post in ("pass", "blend", "leak", "times_h", "times", "cell")
            assert (gate.post in ("blend", "leak", "times", "cell")) == bool(gate.by)
            if gate.keep:
                kept.add(gate.name)
            made.add(gate.to)
    assert cell.gates[-1].to == "h"
    assert len({g.name for g in cell.gates}) == len(cell.gates)
    assert cell.has_cell_state == (cell.name == "lstm")
