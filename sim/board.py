"""A simulated board: the whole design with bits on its serial line, as a transport of the host."""

from __future__ import annotations

import os
import random
import select
import threading
import tty
from collections import deque
from typing import Any

from ..hw.link.spi import LEAST_SPI_CYCLES
from ..hw.link.system import System
from .collisions import simulator

__all__ = ["NoisyLine", "PseudoTerminal", "SimulatedBoard", "SpiBoard", "SpiFlash"]

SILENCE_BITS = 1500  # a frame has up to 2,550


class SimulatedBoard:
    """A :class:`~gatewright.hw.link.system.System` in the Amaranth simulator.

    It is a :class:`~gatewright.host.session.Transport`: time passes in it while the host reads.

    Parameters
    ----------
    system : System
    flash : SpiFlash, optional
        The one at its pins, where it has them.
    """

    def __init__(self, system: System, *, flash: SpiFlash | None = None) -> None:
        self.system, self.name = system, "simulated board"
        rate = system.baud or system.clock_hz / LEAST_SPI_CYCLES
        self.cycles_per_bit = system.clock_hz / rate
        self.silence = SILENCE_BITS / rate
        self._pins: Any = system
        self._out: deque[int] = deque()
        self._in = bytearray()
        self.broken = 0  # bytes from the board without a stop bit
        self._period = 1 / system.clock_hz
        self._now = 0.0
        self._simulator = simulator(system)
        self._simulator.add_clock(self._period)
        self._simulator.add_testbench(self._drive, background=True)
        self._simulator.add_testbench(self._listen, background=True)
        self._flash = flash
        if flash is not None:
            self._simulator.add_testbench(self._serve_flash, background=True)
        self._advance(40)

    def _advance(self, cycles: float) -> None:
        self._now += cycles * self._period
        self._simulator.run_until(self._now)

    async def _drive(self, ctx: Any) -> None:
        """Put the host's bytes on the line."""
        rx = self._pins.rx
        ctx.set(rx, 1)
        while True:
            if not self._out:
                await ctx.tick()
                continue
            bits = [0, *(self._out[0] >> k & 1 for k in range(8)), 1]
            self._out.popleft()
            at = 0
            for k, bit in enumerate(bits):
                ctx.set(rx, bit)
                end = round((k + 1) * self.cycles_per_bit)
                for _ in range(end - at):
                    await ctx.tick()
                at = end

    async def _serve_flash(self, ctx: Any) -> None:
        pins: Any = self.system
        assert self._flash is not None  # noqa: S101
        while True:
            levels = (ctx.get(pin) for pin in (pins.flash_cs_n, pins.flash_sck, pins.flash_mosi))
            ctx.set(pins.flash_miso, self._flash(*levels))
            await ctx.tick()

    async def _listen(self, ctx: Any) -> None:
        """Take the board's bytes off the line."""
        tx = self._pins.tx
        while True:
            while ctx.get(tx):
                await ctx.changed(tx)
            value, at = 0, 0
            for k in range(10):
                middle = int((k + 0.5) * self.cycles_per_bit)
                for _ in range(middle - at):
                    await ctx.tick()
                at = middle
                value |= ctx.get(tx) << k
            if value & 1 or not value >> 9:
                self.broken += 1
            else:
                self._in.append(value >> 1 & 255)

    def write(self, data: bytes) -> None:
        """Queue bytes for the board."""
        self._out += data

    def read(self, timeout: float) -> bytes:
        """Let time pass until a byte has come and, if there are more, a few of them."""
        end = self._now + timeout
        while not self._in and self._now < end:
            self._advance(10 * self.cycles_per_bit)
        data = bytes(self._in)
        self._in.clear()
        return data

    def close(self) -> None:
        """Do nothing: a simulation needs no closing."""


class SpiBoard(SimulatedBoard):
    """A simulated board whose line is SPI: the host makes the clock, and sends zeros to hear.

    Parameters
    ----------
    system : System
        With ``baud=0``.
    pauses : float
        Chance of a pause of the clock at every bit, and of ``cs_n`` going high after every byte.
    cuts : float
        Chance at every bit that ``cs_n`` goes high, which cuts the byte.
    seed : int
    """

    def __init__(
        self, system: System, *, pauses: float = 0.0, cuts: float = 0.0, seed: int = 0
    ) -> None:
        self.pauses, self.cuts, self.cut = pauses, cuts, 0
        self._rng = random.Random(seed)  # noqa: S311
        self._hears = False
        super().__init__(system)

    def read(self, timeout: float) -> bytes:
        """Clock zeros until a byte has come."""
        self._hears = timeout > 0
        data = super().read(timeout)
        self._hears = False
        return data

    async def _listen(self, ctx: Any) -> None:
        """Do nothing: what the board says comes while it is driven."""

    async def _drive(self, ctx: Any) -> None:
        pins, rng, half, last = self._pins, self._rng, LEAST_SPI_CYCLES // 2, 0

        async def wait(cycles: int) -> None:
            for _ in range(cycles + (rng.randrange(40) if rng.random() < self.pauses else 0)):
                await ctx.tick()

        while True:
            if not self._out and not self._hears:
                await ctx.tick()
                continue
            byte, came = self._out.popleft() if self._out else 0, 0
            ctx.set(pins.cs_n, 0)
            for k in range(8):
                ctx.set(pins.mosi, byte >> (7 - k) & 1)
                await wait(half)
                ctx.set(pins.sck, 1)
                came = came << 1 | ctx.get(pins.miso)
                await wait(half)
                ctx.set(pins.sck, 0)
                if rng.random() < self.cuts:
                    break
            else:
                if came or last:  # zeros in a row say nothing
                    self._in.append(came)
                last = came
                if rng.random() >= self.pauses:
                    continue
                await wait(half)
                ctx.set(pins.cs_n, 1)
                await wait(half)
                continue
            self.cut += 1
            ctx.set(pins.cs_n, 1)
            await wait(half)


