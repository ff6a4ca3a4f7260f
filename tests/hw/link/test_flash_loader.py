"""Weights from SPI flash at power-up: a flash that answers as real ones do, images right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.errors import CheckError
from gatewright.compiler.program.program import Program
from gatewright.host.device import Device
from gatewright.host.wire.cobs import crc
from gatewright.host.wire.flash_image import flash_image
from gatewright.host.wire.identity import memories
from gatewright.hw.engine.core import Core
from gatewright.hw.link.flash_loader import FlashLoader
from gatewright.hw.link.system import System
from gatewright.sim.board import SimulatedBoard, SpiFlash
from gatewright.sim.collisions import simulator
from gatewright.sim.verilated import VerilatedBoard, build_board
from support.boards import gru_program

# A core is made for the shapes of its ports alone.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

OFFSET = 0x1234
TRIP = 120_000  # cycles


def tiny(seed: int = 1, like: Program | None = None) -> Program:
    return gru_program(seed, like)


def load(program: Program, content: bytes, *, clock_hz: float = 12e6, offset: int = OFFSET) -> Any:
    """Run a loader against a flash; return the flash, commands, words, digest, good, bad."""
    core = Core(program, loadable=True)
    dut = FlashLoader(program=program, core=core, clock_hz=clock_hz, offset=offset)
    flash = SpiFlash(content, offset)
    commands: list[int] = []
    words: list[list[int]] = []
    digest = bytearray()
    ended: list[str] = []

    async def bench(ctx):
        for cycle in range(400_000):
            ctx.set(dut.c.ready, cycle % 3 == 0)
            ctx.set(dut.s_i.ready, cycle % 5 == 0)
            ctx.set(dut.miso, flash(ctx.get(dut.cs_n), ctx.get(dut.sck), ctx.get(dut.mosi)))
            if ctx.get(dut.c.valid) and ctx.get(dut.c.ready):
                commands.append(ctx.get(dut.c.payload))
                words.append([])
                assert ctx.get(dut.start)
            if ctx.get(dut.s_i.valid) and ctx.get(dut.s_i.ready):
                words[-1].append(ctx.get(dut.s_i.payload) & 0xFFFF)
            if ctx.get(dut.digest_valid):
                digest.append(ctx.get(dut.digest))
            ended.extend(name for name in ("good", "bad") if ctx.get(getattr(dut, name)))
            if not ctx.get(dut.busy):
                return
            await ctx.tick()
        raise TimeoutError(f"still busy: {commands}, {[len(w) for w in words]} words")

    sim = simulator(dut)
    sim.add_clock(1 / clock_hz)
    sim.add_testbench(bench)
    sim.run()
    assert flash.asleep is False
    return commands, words, bytes(digest), ended


@pytest.mark.parametrize("clock_hz", [12e6, 70e6])
def test_loader_gives_what_the_image_holds(clock_hz: float) -> None:
    p = tiny()
    commands, words, digest, ended = load(p, flash_image(p), clock_hz=clock_hz)
    (_, _, beats), (_, _, weights) = memories(p)
    assert commands == [5, 3]
    assert words == [beats.tolist(), weights.tolist()]
    assert digest.hex() == p.digest[:16]
    assert ended == ["good"]


@pytest.mark.parametrize("place", [0, 3, 4, 11])
def test_an_image_of_something_else_is_left_alone(place: int) -> None:
    p = tiny()
    image = bytearray(flash_image(p))
    image[place] ^= 1
    assert load(p, bytes(image)) == ([], [], b"", ["bad"])


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, bytes(64)])
def test_an_empty_flash_is_left_alone(content: bytes) -> None:
    assert load(tiny(), content)[3] == ["bad"]


@pytest.mark.parametrize("place", [12, 20, 300, -1])
def test_a_damaged_image_is_found_out(place: int) -> None:
    p = tiny()
    image = bytearray(flash_image(p))
    image[place] ^= 0x10
    commands, _, _, ended = load(p, bytes(image))
    assert (commands, ended) == ([5, 3], ["bad"])


def test_an_image_that_is_cut_is_found_out() -> None:
    p = tiny()
    assert load(p, flash_image(p)[:-7])[3] == ["bad"]


def test_image_layout() -> None:
    p = tiny()
    image = flash_image(p)
    assert image[:4] == b"GWF1"
    assert image[4:12].hex() == p.hardware_digest[:16]
    assert image[12:20].hex() == p.digest[:16]
    assert crc(image[:-4]) == image[-4:]
    assert len(image) == 24 + 2 * sum(len(words) for _, _, words in memories(p))


def test_a_board_that_loads_itself() -> None:
    """Whole path: flash, then steps over the serial line, with another program than the built one."""
    built = tiny()
    other = tiny(5, like=built)
    system = System(built, clock_hz=4e6, baud=1e6, loadable=True, flash_offset=OFFSET)
    board = SimulatedBoard(system, flash=SpiFlash(flash_image(other), OFFSET))
    device = Device(board, other)  # answers when the weights are there
    assert device.loaded
    assert device.identity.program.hex() == other.digest[:16]
    x = other.encode(np.random.default_rng(3).normal(size=(1, 2, 3)))
    assert (device.run_codes(x) == golden.run(other.network, x).outputs).all()


def test_a_board_that_loses_its_clock_loads_itself_again(tmp_path: Path) -> None:
    """From what the flash holds by then; nothing of core, session and marks of the time before is left."""
    built = tiny()
    other = tiny(5, like=built)
    system = System(built, clock_hz=4e6, baud=1e6, loadable=True, flash_offset=OFFSET)
    board = VerilatedBoard(build_board(system, tmp_path), clock_hz=4e6, baud=1e6)
    board.lose_clock(TRIP)
    board.write_flash(flash_image(built), OFFSET)
    x = built.encode(np.random.default_rng(3).normal(size=(1, 2, 3)))
    device = Device(board, built)
    assert (device.run_codes(x) == golden.run(built.network, x).outputs).all()
    board.write_flash(flash_image(other), OFFSET)
    board.read(TRIP / system.clock_hz)
    with pytest.raises(CheckError, match="restarted"):
        device.counters()
    again = Device(board, other)
    assert again.loaded
    assert again.identity.program.hex() == other.digest[:16]
    x = other.encode(np.random.default_rng(4).normal(size=(1, 2, 3)))
    assert (again.run_codes(x) == golden.run(other.network, x).outputs).all()
    board.close()


def test_a_board_whose_flash_is_damaged_says_so() -> None:
    p = tiny()
    image = bytearray(flash_image(p))
    image[-1] ^= 1
    system = System(p, clock_hz=4e6, baud=1e6, loadable=True, flash_offset=OFFSET)
    device = Device(SimulatedBoard(system, flash=SpiFlash(bytes(image), OFFSET)), p)
    assert not device.loaded
    with pytest.raises(Exception, match="flash"):
        device.run_codes(np.zeros((1, 1, 3), np.int64))


def test_offsets_that_cannot_be() -> None:
    p = tiny()
    for options in ({"flash_offset": 1 << 24, "loadable": True}, {"flash_offset": 0}):
        with pytest.raises(ValueError, match="flash_offset"):
            System(p, clock_hz=12e6, **options)
