"""The board's commands: what the bytes of the two streams do to a core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...compiler.program.program import Program
from ...host.wire.identity import CHUNK, Sizes
from ...host.wire.protocol import COUNTERS, DIGEST_BYTES, Op
from ..blocks.arith import count
from ..blocks.crc import CRC_BITS
from ..engine.core import Core
from .ledger import COUNTER_BYTES, SIZE

__all__ = ["Commands"]

STEPS_IN_CORE = 8  # bits of a counter of steps: a core holds about 40


class Commands(wiring.Component):
    """Reads commands from one byte stream, works a core, writes replies to the other.

    Parameters
    ----------
    program : Program
    core : Core
        Only its ports' shapes are looked at.
    loadable : bool
        Weights and beats can be loaded; steps are refused until they are.

    Members
    -------
    down : In(stream.Signature(8)), up : Out(stream.Signature(8))
    i, o, c, s_i, s_o
        To the core's streams of the same names.
    loaded, start : In(1), Out(1)
        Whether weights are there; a load was begun, so they no longer are.
    upset : Out(1)
        High for a cycle if loadable memories were found to hold something else.
    digest : Out(8), digest_place : Out(unsigned), digest_valid : Out(1)
        A byte of the digest of the program that the host has loaded.
    good : Out(1)
        The host has checked what it loaded, and the digest is complete.
    events, place : Out(unsigned), there : In(1), byte : In(8)
        To the ports of :class:`~.ledger.Ledger`.
    refused : Out(1)
        Commands are no longer taken, see :attr:`.protocol.Status.REFUSED`; cleared by a reset.

    Timing: one byte of a stream in 3 cycles at most, of a counter or the identity 64; all commands but steps wait until no step is
    in the core, so replies are in the order of commands.
    """

    down: stream.Interface
    up: stream.Interface
    i: stream.Interface
    o: stream.Interface
    c: stream.Interface
    s_i: stream.Interface
    s_o: stream.Interface
    loaded: Signal
    start: Signal
    upset: Signal
    good: Signal
    digest: Signal
    digest_place: Signal
    digest_valid: Signal
    events: Signal
    place: Signal
    there: Signal
    byte: Signal
    refused: Signal

    def __init__(self, *, program: Program, core: Core, loadable: bool = False) -> None:
        self.loadable, self.verify = loadable, core.verify
        self.sizes = Sizes.of(program, loadable)
        self.streams, self.code_bits = program.streams, core.port.code_bits
        ports: Any = core.signature.members
        super().__init__({
            "down": In(stream.Signature(8)), "up": Out(stream.Signature(8)),
            **{name: ports[name].flip() for name in ("i", "o", "c", "s_i", "s_o")},
            "loaded": In(1), "start": Out(1), "good": Out(1),
            "digest": Out(8), "digest_place": Out(range(DIGEST_BYTES)), "digest_valid": Out(1),
            "events": Out(len(COUNTERS)), "place": Out(range(SIZE)), "there": In(1), "byte": In(8),
            "refused": Out(1), **({"upset": Out(1)} if loadable else {}),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        z = self.sizes
        self._steps = Signal(STEPS_IN_CORE)  # begun, and not yet given out whole
        # A byte of a reply that the core has no part in.
        self._reply_valid, self._reply_ready = Signal(), Signal()
        self._serialize(m)
        op = Signal(8)
        drained = Signal()
        m.d.sync += drained.eq(self._steps == 0)
        data_bytes = max(z.input_bytes, z.word_bytes)
        word = Signal(8 * data_bytes)
        byte = Signal(count(data_bytes))
        most = max(z.inputs, z.state_words, z.weight_words, z.beat_words, 1)
        left = Signal(range(most + 1))
        self._count(m, left == z.inputs)
        place = self.place
        # Known in time: what they depend on is at rest for a cycle before each use.
        last, reply_last, taken, giving = Signal(), Signal(), Signal(), Signal()
        m.d.comb += self.s_i.valid.eq(giving)
        m.d.sync += [
            giving.eq(0),
            last.eq(left == 1), reply_last.eq(place == Mux(op[0], COUNTER_BYTES - 1, SIZE - 1)),
            taken.eq(self.s_o.valid & self.s_o.ready),
        ]  # fmt: skip

        # The stream whose state a command is for, where there are several.
        many = self.streams > 1
        stream = Signal(range(self.streams)) if many else Const(0, 0)
        loads = {Op.LOAD_STATE: z.state_words}
        reads = {Op.READ_STATE: z.state_words}
        if self.loadable:
            loads |= {Op.LOAD_WEIGHTS: z.weight_words, Op.LOAD_BEATS: z.beat_words}
            reads |= {Op.READ_WEIGHTS: z.weight_words, Op.READ_BEATS: z.beat_words}
        if self.verify:
            loads |= {Op.VERIFY: CRC_BITS // CHUNK}

        def gather(size: int) -> Value:
            """Shift the next byte of the down stream into ``word``; return whether it was the last."""
            m.d.comb += self.down.ready.eq(1)
            last = byte == size - 1
            with m.If(self.down.valid):
                shifted = Cat(word[8:], self.down.payload) if data_bytes > 1 else self.down.payload
                m.d.sync += [word.eq(shifted), byte.eq(Mux(last, 0, byte + 1))]
            return self.down.valid & last

        def high(size: int) -> Value:
            """Return the bytes gathered last."""
            return word[8 * (data_bytes - size) :]

        m.d.comb += [
            self.i.payload.data.eq(high(z.input_bytes)),
            self.i.payload.first.eq((op == Op.STEP_FIRST) & (left == z.inputs)),
            self.s_i.payload.eq(high(z.word_bytes)),
            self.c.payload.eq(Cat(op[: self.code_bits], stream)),
        ]
        with m.FSM():
            with m.State("WAIT-OP"):
                m.d.comb += self.down.ready.eq(1)
                m.d.sync += [op.eq(self.down.payload), byte.eq(0), place.eq(0)]
                with m.If(self.down.valid):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "REFUSE"
                with m.Switch(op):
                    with m.Case(Op.STEP, Op.STEP_FIRST):
                        m.d.sync += left.eq(z.inputs)
                        with m.If(self.loaded):
                            m.next = "GATHER-ELEMENT"
                    for code, words in (reads | loads).items():
                        with m.Case(code):
                            m.d.sync += left.eq(words)
                            of_one = many and code in (Op.READ_STATE, Op.LOAD_STATE)
                            m.next = "GATHER-STREAM" if of_one else "WAIT-DRAINED"
                    with m.Case(Op.IDENTIFY, Op.COUNTERS):
                        m.d.sync += place.eq(Mux(op[0], 0, COUNTER_BYTES))
                        m.next = "WAIT-DRAINED"
                    if self.loadable:
                        with m.Case(Op.LOADED):
                            m.next = "GATHER-DIGEST"

            if many:
                with m.State("GATHER-STREAM"):
                    m.d.comb += self.down.ready.eq(1)
                    m.d.sync += stream.eq(self.down.payload)
                    with m.If(self.down.valid):
                        m.next = "WAIT-DRAINED"
                        with m.If(self.down.payload >= self.streams):
                            m.next = "REFUSE"
            self._step_states(m, gather, left, last)
            self._word_states(m, gather, op, drained, left, last, giving, taken)
            self._reply_states(m, reply_last)
            with m.State("REFUSE"):
                # The streams' order is lost: all is discarded until the session is opened anew.
                m.d.comb += [self.refused.eq(1), self.down.ready.eq(1)]
        return m

    def _step_states(
        self, m: Module, gather: Callable[[int], Value], left: Signal, last: Signal
    ) -> None:
        """Give the elements of a step to the core."""
        z = self.sizes
        with m.State("GATHER-ELEMENT"):
            with m.If(gather(z.input_bytes)):
                m.next = "GIVE-ELEMENT"
        with m.State("GIVE-ELEMENT"):
            m.d.comb += self.i.valid.eq(1)
            with m.If(self.i.ready):
                m.d.sync += left.eq(left - 1)
                m.next = "GATHER-ELEMENT"
                with m.If(last):
                    m.next = "WAIT-OP"

    def _word_states(
        self, m: Module, gather: Callable[[int], Value], op: Signal, drained: Signal, left: Signal,
        last: Signal, giving: Signal, taken: Signal,
    ) -> None:  # fmt: skip
        """Give a command to the core, then words to it, or take words from it."""
        z = self.sizes
        with m.State("WAIT-DRAINED"):
            with m.If(drained):
                with m.Switch(op):
                    with m.Case(Op.IDENTIFY, Op.COUNTERS):
                        m.next = "REPLY"
                    with m.Default():
                        m.next = "GIVE-COMMAND"
        with m.State("GIVE-COMMAND"):
            m.d.comb += self.c.valid.eq(1)
            with m.If(self.c.ready):
                m.next = "WAIT-OP"
                with m.If(left != 0):
                    m.next = "TAKE-WORDS"
                    with m.If(op[0]):
                        m.next = "GATHER-WORD"
                        m.d.comb += self.start.eq(op != Op.LOAD_STATE)
                    if self.verify:
                        with m.Elif(op == Op.VERIFY):
                            m.next = "GATHER-WORD"
        with m.State("GATHER-WORD"):
            with m.If(gather(z.word_bytes)):
                m.d.sync += giving.eq(1)
                m.next = "GIVE-WORD"
        with m.State("GIVE-WORD"):
            m.d.sync += giving.eq(~self.s_i.ready)
            with m.If(self.s_i.ready):
                m.d.sync += left.eq(left - 1)
                m.next = "GATHER-WORD"
                with m.If(last):
                    m.next = "WAIT-OP"
                    if self.verify:
                        with m.If(op == Op.VERIFY):
                            m.d.sync += left.eq(1)  # the verdict
                            m.next = "TAKE-WORDS"
        with m.State("TAKE-WORDS"):
            if self.verify:
                with m.If((op == Op.VERIFY) & self.s_o.valid & self.s_o.ready):
                    m.d.comb += self.upset.eq(self.s_o.payload[0])
            with m.If(taken):
                m.d.sync += left.eq(left - 1)
                with m.If(last):
                    m.next = "WAIT-OP"

    def _reply_states(self, m: Module, reply_last: Signal) -> None:
        """Send the identity or counters; take a digest."""
        place = self.place
        with m.State("REPLY"):
            m.d.comb += self._reply_valid.eq(self.there)
            with m.If(self.there & self._reply_ready):
                m.d.sync += place.eq(place + 1)
                with m.If(reply_last):
                    m.next = "WAIT-OP"
        if self.loadable:
            with m.State("GATHER-DIGEST"):
                m.d.comb += self.down.ready.eq(1)
                m.d.comb += [
                    self.digest.eq(self.down.payload), self.digest_valid.eq(self.down.valid),
                    self.digest_place.eq(place),
                ]  # fmt: skip
                with m.If(self.down.valid):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == DIGEST_BYTES - 1):
                        m.next = "ACCEPT-DIGEST"
            with m.State("ACCEPT-DIGEST"):
                m.d.comb += self.good.eq(1)
                m.next = "WAIT-OP"

    def _serialize(self, m: Module) -> None:
        """Cut results, state words and reply bytes into bytes for the up stream."""
        z = self.sizes
        most = max(z.output_bytes, z.word_bytes)
        word = Signal(8 * most)
        more = Signal(count(most))  # bytes after the one that is offered
        empty = Signal(init=1)
        m.d.comb += [
            self.up.valid.eq(~empty), self.up.payload.eq(word[:8]), self.o.ready.eq(empty),
        ]  # fmt: skip
        with m.If(empty):
            # Only one of them has something: commands wait until all results have been taken.
            m.d.sync += empty.eq(~(self.o.valid | self.s_o.valid | self._reply_valid))
            with m.If(self.o.valid):
                m.d.sync += [word.eq(self.o.payload.data), more.eq(z.output_bytes - 1)]
            with m.Elif(self.s_o.valid):
                m.d.comb += self.s_o.ready.eq(1)
                m.d.sync += [word.eq(self.s_o.payload), more.eq(z.word_bytes - 1)]
            with m.Elif(self._reply_valid):
                m.d.comb += self._reply_ready.eq(1)
                m.d.sync += [word.eq(self.byte), more.eq(0)]
        with m.Elif(self.up.ready):
            m.d.sync += [word.eq(word >> 8), more.eq(more - 1), empty.eq(more == 0)]

    def _count(self, m: Module, first: Value) -> None:
        """Count the steps in the core; tell the ledger what is to be counted."""
        begun, ended, waited = Signal(), Signal(), Signal()  # in the cycle before
        busy, stalled = Signal(), Signal()
        m.d.sync += [
            begun.eq(self.i.valid & self.i.ready & first),
            ended.eq(self.o.valid & self.o.ready & self.o.payload.last),
            waited.eq((self.o.valid & ~self.o.ready) | (self.i.ready & ~self.i.valid)),
            self._steps.eq(self._steps + begun - ended),
            busy.eq(self._steps != 0),
            stalled.eq((self._steps != 0) & waited),
        ]
        events = {"cycles": busy, "stalls": stalled, "steps": ended}
        m.d.comb += self.events.eq(Cat(events[name] for name in COUNTERS))
