"""What the host sends is kept at the link's down stream until it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Fragment, Module, Mux, ResetSignal, Signal, Value
from gatewright.host.wire.protocol import CRC_BYTES, DownHeader, size
from gatewright.hw.link import link as link_module
from gatewright.hw.link.framing import FrameReceiver, FrameSender
from gatewright.hw.link.link import Link
from gatewright.hw.link.uart import BitTime, UartReceiver, UartTransmitter
from support.formal import AnySeq, Watched, free_inputs, hold, named, prove

SPACE = 8
"""Cycles between two bytes of a frame, and from a byte to the end: a bit on the line takes no less than 4."""


def receiver_rules(m: Module, rx: Any, promise: Any) -> None:
    """Promise what the link counts on of a receiver of frames."""
    since, before = Signal(range(SPACE + 1), init=SPACE), Signal(init=1)
    event = rx.valid | rx.good | rx.bad
    m.d.sync += [
        since.eq(Mux(event | (rx.start & ~before), 1, Mux(since == SPACE, SPACE, since + 1))),
        before.eq(rx.start),
    ]  # fmt: skip
    m.d.comb += [
        promise(~rx.valid | ~rx.start), promise(~rx.good | (rx.start & ~before)),
        promise(~event | (since == SPACE)), promise(rx.start | ~before | (since == SPACE)),
    ]  # fmt: skip


def test_a_receiver_of_frames_keeps_the_rules(tmp_path: Path) -> None:
    """Bytes at least 16 cycles apart, of any value."""
    m = Module()
    m.submodules.dut = dut = FrameReceiver()
    since = Signal(range(17), init=16)
    m.d.sync += since.eq(Mux(dut.raw_valid, 1, Mux(since == 16, 16, since + 1)))
    held = Signal(8)
    m.d.sync += held.eq(dut.raw)
    m.d.comb += [
        Assume(~dut.raw_valid | (since == 16)), Assume((since != 1) | (dut.raw == held)),
        Assume(~dut.raw_broken | (since == 16)), Assume(~ResetSignal()),
    ]  # fmt: skip
    receiver_rules(m, dut, Assert)
    assert prove(m, free_inputs(dut), tmp_path, depth=20) <= 16


# -- the link, with any receiver that keeps these rules, and any sender ---------------------


class AnyReceiver(FrameReceiver):
    """Gives out anything that keeps the rules."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for port in (self.data, self.valid, self.start, self.good, self.bad):
            m.d.comb += port.eq(AnySeq(len(port)))
        receiver_rules(m, self, Assume)
        return m


class AnySender(FrameSender):
    """Takes bytes whenever it likes."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(AnySeq(1))
        return m


class NoReceiver(UartReceiver):
    """Nothing: the receiver of frames does not look at it."""

    def elaborate(self, platform: object) -> Module:
        return Module()


class NoTransmitter(UartTransmitter):
    """Nothing."""

    def elaborate(self, platform: object) -> Module:
        return Module()


def down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Prove that an offer of the down stream stays until it is taken, or a session opens.

    The host's part: a frame that is under way when a session opens is not one with data of that session.
    """
    for stub in (AnyReceiver, AnySender, NoReceiver, NoTransmitter):
        monkeypatch.setattr(link_module, stub.__mro__[1].__name__, stub)
    dut, memories, m = Link(time=BitTime(4, 0, 0, 0.0)), Watched(), Module()
    inside = Fragment.get(dut, memories)
    m.submodules.dut = inside
    watched = memories.places[0]
    header = size(DownHeader)
    place = named(inside, "place", bits=4)
    ahead, fits, between, take = (
        named(inside, name) for name in ("ahead", "fits", "between", "take")
    )
    have, looked, waits = (named(inside, name) for name in ("have", "looked", "waits"))
    received, consumed = dut._received, dut._consumed
    bits = len(received)

    def beyond(a: Value, b: Value) -> Value:
        return (a - b)[:bits]

    ended, stale = Signal(), Signal()
    m.d.sync += [ended.eq(dut.opened), stale.eq(dut.opened | (stale & ~between))]
    hold(m, "down", dut.down,
         lambda kept, _: Assert(kept | ended | (consumed[: dut.window] != watched)))  # fmt: skip
    m.d.comb += Assume(~(take & stale))
    # What goes to the sender is kept, too: while a byte is prepared, none is offered.
    hold(m, "up", dut._sender.i, Assert)
    phase, offered = named(inside, "phase"), named(inside, "offered")
    gives = named(inside, "fsm_state") == 2
    m.d.comb += [
        Assert((phase & (phase - 1))[: len(phase)] == 0), Assert(~offered | (phase == 0)),
        Assert(gives == (offered | (phase != 0))),
    ]  # fmt: skip
    # What induction needs to know: consumed <= received <= ahead, less than a buffer apart.
    filled, taken, new = (
        beyond(received, consumed), beyond(ahead, consumed), beyond(ahead, received)
    )  # fmt: skip
    most = (1 << dut.window) - 1
    m.d.comb += [
        Assume(~ResetSignal()),
        Assert(place <= header + CRC_BYTES),
        Assert(filled <= most),
        Assert(between | stale | ((filled <= taken) & (taken <= most))),
        Assert(between | stale | (place > header) | (new == 0)),
        Assert(between | stale | ~fits | (place <= header) | (new >= place - header)),
        Assert(~stale | (received == consumed)),
        Assert(~have | (received != consumed)),
        Assert(~(looked & waits) | (received != consumed)),
    ]
    return prove(m, free_inputs(dut), folder, depth=14, memories=memories)


def test_what_the_host_sends_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert down(tmp_path, monkeypatch) <= 8
