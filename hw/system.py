"""A program as a whole design: serial line, link, commands and core."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.program import Program
from .commands import Commands
from .core import Core
from .identity import Identity
from .link import Link
from .protocol import Status
from .uart import BitTime

__all__ = ["System"]

WINDOWS = {"ice40up": 9, "ice40hx": 9}
"""log2 of the bytes of a buffer, one block RAM; other families have blocks of 2 kB."""
WINDOW = 11


class System(wiring.Component):
    """What a board runs, but for pins and clock.

    Parameters
    ----------
    program : Program
    clock_hz : float
        Frequency of ``sync``.
    baud : float
        Rate of the serial line; refused where it cannot work, see :class:`.uart.BitTime`.
    family : str
        Primitives of the core: ``generic``, ``ice40up``, ``ice40hx``, ``ecp5`` or ``gowin``.
    loadable : bool
        Weights and beat table are loaded over the link instead of being part of the design.

    Members
    -------
    rx : In(1), tx : Out(1)
        The serial line, 8N1, idle high; ``rx`` may be asynchronous.
    """

    rx: Signal
    tx: Signal

    def __init__(
        self, program: Program, *, clock_hz: float, baud: float = 1_000_000,
        family: str = "generic", loadable: bool = False,
    ) -> None:  # fmt: skip
        self.program, self.clock_hz, self.baud = program, clock_hz, baud
        self.family, self.loadable = family, loadable
        self.time = BitTime.of(clock_hz, baud)
        self.core = Core(program, family=family, loadable=loadable)
        self.window = WINDOWS.get(family, WINDOW)
        self.identity = Identity.of(
            program, loadable=loadable, window=self.window, clock_hz=clock_hz
        )
        super().__init__({"rx": In(1), "tx": Out(1, init=1)})  # type: ignore[call-arg]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link = link = Link(time=self.time, window=self.window)
        commands = Commands(
            program=self.program, core=self.core, identity=self.identity, loadable=self.loadable
        )
        # A new session starts from power-up: nothing of the one before is left in the core.
        restart = Signal(init=1)
        m.d.sync += restart.eq(link.opened)
        m.submodules.commands = ResetInserter(restart)(commands)
        m.submodules.core = ResetInserter(restart)(self.core)
        m.d.comb += [link.rx.eq(self.rx), self.tx.eq(link.tx)]
        wiring.connect(m, link.down, commands.down)
        wiring.connect(m, commands.up, link.up)
        for name in ("i", "c", "s_i"):
            wiring.connect(m, getattr(commands, name), getattr(self.core, name))
        for name in ("o", "s_o"):
            wiring.connect(m, getattr(self.core, name), getattr(commands, name))

        loaded = Signal(init=not self.loadable)
        digest = Signal(64, init=int.from_bytes(self.identity.program, "little"))
        m.d.comb += [
            commands.loaded.eq(loaded),
            commands.program_digest.eq(digest),
            link.status.eq(loaded * Status.LOADED | commands.refused * Status.REFUSED),
        ]
        return m
