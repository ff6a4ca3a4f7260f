"""What follows the activation, against the golden model's formulas, for every input of small formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Assert, Assume, Fragment, Module, Mux, ResetSignal, Value
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Model
from gatewright.compiler.ir.network import BOUNDED, SIGMOIDS
from gatewright.compiler.layout.tables import POSTS
from gatewright.compiler.numerics import fixed
from gatewright.compiler.numerics.activation import ACTIVATIONS
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.blocks.arith import Delay
from gatewright.hw.engine import elementwise
from gatewright.hw.engine.core import Core
from gatewright.hw.engine.update import Update
from support.formal import Refuted, free_inputs, prove
from support.randoms import recurrent

full = pytest.mark.full
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def program(cell: str, gate_bits: int, state_bits: int, candidate: str = "") -> Program:
    rng = np.random.default_rng(1)
    options = {"candidate": candidate} if candidate else {}
    layer = recurrent(rng, "only", cell, ("x",), 2, 2, **options)
    config = Config(
        lanes=1, weight_bits=3, activation_bits=2, gate_bits=gate_bits, state_bits=state_bits
    )
    return quantize(Model(2, (layer,)), rng.normal(size=(2, 10, 2)), config)


def update_of(p: Program, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the unit as the core of a program makes it."""
    made: list[Any] = []

    class Caught(Update):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(elementwise, "Update", Caught)
        Fragment.get(Core(p), None)
    return made[0]


def clip(value: Value, bits: int) -> Value:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return Mux(value < low, low, Mux(value > high, high, value))


def proof(p: Program, dut: Any, folder: Path, wrong: int = 0) -> int:
    """Compare a unit with the formulas, for what can come to it: gates up to 1, codes of their formats."""
    n, m = p.network.numbers, Module()
    m.submodules.dut = dut
    late = {
        name: Delay(m, getattr(dut, name)).at(dut.latency)
        for name in ("act", "post", "a", "kept", "old")
    }
    one = 1 << n.gate_frac

    def within(value: Value, bits: int) -> Value:
        return (value >= -(1 << (bits - 1))) & (value < 1 << (bits - 1))

    act, a, old = late["act"], late["a"].as_signed(), late["old"].as_signed()
    code, gate = late["kept"].as_signed(), late["kept"]
    bounded = act.matches(*(ACTIVATIONS.index(x) for x in BOUNDED))
    sigmoid = act.matches(*(ACTIVATIONS.index(x) for x in SIGMOIDS))
    # The gate format, beyond which only a sigmoid goes, by the one code of 1; or the state's.
    gate_range = Mux(sigmoid, (a >= 0) & (a <= one), (a >= -one) & (a < one))
    fits = Mux(bounded, gate_range, within(a, n.state_bits))
    value = Mux(bounded, fixed.shift(a, -n.align), a)
    cells: dict[str, tuple[Callable[[Any], Value], Value, int]] = {
        "pass": (lambda _: value, fits, n.state_bits),
        "blend": (
            lambda k: value + fixed.round_shift(k * (old - value), n.gate_frac),
            fits & within(old, n.state_bits), n.state_bits,
        ),
        "leak": (
            lambda k: old + fixed.round_shift(k * (value - old), n.gate_frac),
            fits & within(old, n.state_bits), n.state_bits,
        ),
        "times_h": (
            lambda _: fixed.round_shift(a * old, n.gate_frac),
            fits & bounded & within(old, n.state_bits), n.state_bits,
        ),
        "times_c": (
            lambda k: fixed.shift(k * a, 2 * n.gate_frac - n.cell_frac), fits & bounded, n.cell_bits
        ),
        "cell": (
            lambda _: fixed.round_shift(a * old, n.gate_frac) + code,
            fits & bounded & within(old, n.cell_bits) & within(code, n.cell_bits), n.cell_bits,
        ),
        "times": (
            lambda k: fixed.shift(k * a, 2 * n.gate_frac - (n.state_bits - 1)),
            fits & bounded, n.state_bits,
        ),
    }  # fmt: skip
    signed = "times_c" in dut.posts
    k = code if signed else gate
    for name in sorted(dut.posts):
        formula, allowed, bits = cells[name]
        for role in ("blend", "leak", "times", "times_c"):
            if name == role:
                allowed = allowed & (k >= 0) & (k <= one)
        acts = {b.act for b in p.schedule.beats if b.lanes and POSTS[b.post] == name}
        here = (late["post"] == POSTS.index(name)) & act.matches(*acts) & allowed
        m.d.comb += Assert(~here | (dut.result == clip(formula(k), bits) + wrong))
    m.d.comb += Assume(~ResetSignal())
    return prove(m, [*free_inputs(dut), dut.result], folder, depth=dut.latency + 2)


CASES = [
    ("lstm", 3, 4, ""),
    *(pytest.param(cell, *bits, "", marks=full) for cell in CELLS for bits in ((3, 4), (4, 3))),
    *(pytest.param("gru", 4, 5, act, marks=full) for act in ("sigmoid", "relu")),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "gate_bits", "state_bits", "candidate"), CASES)
def test_update(
    cell: str, gate_bits: int, state_bits: int, candidate: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    p = program(cell, gate_bits, state_bits, candidate)
    dut = update_of(p, monkeypatch)
    assert proof(p, dut, tmp_path) <= dut.latency + 1


def test_a_step_too_much_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = program("gru", 3, 4)
    with pytest.raises(Refuted):
        proof(p, update_of(p, monkeypatch), tmp_path, wrong=1)
