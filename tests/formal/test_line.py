"""The bytes on the line: a frame's are kept until the UART takes them, and the UART's arrive as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Fragment, Module, Mux, ResetSignal, Signal, Value
from gatewright.hw.link import framing
from gatewright.hw.link.buffer import Buffer
from gatewright.hw.link.framing import FrameSender
from gatewright.hw.link.uart import BitTime, UartReceiver, UartTransmitter
from support.formal import Refuted, Watched, free_inputs, hold, named, prove

full = pytest.mark.full


class Caught(Buffer):
    """A buffer that a proof can look at."""

    last: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        Caught.last = self


class OneHalf(Caught):
    """Writes into the half that is being sent."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Buffer(depth=self.depth, family=self.family)
        m.d.comb += [
            buffer.w_en.eq(self.w_en), buffer.w_addr.eq(self.w_addr ^ (self.depth >> 1)),
            buffer.w_data.eq(self.w_data), buffer.r_addr.eq(self.r_addr),
            self.r_data.eq(buffer.r_data),
        ]  # fmt: skip
        return m


def sender(folder: Path, monkeypatch: pytest.MonkeyPatch, buffer: type[Caught] = Caught) -> int:
    """Prove that a raw byte stays as it is until it is taken, wherever it lies in the buffer."""
    monkeypatch.setattr(framing, "Buffer", buffer)
    dut, memories, m = FrameSender(), Watched(), Module()
    inside = Fragment.get(dut, memories)
    m.submodules.dut = inside
    full, state = named(inside, "full"), named(inside, "send_state")
    (place,) = memories.places
    read = Value.cast(Caught.last.r_addr) == place

    def promise(kept: Any, _: str) -> Any:
        return Assert(kept | ~(read | named(inside, "at_end")))

    hold(m, "o", dut.o, promise)
    hold(m, "i", dut.i, Assume)
    # What induction needs to know: only a half that is full is sent, so it is not the one that is written.
    m.d.comb += Assert((state == 0) | full)
    return prove(m, free_inputs(dut), folder, depth=8, memories=memories)


def test_bytes_of_a_frame_are_kept_until_they_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sender(tmp_path, monkeypatch) <= 5


def test_a_byte_that_is_overwritten_is_refuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refuted):
        sender(tmp_path, monkeypatch, buffer=OneHalf)


def line(time: BitTime, folder: Path, depth: int, number: int, *, inverted: bool = False) -> int:
    """Prove that bytes come out of the receiver as they went into the transmitter, ``number`` of them."""
    m = Module()
    m.submodules.send = send = UartTransmitter(time)
    m.submodules.receive = receive = UartReceiver(time)
    m.d.comb += receive.rx.eq(~send.tx if inverted else send.tx)
    went, came = (Signal(range(number + 2), name=name) for name in ("went", "came"))
    sent = [Signal(8, name=f"sent_{k}") for k in range(number + 1)]
    with m.If(send.i.valid & send.i.ready):
        m.d.sync += went.eq(went + 1)
        for k, byte in enumerate(sent):
            with m.If(went == k):
                m.d.sync += byte.eq(send.i.payload)
    with m.If(receive.valid):
        m.d.sync += came.eq(came + 1)
    wanted: Value = sent[0]
    for k, byte in enumerate(sent):
        wanted = Mux(came == k, byte, wanted)
    # One byte is on the way at most beside the one that is read.
    m.d.comb += [
        Assert(~receive.valid | ((came < went) & (receive.data == wanted))), Assert(~receive.broken),
        Assert(went <= came + 2), Assume(went <= number), Assume(~ResetSignal()),
    ]  # fmt: skip
    return prove(m, free_inputs(send), folder, depth=depth, bounded=True)


@full
@pytest.mark.parametrize(
    ("time", "depth"),
    [(BitTime(4, 0, 0, 0.0), 100), (BitTime(4, 3, 3, 0.0), 110)],
)
def test_bytes_arrive(time: BitTime, depth: int, tmp_path: Path) -> None:
    """Every byte, after any pause: two in 100 cycles of four a bit, in 110 of four and three eighths."""
    assert line(time, tmp_path, depth, 2) == depth


@full
def test_a_line_that_is_inverted_is_refuted(tmp_path: Path) -> None:
    with pytest.raises(Refuted):
        line(BitTime(4, 0, 0, 0.0), tmp_path, 60, 2, inverted=True)
