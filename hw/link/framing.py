"""Frames on a byte line: COBS and CRC-32, the gateware side of :mod:`.protocol`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...host.wire.protocol import CRC_BYTES
from ..blocks.crc import CRC_BITS, CRC_RESIDUE, crc_step
from ..vendor.family import GENERIC, VendorFamily
from .buffer import Buffer

__all__ = ["FrameReceiver", "FrameSender", "Token"]

Token = data.StructLayout({"data": 8, "close": 1})
"""A byte of a frame, or with ``close`` its end, which carries no byte."""


class FrameReceiver(wiring.Component):
    """Takes raw bytes apart into frames.

    Members
    -------
    raw : In(8), raw_valid : In(1), raw_broken : In(1)
        From :class:`.uart.UartReceiver`; ``raw`` stays for two cycles.
    data : Out(8), valid : Out(1)
        A byte of the frame, CRC included; it is there in the cycle of ``valid`` only.
    start : Out(1)
        High between frames: what was given out belongs to none.
    good : Out(1)
        High for a cycle at the end of a frame whose bytes and CRC are right.
    bad : Out(1)
        High for a cycle at the end of one that is cut, damaged or noise.

    Timing: raw bytes at least 16 cycles apart. ``good`` or ``bad`` two cycles after the zero byte.
    Frames have up to 253 bytes, CRC included (:data:`.protocol.MAX_PAYLOAD`); the block of 254 bytes
    that implies no zero, which COBS has for longer ones, is not understood.
    """

    raw: Signal
    raw_valid: Signal
    raw_broken: Signal
    data: Signal
    valid: Signal
    start: Signal
    good: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__({
            "raw": In(8), "raw_valid": In(1), "raw_broken": In(1),
            "data": Out(8), "valid": Out(1), "start": Out(1, init=1), "good": Out(1), "bad": Out(1),  # type: ignore[call-arg]
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(8)  # bytes of the block to come
        broken = Signal()
        # One cycle to look at the raw byte, the next to act on it.
        seen, zero, code = Signal(), Signal(), Signal()
        m.d.sync += [seen.eq(self.raw_valid), zero.eq(self.raw == 0), code.eq(left == 0)]
        crc = Signal(CRC_BITS, init=(1 << CRC_BITS) - 1)
        residue = Signal()
        bits = Signal(4)  # of `data` that are not in the CRC
        m.d.sync += [
            self.valid.eq(0), self.good.eq(0), self.bad.eq(0), residue.eq(crc == CRC_RESIDUE),
        ]  # fmt: skip
        with m.If(self.raw_broken):
            m.d.sync += broken.eq(1)
        with m.If(bits != 0):
            m.d.sync += [
                self.data.eq(self.data >> 1), bits.eq(bits - 1),
                crc.eq(crc_step(crc, self.data[0])),
            ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += crc.eq((1 << CRC_BITS) - 1)
        with m.If(seen):
            with m.If(zero):
                fine = code & residue & ~broken
                m.d.sync += [
                    self.good.eq(~self.start & fine),
                    # Zeros in a row are no frame, and nothing is wrong with them.
                    self.bad.eq((~self.start & ~fine) | (self.start & broken)),
                    self.start.eq(1), broken.eq(0), left.eq(0),
                ]  # fmt: skip
            with m.Else():
                m.d.sync += [self.start.eq(0), left.eq(Mux(code, self.raw, left) - 1)]
                # A code but the first stands for the zero before it.
                with m.If(~(code & self.start)):
                    m.d.sync += [
                        self.data.eq(Mux(code, 0, self.raw)), self.valid.eq(1), bits.eq(8),
                    ]  # fmt: skip
        return m


class FrameSender(wiring.Component):
    """Makes frames of bytes, and sends them.

    A frame is encoded into one half of a memory while the other half is sent: the distance to
    the next zero, which COBS puts before the bytes, is known only afterwards.

    Parameters
    ----------
    family : VendorFamily
        As of :class:`.core.Core`.

    Members
    -------
    i : In(stream.Signature(Token))
        Bytes of a frame (one at least, 249 at most), then its end.
    o : Out(stream.Signature(8))
        Raw bytes for :class:`.uart.UartTransmitter`.

    Timing: 10 cycles a byte in; the line is busy without a gap while it takes no faster than that.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, family: VendorFamily = GENERIC) -> None:
        self.family = family
        super().__init__({"i": In(stream.Signature(Token)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Buffer(depth=512, family=self.family)
        half = Signal()  # that is being encoded
        full = Signal()  # the other half is to be sent
        at = Signal(8, init=1)  # where the byte goes
        code_at = Signal(8)  # place of the code that is still open
        crc = Signal(CRC_BITS, init=(1 << CRC_BITS) - 1)
        byte = Signal(8)
        count = Signal(range(8))
        closing = Signal()
        zero = Signal()
        end = Signal(8)
        m.d.comb += zero.eq(byte == 0)
        m.d.comb += [
            buffer.w_addr.eq(Cat(Mux(zero, code_at, at), half)),
            buffer.w_data.eq(Mux(zero, at - code_at, byte)),
        ]

        with m.FSM(name="encode"):
            with m.State("WAIT-BYTE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += byte.eq(self.i.payload.data)
                with m.If(self.i.valid):
                    m.next = "PLACE"
                    with m.If(self.i.payload.close):
                        m.d.sync += [byte.eq(~crc[:8]), closing.eq(1), count.eq(CRC_BYTES - 1)]
            with m.State("PLACE"):
                m.d.comb += buffer.w_en.eq(1)
                m.d.sync += at.eq(at + 1)
                with m.If(zero):
                    m.d.sync += code_at.eq(at)
                with m.If(closing):
                    m.d.sync += [byte.eq(~crc[8:16]), crc.eq(crc >> 8), count.eq(count - 1)]
                    with m.If(count == 0):
                        # The last code is placed as if a zero followed.
                        m.d.sync += byte.eq(0)
                        m.next = "PLACE-LAST"
                with m.Else():
                    m.d.sync += count.eq(7)
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += [
                    crc.eq(crc_step(crc, byte[0])),
                    byte.eq(byte >> 1),
                    count.eq(count - 1),
                ]
                with m.If(count == 0):
                    m.next = "WAIT-BYTE"
            with m.State("PLACE-LAST"):
                m.d.comb += buffer.w_en.eq(1)
                m.next = "WAIT-SENT"
            with m.State("WAIT-SENT"):
                m.d.sync += closing.eq(0)
                with m.If(~full):
                    m.d.sync += [
                        full.eq(1), half.eq(~half), end.eq(at), at.eq(1), code_at.eq(0),
                        crc.eq((1 << CRC_BITS) - 1),
                    ]  # fmt: skip
                    m.next = "WAIT-BYTE"

        place = Signal(8)
        at_end = Signal()
        m.d.comb += [
            buffer.r_addr.eq(Cat(place, ~half)),
            self.o.payload.eq(Mux(at_end, Const(0, 8), buffer.r_data)),
        ]
        with m.FSM(name="send"):
            with m.State("WAIT-FRAME"):
                m.d.sync += place.eq(0)
                with m.If(full):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += at_end.eq(place == end)
                m.next = "WAIT-FETCHED"
            with m.State("WAIT-FETCHED"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += place.eq(place + 1)
                    m.next = "FETCH"
                    with m.If(at_end):
                        m.d.sync += full.eq(0)
                        m.next = "WAIT-FRAME"
        return m
