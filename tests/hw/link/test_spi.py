"""The link over SPI: the same frames, whatever the host's clock does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.host.device import Device
from gatewright.hw.link.system import System
from gatewright.sim.board import SpiBoard
from support.boards import gru_program
from support.c_host import CHost
from support.randoms import extreme_codes


def check(device: Device, steps: int) -> None:
    p = device.program
    x = extreme_codes(p, np.random.default_rng(1), 1, steps)
    once = golden.run(p.network, x)
    assert (device.run_codes(x) == once.outputs).all()
    assert (device.read_state().flat(p.network) == once.state.flat(p.network)).all()


@pytest.mark.parametrize(
    "pauses, steps",
    [(0.2, 1), *(pytest.param(p, 6, marks=pytest.mark.full) for p in (0.0, 0.05, 0.3))],
)
def test_bit_exact(pauses: float, steps: int) -> None:
    """Without a pause each byte follows the one before at once, in both directions."""
    board = SpiBoard(System(gru_program(), clock_hz=12e6, baud=0), pauses=pauses)
    device = Device(board, gru_program())
    check(device, steps)
    counts = device.session.counts
    faults = counts.bad_frames, counts.board_bad_frames, counts.resent, counts.repeats
    assert faults == (0, 0, 0, 0)


@pytest.mark.full
def test_bytes_that_are_cut() -> None:
    board = SpiBoard(System(gru_program(), clock_hz=12e6, baud=0), pauses=0.1, cuts=5e-4, seed=3)
    device = Device(board, gru_program())
    check(device, 12)
    counts = device.session.counts
    assert board.cut > 0 and counts.bad_frames + counts.board_bad_frames > 0


@pytest.mark.full
def test_the_host_in_c(tmp_path: Path) -> None:
    p = gru_program()
    host = CHost(p, tmp_path)
    host.open(SpiBoard(System(p, clock_hz=12e6, baud=0), pauses=0.1, seed=5))
    x = extreme_codes(p, np.random.default_rng(2), 1, 5)
    assert (host.run(x[0]) == golden.run(p.network, x).outputs[0]).all()
