"""The core in the Amaranth simulator: bit-exact and cycle-exact against golden model and schedule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError
from gatewright.compiler.ir.cells import CELLS, Cell
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.ir.network import SIGMOIDS, QNetwork
from gatewright.compiler.layout.latency import Timing
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.sim.pysim import Continue, Load, Read, record
from support.randoms import config, extreme_codes, program, recurrent


def cell_program(cell: str, seed: int) -> Program:
    """Return a small two-layer program of one cell, random widths and lanes, and a head."""
    rng = np.random.default_rng(seed)
    i, h, g, o = (int(v) for v in rng.integers(1, 8, 4))
    model = Model(
        i,
        (
            recurrent(rng, "first", cell, ("x",), i, h),
            recurrent(rng, "second", cell, ("first", "x"), h + i, g),
            Linear("head", ("second",), rng.normal(size=(o, g)), rng.normal(size=o), "none"),
        ),
        ("second", "head"),
    )
    return quantize(model, rng.normal(size=(2, 10, i)), config(rng, most_lanes=12))


def flat(network: QNetwork, state: golden.State) -> np.ndarray:
    return state.flat(network)[0]


def check(p: Program, seed: int, *, steps: int = 4, **options: object) -> None:
    """Two sequences without a pause, and one after the core has been idle."""
    x = extreme_codes(p, np.random.default_rng(seed), 3, steps)
    expected = golden.run(p.network, x)
    states = expected.state.flat(p.network)
    about = f"seed {seed}, {p.geometry}, {[layer.cell for layer in p.network.layers]}"
    job = [x[0], x[1], Read(), x[2], Read()]
    got = record(p, job, seed=seed, **options)  # type: ignore[arg-type]
    assert (got.outputs == expected.outputs.reshape(3 * steps, -1)).all(), about
    if states.size:  # a program without a state has nothing to read
        assert (got.states == states[1:]).all(), about
    if not options:
        assert (got.ends[: 2 * steps] == p.schedule.predict(2 * steps)).all(), about


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell: str) -> None:
    seed = list(CELLS).index(cell)
    check(cell_program(cell, seed), seed)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_both_kinds_of_kept_values_share_a_port(
    stall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An LSTM whose output gate, kept early, follows the product that is kept late."""
    i, g, f, o, h = CELLS["lstm"].gates
    monkeypatch.setitem(CELLS, "lstm", Cell("lstm", "LSTM in another order", ((i, g, o, f, h),)))
    for seed in range(3):
        p = cell_program("lstm", seed)
        lag = Timing.WRITE - Timing.KEEP
        late = [n for n, b in enumerate(p.schedule.beats) if b.keep == 2]
        early = [n for n, b in enumerate(p.schedule.beats) if b.keep == 1]
        assert not any(0 < e - n <= lag for n in late for e in early)
        check(p, seed, **({"stall": stall} if stall else {}))


@pytest.mark.parametrize("seed", range(100, 118))
def test_random_programs(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), layers=2, largest=6, most_lanes=12)
    check(p, seed, steps=3, **({"stall": 0.4} if seed % 3 == 0 else {}))


@pytest.mark.parametrize(("lanes", "stall"), [(3, 0.4), (16, 0.0), (40, 0.4)])
def test_argmax(lanes: int, stall: float) -> None:
    rng = np.random.default_rng(lanes)
    head = Linear("head", ("gru",), rng.normal(size=(7, 8)), rng.normal(size=7))
    model = Model(3, (recurrent(rng, "gru", "gru", ("x",), 3, 8), head))
    p = quantize(model, rng.normal(size=(2, 10, 3)), Config(lanes=lanes, argmax=True))
    check(p, lanes, **({"stall": stall} if stall else {}))


def test_argmax_of_equals_is_the_first() -> None:
    head = Linear("head", ("rnn",), np.ones((5, 2)), np.array([0.0, 1.0, 0.5, 1.0, 1.0]))
    model = Model(1, (recurrent(np.random.default_rng(0), "rnn", "rnn", ("x",), 1, 2), head))
    p = quantize(model, np.zeros((1, 4, 1)), Config(lanes=4, argmax=True))
    assert set(p.run(np.zeros((4, 1))).ravel()) == {1.0}
    check(p, 0)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1000, 1150))
