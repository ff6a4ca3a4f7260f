"""A board whose core takes the steps of several streams in turn, from the host's side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import Config, golden, quantize
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.ir.model import Model
from gatewright.compiler.program.program import Program
from gatewright.host.device import Device
from gatewright.host.wire.protocol import PROTOCOL_STREAMS, Op
from gatewright.hw.link.system import System
from gatewright.sim.board import NoisyLine, SimulatedBoard
from support.boards import bench, gru_program
from support.randoms import extreme_codes, recurrent
from support.upsets import upset


def tiny(streams: int) -> Program:
    rng = np.random.default_rng(0)
    model = Model(1, (recurrent(rng, "gru", "gru", ("x",), 1, 2),))
    config = Config(lanes=2, streams=streams, activation_bits=8, state_bits=8)
    return quantize(model, rng.normal(size=(1, 9, 1)), config)


def check(device: Device, lengths: list[int], seed: int) -> None:
    """Sequences of different lengths, then steps that go on from what each stream was left in."""
    p, n = device.program, len(lengths)
    rng, real = np.random.default_rng(seed), np.array(lengths)
    x = extreme_codes(p, rng, n, int(real.max()))
    valid = np.arange(x.shape[1]) < real[:, None]
    after = device.read_state()  # of a stream without a sequence it stays
    made = device.run_codes(x, lengths=real)
    assert (made == np.where(valid[..., None], golden.run(p.network, x).outputs, 0)).all(), seed
    rows = [list(range(stream, n, p.streams)) for stream in range(p.streams)]
    for stream, own in enumerate(rows):
        if own:
            done = golden.run(p.network, x[own[-1:], : real[own[-1]]]).state
            for codes, part in ((after.h, done.h), (after.c, done.c)):
                for name in part:
                    codes[name][stream] = part[name][0]
    assert (device.read_state().flat(p.network) == after.flat(p.network)).all(), seed
    more = extreme_codes(p, rng, p.streams, 2)
    assert (device.run_codes(more, resume=True) == golden.run(p.network, more, after).outputs).all()


def test_streams_of_a_small_board() -> None:
    p = tiny(2)
    board = SimulatedBoard(System(p, clock_hz=12e6, baud=3e6))
    device = Device(board, p)
    assert (device.identity.protocol, device.identity.streams) == (PROTOCOL_STREAMS, 2)
    check(device, [2, 1, 1], 1)
    with pytest.raises(InputError, match="a board has 2 states, one a stream, not 1; give that of"):
        device.load_state(golden.State.zeros(p.network, 1))
    with pytest.raises(InputError, match=r"2 lanes, 2 streams\), this folder .* 2 lanes\); name"):
        Device(board, tiny(1))
    with pytest.raises(CheckError, match="refused a command"):
        Device(board, p).session.exchange(bytes([Op.READ_STATE, 2]), 4)


@pytest.mark.full
@pytest.mark.parametrize("streams", [2, 3])
def test_streams_of_a_loadable_board(streams: int, tmp_path: Path) -> None:
    """Idle streams, states of sequences, a noisy line, and upsets that are undone in mid-run."""
    like = gru_program()
    p = Program(like.network, Config(**like.config.to_json() | {"streams": streams}))
    for made in bench(p, tmp_path, loadable=True):
        device = Device(made.start(), p, scrub=4)
        device.load()
        for seed, lengths in enumerate([[5], [9, 1], [3, 4, 5, 6, 2], [1] * 8]):
            if seed == 2:
                upset(device, np.random.default_rng(seed))
            check(device, lengths, seed)
        assert device.scrubs.upsets == 1
        x = extreme_codes(p, np.random.default_rng(7), 4, 6)
        states = golden.run(p.network, x[::-1]).state
        assert (device.run_codes(x, states) == golden.run(p.network, x, states).outputs).all()
        noisy = Device(NoisyLine(made.start(), seed=3, rate=0.002), p)
        noisy.load()
        check(noisy, [30, 20, 10], 3)
