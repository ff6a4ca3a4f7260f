"""No operand is issued before it is written: bounded, over small programs, for any pace of all streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Array, Assert, Assume, Fragment, Module, Mux, ResetSignal, Signal, Value
from gatewright.compiler.config import Config
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.blocks.memory import Ram
from gatewright.hw.engine import core as core_module
from gatewright.hw.engine.core import Core
from gatewright.hw.engine.sequencer import Sequencer
from support.formal import Memories, Refuted, free_inputs, prove
from support.randoms import recurrent

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
STEPS = 4
"""Steps are told apart modulo this: the sequencer is never that far from who writes."""


def program(*cells: str) -> Program:
    """Return a stack of layers of one; their vectors fill their words, so every bank is written."""
    rng = np.random.default_rng(1)
    layers: list[Any] = []
    for k, cell in enumerate(cells):
        source = (f"layer{k - 1}" if k else "x",)
        layers.append(
            Linear(f"layer{k}", source, rng.normal(size=(1, 1)))
            if cell == "linear"
            else recurrent(rng, f"layer{k}", cell, source, 1, 1)
        )
    bits = dict.fromkeys(("weight_bits", "activation_bits", "state_bits", "gate_bits"), 2)
    options = Config(lanes=1, activation="hard", **bits)
    return quantize(Model(1, tuple(layers)), rng.normal(size=(2, 10, 1)), options)


def instances(monkeypatch: pytest.MonkeyPatch, *classes: type) -> list[Any]:
    """Return the list that every part of these classes is added to when a core makes it."""
    made: list[Any] = []

    def catching(cls: type) -> Any:
        def make(*args: Any, **options: Any) -> Any:
            made.append(cls(*args, **options))
            return made[-1]

        return make

    for cls in classes:
        monkeypatch.setattr(core_module, cls.__name__, catching(cls))
    return made


def tags(m: Module, ram: Ram, step: Value, name: str) -> list[list[Signal]]:
    """Return for each bank and word the step it was last written in; ``STEPS`` before that."""
    out = []
    for bank in range(ram.banks):
        words = [
            Signal(range(STEPS + 1), name=f"{name}_{bank}_{k}", init=STEPS)
            for k in range(ram.depth)
        ]
        for k, word in enumerate(words):
            with m.If(ram.w_en[bank] & (ram.w_addr == k)):
                m.d.sync += word.eq(step)
        out.append(words)
    return out


def proof(p: Program, folder: Path, monkeypatch: pytest.MonkeyPatch, depth: int) -> int:
    made = instances(monkeypatch, Ram, Sequencer)
    dut, memories = Core(p), Memories()
    inside = Fragment.get(dut, memories)
    m = Module()
    m.submodules.dut = inside
    inputs, operands = (part for part in made if isinstance(part, Ram))
    (seq,) = (part for part in made if isinstance(part, Sequencer))
    # Steps whose elements come in, whose words are issued, whose results are written.
    coming, issued, written = (
        Signal(range(STEPS), name=name) for name in ("coming", "issued", "written")
    )
    element = Signal(range(p.network.input_size + 1))
    last = element == p.network.input_size - 1
    with m.If(dut.i.valid & dut.i.ready):
        m.d.sync += [element.eq(Mux(last, 0, element + 1)), coming.eq(coming + last)]
    m.d.sync += [
        issued.eq(issued + seq.step_done), written.eq(written + dut.elementwise.step_end),
    ]  # fmt: skip
    before = Signal(range(STEPS))
    m.d.comb += before.eq(written - 1)
    input_tags = tags(m, inputs, coming, "input")
    # A state that is loaded is that of the step before the next one.
    operand_tags = tags(m, operands, Mux(dut.port.busy, before, written), "operand")
    previous = Signal(range(STEPS))
    m.d.comb += previous.eq(issued - 1)
    for own, ram, wanted, applies in (
        (input_tags, inputs, issued, seq.is_input),
        (operand_tags, operands, issued, ~seq.is_input & ~seq.old),
        (operand_tags, operands, previous, ~seq.is_input & seq.old & ~seq.fresh),
    ):
        for bank in own:
            there = Array(bank)[ram.r_addr[0]] == wanted
            m.d.comb += Assert(~(seq.valid & applies) | there)
    # Resets and commands are left out: with them twice as many cycles are out of reach.
    m.d.comb += [Assume(~dut.c.valid), Assume(~ResetSignal())]
    return prove(m, free_inputs(dut), folder, depth=depth, bounded=True, memories=memories)


PROGRAMS = {
    ("rnn",): 64,
    ("gru",): 76,
    ("gru_reset_before",): 64,
    ("rnn", "rnn"): 64,
    ("lstm",): 98,
}
"""Programs by their layers, and the cycles looked at.

The second step of RNN, GRU and LSTM issues the state that the first one wrote, from cycles 47, 68 and
93 on. The others issue what the same step wrote from cycle 47 on; their steps are longer than that.
"""


@pytest.mark.full
@pytest.mark.parametrize("cells", PROGRAMS)
def test_no_operand_is_issued_before_it_is_written(
    cells: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = PROGRAMS[cells]
    assert proof(program(*cells), tmp_path, monkeypatch, depth) == depth


def test_a_schedule_that_does_not_wait_is_refuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = program("rnn")
    block = p.schedule.blocks[-1]
    early = block.segments[-1]._replace(need=-2 * p.schedule.produced)
    p.schedule.blocks[-1] = block._replace(segments=(*block.segments[:-1], early))
    with pytest.raises(Refuted):
        proof(p, tmp_path, monkeypatch, 20)
