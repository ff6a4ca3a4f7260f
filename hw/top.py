"""The top of a bitstream: the board's clock and pins, the PLL, the reset, and the system."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from amaranth.hdl import C, ClockDomain, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

from .boards import Board
from .pll import Pll, primitive

if TYPE_CHECKING:
    from amaranth.lib import wiring

__all__ = ["WAKE_CYCLES", "Top"]

WAKE_CYCLES = 1024
"""Cycles that the reset lasts after lock; block RAM of iCE40 needs 3 us after configuration."""


class Top(Elaboratable):
    """A system on a board.

    Parameters
    ----------
    board : Board
    pll : Pll or None
        None runs the system on the board's clock itself.
    make_system : callable
        Gets the clock in hertz, returns the component: ``rx`` and ``tx``, and ``flash`` where it
        has one.

    Timing: the system is in reset until the PLL has been locked for ``WAKE_CYCLES`` cycles, and
    again whenever it loses lock.
    """

    def __init__(
        self, board: Board, pll: Pll | None, make_system: Callable[[Fraction], wiring.Component]
    ) -> None:
        self.board, self.pll = board, pll
        self.clock = pll.output if pll else Fraction(board.clock)
        self.system = make_system(self.clock)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, locked = Signal(), Signal()
        m.domains.boot = boot = ClockDomain(reset_less=True, local=True)
        m.domains.sync = sync = ClockDomain()
        self._clock(m, platform, clock, locked)

        awake = Signal()
        steady = Signal(range(WAKE_CYCLES))
        m.submodules.lock = FFSynchronizer(locked, awake, o_domain="boot")
        running = Signal()
        m.d.comb += [boot.clk.eq(clock), sync.clk.eq(clock), sync.rst.eq(~running)]
        with m.If(~awake):
            m.d.boot += [steady.eq(0), running.eq(0)]
        with m.Elif(steady != WAKE_CYCLES - 1):
            m.d.boot += steady.eq(steady + 1)
        with m.Else():
            m.d.boot += running.eq(1)

        m.submodules.system = system = self.system
        uart = self._request(platform, "uart", {"rx": "i", "tx": "o"})
        m.d.comb += [system.rx.eq(uart.rx.i), uart.tx.o.eq(system.tx)]  # type: ignore[attr-defined]
        return m

    def _clock(self, m: Module, platform: Any, clock: Signal, locked: Signal) -> None:
        """Drive clock and locked from the board's oscillator."""
        name = platform.default_clk
        if self.board.family.startswith("ice40"):
            port = platform.request(name, dir="-").io
            if self.pll is not None and self.board.pll == "SB_PLL40_PAD":
                m.submodules.pll = primitive(self.board.pll, self.pll, port, clock, locked)
                return
            source: Any = Signal()
            m.submodules.pin = Instance(
                "SB_IO", p_PIN_TYPE=C(0b000001, 6), io_PACKAGE_PIN=port, o_D_IN_0=source
            )
        else:
            source = platform.request(name, dir="i").i
        if self.pll is None:
            m.d.comb += [clock.eq(source), locked.eq(1)]
        else:
            m.submodules.pll = primitive(self.board.pll, self.pll, source, clock, locked)

    @staticmethod
    def _request(platform: Any, name: str, wanted: dict[str, str]) -> Any:
        """Request a resource, without the pins of it that nothing uses."""
        parts = [part.name for part in platform.lookup(name, 0).ios]
        return platform.request(name, 0, dir={p: wanted.get(p, "-") for p in parts})