def test_many_random_programs(seed: int) -> None:
    p = program(seed, cells=tuple(CELLS), layers=4, largest=16, most_lanes=32)
    check(p, seed)
    check(p, seed, stall=0.4)


def test_lstm_product_that_rounds_beyond_its_format() -> None:
    """The input gate times a candidate of nearly one, in a cell state of few bits."""
    size = 64
    w = {g: np.full((1, size), 0.1 * (g == "g")) for g in "ifgo"}
    u = {g: np.zeros((1, 1)) for g in "ifgo"}
    bias = {g: np.array([v]) for g, v in zip("ifgo", (12.0, 0.5, 0.0, 12.0), strict=True)}
    model = Model(size, (Recurrent("lstm", "lstm", ("x",), 1, size, w, u, bias),))
    rng = np.random.default_rng(0)
    widths = Config(activation_bits=4, state_bits=4, gate_bits=12, lanes=12)
    p = quantize(model, rng.choice([-0.3, 0.3], (1, 50, size)), widths)
    assert p.network.numbers.cell_frac == p.network.numbers.cell_bits - 1
    ends = p.network.input_format
    x = np.repeat(rng.choice([ends.low, ends.high], (1, 30, 1)), size, axis=2)
    assert (record(p, [x[0]]).outputs == golden.run(p.network, x).outputs[0]).all()


@pytest.mark.parametrize(
    ("cell", "act"), [*((cell, SIGMOIDS[0]) for cell in CELLS), ("gru", SIGMOIDS[1])]
)
def test_candidates_that_are_exactly_one(cell: str, act: str) -> None:
    """A sigmoid reaches 1, a state does not: gates open and shut, candidates at their ends."""
    rng = np.random.default_rng(list(CELLS).index(cell))
    layer = recurrent(rng, "layer", cell, ("x",), 2, 8, candidate=act)
    ends = {g: rng.choice([-20.0, 20.0, 0.0], 8, p=[0.4, 0.4, 0.2]) for g in layer.b}
    layer = dataclasses.replace(layer, b=ends)
    p = quantize(Model(2, (layer,)), rng.normal(size=(2, 10, 2)), config(rng, most_lanes=12))
    check(p, 0, steps=2)
    values = golden.run(p.network, p.encode(rng.normal(size=(1, 9, 2))), trace=True).trace
    candidate = next(g for g in layer.spec.gates if g.act == "candidate").name
    assert np.max(values[f"layer.{candidate}"]) == 1 << p.network.numbers.gate_frac


# -- state commands -------------------------------------------------------------------------


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["gru", "lstm", "mgu"])
def test_state_commands_between_steps(cell: str, stall: float) -> None:
    """Read after a run, load, go on, reset by ``first`` in mid-stream, read again."""
    p = cell_program(cell, 7)
    net, rng = p.network, np.random.default_rng(3)
    a, b, c, d = extreme_codes(p, rng, 4, 3)[:, None]
    one = golden.run(net, a)
    # A state of another run, with codes over the whole range of the formats.
    other = golden.run(net, extreme_codes(p, rng, 1, 5)).state
    two = golden.run(net, b, other)
    three = golden.run(net, c)
    four = golden.run(net, d, three.state)
    job = [
        Read(), a[0], Read(), Read(), Load(flat(net, other)), Read(), Continue(b[0]), Read(),
        c[0], Continue(d[0]), Read(),
    ]  # fmt: skip
    got = record(p, job, stall=stall, seed=5)
    assert (got.outputs == np.concatenate([r.outputs[0] for r in (one, two, three, four)])).all()
    zero = golden.State.zeros(net, 1)
    expected = [zero, one.state, one.state, other, two.state, four.state]
    assert [s.tolist() for s in got.states] == [flat(net, s).tolist() for s in expected]


