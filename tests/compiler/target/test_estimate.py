"""Estimates before synthesis: memories, lanes for a device or a rate, what needs loading."""

import math
from dataclasses import replace

import pytest
from amaranth.hdl import Fragment
from gatewright.compiler.errors import InputError
from gatewright.compiler.layout.geometry import Geometry
from gatewright.compiler.program.chain import load_program
from gatewright.compiler.program.program import Program
from gatewright.compiler.target.devices import DEVICES, FAMILIES
from gatewright.compiler.target.estimate import (
    choose_lanes,
    estimate,
    excess,
    fits,
    needs_loading,
    slowdown,
)
from gatewright.compiler.target.memories import memories
from gatewright.hw.blocks.memory import Ram
from gatewright.hw.engine.core import Core
from gatewright.hw.vendor import find_family


@pytest.fixture
def program(tiny):
    return load_program(tiny / "program")


def test_memories_are_those_of_the_images(program):
    for lanes in (1, 5, 24):
        laid = program.with_lanes(lanes)
        found, images = memories(laid), laid.images
        weights = found["weights"]
        assert (weights.width, weights.depth) == (images.weight_width, max(2, len(images.weights)))
        beats = [found[name] for name in found if name.startswith("beats")]
        assert sum(memory.width for memory in beats) == images.beat_bits
        assert {memory.depth for memory in beats} == {max(2, len(images.beats))}


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("streams", [1, 2, 3])
def test_memories_of_streams_are_those_of_the_core(program, streams, monkeypatch):
    from gatewright.compiler.program.program import Program

    laid = Program(program.network, replace(program.config, streams=streams))
    placed = []
    make = Ram.__init__

    def note(self, **given):
        make(self, **given)
        placed.append((self.banks, self.width, self.depth, self.reads))

    monkeypatch.setattr(Ram, "__init__", note)
    Fragment.get(Core(laid), None)
    found = memories(laid)
    for name in ("operands", "states"):
        memory = found[name]
        assert (memory.banks, memory.width, memory.depth, memory.reads) in placed, name


def test_another_layout_computes_the_same(program):
    import numpy as np

    x = np.random.default_rng(0).normal(size=(40, program.input_size))
    assert (program.with_lanes(7).run(x) == program.run(x)).all()
    assert program.with_lanes(program.geometry.lanes).digest == program.digest


@pytest.mark.parametrize(
    ("family", "width", "depth", "blocks"),
    [
        ("ice40up", 16, 256, 1), ("ice40up", 17, 256, 2), ("ice40up", 16, 257, 2),
        ("ice40up", 2, 2048, 1), ("ecp5", 36, 512, 1), ("ecp5", 192, 228, 6), ("gowin", 9, 2049, 2),
    ],
)  # fmt: skip
def test_block_rams(family, width, depth, blocks):
    assert FAMILIES[family].block_rams(width, depth) == blocks


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(18, 1024, 1), (19, 1024, 2), (16, 1025, 2), (16, 3000, 4), (3, 16384, 3), (16, 32768, 32)],
)
def test_rams_of_ecp5_are_columns_of_one_port(width, depth, blocks):
    assert FAMILIES["ecp5"].block_rams(width, depth, rom=False) == blocks
    assert Ram(banks=1, width=width, depth=depth, family=find_family("ecp5")).placed == (
        depth <= 16384
    )


@pytest.mark.parametrize("name", DEVICES)
def test_chosen_lanes_fit_and_are_the_fastest_that_do(program, name):
    device = DEVICES[name]
    lanes = choose_lanes(program, device, 48e6)
    laid = program.with_lanes(lanes)
    assert fits(laid, device)
    assert estimate(laid, device).cycles_per_step == laid.schedule.cycles()[0]
    took = {
        p: program.with_lanes(p).schedule.cycles()[0]
        * slowdown(program.with_lanes(p).geometry, device)
        for p in range(1, max(8, device.multipliers) + 1)
        if fits(program.with_lanes(p), device)
    }
    if device.multipliers <= 28:  # where lanes hardly slow the clock, the fewest cycles as well
        best = min(program.with_lanes(p).schedule.cycles()[0] for p in took)
        assert laid.schedule.cycles()[0] <= best * 1.2
    assert took[lanes] <= 1.02 * min(took.values())
    assert all(took[p] > 1.02 * min(took.values()) for p in took if p < lanes)


@pytest.mark.parametrize(
    ("name", "geometry", "reached"),
    [
        ("LFE5U-45F", (56, 4, 2), 153.7), ("LFE5U-85F", (96, 4, 4), 138.4),
        ("LFE5U-45F", (64, 8, 2), 113.5), ("GW2A-18C", (32, 2, 1), 243.8), ("GW2A-18C", (40, 4, 2), 192.3),
        ("GW2A-18C", (44, 4, 1), 197.8),
    ],
)  # fmt: skip
def test_slowdown_is_that_of_whole_tops(name, geometry, reached):
    """Clocks of ``docs/decisions.md`` beside those of 24 lanes, two for a row.

    On GW2A means of two tops, which themselves differ by up to 30 %.
    """
    few = 267.5 if name == "GW2A-18C" else 172.5
    device = DEVICES[name]
    expected = few * slowdown(Geometry(24, 2, 1), device) / slowdown(Geometry(*geometry), device)
    assert expected == pytest.approx(reached, rel=1 / 5 if name == "GW2A-18C" else 1 / 7)


def test_rate_takes_the_fewest_lanes(program):
    from dataclasses import replace

    device = DEVICES["LFE5U-25F"]

    def wanting(rate):
        return Program(program.network, replace(program.config, lanes=1, rate=rate))

    slow = program.with_lanes(1).schedule.cycles()[0]
    assert choose_lanes(wanting(48e6 / slow), device, 48e6) == 1
    lanes = choose_lanes(wanting(2 * 48e6 / slow), device, 48e6)
    assert program.with_lanes(lanes).schedule.cycles()[0] <= slow / 2
    assert lanes > 1 and program.with_lanes(lanes - 1).schedule.cycles()[0] > slow / 2
    with pytest.raises(
        InputError, match=r"leave 1 cycles a step; \d+ lanes, the fastest on LFE5U-25F, take \d+"
    ):
        choose_lanes(wanting(48e6), device, 48e6)


def test_what_is_too_large_is_seen(program):
    up5k = DEVICES["iCE40UP5K"]
    assert not fits(program.with_lanes(200), up5k)
    assert excess(program.with_lanes(200), up5k) > excess(program.with_lanes(24), up5k) > 1
    assert not needs_loading(program, up5k)
    assert not needs_loading(program.with_lanes(4), DEVICES["LFE5U-25F"])
    assert math.isfinite(excess(program, up5k))
