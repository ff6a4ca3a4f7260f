"""A gatewright core between two components of one's own, all joined by streams.

Samples of a converter come in at their own width; a step of the network is a few channels. The
alarm goes on when an output exceeds a threshold, and off when it is below half of it::

    samples ──► Steps ──► Core ──► Alarm ──► alarm

``python detector.py PROGRAM`` writes the whole design as Verilog.
"""

from __future__ import annotations

import sys
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from gatewright.compiler.program.program import Program
from gatewright.hw import Core

__all__ = ["Alarm", "Detector", "Steps"]


class Steps(wiring.Component):
    """Turn samples into input elements of a core.

    Parameters
    ----------
    core : Core
        The core that takes them.
    sample_bits : int
        Width of a sample; samples are shifted down to the width of a code, rounded down.

    Members
    -------
    i : In(stream of signed(sample_bits))
    o : Out(stream)
        As ``core.i``.
    restart : In(1)
        While high, the step that begins starts from the reset state.

    Timing: combinational, but for the place in the step.
    """

    i: stream.Interface
    o: stream.Interface
    restart: Signal

    def __init__(self, core: Core, sample_bits: int) -> None:
        self.size = core.program.input_size
        self.shift = sample_bits - core.program.input_format.bits
        if self.shift < 0:
            raise ValueError(f"samples of {sample_bits} bits are narrower than the codes")
        super().__init__({
            "i": In(stream.Signature(signed(sample_bits))),
            "o": Out(stream.Signature(core.i.payload.shape())),
            "restart": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channel = Signal(range(max(2, self.size)))
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
            self.o.payload.data.eq(self.i.payload >> self.shift),
            self.o.payload.first.eq(self.restart & (channel == 0)),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += channel.eq(Mux(channel == self.size - 1, 0, channel + 1))
        return m


class Alarm(wiring.Component):
    """Watch the first output of each step.

    Parameters
    ----------
    core : Core
    threshold : int
        Code above which the alarm goes on; it goes off below half of it.

    Members
    -------
    i : In(stream)
        As ``core.o``; always taken.
    alarm : Out(1)

    Timing: the alarm follows its output by one cycle.
    """

    i: stream.Interface
    alarm: Signal

    def __init__(self, core: Core, threshold: int) -> None:
        self.threshold = threshold
        super().__init__({"i": In(stream.Signature(core.o.payload.shape())), "alarm": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        with m.If(self.i.valid & self.i.payload.first):
            with m.If(self.i.payload.data > self.threshold):
                m.d.sync += self.alarm.eq(1)
            with m.Elif(self.i.payload.data < self.threshold // 2):
                m.d.sync += self.alarm.eq(0)
        return m


class Detector(wiring.Component):
    """The three of them.

    Parameters
    ----------
    program : Program
    sample_bits, threshold : int
        See :class:`Steps` and :class:`Alarm`.

    Members
    -------
    samples : In(stream of signed(sample_bits))
    restart : In(1)
    alarm : Out(1)
    """

    samples: stream.Interface
    restart: Signal
    alarm: Signal

    def __init__(self, program: Program, *, sample_bits: int = 16, threshold: int) -> None:
        self.core = Core(program)
        self.steps = Steps(self.core, sample_bits)
        self.watch = Alarm(self.core, threshold)
        super().__init__({
            "samples": In(stream.Signature(signed(sample_bits))),
            "restart": In(1), "alarm": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.steps, m.submodules.core, m.submodules.watch = (
            self.steps,
            self.core,
            self.watch,
        )
        wiring.connect(m, wiring.flipped(self.samples), self.steps.i)
        wiring.connect(m, self.steps.o, self.core.i)
        wiring.connect(m, self.core.o, self.watch.i)
        m.d.comb += [self.steps.restart.eq(self.restart), self.alarm.eq(self.watch.alarm)]
        # The state port is not used: its inputs stay low, its outputs unread.
        return m


def main() -> None:
    """Write the design of a program as Verilog to standard output."""
    detector = Detector(Program.load(Path(sys.argv[1])), threshold=1 << 8)
    print(verilog.convert(detector, name="detector", emit_src=False))


if __name__ == "__main__":
    main()