def test_load_before_the_first_step_counts() -> None:
    p = cell_program("gru", 7)
    rng = np.random.default_rng(4)
    other = golden.run(p.network, extreme_codes(p, rng, 1, 5)).state
    x = extreme_codes(p, rng, 1, 3)
    got = record(p, [Load(flat(p.network, other)), Continue(x[0]), Read()])
    expected = golden.run(p.network, x, other)
    assert (got.outputs == expected.outputs[0]).all()
    assert (got.states[0] == flat(p.network, expected.state)).all()


def test_first_step_after_power_up_starts_fresh_even_without_first() -> None:
    p = cell_program("lstm", 9)
    x = extreme_codes(p, np.random.default_rng(4), 1, 3)
    assert (record(p, [Continue(x[0])]).outputs == golden.run(p.network, x).outputs[0]).all()


def test_commands_of_a_network_without_state() -> None:
    rng = np.random.default_rng(5)
    model = Model(3, (Linear("y", ("x",), rng.normal(size=(2, 3)), activation="relu"),))
    p = quantize(model, rng.normal(size=(1, 9, 3)), Config(lanes=2))
    x = extreme_codes(p, rng, 1, 4)
    got = record(p, [x[0, :2], Read(), Continue(x[0, 2:]), Read()], stall=0.3)
    assert (got.outputs == golden.run(p.network, x).outputs[0]).all()
    assert [len(s) for s in got.states] == [0, 0]


# -- streams --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_reset_in_mid_step_leaves_nothing_behind(seed: int) -> None:
    """Random traffic on every port, a reset in the middle of it, then a clean run on the cycle."""
    cell = list(CELLS)[seed % len(CELLS)]
    p = cell_program(cell, seed)
    x = extreme_codes(p, np.random.default_rng(seed), 1, 4)
    expected = golden.run(p.network, x)
    for junk in (17, 137):
        got = record(p, [Read(), Continue(x[0]), Read()], junk=junk, seed=seed + junk)
        assert not got.states[0].any(), (cell, seed, junk)
        assert (got.outputs == expected.outputs[0]).all(), (cell, seed, junk)
        assert (got.ends == p.schedule.predict(4)).all(), (cell, seed, junk)
        assert (got.states[1] == flat(p.network, expected.state)).all(), (cell, seed, junk)


def test_nothing_is_lost_while_nobody_takes() -> None:
    """More steps than the output queue holds, and a sink that waits for long."""
    p = cell_program("rnn", 2)
    x = extreme_codes(p, np.random.default_rng(0), 1, 36)
    got = record(p, [x[0]], hold=3000)
    assert (got.outputs == golden.run(p.network, x).outputs[0]).all()


def broken(p: Program, **changes: int) -> Program:
    """Return a copy of a program whose last segment of the schedule is changed."""
    made = Program(p.network, dataclasses.replace(p.config, lanes=p.geometry.lanes))
    block = made.schedule.blocks[-1]
    segments = (*block.segments[:-1], block.segments[-1]._replace(**changes))
    made.schedule.blocks[-1] = block._replace(segments=segments)
    return made


def test_a_hang_is_reported() -> None:
    p = cell_program("rnn", 4)
    p = broken(p, need=p.schedule.produced)
    x = np.zeros((2, p.network.input_size), np.int64)
    with pytest.raises(CheckError, match=r"the core hangs: 0 of 2 steps in .* seed 8"):
        record(p, [x], seed=8)


def test_a_read_before_the_value_is_there_is_seen() -> None:
    """The scoreboard matters: without it a layer reads the step before."""
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "first", "gru", ("x",), 4, 6),
        Linear("head", ("first",), rng.normal(size=(3, 6))),
    )
    p = quantize(Model(4, layers), rng.normal(size=(2, 10, 4)), Config(lanes=6))
    x = extreme_codes(p, rng, 1, 4)
    expected = golden.run(p.network, x).outputs[0]
    assert (record(p, [x[0]]).outputs == expected).all()
    assert (record(broken(p, need=-p.schedule.produced), [x[0]]).outputs != expected).any()


def test_waveform(tmp_path: Path) -> None:
    p = cell_program("rnn", 4)
    path = tmp_path / "wave.vcd"
    record(p, [np.zeros((1, p.network.input_size), np.int64)], wave=path)
    assert "$enddefinitions" in path.read_text()
