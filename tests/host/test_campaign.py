"""A campaign on the link: noise, boards that are reset, hosts that are killed; no result is wrong."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.program.program import Program
from gatewright.host.device import Device
from gatewright.sim.board import NoisyLine
from support.boards import Bench, gru_program
from support.randoms import extreme_codes

pytestmark = pytest.mark.xdist_group("boards")

SEED, _, ROUND = os.environ.get("GATEWRIGHT_CAMPAIGN", "1").partition(":")
"""Seed of the campaign, and of one round alone: ``GATEWRIGHT_CAMPAIGN=1:17``."""
GIVEN_UP = ("no answer", "restarted", "was lost", "has not got on")
"""In the messages of a host that says that it cannot go on."""


class KilledError(Exception):
    """The host is gone."""


class MortalLine:
    """A line whose host is killed after so many bytes to the board, in the middle of a frame."""

    def __init__(self, line: NoisyLine, left: int) -> None:
        self.line, self.left = line, left
        self.name, self.silence = line.name, line.silence

    def write(self, data: bytes) -> None:
        self.line.write(data[: self.left])
        self.left -= len(data)
        if self.left <= 0:
            raise KilledError

    def read(self, timeout: float) -> bytes:
        return self.line.read(timeout)

    def close(self) -> None:
        self.line.close()


@dataclass
class Counts:
    rounds: int = 0
    hosts: int = 0
    faults: int = 0
    resets: int = 0
    kills: int = 0
    given_up: int = 0
    steps: int = 0
    wrong: int = 0


def work(device: Device, programs: list[Program], rng: random.Random, counts: Counts) -> None:
    """Load, verify, run and read the state, as a host may; count what differs from golden."""
    if not device.loaded or rng.random() < 0.3:
        device.load(rng.choice(programs))
    p = device.program
    if rng.random() < 0.5:
        counts.wrong += not device.verify()
    for _ in range(rng.randint(1, 3)):
        x = extreme_codes(p, np.random.default_rng(rng.getrandbits(32)), 2, rng.randint(1, 30))
        whole = golden.run(p.network, x)
        made = device.run_codes(x)
        counts.steps += x.shape[0] * x.shape[1]
        counts.wrong += int((made != whole.outputs).any())
        last = device.read_state().flat(p.network)
        counts.wrong += int((last != whole.state.flat(p.network)[-1:]).any())


def play(
    bench: Bench, programs: list[Program], number: int, counts: Counts, patch: pytest.MonkeyPatch
) -> None:
    """Play a round: one board, several hosts one after the other."""
    rng = random.Random(f"{SEED}:{number}")
    patch.setattr("secrets.randbelow", rng.randrange)
    board = bench.start()
    line = NoisyLine(board, seed=rng.getrandbits(32), rate=rng.choice([0.003, 0.01, 0.02]))
    for _ in range(rng.randint(2, 5)):
        host: Any = line
        if rng.random() < 0.4:
            host = MortalLine(line, rng.randrange(1, 2500))
        if rng.random() < 0.3:
            board.lose_clock(board.cycle + rng.randrange(1, 60_000))
            counts.resets += 1
        counts.hosts += 1
        try:
            work(Device(host, programs[0]), programs, rng, counts)
        except KilledError:
            counts.kills += 1
        except (CheckError, InputError) as error:
            assert any(words in str(error) for words in GIVEN_UP), error
            counts.given_up += 1
    board.close()
    counts.rounds += 1
    counts.faults += line.faults


@pytest.mark.parametrize("faults", [200, pytest.param(10_000, marks=pytest.mark.full)])
def test_no_result_is_wrong(gru: Bench, faults: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-s`` prints the counts; a round is played alone with ``GATEWRIGHT_CAMPAIGN=SEED:ROUND``."""
    counts = Counts()
    programs = [gru.program, gru_program(31, like=gru.program)]
    for number in [int(ROUND)] if ROUND else range(10 * faults):
        replay = f"GATEWRIGHT_CAMPAIGN={SEED}:{number} pytest {__file__} -m 'not full'"
        try:
            play(gru, programs, number, counts, monkeypatch)
        except Exception as error:
            raise AssertionError(f"{counts}; replay: {replay}") from error
        assert not counts.wrong, f"{counts}; replay: {replay}"
        if counts.faults >= faults:
            break
    print(f"\ncampaign of seed {SEED}: {counts}")
    if not ROUND:
        assert counts.faults >= faults
        assert counts.resets and counts.kills
