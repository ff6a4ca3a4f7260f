"""Identity and counters of a board, in one small memory of bytes."""

from __future__ import annotations

import itertools

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...host.wire.identity import IDENTITY_BYTES, Identity
from ...host.wire.protocol import COUNTERS, DIGEST_BYTES
from ..blocks import collisions

__all__ = ["COUNTER_BYTES", "SIZE", "Ledger"]

COUNTER_BYTES = sum(COUNTERS.values())
SIZE = COUNTER_BYTES + IDENTITY_BYTES
"""Bytes: the counters, then the identity, which ends with the digest of the program."""


class Ledger(wiring.Component):
    """Counters, identity and digest of the program, read a byte at a time.

    A walk passes a byte a cycle, around and around. Events are counted in a few bits beside the
    memory and added when the walk comes to the lowest byte of their counter; a carry goes on to the next
    byte. So 16 bytes of counters take as many logic cells as one does.

    Parameters
    ----------
    identity : Identity
        Its program digest is the one after power-up.

    Members
    -------
    events : In(counters)
        One bit for each of :data:`.protocol.COUNTERS`, which are zero after a reset; the other contents
        stay.
    place : In(unsigned), there : Out(1), byte : Out(8)
        While ``there`` is high, ``byte`` is the one that was at ``place`` in the cycle before; a counter
        is read after its last event.
    digest_en : In(1), digest_place : In(unsigned), digest : In(8)
        Write a byte of the program digest, also during a reset.

    Timing: ``there`` once in 64 cycles, later by those in which a digest is written.
    """

    events: Signal
    place: Signal
    there: Signal
    byte: Signal
    digest_en: Signal
    digest_place: Signal
    digest: Signal

    def __init__(self, *, identity: Identity) -> None:
        self.contents = [0] * COUNTER_BYTES + list(identity.pack())
        super().__init__({
            "events": In(len(COUNTERS)),
            "place": In(range(SIZE)), "there": Out(1), "byte": Out(8),
            "digest_en": In(1), "digest_place": In(range(DIGEST_BYTES)), "digest": In(8),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = len(self.place)
        m.submodules.memory = memory = collisions.memory(
            shape=8, depth=1 << bits, init=self.contents
        )
        write, read = memory.write_port(), memory.read_port()
        go, running = Signal(), Signal()  # the walk advances; a byte is at the memory's output
        at, late = Signal(bits), Signal(bits)
        # Of the byte at the memory's output: it is one of a counter; the lowest of one, or the first
        # after them, to which the events are added that were counted beside the memory.
        starts = [0, *itertools.accumulate(COUNTERS.values())]
        counted, cleared, lowest = Signal(init=1), Signal(), Signal(init=1)
        chosen, carry = Signal(bits + 1), Signal()
        m.d.comb += [go.eq(~self.digest_en), read.en.eq(go), read.addr.eq(at)]
        with m.If(go):
            m.d.sync += [
                at.eq(at + 1), late.eq(at), running.eq(1), counted.eq(at < COUNTER_BYTES),
                lowest.eq(Cat(at == start for start in starts).any()), chosen.eq(0),
            ]  # fmt: skip
            with m.If(running & ~counted):
                m.d.sync += cleared.eq(1)
        for k, start in enumerate(starts[:-1]):
            # Events since the walk was here: no more than a pass and the bytes of a digest.
            recent = Signal(bits + 1, name=f"recent_{k}")
            m.d.sync += recent.eq(recent + self.events[k])
            with m.If(go & (at == start)):
                m.d.sync += [chosen.eq(recent), recent.eq(self.events[k])]

        total = Signal(9)
        m.d.comb += total.eq(Mux(counted & ~cleared, 0, read.data) + Mux(lowest, chosen, carry))
        m.d.sync += [self.byte.eq(total), self.there.eq(running & go & (late == self.place))]
        # The walk writes the counters only: a byte of the digest that it has read may change meanwhile.
        counts, place, written = Signal(), Signal(bits), Signal(8)
        with m.If(go):
            m.d.sync += [
                carry.eq(total[-1]), counts.eq(running & counted), place.eq(late),
                written.eq(total),
            ]  # fmt: skip
        m.d.comb += [write.en.eq(counts), write.addr.eq(place), write.data.eq(written)]
        with m.If(self.digest_en):
            m.d.comb += [
                write.en.eq(1), write.addr.eq(SIZE - DIGEST_BYTES + self.digest_place),
                write.data.eq(self.digest),
            ]  # fmt: skip
        return m
