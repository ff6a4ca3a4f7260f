"""Host -> serial line -> link -> core and back, bit-exact, also on bad lines.

Boards run in Verilator, where a step takes longer than a buffer holds; one small one runs in the
Amaranth simulator.
"""

from __future__ import annotations

import random
import subprocess
import sys
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.errors import CheckError, InputError
from gatewright.host.device import Device
from gatewright.host.wire.codes import from_bytes, to_bytes
from gatewright.host.wire.protocol import COUNTERS, Op
from gatewright.hw.link.system import System
from gatewright.sim.board import NoisyLine, SimulatedBoard
from gatewright.sim.verilated import VerilatedBoard, build_board
from support.boards import CLOCK, Bench, gru_program
from support.randoms import extreme_codes

pytestmark = pytest.mark.xdist_group("boards")  # they are built once


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Session numbers that are the same every time, as everything else on a simulated line is."""
    monkeypatch.setattr("secrets.randbelow", random.Random(1).randrange)


def check(device: Device, seed: int, n: int = 3, steps: int = 40) -> None:
    """Sequences of different lengths, one after the other, and the state after them."""
    p = device.program
    rng = np.random.default_rng(seed)
    x = extreme_codes(p, rng, n, steps)
    lengths = rng.integers(1, steps, n, endpoint=True)
    expected = golden.run(p.network, x).outputs
    expected[np.arange(steps) >= lengths[:, None]] = 0
    made = device.run_codes(x, lengths=lengths)
    assert (made == expected).all(), f"seed {seed}"
    last = golden.run(p.network, x[-1:, : lengths[-1]]).state
    assert (device.read_state().flat(p.network) == last.flat(p.network)).all(), f"seed {seed}"


# -- steps and state --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_bit_exact(name: str, request: pytest.FixtureRequest) -> None:
    made: Bench = request.getfixturevalue(name)
    device = Device(made.start(), made.program)
    identity = device.identity
    net = made.program.network
    assert (identity.inputs, identity.outputs) == (net.input_size, net.output_size)
    assert identity.clock_hz == CLOCK
    assert identity.program.hex() == made.program.digest[:16]
    assert identity.hardware.hex() == made.program.summary["hardware_digest"][:16]  # of inspect
    check(device, 1)
    check(device, 2, n=12, steps=60)
    counts = device.session.counts
    faults = (counts.bad_frames, counts.board_bad_frames, counts.resent, counts.repeats)
    assert faults == (0, 0, 0, 0)


def test_values_and_shapes_are_those_of_the_program(gru: Bench) -> None:
    device = Device(gru.start(), gru.program)
    x = np.random.default_rng(3).normal(size=(2, 5, 3))
    assert (device.run(x).values == gru.program.run(x)).all()
    assert (device.run(x[1]).values == gru.program.run(x[1])).all()
    short = device.run(x, lengths=[5, 2])
    assert (short.values[1, :2] == gru.program.run(x)[1, :2]).all()
    assert not short.values[1, 2:].any()
    assert not short.codes[1, 2:].any()


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_state_is_saved_and_restored(name: str, request: pytest.FixtureRequest) -> None:
    made: Bench = request.getfixturevalue(name)
    p, device = made.program, Device(made.start(), made.program)
    x = extreme_codes(p, np.random.default_rng(4), 3, 12)
    zero = golden.State.zeros(p.network, 1)
    assert (device.read_state().flat(p.network) == zero.flat(p.network)).all()
    device.run_codes(x[:1])
    saved = device.read_state()
    once = golden.run(p.network, x[:1])
    assert (saved.flat(p.network) == once.state.flat(p.network)).all()
    device.run_codes(x[1:2])
    device.load_state(saved)
    went_on = golden.run(p.network, x[2:], once.state)
    assert (device.run_codes(x[2:], resume=True) == went_on.outputs).all()
    device.reset()
    assert (device.read_state().flat(p.network) == zero.flat(p.network)).all()
    assert (device.run_codes(x[:1], resume=True) == once.outputs).all()
    # A state of its own for each sequence.
    states = golden.run(p.network, x[::-1]).state
    expected = golden.run(p.network, x, states).outputs
    assert (device.run_codes(x, states) == expected).all()


def test_a_new_session_starts_from_power_up(gru: Bench) -> None:
    """Also where the host of the one before stopped in the middle of a step."""
    board = gru.start()
    device = Device(board, gru.program)
    check(device, 5)
    device.session._down += bytes([0x11, 1, 2, 3])  # an opcode, and not all of its elements
    device.session._fill()
    again = Device(board, gru.program)
    zero = golden.State.zeros(gru.program.network, 1).flat(gru.program.network)
    assert (again.read_state().flat(gru.program.network) == zero).all()
    assert again.counters().steps == 0
    check(again, 6)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_replies_come_after_the_results_of_steps_before(
    name: str, request: pytest.FixtureRequest
) -> None:
    """A host may send a command right behind steps: it waits for them, its reply follows theirs."""
    made: Bench = request.getfixturevalue(name)
    p, device = made.program, Device(made.start(), made.program)
    z, network = device.sizes, made.program.network
    x = extreme_codes(p, np.random.default_rng(9), 1, 3)
    expected = golden.run(network, x)
    steps = [
        bytes([Op.STEP if k else Op.STEP_FIRST]) + to_bytes(codes, z.input_bytes)
        for k, codes in enumerate(x[0])
    ]
    counters, identity = sum(COUNTERS.values()), device.identity.pack()
    outputs, state = 3 * z.outputs * z.output_bytes, z.state_words * z.word_bytes
    ops = bytes([Op.COUNTERS, Op.IDENTIFY, Op.READ_STATE])
    raw = device.session.exchange(b"".join(steps) + ops, outputs + counters + len(identity) + state)
    results = np.zeros((3, z.outputs), np.int64)
    results[:, p.schedule.output_order] = from_bytes(raw[:outputs], z.output_bytes).reshape(3, -1)
    assert (results == expected.outputs[0]).all()
    rest = raw[outputs:]
    assert int.from_bytes(rest[counters - COUNTERS["steps"] : counters], "little") == 3
    assert rest[counters:-state] == identity
    last = from_bytes(rest[-state:], z.word_bytes)
    assert (last == expected.state.flat(network)[0]).all()


def test_counters(lstm: Bench) -> None:
    device = Device(lstm.start(), lstm.program)
    x = extreme_codes(lstm.program, np.random.default_rng(7), 2, 30)
    device.run_codes(x)
    counters = device.counters()
    assert counters.steps == 60
    assert 0 < counters.stalls < counters.cycles
    assert counters.cycles >= 60 * lstm.program.schedule.cycles()[0]
    assert device.counters() == counters


def test_a_step_that_takes_longer_than_the_host_waits(
    lstm: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is impatient asks again and again, and still gets each result once."""
    board = lstm.start()
    device = Device(board, lstm.program)
    board.silence = 0.2 * lstm.program.schedule.cycles()[0] / CLOCK
    monkeypatch.setattr("gatewright.host.session.TRIES", 1000)
    check(device, 8)
    assert device.session.counts.silences > 20


