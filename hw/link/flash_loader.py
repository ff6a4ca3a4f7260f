"""Fill a core's memories from SPI flash at power-up."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...compiler.arrays import ceil_div
from ...compiler.program.program import Program
from ...host.wire.flash_image import flash_header
from ...host.wire.identity import Sizes
from ...host.wire.protocol import CRC_BYTES, DIGEST_BYTES, Op
from ..blocks.crc import CRC_BITS, CRC_RESIDUE, crc_step
from ..engine.core import Core

__all__ = ["FlashLoader"]

WAKE, READ = 0xAB, 0x03
"""Commands that every SPI flash has: release from power-down, read."""
SCK_HZ = 16e6
WAKE_SECONDS = 50e-6


class FlashLoader(wiring.Component):
    """Reads a :func:`.flash_image.flash_image` into a core.

    Parameters
    ----------
    program : Program
        Of the hardware; the flash may hold another one of the same hardware digest.
    core : Core
        Only its ports' shapes are looked at.
    clock_hz : float
    offset : int
        Where the image begins, in bytes.

    Members
    -------
    cs_n, sck, mosi : Out(1), miso : In(1)
        The flash: mode 0, at 16 MHz at most.
    c, s_i : Out(stream)
        To the core.
    busy : Out(1)
        From power-up until the memories are filled or the image is refused.
    start : Out(1)
        High for a cycle when the first word is written: the contents until now are gone.
    digest : Out(8), digest_place : Out(unsigned), digest_valid : Out(1)
        A byte of the digest of the program.
    good, bad : Out(1)
        High for a cycle at the end: the CRC is right; magic, hardware digest or CRC are not.

    Timing: 18 times half a clock of the flash a byte, and 50 us before the first.
    """

    cs_n: Signal
    sck: Signal
    mosi: Signal
    miso: Signal
    c: stream.Interface
    s_i: stream.Interface
    busy: Signal
    start: Signal
    digest: Signal
    digest_place: Signal
    digest_valid: Signal
    good: Signal
    bad: Signal

    def __init__(self, *, program: Program, core: Core, clock_hz: float, offset: int) -> None:
        self.header = flash_header(program)
        self.sizes = Sizes.of(program, loadable=True)
        self.offset = offset
        self.half = max(1, ceil_div(round(clock_hz), round(2 * SCK_HZ)))  # cycles of half a clock
        self.wake = max(2, round(WAKE_SECONDS * clock_hz))
        ports = core.signature.members
        super().__init__({
            "cs_n": Out(1, init=1), "sck": Out(1), "mosi": Out(1), "miso": In(1),  # type: ignore[call-arg]
            "c": ports["c"].flip(), "s_i": ports["s_i"].flip(),
            "busy": Out(1, init=1), "start": Out(1),  # type: ignore[call-arg]
            "digest": Out(8), "digest_place": Out(range(DIGEST_BYTES)), "digest_valid": Out(1),
            "good": Out(1), "bad": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        z = self.sizes
        # -- A byte out and in, whenever `go` is high for a cycle.
        go, ready = Signal(), Signal()
        out, byte = Signal(8), Signal(8)
        bits, timer = Signal(range(9)), Signal(range(max(2, self.half)))
        line = Signal()
        m.d.sync += line.eq(self.miso)
        m.d.comb += [ready.eq(bits == 0), self.mosi.eq(out[7])]
        with m.If(~ready):
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self.half - 1), self.sck.eq(~self.sck)]
                with m.If(self.sck):
                    # The flash changes its output from now on; it is sampled before it does.
                    m.d.sync += [
                        out.eq(out << 1), byte.eq(Cat(line, byte)), bits.eq(bits - 1),
                    ]  # fmt: skip
        with m.Elif(go):
            m.d.sync += [bits.eq(8), timer.eq(self.half - 1)]

        crc = Signal(CRC_BITS, init=(1 << CRC_BITS) - 1)
        shifted = Signal(8)
        left = Signal(range(9))  # bits that are not in the CRC
        with m.If(left != 0):
            m.d.sync += [
                crc.eq(crc_step(crc, shifted[0])), shifted.eq(shifted >> 1), left.eq(left - 1),
            ]  # fmt: skip

        length = len(self.header)
        most = max(self.wake, z.weight_words, z.beat_words, length)
        count = Signal(range(most + 1))
        low = Signal(8)
        odd, weights, right = Signal(), Signal(), Signal()
        expected = Array(Const(b, 8) for b in self.header)
        address = self.offset.to_bytes(3, "big")
        command = Array(Const(b, 8) for b in (READ, *address))
        m.d.comb += [
            self.c.payload.eq(Op.LOAD_BEATS & 7),
            self.s_i.payload.eq(Cat(low, byte)),
            self.digest.eq(byte),
            self.digest_place.eq(DIGEST_BYTES - count),
        ]
        with m.If(weights):
            m.d.comb += self.c.payload.eq(Op.LOAD_WEIGHTS & 7)

        def take() -> None:
            """Put the byte that was read into the CRC, and read the next one."""
            m.d.comb += go.eq(1)
            m.d.sync += [shifted.eq(byte), left.eq(8)]

        with m.FSM():
            with m.State("WAKE"):
                m.d.sync += [self.cs_n.eq(0), out.eq(WAKE), count.eq(self.wake)]
                m.d.comb += go.eq(1)
                m.next = "WAIT-WAKE"
            with m.State("WAIT-WAKE"):
                with m.If(ready):
                    m.d.sync += [self.cs_n.eq(1), count.eq(count - 1)]
                    with m.If(count == 0):
                        m.d.sync += [count.eq(0), self.cs_n.eq(0)]
                        m.next = "COMMAND"
            with m.State("COMMAND"):
                with m.If(ready):
                    m.d.comb += go.eq(1)
                    m.d.sync += [out.eq(command[count[:2]]), count.eq(count + 1)]
                    with m.If(count == len(address)):
                        m.next = "SKIP"
            with m.State("SKIP"):
                # The byte that came in with the last of the command is none.
                with m.If(ready):
                    m.d.comb += go.eq(1)
                    m.d.sync += count.eq(0)
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(ready):
                    take()
                    m.d.sync += count.eq(count + 1)
                    with m.If(byte != expected[count[: (length - 1).bit_length()]]):
                        m.next = "BAD"
                    with m.Elif(count == length - 1):
                        m.d.sync += count.eq(DIGEST_BYTES)
                        m.next = "DIGEST"
            with m.State("DIGEST"):
                with m.If(ready):
                    take()
                    m.d.comb += self.digest_valid.eq(1)
                    m.d.sync += count.eq(count - 1)
                    with m.If(count == 1):
                        m.d.sync += count.eq(z.beat_words)
                        m.next = "GIVE-COMMAND"
            with m.State("GIVE-COMMAND"):
                m.d.comb += self.c.valid.eq(1)
                with m.If(self.c.ready):
                    m.d.comb += self.start.eq(1)
                    m.next = "WORD"
            with m.State("WORD"):
                with m.If(ready):
                    with m.If(~odd):
                        take()
                        m.d.sync += [low.eq(byte), odd.eq(1)]
                    with m.Else():
                        m.d.comb += self.s_i.valid.eq(1)
                        with m.If(self.s_i.ready):
                            take()
                            m.d.sync += [odd.eq(0), count.eq(count - 1)]
                            with m.If(count == 1):
                                m.d.sync += weights.eq(1)
                                with m.If(weights):
                                    m.d.sync += count.eq(CRC_BYTES)
                                    m.next = "SUM"
                                with m.Else():
                                    m.d.sync += count.eq(z.weight_words)
                                    m.next = "GIVE-COMMAND"
            with m.State("SUM"):
                with m.If(ready):
                    with m.If(count == 0):
                        m.d.sync += right.eq(crc == CRC_RESIDUE)
                        m.next = "JUDGE"
                    with m.Else():
                        take()
                        m.d.sync += count.eq(count - 1)
            with m.State("JUDGE"):
                m.d.comb += [self.good.eq(right), self.bad.eq(~right)]
                m.next = "DONE"
            with m.State("BAD"):
                m.d.comb += self.bad.eq(1)
                m.next = "DONE"
            with m.State("DONE"):
                m.d.sync += [self.busy.eq(0), self.cs_n.eq(1)]
        return m