class SpiFlash:
    """An SPI flash, as far as reading goes; it sleeps at first, as after a configuration.

    Call it in each cycle with the levels of its pins; it returns ``miso``.

    Parameters
    ----------
    content : bytes
    offset : int
        Where they begin; all else reads as ones.
    """

    def __init__(self, content: bytes, offset: int) -> None:
        self.content, self.offset = content, offset
        self.asleep = True
        self._bits = 0  # since the chip was selected
        self._command = self._sck = 0
        self._miso = 1

    def __call__(self, cs_n: int, sck: int, mosi: int) -> int:
        """Take the pins of a cycle."""
        rises, falls = sck > self._sck, sck < self._sck
        self._sck = sck
        if cs_n:
            # A command counts when the chip is let go after its last bit.
            if self._bits == 8 and self._command == 0xAB:
                self.asleep = False
            self._bits = self._command = 0
        elif rises:
            if self._bits < 32:
                self._command = self._command << 1 | mosi
            self._bits += 1
        elif falls and self._bits >= 32 and self._command >> 24 == 0x03 and not self.asleep:
            place = (self._command & 0xFFFFFF) + (self._bits - 32) // 8 - self.offset
            byte = self.content[place] if 0 <= place < len(self.content) else 255
            self._miso = byte >> (7 - self._bits % 8) & 1
        return self._miso


class NoisyLine:
    """A transport with faults, in both directions.

    Parameters
    ----------
    transport : Transport
    seed : int
    rate : float
        Chance of a fault at each byte: a flipped bit, a lost or repeated byte, a lost run of
        bytes (what cuts frames and joins them), or garbage in between.

    Attributes
    ----------
    faults : int
        Made so far.
    """

    def __init__(self, transport: Any, *, seed: int, rate: float) -> None:
        self.transport, self.rate = transport, rate
        self.name, self.silence = transport.name, transport.silence
        self.faults = 0
        self._rng = random.Random(seed)  # noqa: S311
        self._lose = {"write": 0, "read": 0}

    def _spoil(self, data: bytes, way: str) -> bytes:
        rng, out = self._rng, bytearray()
        for byte in data:
            if self._lose[way]:
                self._lose[way] -= 1
                continue
            if rng.random() >= self.rate:
                out.append(byte)
                continue
            self.faults += 1
            fault = rng.choice(["flip", "lose", "repeat", "cut", "garbage", "zero"])
            if fault == "flip":
                out.append(byte ^ 1 << rng.randrange(8))
            elif fault == "repeat":
                out += bytes([byte, byte])
            elif fault == "cut":
                self._lose[way] = rng.randrange(30)
            elif fault == "garbage":
                out += bytes([byte, *rng.randbytes(rng.randrange(1, 20))])
            elif fault == "zero":
                out += bytes([byte, 0])
        return bytes(out)

    def write(self, data: bytes) -> None:
        """Send bytes, spoiled."""
        self.transport.write(self._spoil(data, "write"))

    def read(self, timeout: float) -> bytes:
        """Return what has come, spoiled; where all of it was lost, wait on."""
        while raw := self.transport.read(timeout):
            if data := self._spoil(raw, "read"):
                return data
        return b""

    def close(self) -> None:
        """Close the line below."""
        self.transport.close()


class PseudoTerminal:
    """A board behind a pseudo-terminal, for programs that open a serial port.

    Parameters
    ----------
    board : Transport
        A simulated one that is fast enough for the host's timeouts (:class:`.verilated.VerilatedBoard`).

    Attributes
    ----------
    port : str
        Name of the port to open.
    """

    def __init__(self, board: Any) -> None:
        self.board = board
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        idle = 0
        while not self._stop.is_set():
            # With nothing to say on either side the simulation need not run.
            if select.select([self._master], [], [], 0.01 if idle > 50 else 0)[0]:
                self.board.write(os.read(self._master, 4096))
                idle = 0
            data = self.board.read(self.board.silence / 20)
            idle = 0 if data else idle + 1
            if data:
                os.write(self._master, data)

    def close(self) -> None:
        """Hang up, as a board that is unplugged does."""
        self._stop.set()
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
