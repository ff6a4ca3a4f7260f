"""Upsets of a board's memories: found by ``verify``, undone by a scrub, never a wrong result."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.errors import CheckError, InputError
from gatewright.host.device import Device
from gatewright.host.wire.protocol import Op
from support.boards import Bench
from support.randoms import extreme_codes
from support.upsets import upset

pytestmark = pytest.mark.xdist_group("boards")


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", random.Random(1).randrange)


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(s, marks=pytest.mark.full) for s in range(6, 100))]
)
def test_an_upset_is_found_and_the_board_takes_no_more_steps(gru: Bench, seed: int) -> None:
    """Of the beat table and of the weights; state and results are those of golden afterwards."""
    p, device = gru.program, Device(gru.start(), gru.program)
    rng = np.random.default_rng(seed)
    x = extreme_codes(p, rng, 1, 6)
    whole = golden.run(p.network, x).outputs
    assert (device.run_codes(x[:, :2]) == whole[:, :2]).all()
    assert device.verify() and device.loaded
    assert (device.run_codes(x[:, 2:4], resume=True) == whole[:, 2:4]).all()
    where = upset(device, rng, seed % 2)
    assert device.loaded
    assert not device.verify(), f"seed {seed}: {where}"
    assert not device.loaded
    with pytest.raises(InputError, match="no weights of program"):
        device.run_codes(x)
    # So says the board itself, to whoever comes next; a load brings it back.
    again = Device(device.session.transport, p)
    assert not again.loaded
    again.load()
    assert again.verify() and again.loaded
    assert (again.run_codes(x) == whole).all()


def test_verify_on_a_fixed_board_is_refused(lstm: Bench) -> None:
    device = Device(lstm.start(), lstm.program)
    with pytest.raises(InputError, match="--loadable"):
        device.verify()
    with pytest.raises(InputError, match="--loadable"):
        Device(lstm.start(), lstm.program, scrub=5)


def test_a_board_without_the_crc_is_loaded_by_reading_back(gru: Bench) -> None:
    p, device = gru.program, Device(gru.start(), gru.program)
    device.memories.verifiable = False
    device.load()
    x = extreme_codes(p, np.random.default_rng(1), 1, 3)
    assert (device.run_codes(x) == golden.run(p.network, x).outputs).all()


def test_a_load_that_did_not_arrive_is_named(gru: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that the memory does not keep: the CRC says that there is one, the words say which."""
    device = Device(gru.start(), gru.program)
    exchange = device.session.exchange

    def spoil(data: bytes, *rest: Any) -> bytes:
        if data[:1] == bytes([Op.LOAD_WEIGHTS]):
            data = bytearray(data)
            data[1 + 7 * device.sizes.word_bytes] ^= 4
        return exchange(bytes(data), *rest)

    monkeypatch.setattr(device.session, "exchange", spoil)
    with pytest.raises(CheckError, match="word 7 of the board's weights"):
        device.load()
    assert not device.loaded


def hit(device: Device, rng: np.random.Generator, chance: float) -> list[str]:
    """Let bits turn over before steps, not twice in a row unless always; return where they did."""
    made: list[str] = []
    exchange, last = device.session.exchange, False

    def expose(data: bytes, *rest: Any) -> bytes:
        steps = data[:1] in (bytes([Op.STEP]), bytes([Op.STEP_FIRST]))
        nonlocal last
        hits = steps and rng.random() < chance and (not last or chance >= 1)
        last = hits if steps else last
        if hits:
            device.session.exchange = exchange  # type: ignore[method-assign]
            made.append(upset(device, rng))
            device.session.exchange = expose  # type: ignore[assignment, method-assign]
        return exchange(data, *rest)

    device.session.exchange = expose  # type: ignore[assignment, method-assign]
    return made


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(s, marks=pytest.mark.full) for s in range(3, 60))]
)
def test_scrubbed_runs_are_bit_exact(gru: Bench, seed: int) -> None:
    """Bits turn over in mid-run, of the beat table too, with which a core may hang."""
    p = gru.program
    rng = np.random.default_rng(seed)
    device = Device(gru.start(), p, scrub=int(rng.integers(1, 9)))
    device.session.patience = 0.05
    hits = hit(device, rng, 0.3)
    x = extreme_codes(p, rng, 3, 20)
    whole = golden.run(p.network, x)
    assert (device.run_codes(x[:, :11], lengths=[11, 4, 7])[0] == whole.outputs[0, :11]).all()
    start = golden.run(p.network, x[:, :11]).state
    made = device.run_codes(x[:, 11:], start)
    assert (made == whole.outputs[:, 11:]).all(), f"seed {seed}: {hits}"
    assert device.scrubs.upsets == len(hits), f"seed {seed}: {hits}"
    assert (device.read_state().flat(p.network) == whole.state.flat(p.network)[-1:]).all()


def test_memory_that_keeps_changing_is_given_up(gru: Bench) -> None:
    device = Device(gru.start(), gru.program, scrub=4)
    device.session.patience = 0.05
    hit(device, np.random.default_rng(3), 1.0)
    with pytest.raises(CheckError, match="times in a row"):
        device.run_codes(np.zeros((1, 8, 3), np.int64))


def test_a_reset_in_the_middle_of_a_load_leaves_no_weights(gru: Bench) -> None:
    board = gru.start()
    device = Device(board, gru.program)
    device.session.exchange(bytes([Op.LOAD_WEIGHTS, 1, 2, 3, 4]), 0)
    board.lose_clock(board.cycle + 50)
    board.read(0.001)
    again = Device(board, gru.program)
    assert not again.loaded
    again.load()
    assert again.loaded
