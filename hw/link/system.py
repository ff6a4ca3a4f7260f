"""A program as a whole design: serial line, link, commands and core."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.program.chain import check_program
from ...compiler.program.program import Program
from ...host.wire.identity import Identity
from ...host.wire.protocol import Status
from ..engine.core import Core
from .commands import Commands
from .flash_loader import FlashLoader
from .ledger import Ledger
from .link import LINES, Link
from .uart import BitTime

__all__ = ["System"]


class System(wiring.Component):
    """Design that a board runs, without pins and clock.

    Parameters
    ----------
    program : Program
    clock_hz : float
        Frequency of ``sync``.
    baud : float
        Rate of the serial line; refused where it cannot work, see :class:`.uart.BitTime`. 0: the line is
        SPI, see :class:`.spi.Spi`.
    family : str
        Name of a family of :func:`~gatewright.hw.vendor.families`.
    loadable : bool
        Weights and beat table can be loaded over the link instead of being fixed.
    verify : bool
        A loadable core computes the CRC of its memories on command.
    flash_offset : int, optional
        They are read from there, in bytes, in an SPI flash at power-up.

    Members
    -------
    reset : In(1)
        Start as after power-up. What a board uses in place of a reset of the clock domain, which would be one
        more gate before every register.
    rx : In(1), tx : Out(1)
        The serial line, 8N1, idle high; ``rx`` may be asynchronous.
    cs_n, sck, mosi : In(1), miso, selected : Out(1)
        In place of them with SPI.
    flash_cs_n, flash_sck, flash_mosi : Out(1), flash_miso : In(1)
        The SPI flash, only with ``flash_offset``.
    """

    reset: Signal

    def __init__(
        self, program: Program, *, clock_hz: float, baud: float = 1_000_000,
        family: str = "generic", loadable: bool = False, verify: bool = True,
        flash_offset: int | None = None,
    ) -> None:  # fmt: skip
        check_program(program, one_pass=True)
        if flash_offset is not None and not (loadable and 0 <= flash_offset < 1 << 24):
            raise ValueError(
                f"flash_offset is from 0 to {(1 << 24) - 1}, for loadable cores, not {flash_offset!r}"
            )
        self.program, self.clock_hz, self.baud = program, clock_hz, baud
        self.family, self.loadable, self.flash_offset = family, loadable, flash_offset
        self.time = BitTime.of(clock_hz, baud) if baud else None
        self.core = Core(program, family=family, loadable=loadable, verify=verify)
        self.window = self.core.family.window
        self.identity = Identity.of(
            program, loadable=loadable, initialized=self.core.initialized, window=self.window,
            clock_hz=clock_hz, verifiable=self.core.verify,
        )  # fmt: skip
        self.line = LINES["uart" if self.time else "spi"]
        members: dict[str, Any] = {"reset": In(1), **self.line}
        if flash_offset is not None:
            members |= {
                "flash_cs_n": Out(1, init=1), "flash_sck": Out(1), "flash_mosi": Out(1),  # type: ignore[call-arg]
                "flash_miso": In(1),
            }  # fmt: skip
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        link = Link(time=self.time, window=self.window, family=self.core.family)
        m.submodules.link = ResetInserter(self.reset)(link)
        commands = Commands(program=self.program, core=self.core, loadable=self.loadable)
        ledger = Ledger(identity=self.identity)
        for name, member in self.line.items():
            inside, pin = getattr(link, name), getattr(self, name)
            m.d.comb += inside.eq(pin) if member.flow == In else pin.eq(inside)
        loaded = Signal(init=self.core.initialized)
        booting, flash_bad = Signal(), Signal()
        # A new session starts from power-up: nothing of the one before is left in the core.
        restart = Signal(init=1)
        m.d.sync += restart.eq(link.opened | self.reset)
        m.submodules.commands = ResetInserter(restart | booting)(commands)
        m.submodules.ledger = ResetInserter(restart | booting)(ledger)
        # A session that begins meanwhile must not stop the loader, which works through the core's port.
        again = restart if self.flash_offset is None else self.reset | (restart & ~booting)
        m.submodules.core = ResetInserter(again)(self.core)
        # Commands wait until the weights are there: a unit that is held in reset still says ready.
        m.d.comb += [
            commands.down.payload.eq(link.down.payload),
            commands.down.valid.eq(link.down.valid & ~booting),
            link.down.ready.eq(commands.down.ready & ~booting),
        ]
        wiring.connect(m, commands.up, link.up)
        wiring.connect(m, commands.i, self.core.i)
        wiring.connect(m, self.core.o, commands.o)
        wiring.connect(m, self.core.s_o, commands.s_o)
        m.d.comb += [
            commands.loaded.eq(loaded),
            ledger.events.eq(commands.events), ledger.place.eq(commands.place),
            commands.there.eq(ledger.there), commands.byte.eq(ledger.byte),
            link.status.eq(
                loaded * Status.LOADED | commands.refused * Status.REFUSED
                | booting * Status.BOOTING | flash_bad * Status.FLASH_BAD
            ),
        ]  # fmt: skip
        sources: list[Commands | FlashLoader] = [commands]
        if self.flash_offset is not None:
            loader = FlashLoader(
                program=self.program, core=self.core, clock_hz=self.clock_hz,
                offset=self.flash_offset,
            )  # fmt: skip
            m.submodules.loader = ResetInserter(self.reset)(loader)
            pins: Any = self
            m.d.comb += [
                booting.eq(loader.busy), pins.flash_cs_n.eq(loader.cs_n),
                pins.flash_sck.eq(loader.sck), pins.flash_mosi.eq(loader.mosi),
                loader.miso.eq(pins.flash_miso),
            ]  # fmt: skip
            with m.If(loader.bad):
                m.d.sync += flash_bad.eq(1)
            sources.append(loader)
        self._memories(m, sources, booting, loaded, ledger)
        with m.If(self.reset):
            # A reset does not change what loadable memories hold, perhaps half of a load.
            m.d.sync += [*([] if self.loadable else [loaded.eq(loaded.init)]), flash_bad.eq(0)]
        return m

    def _memories(
        self, m: Module, sources: list[Any], booting: Signal, loaded: Signal, ledger: Ledger
    ) -> None:
        """Give the state port to the commands or, at power-up, to the loader; note what is there."""
        with m.If(booting):
            self._connect(m, sources[-1])
        with m.Else():
            self._connect(m, sources[0])
        if not self.loadable:
            return
        with m.If(sources[0].upset):
            m.d.sync += loaded.eq(0)
        for source in sources:
            with m.If(source.digest_valid):
                m.d.comb += [
                    ledger.digest_en.eq(1), ledger.digest_place.eq(source.digest_place),
                    ledger.digest.eq(source.digest),
                ]  # fmt: skip
            with m.If(source.start):
                m.d.sync += loaded.eq(0)
            with m.If(source.good):
                m.d.sync += loaded.eq(1)

    def _connect(self, m: Module, source: Any) -> None:
        for name in ("c", "s_i"):
            sink, port = getattr(self.core, name), getattr(source, name)
            m.d.comb += [
                sink.valid.eq(port.valid), sink.payload.eq(port.payload), port.ready.eq(sink.ready),
            ]  # fmt: skip
