"""UART: 8 data bits, no parity, one stop bit; any rate from a quarter of the clock down."""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ...compiler.errors import InputError

__all__ = ["BitTime", "UartReceiver", "UartTransmitter"]

LEAST_CYCLES = 4
MOST_CYCLES = 1 << 16
TOLERANCE = 1e-3


class BitTime(NamedTuple):
    """Length of a bit in cycles, ``whole + part / 2**bits``.

    Parameters
    ----------
    whole, part, bits : int
    error : float
        Relative to what was asked for, below 0.1 %.
    """

    whole: int
    part: int
    bits: int
    error: float

    @classmethod
    def of(cls, clock_hz: float, baud: float) -> BitTime:
        """Choose the fewest fraction bits that keep the error of the rate below 0.1 %.

        Raises
        ------
        InputError
            The rate cannot work: below 4 cycles a bit the receiver cannot find a bit's middle.
        """
        if not (clock_hz > 0 and baud > 0):
            raise InputError(f"clock and baud rate are positive, not {clock_hz:g} and {baud:g}")
        cycles = clock_hz / baud
        if not LEAST_CYCLES <= cycles <= MOST_CYCLES:
            raise InputError(
                f"{baud:g} baud at a clock of {clock_hz:g} Hz are {cycles:.2f} cycles a bit; "
                f"{LEAST_CYCLES} to {MOST_CYCLES} work: choose a rate from "
                f"{clock_hz / MOST_CYCLES:.0f} to {clock_hz / LEAST_CYCLES:.0f}"
            )
        for bits in range(12):
            scaled = round(cycles * (1 << bits))
            error = scaled / (1 << bits) / cycles - 1
            if abs(error) < TOLERANCE:
                break
        return cls(scaled >> bits, scaled & ((1 << bits) - 1), bits, error)


class _Timer:
    """Counts bit times: ``tick`` is high in the last cycle of each.

    The fraction is carried from bit to bit, so that a bit is a whole number of cycles and the
    end of bit k is early by less than one.
    """

    def __init__(self, m: Module, time: BitTime) -> None:
        self._m, self._time = m, time
        # Counts down from the length less two to -1, whose sign is the tick.
        self._count = Signal(range(-1, time.whole))
        self._part = Signal(max(1, time.bits))
        self.tick = self._count[-1]
        m.d.sync += self._count.eq(self._count - 1)

    def load(self, cycles: int) -> None:
        """Tick in ``cycles`` cycles (2 or more), and begin with a fraction of zero."""
        self._m.d.sync += [self._count.eq(cycles - 2), self._part.eq(0)]

    def reload(self) -> None:
        """Tick in one bit time."""
        carry: Value | int = 0
        if self._time.part:
            after = Signal(self._time.bits + 1)
            self._m.d.comb += after.eq(self._part + self._time.part)
            self._m.d.sync += self._part.eq(after)
            carry = after[-1]
        self._m.d.sync += self._count.eq(self._time.whole - 2 + carry)


class UartReceiver(wiring.Component):
    """Turns a serial line into bytes.

    Parameters
    ----------
    time : BitTime

    Members
    -------
    rx : In(1)
        The line, asynchronous; idle high.
    data : Out(8)
    valid : Out(1)
        High for the cycle in which ``data`` is a new byte.
    broken : Out(1)
        High for a cycle where a byte lacked its stop bit; it is dropped.

    Timing: ``valid`` about half a bit before the stop bit's end. Bits are sampled once, in the
    middle, within one cycle; a sender's rate may be off by ``(cycles / 2 - 1) / (9.5 * cycles)``:
    2.6 % at 4 cycles a bit, 3.9 % at 8. A start bit shorter than half a bit is taken for noise.
    """

    rx: Signal
    data: Signal
    valid: Signal
    broken: Signal

    def __init__(self, time: BitTime) -> None:
        self.time = time
        super().__init__({"rx": In(1), "data": Out(8), "valid": Out(1), "broken": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        timer = _Timer(m, self.time)
        busy = Signal()
        bit = Signal(4)
        m.d.sync += [self.valid.eq(0), self.broken.eq(0)]
        with m.If(~busy):
            # This cycle is the start bit's first or second: its middle is half a bit away.
            timer.load(max(2, self.time.whole // 2))
            m.d.sync += [busy.eq(~line), bit.eq(0)]
        with m.Elif(timer.tick):
            timer.reload()
            m.d.sync += bit.eq(bit + 1)
            with m.If(bit == 0):
                m.d.sync += busy.eq(~line)
            with m.Elif(bit == 9):
                m.d.sync += [busy.eq(0), self.valid.eq(line), self.broken.eq(~line)]
            with m.Else():
                m.d.sync += self.data.eq(Cat(self.data[1:], line))
        return m


class UartTransmitter(wiring.Component):
    """Puts bytes on a serial line.

    Parameters
    ----------
    time : BitTime

    Members
    -------
    i : In(stream.Signature(8))
    tx : Out(1)
        The line; idle high.

    Timing: ten bit times a byte, without a gap while bytes are offered.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, time: BitTime) -> None:
        self.time = time
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})  # type: ignore[call-arg]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = _Timer(m, self.time)
        # What is still to be sent, the lowest bit now: ones follow the stop bit.
        bits = Signal(9, init=0x1FF)
        left = Signal(4)
        idle, last = Signal(init=1), Signal()
        m.d.comb += self.i.ready.eq(idle | (timer.tick & last))
        m.d.sync += [self.tx.eq(bits[0]), last.eq(left == 1)]
        with m.If(self.i.ready):
            timer.reload()
            m.d.sync += [idle.eq(~self.i.valid), left.eq(10)]
            with m.If(self.i.valid):
                m.d.sync += bits.eq(Cat(Const(0, 1), self.i.payload))
        with m.Elif(timer.tick):
            timer.reload()
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(left - 1)]
        return m