# -- bad lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.001, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_noise_on_bytes(gru: Bench, seed: int, rate: float) -> None:
    """Flipped, lost and repeated bytes, cut frames, garbage between them, both ways."""
    line = NoisyLine(gru.start(), seed=seed, rate=rate)
    device = Device(line, gru.program)
    check(device, seed, n=4, steps=50)
    counts = device.session.counts
    if line.faults > 20:
        assert counts.bad_frames > 0
        assert counts.board_bad_frames > 0
        assert counts.resent + counts.repeats > 0
    assert device.counters().steps <= 200


@pytest.mark.parametrize("seed", range(2))
def test_noise_on_the_wire(lstm: Bench, seed: int) -> None:
    """The line turns over for moments, which the board's receiver must live with."""
    device = Device(lstm.start(glitches=3e-4, seed=seed), lstm.program)
    check(device, seed, n=4, steps=40)
    counts = device.session.counts
    assert counts.bad_frames > 0
    assert counts.board_bad_frames > 0


def test_noise_on_an_idle_wire(gru: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What noise left before a silence is no part of the answer that is asked for after it."""
    monkeypatch.setattr("gatewright.host.session.TRIES", 10)
    check(Device(gru.start(glitches=3.3e-4, seed=5006), gru.program), 5006, n=10, steps=100)


@pytest.mark.parametrize("skew", [0.985, 1.015])
def test_clocks_that_differ(gru: Bench, skew: float) -> None:
    device = Device(gru.start(skew=skew), gru.program)
    check(device, 9)
    assert device.session.counts.board_bad_frames == 0


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 140))
def test_much_noise(gru: Bench, lstm: Bench, seed: int) -> None:
    rate = [0.0003, 0.002, 0.01][seed % 3]
    for made in (gru, lstm):
        line = NoisyLine(made.start(), seed=seed, rate=rate)
        check(Device(line, made.program), seed, n=10, steps=100)
    board = gru.start(glitches=rate / 30, seed=seed)
    check(Device(board, gru.program), seed, n=10, steps=100)


# -- weights ------------------------------------------------------------------------------


def test_weights_are_exchanged(gru: Bench) -> None:
    other = gru_program(11, like=gru.program)
    assert other.digest != gru.program.digest
    board = gru.start()
    device = Device(board, gru.program)
    check(device, 12)
    device.load(other)
    assert device.identity.program.hex() == other.digest[:16]
    check(device, 13)
    # Who comes next finds it.
    assert Device(board, other).loaded
    stale = Device(board, gru.program)
    assert not stale.loaded
    with pytest.raises(InputError, match="no weights of program"):
        stale.run_codes(np.zeros((1, 1, 3), np.int64))
    stale.load()
    check(stale, 14)


def test_weights_are_exchanged_on_a_bad_line(gru: Bench) -> None:
    other = gru_program(15, like=gru.program)
    device = Device(NoisyLine(gru.start(), seed=15, rate=0.003), gru.program)
    device.load(other)
    check(device, 15)
    assert device.session.counts.bad_frames > 0


def test_a_load_that_is_broken_off_leaves_no_weights(gru: Bench) -> None:
    board = gru.start()
    device = Device(board, gru.program)
    device.session.exchange(bytes([0x23, 1, 2, 3, 4]), 0)
    again = Device(board, gru.program)
    assert not again.loaded
    # A host that does not look is refused by the board.
    with pytest.raises(CheckError, match="refused"):
        again.session.exchange(bytes([0x11]) + bytes(6), 4)
    last = Device(board, gru.program)
    last.load()
    check(last, 16)


def test_an_unknown_command_is_refused(lstm: Bench) -> None:
    board = lstm.start()
    for command in (0x00, 0x22, 0x42, 0xFF):  # weights are fixed here
        device = Device(board, lstm.program)
        with pytest.raises(CheckError, match="refused"):
            device.session.exchange(bytes([command]), 1)


# -- what cannot be ------------------------------------------------------------------------


def test_another_program_is_refused(gru: Bench, lstm: Bench) -> None:
    with pytest.raises(
        InputError, match=r"the board holds hardware \w+ .3 inputs, 2 outputs, 4 lanes"
    ):
        Device(gru.start(), lstm.program)
    with pytest.raises(InputError) as error:
        Device(lstm.start(), gru_program(17))
    assert lstm.program.hardware_digest[:16] in str(error.value)
    assert "gatewright build" in str(error.value)
    # Fixed weights are part of what a board holds.
    other = copy(lstm.program)
    other.__dict__["digest"] = gru_program(17).digest
    with pytest.raises(InputError, match="the board holds program") as error:
        Device(lstm.start(), other)
    assert lstm.program.digest[:16] in str(error.value)


class Dead:
    """A line on which nothing ever comes, or nothing that makes sense."""

    name, silence = "dead", 0.0

    def __init__(self, junk: bytes = b"") -> None:
        self.junk = junk

    def write(self, data: bytes) -> None:
        pass

    def read(self, timeout: float) -> bytes:
        return self.junk

    def close(self) -> None:
        pass


@pytest.mark.parametrize("junk", [b"", b"\x00", b"login: ", bytes(range(256))])
def test_no_answer(junk: bytes) -> None:
    with pytest.raises(InputError, match="dead: no answer"):
        Device(Dead(junk), gru_program())


def test_a_board_that_is_lost(gru: Bench) -> None:
    device = Device(gru.start(), gru.program)
    device.session.transport = Dead()
    with pytest.raises(CheckError, match="the board was lost"):
        device.run_codes(np.zeros((1, 4, 3), np.int64))


def test_a_board_that_is_restarted(gru: Bench) -> None:
    device = Device(gru.start(), gru.program)
    device.session.transport = gru.start()
    with pytest.raises(CheckError, match="restarted"):
        device.run_codes(np.zeros((1, 4, 3), np.int64))


def test_a_board_that_is_stuck(gru: Bench) -> None:
    """It answers, but its core waits for the rest of a step."""
    device = Device(gru.start(), gru.program)
    device.session.patience = 0.01
    with pytest.raises(CheckError, match="has not got on"):
        device.session.exchange(bytes([0x11, 0, 0]), 4)


# -- the small parts ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_codes_and_bytes(size: int) -> None:
    limit = 1 << (8 * size - 1)
    codes = np.array([0, 1, -1, limit - 1, -limit, 77 % limit])
    raw = to_bytes(codes, size)
    assert raw == b"".join(int(c).to_bytes(size, "little", signed=True) for c in codes)
    assert (from_bytes(raw, size) == codes).all()
    assert from_bytes(b"", size).shape == (0,)


def test_a_reset_is_as_a_power_up(tmp_path: Path) -> None:
    """Nothing of session, state and counters is left; the host of before notices, another begins anew."""
    p = gru_program()
    system = System(p, clock_hz=4e6, baud=1e6)
    trip = 60_000  # cycles
    board = VerilatedBoard(build_board(system, tmp_path), clock_hz=4e6, baud=1e6)
    board.lose_clock(trip)
    device = Device(board, p)
    check(device, 21, n=1, steps=3)
    assert device.counters().steps > 0
    board.read(trip / system.clock_hz)
    with pytest.raises(CheckError, match="restarted"):
        device.counters()
    again = Device(board, p)
    assert again.loaded
    assert again.counters().steps == 0
    check(again, 22, n=1, steps=3)
    board.close()


def test_in_the_amaranth_simulator() -> None:
    """The same path without any other tool."""
    p = gru_program()
    board = SimulatedBoard(System(p, clock_hz=4e6, baud=1e6))
    check(Device(board, p), 20, n=2, steps=3)
    assert board.broken == 0


def test_the_host_needs_no_amaranth() -> None:
    code = (
        "import sys; import gatewright.host.device, gatewright.host.serial_port, gatewright.host.wire.flash_image\n"
        "assert not {'amaranth', 'torch', 'cocotb'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
