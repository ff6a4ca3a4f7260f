"""The top of a bitstream: the board's clock and pins, the PLL, the reset, and the system."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..boards import Board
from ..vendor.pll import Pll

__all__ = ["WAKE_CYCLES", "Top", "Wake"]

WAKE_CYCLES = 1024
"""Cycles that the reset lasts after lock; block RAM of iCE40 needs 3 us after configuration."""


class Wake(wiring.Component):
    """Holds the system in reset until its clock has been steady for a while.

    Members
    -------
    locked : In(1)
        Of the PLL; asynchronous.
    reset : Out(1)
        High until ``WAKE_CYCLES`` cycles of ``boot`` after lock, and again from two cycles after a
        loss of lock.
    """

    locked: Signal
    reset: Signal

    def __init__(self) -> None:
        super().__init__({"locked": In(1), "reset": Out(1, init=1)})  # type: ignore[call-arg]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        locked = Signal()
        m.submodules.synchronizer = FFSynchronizer(self.locked, locked, o_domain="boot")
        cycle = Signal(range(WAKE_CYCLES))
        with m.If(~locked):
            m.d.boot += [cycle.eq(0), self.reset.eq(1)]
        with m.Elif(cycle != WAKE_CYCLES - 1):
            m.d.boot += cycle.eq(cycle + 1)
        with m.Else():
            m.d.boot += self.reset.eq(0)
        return m


class Top(Elaboratable):
    """A system on a board.

    Parameters
    ----------
    board : Board
    pll : Pll or None
        None runs the system on the board's clock itself.
    make_system : callable
        Gets the clock in hertz, returns the component: ``reset``, ``rx`` and ``tx``, and ``flash`` where it
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
        m.domains.boot = ClockDomain(reset_less=True)
        m.domains.sync = ClockDomain(reset_less=True)
        self.board.vendor.connect_clock(m, platform, self.board.pll, self.pll, clock, locked)

        m.submodules.wake = wake = Wake()
        m.submodules.system = system = self.system
        m.d.comb += [
            ClockSignal("boot").eq(clock), ClockSignal("sync").eq(clock), wake.locked.eq(locked),
            system.reset.eq(wake.reset),  # type: ignore[attr-defined]
        ]  # fmt: skip
        uart = platform.request("uart", 0, dir="-")
        m.submodules.receive = receive = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.transmit = transmit = io.Buffer(io.Direction.Output, uart.tx)
        m.d.comb += [system.rx.eq(receive.i), transmit.o.eq(system.tx)]  # type: ignore[attr-defined]
        if hasattr(system, "flash_cs_n"):
            self._flash(m, platform.request("spi_flash_1x", 0, dir="-"), system)
        return m

    @staticmethod
    def _flash(m: Module, pins: Any, system: Any) -> None:
        """Connect the SPI flash; its other pins (write protect, hold) are kept inactive."""
        # Ports know which pins are active low.
        outputs = {"cs": ~system.flash_cs_n, "clk": system.flash_sck, "copi": system.flash_mosi}
        for name in ("cs", "clk", "copi", "wp", "hold"):
            if hasattr(pins, name):
                m.submodules[f"flash_{name}"] = buffer = io.Buffer(
                    io.Direction.Output, getattr(pins, name)
                )
                m.d.comb += buffer.o.eq(outputs.get(name, 0))
        m.submodules.flash_cipo = cipo = io.Buffer(io.Direction.Input, pins.cipo)
        m.d.comb += system.flash_miso.eq(cipo.i)
