"""Streams that share a core: each has a state of its own, and none sees the others'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.program.program import Program
from gatewright.sim.pysim import Load, Read, Steps, record
from support.randoms import extreme_codes, program


def shared(seed: int, streams: int, largest: int = 6) -> Program:
    """Return a small random program with a state for so many streams."""
    p = program(seed, cells=tuple(CELLS), layers=2, largest=largest, most_lanes=16)
    while not p.schedule.states:
        seed += 1000
        p = program(seed, cells=tuple(CELLS), layers=2, largest=largest, most_lanes=16)
    return Program(p.network, replace(p.config, streams=streams))


def check(p: Program, seed: int, actions: int, **options: float | int) -> None:
    """Give each stream steps, resets in mid-sequence and state commands at random, in mid-round too."""
    rng, net = np.random.default_rng(seed), p.network
    about = f"seed {seed}, {p.streams} streams, {p.geometry}, {[x.cell for x in net.layers]}"
    states = [golden.State.zeros(net, 1) for _ in range(p.streams)]
    job: list[Steps | Load | Read] = []
    outputs, read = [], []
    turn = 0
    for _ in range(actions):
        stream = int(rng.integers(p.streams))
        kind = rng.choice(["steps", "read", "load"], p=[0.6, 0.2, 0.2])
        if kind == "read":
            job.append(Read(stream))
            read.append(states[stream].flat(net)[0])
        elif kind == "load":
            states[stream] = golden.run(net, extreme_codes(p, rng, 1, 3)).state
            job.append(Load(states[stream].flat(net)[0], stream))
        else:
            count = int(rng.integers(1, 2 * p.streams + 2))
            codes, first = extreme_codes(p, rng, 1, count)[0], rng.random(count) < 0.3
            job.append(Steps(codes, first))
            for k in range(count):
                state = None if first[k] else states[turn]
                done = golden.run(net, codes[None, k : k + 1], state)
                states[turn] = done.state
                outputs.append(done.outputs[0, 0])
                turn = (turn + 1) % p.streams
    job += [Read(stream) for stream in range(p.streams)]
    read += [state.flat(net)[0] for state in states]
    got = record(p, job, seed=seed, **options)  # type: ignore[arg-type]
    assert (got.outputs == np.reshape(outputs, got.outputs.shape)).all(), about
    assert [s.tolist() for s in got.states] == [s.tolist() for s in read], about


@pytest.mark.parametrize(
    ("streams", "stall", "junk"),
    [(2, 0.0, 0), (2, 0.4, 500), (3, 0.4, 0), (4, 0.0, 500), (5, 0.4, 0)],
)
def test_every_stream_has_its_own_state(streams: int, stall: float, junk: int) -> None:
    check(shared(10 * streams, streams), streams, 14, stall=stall, junk=junk)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(40))
def test_many_random_streams(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = shared(seed, int(rng.integers(2, 9)), largest=10)
    check(p, seed, 25, stall=float(rng.choice([0.0, 0.3])), junk=int(rng.choice([0, 41])))


@pytest.mark.parametrize("cell", CELLS)
def test_prediction_of_streams_equals_the_core(cell: str) -> None:
    """Steps of streams overlap in every cell's pipeline, and end in the cycle that is promised."""
    seed = list(CELLS).index(cell)
    streams = 2 + seed % 3
    p = program(seed, cells=(cell,), layers=2, largest=7, most_lanes=40)
    p = Program(p.network, replace(p.config, streams=streams))
    x = extreme_codes(p, np.random.default_rng(seed), streams, 4)
    steps = np.swapaxes(x, 0, 1).reshape(4 * streams, -1)
    got = record(p, [Steps(steps, np.arange(4 * streams) < streams)])
    expected = np.swapaxes(golden.run(p.network, x).outputs, 0, 1).reshape(got.outputs.shape)
    assert (got.outputs == expected).all()
    assert (got.ends == p.schedule.predict(4 * streams)).all()
