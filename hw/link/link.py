"""Two reliable byte streams over a serial line that may lose, repeat and garble bytes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...host.wire.protocol import CRC_BYTES, MAX_PAYLOAD, DownHeader, Flag, UpHeader, size
from ..vendor.family import GENERIC, VendorFamily
from .buffer import Buffer
from .framing import FrameReceiver, FrameSender
from .spi import Spi
from .uart import BitTime, UartReceiver, UartTransmitter

__all__ = ["LINES", "Link"]

LINES: dict[str, dict[str, Any]] = {
    "uart": {"rx": In(1), "tx": Out(1, init=1)},  # type: ignore[call-arg]
    "spi": {"cs_n": In(1, init=1), "sck": In(1), "mosi": In(1), "miso": Out(1), "selected": Out(1)},  # type: ignore[call-arg]
}
"""Pins of the two kinds of line."""
SHORT_BITS = 5  # a short frame has 2**5 bytes of payload


class Link(wiring.Component):
    """The board's end of a session, as ``docs/link.md`` says.

    A frame from the host is answered with a frame, if only to say what has arrived. Payload is
    taken where it continues the down stream, else dropped, so a repeated frame does nothing.
    What goes up is kept until the host has acknowledged it, and sent again when it asks.
    The board has no clock for this: the host notices what is missing, and asks.

    Parameters
    ----------
    time : BitTime, optional
        Of a UART; without, the line is SPI, see :class:`.spi.Spi`.
    window : int
        Each direction has a buffer of ``2**window`` bytes, 9 to 14.
    family : VendorFamily
        As of :class:`.core.Core`.

    Members
    -------
    rx : In(1), tx : Out(1)
        The serial line of a UART.
    cs_n, sck, mosi : In(1), miso, selected : Out(1)
        In place of them with SPI.
    down : Out(stream.Signature(8))
        Bytes from the host, in order, each once.
    up : In(stream.Signature(8))
        Bytes for the host.
    status : In(8)
        Sent with every frame; see :class:`.protocol.Status`.
    opened : Out(1)
        High for a cycle when a session begins: both streams are empty from the next cycle on, and
        whoever is at their ends starts anew.

    Timing: a byte a 4 cycles in either stream.
    """

    down: stream.Interface
    up: stream.Interface
    status: Signal
    opened: Signal

    def __init__(
        self, *, time: BitTime | None, window: int = 9, family: VendorFamily = GENERIC
    ) -> None:
        if not 9 <= window <= 14:
            raise ValueError(f"window must be in 9..14, not {window!r}")
        self.time, self.window, self.family = time, window, family
        super().__init__({
            **(LINES["uart"] if time else LINES["spi"]), "down": Out(stream.Signature(8)),
            "up": In(stream.Signature(8)), "status": In(8), "opened": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = self._receiver = FrameReceiver()
        m.submodules.sender = self._sender = FrameSender(self.family)
        self._line(m)

        # Places in the streams, modulo twice a buffer; their lowest bits address the buffers.
        bits = self.window + 1
        self._received, self._consumed = Signal(bits), Signal(bits)
        self._sent, self._written, self._acked = Signal(bits), Signal(bits), Signal(bits)
        self._session, self._tag, self._errors = Signal(8), Signal(8), Signal(8)
        self._answer, self._rewind, self._opening = Signal(), Signal(), Signal()
        m.submodules.down_buffer = down = Buffer(depth=1 << self.window, family=self.family)
        m.submodules.up_buffer = up = Buffer(depth=1 << self.window, family=self.family)
        self._send(m, up)
        self._give(m, down)
        self._take(m, up)
        # A flag that a frame sets in the cycle in which it is served stays set.
        opening_session = self._receive(m, down)
        with m.If(self.opened):
            m.d.sync += [
                self._received.eq(0), self._consumed.eq(0), self._sent.eq(0),
                self._written.eq(0), self._acked.eq(0), self._opening.eq(0), self._rewind.eq(0),
                self._session.eq(opening_session), self._answer.eq(1),
            ]  # fmt: skip
        return m

    def _line(self, m: Module) -> None:
        """Connect frames with the line."""
        pins: Any = self
        source: Any = UartReceiver(self.time) if self.time else Spi()
        if self.time is None:
            m.submodules.spi, sink = source, source.i
            m.d.comb += [
                getattr(source, name).eq(getattr(pins, name)) for name in ("cs_n", "sck", "mosi")
            ]
            m.d.comb += [pins.miso.eq(source.miso), pins.selected.eq(source.selected)]
        else:
            m.submodules.uart_rx = source
            m.submodules.uart_tx = uart_tx = UartTransmitter(self.time)
            m.d.comb += [source.rx.eq(pins.rx), pins.tx.eq(uart_tx.tx)]
            sink = uart_tx.i
        m.d.comb += [
            self._receiver.raw.eq(source.data), self._receiver.raw_valid.eq(source.valid),
            self._receiver.raw_broken.eq(source.broken),
        ]  # fmt: skip
        wiring.connect(m, self._sender.o, sink)

    def _receive(self, m: Module, buffer: Buffer) -> Signal:
        """Take frames apart; return the session that a frame names."""
        rx, count = self._receiver, size(DownHeader)
        place = Signal(range(count + CRC_BYTES + 1))  # of the byte in the frame, up to here
        flags, session, tag, ack = Signal(2), Signal(8), Signal(8), Signal.like(self._acked)
        fits = Signal()  # every byte had room, and the payload continues the stream
        ahead = Signal.like(self._received)  # where the frame's next byte goes
        after, room, same = Signal.like(ahead), Signal(), Signal()
        expected = Signal(8)
        m.d.comb += [
            expected.eq(Mux(place[0], self._received[:8], self._received[8:])),
            buffer.w_addr.eq(ahead[: self.window]),
            buffer.w_data.eq(rx.data),
        ]
        m.d.sync += [
            after.eq(ahead + 1),
            room.eq(after[: self.window] != self._consumed[: self.window]),
            same.eq(rx.data == expected),
        ]
        # `same` compares the byte of the cycle before: it is looked at one cycle late.
        late = Signal()
        m.d.sync += late.eq(rx.valid & ((place == 3) | (place == 4)))
        with m.If(late & ~same):
            m.d.sync += fits.eq(0)
        between = Signal()  # frames; one cycle late, when a frame at its end has been taken
        m.d.sync += between.eq(rx.start)
        with m.If(between):
            m.d.sync += [place.eq(0), fits.eq(1), ahead.eq(self._received)]
        with m.Elif(rx.valid):
            with m.If(place != count + CRC_BYTES):
                m.d.sync += place.eq(place + 1)
            with m.Switch(place):
                with m.Case(0):
                    m.d.sync += flags.eq(rx.data)
                with m.Case(1):
                    m.d.sync += session.eq(rx.data)
                with m.Case(2):
                    m.d.sync += tag.eq(rx.data)
                with m.Case(3, 4):
                    pass
                with m.Case(5):
                    m.d.sync += ack[:8].eq(rx.data)
                with m.Case(6):
                    m.d.sync += ack[8:].eq(rx.data)
                with m.Default():
                    with m.If(room):
                        m.d.comb += buffer.w_en.eq(1)
                        m.d.sync += ahead.eq(ahead + 1)
                    with m.Else():
                        m.d.sync += fits.eq(0)

        whole, ours, good = Signal(), Signal(), Signal()
        take = Signal()
        m.d.sync += [
            whole.eq(place == count + CRC_BYTES),
            ours.eq(session == self._session),
            good.eq(rx.good & whole),
            take.eq(rx.good & whole & ours & ~flags[0]),
            self._errors.eq(self._errors + (rx.bad | (rx.good & ~whole))),
        ]
        with m.If(good):
            m.d.sync += self._answer.eq(1)
            with m.If(flags & Flag.OPEN):
                m.d.sync += [self._opening.eq(1), self._tag.eq(tag)]
        with m.If(take):
            m.d.sync += [self._tag.eq(tag), self._acked.eq(ack)]
            with m.If(flags & Flag.RESEND):
                m.d.sync += self._rewind.eq(1)
            with m.If(fits):
                m.d.sync += self._received.eq(ahead - CRC_BYTES)
        return session

    def _give(self, m: Module, buffer: Buffer) -> None:
        """Feed the down stream from its buffer."""
        waits = Signal()  # there are bytes that have not been given
        have = Signal()  # one is at the memory's output
        looked = Signal()  # `waits` is up to date
        m.d.comb += [
            buffer.r_addr.eq(self._consumed[: self.window]),
            self.down.payload.eq(buffer.r_data),
            self.down.valid.eq(have),
        ]
        m.d.sync += [waits.eq(self._consumed != self._received), looked.eq(1)]
        with m.If(~have):
            m.d.sync += have.eq(looked & waits)
        with m.Elif(self.down.valid & self.down.ready):
            m.d.sync += [have.eq(0), looked.eq(0), self._consumed.eq(self._consumed + 1)]
        # The host is told now and then of room in the buffer, though there is no result.
        told = Signal()
        m.d.sync += told.eq(self._consumed[self.window - 2])
        with m.If(told != self._consumed[self.window - 2]):
            m.d.sync += self._answer.eq(1)
        with m.If(self.opened):
            m.d.sync += [have.eq(0), looked.eq(0)]

    def _take(self, m: Module, buffer: Buffer) -> None:
        """Write the up stream into its buffer."""
        room, counted = Signal(), Signal()
        used = Signal.like(self._written)
        m.d.comb += [
            used.eq(self._written - self._acked), self.up.ready.eq(room & counted),
            buffer.w_addr.eq(self._written[: self.window]), buffer.w_data.eq(self.up.payload),
            buffer.w_en.eq(self.up.valid & self.up.ready),
        ]  # fmt: skip
        m.d.sync += [room.eq(~used[-1]), counted.eq(1)]
        with m.If(buffer.w_en | self.opened):
            m.d.sync += counted.eq(0)
        with m.If(buffer.w_en):
            m.d.sync += self._written.eq(self._written + 1)

    def _send(self, m: Module, buffer: Buffer) -> None:
        """Make frames: whenever one is asked for, or there is something to send."""
        count = size(UpHeader)
        place = Signal(range(max(count, MAX_PAYLOAD + 1)))  # in the header, then in the payload
        in_header, header_end = Signal(), Signal()
        offsets = [self._received, self._consumed, self._sent]
        high = Signal(8)  # of an offset: it must be of the moment in which the low byte was
        header: list[Any] = [self._tag, self._session, self.status, self._errors]
        for offset in offsets:
            header += [offset[:8], high]
        chosen = Signal(8)
        some, full = Signal(), Signal()  # there are bytes that were not sent; the frame is full
        # What is sent again comes in a short frame first, so that something gets through.
        short = Signal()
        token, offered = Signal.like(self._sender.i.payload), Signal()
        m.d.comb += [
            buffer.r_addr.eq(self._sent[: self.window]), self._sender.i.payload.eq(token),
            self._sender.i.valid.eq(offered),
        ]  # fmt: skip
        advance, back = Signal(), Signal()
        m.d.sync += [
            some.eq(self._sent != self._written),
            full.eq((place == MAX_PAYLOAD) | (short & place[SHORT_BITS])),
            header_end.eq(place == count - 1),
            advance.eq(0),
            back.eq(0),
        ]
        with m.If(advance):
            m.d.sync += self._sent.eq(self._sent + 1)
        with m.If(back):
            m.d.sync += self._sent.eq(self._acked)

        # A byte takes five cycles to prepare. Whether there is one in the buffer is decided in the
        # third, when `some` has seen the byte before go, and it is read after that: so a byte
        # that comes in meanwhile has been written.
        phase = Signal(5)
        with m.If(phase[0] & in_header):
            m.d.sync += chosen.eq(Array(header)[place[:4]])
            with m.Switch(place[:4]):
                with m.Case(0):
                    m.d.sync += self._answer.eq(0)
                for k, offset in enumerate(offsets):
                    with m.Case(4 + 2 * k):
                        m.d.sync += high.eq(offset[8:])
        with m.If(phase[2]):
            m.d.sync += token.close.eq(~in_header & (~some | full))
        with m.If(phase[4]):
            m.d.sync += [token.data.eq(Mux(in_header, chosen, buffer.r_data)), offered.eq(1)]
        m.d.sync += phase.eq(phase << 1)

        with m.FSM():
            with m.State("WAIT-CAUSE"):
                m.d.sync += [place.eq(0), in_header.eq(1), short.eq(self._rewind)]
                with m.If(self._opening):
                    # No frame is being made, so nothing of the old session gets into a new one.
                    m.d.sync += self.opened.eq(1)
                    m.next = "OPEN"
                with m.Elif(self._rewind | some | self._answer):
                    m.d.sync += [self._rewind.eq(0), back.eq(self._rewind), phase.eq(1)]
                    m.next = "GIVE"
            with m.State("OPEN"):
                m.d.sync += self.opened.eq(0)
                m.next = "WAIT-CAUSE"
            with m.State("GIVE"):
                with m.If(offered & self._sender.i.ready):
                    m.d.sync += [
                        offered.eq(0), place.eq(place + 1), phase.eq(1), advance.eq(~in_header),
                    ]  # fmt: skip
                    with m.If(in_header & header_end):
                        m.d.sync += [in_header.eq(0), place.eq(0)]
                    with m.If(token.close):
                        m.d.sync += [advance.eq(0), phase.eq(0)]
                        m.next = "WAIT-CAUSE"
