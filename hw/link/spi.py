"""Bytes over SPI, in place of a UART: for hosts that are microcontrollers."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["LEAST_SPI_CYCLES", "Spi"]

LEAST_SPI_CYCLES = 10
"""Cycles of the clock that a bit must take, half of them with ``sck`` high."""


class Spi(wiring.Component):
    """A peripheral of SPI: mode 0, most significant bit first, a byte each way at a time.

    While there is nothing to send it sends zeros, which are no frame, and a host sends zeros to
    hear what the board has. A byte counts as sent when the host samples its first bit; one that
    is then cut by ``cs_n`` is lost, as on any bad line.

    Members
    -------
    cs_n, sck, mosi : In(1)
        Asynchronous; a bit takes at least ``LEAST_SPI_CYCLES`` cycles.
    miso : Out(1)
    selected : Out(1)
        Drive ``miso`` while it is high.
    data : Out(8)
    valid : Out(1)
        High for the cycle in which ``data`` is a new byte.
    broken : Out(1)
        High for a cycle where ``cs_n`` cut a byte; it is dropped.
    i : In(stream.Signature(8))
        Bytes to send. The next one must follow within the time of a byte, or a zero goes between.

    Timing: ``valid`` four cycles after the last rising edge of ``sck``; ``miso`` changes four cycles
    after a falling one.
    """

    cs_n: Signal
    sck: Signal
    mosi: Signal
    miso: Signal
    selected: Signal
    data: Signal
    valid: Signal
    broken: Signal
    i: stream.Interface

    def __init__(self) -> None:
        super().__init__({
            "cs_n": In(1, init=1), "sck": In(1), "mosi": In(1), "miso": Out(1), "selected": Out(1),  # type: ignore[call-arg]
            "data": Out(8), "valid": Out(1), "broken": Out(1), "i": In(stream.Signature(8)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        off, clock, bit = Signal(init=1), Signal(), Signal()
        for k, (pin, level) in enumerate(((self.cs_n, off), (self.sck, clock), (self.mosi, bit))):
            m.submodules[f"synchronizer{k}"] = FFSynchronizer(pin, level, init=int(k == 0))
        before = Signal()
        rises, falls = Signal(), Signal()
        m.d.comb += [rises.eq(clock & ~before & ~off), falls.eq(~clock & before & ~off)]
        m.d.sync += before.eq(clock)

        count = Signal(3)  # bits of the byte that were sampled
        got, out = Signal(8), Signal(8)
        held, waits = Signal(8), Signal()  # the next byte to send, if there is one
        taken = Signal()  # what is being sent is that byte
        load = Signal()
        m.d.comb += [
            self.data.eq(got), self.miso.eq(out[7]), self.selected.eq(~off),
            self.i.ready.eq(~waits), load.eq(off | (falls & (count == 0))),
        ]  # fmt: skip
        m.d.sync += [self.valid.eq(0), self.broken.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), waits.eq(1)]
        with m.If(off):
            m.d.sync += [count.eq(0), self.broken.eq(count != 0)]
        with m.If(rises):
            m.d.sync += [
                got.eq(Cat(bit, got[:7])), count.eq(count + 1), self.valid.eq(count == 7),
            ]  # fmt: skip
            with m.If((count == 0) & taken):
                m.d.sync += [waits.eq(0), taken.eq(0)]
        with m.If(load):
            m.d.sync += [out.eq(held), taken.eq(waits)]
            with m.If(~waits):
                m.d.sync += out.eq(0)
        with m.Elif(falls):
            m.d.sync += out.eq(Cat(Const(0, 1), out[:7]))
        return m
