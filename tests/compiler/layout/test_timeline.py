"""The picture of a step: it adds up, and the gateware does the same in the same cycles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.layout.geometry import Geometry
from gatewright.compiler.layout.replay import record
from gatewright.compiler.layout.schedule import Schedule
from gatewright.compiler.layout.timeline import UNIT, timeline
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.engine import core as engine
from gatewright.hw.engine.core import Core
from support import randoms


@pytest.mark.parametrize("seed", range(10))
def test_every_cycle_is_shown_once(seed: int) -> None:
    p = randoms.program(seed, cells=tuple(CELLS), layers=2, largest=12, most_lanes=48)
    p = Program(p.network, replace(p.config, streams=max(1, seed - 6)))
    made = timeline(p.schedule)
    about = f"seed {seed}, {p.geometry}, {p.streams} streams"
    assert -(-made.cycles // p.streams) == p.schedule.cycles()[0], about
    shown = np.zeros(made.cycles, int)
    for item in (*made.words, *made.waits):
        assert item.cycles > 0, about
        shown[item.start : item.start + item.cycles] += 1
    assert (shown == 1).all(), about
    assert sum(item.cycles for item in made.words) == p.streams * p.schedule.words, about
    assert sum(item.cycles for item in made.beats) <= made.cycles, about
    for block in p.schedule.blocks:
        for segment in block.segments:
            walked = [
                w.cycles for w in made.words
                if (w.layer, w.vector) == (block.layer, segment.vector)
            ]  # fmt: skip
            assert sum(walked) >= block.tiles * segment.words, about
    beats = {(b.layer, b.gate): 0 for b in made.beats}
    for b in made.beats:
        beats[b.layer, b.gate] += b.cycles
    if len({w.layer for w in made.words}) == 1:  # of one layer, a step has all of its beats
        assert sum(beats.values()) == p.streams * len(p.schedule.beats), about


def test_causes_of_waiting() -> None:
    rng = np.random.default_rng(1)

    def causes(layer: Recurrent | Linear, inputs: int, geometry: Geometry) -> set[str]:
        x = rng.normal(size=(1, 20, inputs))
        network = quantize(Model(inputs, (layer,)), x, Config(lanes=1)).network
        return {wait.cause for wait in timeline(Schedule(network, geometry)).waits}

    # One neuron waits for itself.
    neuron = randoms.recurrent(rng, "cell", "rnn", ("x",), 1, 1)
    assert causes(neuron, 1, Geometry(1, 1, 1)) == {"cell"}
    # The port takes an element a cycle, these lanes eight.
    wide = Linear("y", ("x",), rng.normal(size=(1, 64)), np.zeros(1))
    assert causes(wide, 64, Geometry(8, 8, 1)) == {"x"}
    # Tiles of two columns and sixteen rows are drained more slowly than they are computed.
    flat = Linear("y", ("x",), rng.normal(size=(64, 2)), np.zeros(64))
    assert causes(flat, 2, Geometry(16, 1, 1)) == {UNIT}


def watch(p: Program, steps: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Return the cycles in which the gateware issues words, and starts beats; 0: first transfer."""
    made: list[Any] = []

    class Kept(engine.Sequencer):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            made.append(self)

    monkeypatch.setattr(engine, "Sequencer", Kept)
    core = Core(p)
    words: list[int] = []
    beats: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(core.i.valid, 1)
        ctx.set(core.o.ready, 1)
        first, now = -1, 0
        while len(words) < steps * p.schedule.words or len(beats) < steps * len(p.schedule.beats):
            got = await ctx.tick().sample(core.i.ready, made[0].valid, core.elementwise.beats.next)
            taken, issued, started = got[2:]
            if taken and first < 0:
                first = now
            if first >= 0:
                words.extend([now - first] * bool(issued))
                beats.extend([now - first] * bool(started))
            now += 1
            assert now < 20_000, f"the core hangs after {len(words)} words and {len(beats)} beats"

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return words, beats


@pytest.mark.parametrize("seed", range(4))
def test_the_gateware_does_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 4
    p = randoms.program(seed, cells=tuple(CELLS), layers=2, largest=8, most_lanes=12)
    words, beats = watch(p, steps, monkeypatch)
    expected = record(p.schedule, steps)
    issued = [int(c) for walks, _ in expected for walk in walks for c in walk.cycles]
    started = [when for _, starts in expected for when in starts]
    about = f"seed {seed}, {p.geometry}, {[layer.cell for layer in p.network.layers]}"
    assert words[: len(issued)] == issued, about
    assert beats[: len(started)] == started, about
