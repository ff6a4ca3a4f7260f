"""The state port: commands between steps that read, load and verify states, weights and beat table."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...compiler.arrays import ceil_div
from ...compiler.layout.images import chunks
from ...compiler.layout.schedule import Schedule
from ..blocks.arith import count, round_shift, saturate
from ..blocks.crc import CRC_BITS, CRC_RESIDUE, crc_step
from ..blocks.memory import CHUNK, Table

__all__ = [
    "LOAD",
    "LOAD_BEATS",
    "LOAD_WEIGHTS",
    "READ",
    "READ_BEATS",
    "READ_WEIGHTS",
    "VERIFY",
    "Port",
    "chunks",
]

READ, LOAD, READ_WEIGHTS, LOAD_WEIGHTS, READ_BEATS, LOAD_BEATS, VERIFY = range(7)
"""Commands of the state port; those of the memories exist in loadable cores only."""

WAIT = Table.latency + 1  # cycles from a memory's address to its word; weights have one more


class Port(wiring.Component):
    """Serve the commands of stream ``c``, one at a time, while the core is idle.

    Parameters
    ----------
    schedule : Schedule
    state_bits : int
        Width of a state.
    loadable : bool
        Serve the commands of the memories as well.
    weights, beats : (depth, width)
        Words of the memories and their bits.

    Members
    -------
    c, s_i : In(stream), s_o : Out(stream)
        See :class:`~.core.Core`.
    idle : In(1)
        No step is on its way, so a command may begin.
    fresh : In(1)
        The next step of the stream starts from the reset state: states read as zero.
    busy : Out(1)
        A command is being served.
    loaded : Out(1)
        In the last cycle of a state load.
    load_en, load_addr, load_data, read_addr : Out, read_data : In
        State memory, one enable and one value for each row of a beat.
    o_en, o_word, o_code : Out
        Operand memory: bank enables, word, operand made of a loaded state.
    stream : Out(unsigned)
        Stream whose state is served; a constant where there is one.
    m_busy, m_beats : Out(1)
        A memory is being served; it is the beat table.
    m_addr, m_data : Out, m_weights, m_table : Out(enables)
        Address and chunk to write, and the enables of both memories.
    m_read : In(chunks of the wider memory)
        What the memory read, at most ``WAIT`` cycles after the address.

    Timing: a word takes 4 cycles to load and 6 to read, a chunk 4 and 7, where the streams do
    not wait. The verdict on the memories is offered
    :attr:`~.images.MemoryImages.verify_cycles` after their ``VERIFY`` is taken.
    """

    c: stream.Interface
    s_i: stream.Interface
    s_o: stream.Interface
    idle: Signal
    fresh: Signal
    busy: Signal
    loaded: Signal
    load_en: Signal
    load_addr: Signal
    load_data: Signal
    read_addr: Signal
    read_data: Any
    o_en: Signal
    o_word: Signal
    o_code: Signal
    m_busy: Signal
    m_beats: Signal
    m_addr: Signal
    m_data: Signal
    m_weights: Signal
    m_table: Signal
    m_read: Signal

    def __init__(
        self, *, schedule: Schedule, state_bits: int, loadable: bool, verify: bool,
        weights: tuple[int, int], beats: tuple[int, int],
    ) -> None:  # fmt: skip
        self.schedule, self.state_bits, self.loadable = schedule, state_bits, loadable
        self.verify = verify
        self.depths = (weights[0], beats[0])
        self.chunks = (ceil_div(weights[1], CHUNK), ceil_div(beats[1], CHUNK))
        n, e = schedule.network.numbers, schedule.geometry.beat
        states = count(max(2, schedule.state_words))
        word = signed(max(state_bits, CHUNK) if loadable else state_bits)
        streams = range(schedule.streams)
        self.stream: Any = Signal(streams) if len(streams) > 1 else Const(0, 0)
        self.code_bits = 3 if loadable else 1
        super().__init__({
            "c": In(stream.Signature(self.code_bits + len(self.stream))),
            "s_i": In(stream.Signature(word)),
            "s_o": Out(stream.Signature(word)),
            "idle": In(1), "fresh": In(1), "busy": Out(1), "loaded": Out(1),
            "load_en": Out(e), "load_addr": Out(states), "load_data": Out(signed(state_bits)),
            "read_addr": Out(states), "read_data": In(signed(state_bits)).array(e),
            "o_en": Out(schedule.geometry.split), "o_word": Out(count(schedule.memory_words)),
            "o_code": Out(signed(n.activation_bits)),
            "m_busy": Out(1), "m_beats": Out(1),
            "m_addr": Out(count(max(self.depths))), "m_data": Out(CHUNK),
            "m_weights": Out(self.chunks[0]), "m_table": Out(self.chunks[1]),
            "m_read": In(CHUNK * max(self.chunks)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s = self.schedule
        if not s.states and not self.loadable:
            # Nothing to serve; a state machine of one state would have a register of no bits,
            # which Verilog cannot say.
            m.d.comb += [self.c.ready.eq(self.idle), self.s_i.ready.eq(1)]
            return m
        # Ports to the outside end in this register, and what depends on the walk is decided in
        # states of their own: the port is slow, and never in the way of the clock.
        word = Signal.like(self.s_o.payload)
        store, step, last = Signal(), Signal(), Signal()
        value = self._walk(m, word, store, step, last)
        m_step, m_last = Signal(), Signal()
        chunk = Signal(count(max(self.chunks)))
        code, chosen = self.c.payload[: self.code_bits], self.c.payload[self.code_bits :]
        wait = Signal(range(WAIT + 1))
        m.d.comb += [self.s_o.payload.eq(word), self.m_data.eq(word[:CHUNK])]

        # What the streams are told comes from registers, not from the state.
        accepts, offers = Signal(), Signal()
        m.d.comb += [self.s_i.ready.eq(accepts), self.s_o.valid.eq(offers)]
        m.d.sync += [accepts.eq(0), offers.eq(0)]

        with m.FSM():
            with m.State("WAIT-COMMAND"):
                m.d.comb += self.c.ready.eq(self.idle)
                m.d.sync += [self.m_addr.eq(0), chunk.eq(0), wait.eq(WAIT)]
                if len(chosen):
                    m.d.sync += self.stream.eq(chosen)
                with m.If(self.c.valid & self.idle):
                    with m.If((code <= LOAD) if self.loadable else 1):
                        if s.states:
                            m.d.sync += self.busy.eq(1)
                            with m.If(code[0]):
                                m.next = "WAIT-WORD"
                            with m.Else():
                                m.next = "FETCH"
                    if self.loadable:
                        with m.Elif(code <= (VERIFY if self.verify else LOAD_BEATS)):
                            m.d.sync += [
                                self.busy.eq(1), self.m_busy.eq(1), self.m_beats.eq(code[2]),
                            ]  # fmt: skip
                            m.next = "FETCH-CHUNK"
                            with m.If(code[0]):
                                m.next = "WAIT-CHUNK"
                            if self.verify:
                                with m.If(code == VERIFY):
                                    m.next = "CHECK-FETCH"
            if s.states:
                self._state_states(m, word, value, accepts, offers, wait, store, step, last)
            if self.loadable:
                self._chunk_states(m, word, chunk, accepts, offers, wait, m_step, m_last)
            if self.verify:
                self._check_states(m, word, chunk, accepts, offers, wait, m_step, m_last)
        if self.loadable:
            self._count_chunks(m, chunk, m_step, m_last)
        return m

    def _finish(self, m: Module, done: Value, otherwise: str) -> None:
        """Wait for the next command where the last word is through, else go on."""
        with m.If(done):
            m.d.sync += [self.busy.eq(0), self.m_busy.eq(0)]
            m.next = "WAIT-COMMAND"
        with m.Else():
            m.next = otherwise

    def _state_states(
        self, m: Module, word: Signal, value: Any, accepts: Signal, offers: Signal, wait: Signal,
        store: Signal, step: Signal, last: Signal,
    ) -> None:  # fmt: skip
        """Store words of the state, or send them."""
        with m.State("WAIT-WORD"):
            m.d.sync += [word.eq(self.s_i.payload), accepts.eq(~(accepts & self.s_i.valid))]
            with m.If(accepts & self.s_i.valid):
                m.next = "STORE"
        with m.State("STORE"):
            m.d.comb += store.eq(1)
            m.next = "STORE-OPERAND"
        with m.State("STORE-OPERAND"):
            m.d.comb += [step.eq(1), self.loaded.eq(last)]
            self._finish(m, last, "WAIT-WORD")
        with m.State("FETCH"):
            m.d.sync += wait.eq(wait - 1)
            # Before the first step the memories hold nothing: the state is the reset state.
            m.d.sync += word.eq(Mux(self.fresh, 0, value))
            with m.If(wait == 0):
                m.d.sync += offers.eq(1)
                m.next = "SEND"
        with m.State("SEND"):
            m.d.sync += offers.eq(~self.s_o.ready)
            with m.If(self.s_o.ready):
                m.next = "SENT"
        with m.State("SENT"):
            m.d.comb += step.eq(1)
            m.d.sync += wait.eq(WAIT)
            self._finish(m, last, "FETCH")

    def _chunk_states(
        self, m: Module, word: Signal, chunk: Signal, accepts: Signal, offers: Signal,
        wait: Signal, m_step: Signal, m_last: Signal,
    ) -> None:  # fmt: skip
        """Store chunks of weights or beats, or send them."""
        with m.State("WAIT-CHUNK"):
            m.d.sync += [word.eq(self.s_i.payload), accepts.eq(~(accepts & self.s_i.valid))]
            with m.If(accepts & self.s_i.valid):
                m.next = "STORE-CHUNK"
        with m.State("STORE-CHUNK"):
            m.d.comb += m_step.eq(1)
            with m.If(self.m_beats):
                m.d.comb += self.m_table.eq(1 << chunk)
            with m.Else():
                m.d.comb += self.m_weights.eq(1 << chunk)
            m.next = "STORED-CHUNK"
        with m.State("STORED-CHUNK"):
            self._finish(m, m_last, "WAIT-CHUNK")
        with m.State("FETCH-CHUNK"):
            m.d.sync += [wait.eq(wait - 1), word.eq(self.m_read.word_select(chunk, CHUNK))]
            with m.If(wait == 0):
                m.d.sync += offers.eq(1)
                m.next = "SEND-CHUNK"
        with m.State("SEND-CHUNK"):
            m.d.sync += offers.eq(~self.s_o.ready)
            with m.If(self.s_o.ready):
                m.next = "SENT-CHUNK"
        with m.State("SENT-CHUNK"):
            m.d.comb += m_step.eq(1)
            m.d.sync += wait.eq(WAIT)
            m.next = "NEXT-CHUNK"
        with m.State("NEXT-CHUNK"):
            self._finish(m, m_last, "FETCH-CHUNK")

    def _check_states(
        self, m: Module, word: Signal, chunk: Signal, accepts: Signal, offers: Signal,
        wait: Signal, m_step: Signal, m_last: Signal,
    ) -> None:  # fmt: skip
        """Put all chunks, beat table first, and the CRC from outside through a CRC register; judge it.

        A bit a cycle: while a chunk is shifted through, the next one is read.
        """
        crc = Signal(CRC_BITS)
        bit = Signal(range(CHUNK))
        second = Signal()
        following = self.m_read.word_select(chunk, CHUNK)
        bit_end = Signal()
        m.d.sync += bit_end.eq(bit == CHUNK - 2)
        with m.State("CHECK-FETCH"):
            m.d.sync += [wait.eq(wait - 1), word.eq(following), second.eq(0)]
            with m.If(self.m_beats):
                m.d.sync += crc.eq((1 << CRC_BITS) - 1)
            with m.If(wait == 0):
                m.next = "CHECK"
        with m.State("CHECK"):
            m.d.comb += m_step.eq(bit == 0)
            m.d.sync += [
                bit.eq(bit + 1), crc.eq(crc_step(crc, word[0])),
                word.eq(Mux(bit_end, following, word[1:CHUNK])), wait.eq(WAIT),
            ]  # fmt: skip
            with m.If(bit_end):
                with m.If(self.m_busy):
                    with m.If(m_last):
                        m.d.sync += [self.m_addr.eq(0), self.m_beats.eq(0)]
                        m.next = "CHECK-FETCH"
                        with m.If(~self.m_beats):
                            m.d.sync += self.m_busy.eq(0)
                            m.next = "CHECK-EXPECTED"
                with m.Else():
                    m.d.sync += second.eq(1)
                    m.next = "CHECK-EXPECTED"
                    with m.If(second):
                        m.next = "JUDGE"
        with m.State("CHECK-EXPECTED"):
            m.d.sync += [word.eq(self.s_i.payload), accepts.eq(~(accepts & self.s_i.valid))]
            with m.If(accepts & self.s_i.valid):
                m.next = "CHECK"
        with m.State("JUDGE"):
            m.d.sync += [word.eq(crc != CRC_RESIDUE), offers.eq(1)]
            m.next = "SEND-VERDICT"
        with m.State("SEND-VERDICT"):
            m.d.sync += offers.eq(~self.s_o.ready)
            self._finish(m, self.s_o.ready, "SEND-VERDICT")

    def _count_chunks(self, m: Module, chunk: Signal, m_step: Signal, m_last: Signal) -> None:
        """Walk the chunks of a memory, one for each ``m_step``."""
        # Known long before they are used: an address stays for some cycles.
        chunk_end, word_end = Signal(), Signal()
        m.d.sync += [
            chunk_end.eq(chunk == Mux(self.m_beats, self.chunks[1] - 1, self.chunks[0] - 1)),
            word_end.eq(self.m_addr == Mux(self.m_beats, self.depths[1] - 1, self.depths[0] - 1)),
        ]
        with m.If(m_step):
            m.d.sync += [
                chunk.eq(Mux(chunk_end, 0, chunk + 1)),
                m_last.eq(chunk_end & word_end),
            ]
            with m.If(chunk_end):
                m.d.sync += self.m_addr.eq(self.m_addr + 1)

    def _walk(self, m: Module, data: Signal, store: Signal, step: Signal, last: Signal) -> Any:
        """Walk the state vectors, one word for each ``step``; return the word that was read.

        A word in ``data`` is written to the state memory with ``store``, and as an operand with
        the ``step`` that follows.
        """
        s, n = self.schedule, self.schedule.network.numbers
        e, split = s.geometry.beat, s.geometry.split
        if not s.states:
            return 0
        word, bank = Signal.like(self.o_word), Signal(count(split))
        vector = Signal(count(len(s.states)))
        neuron = Signal(count(max(size for _, _, _, size in s.states)))
        lane = Signal(count(e))
        address = Signal.like(self.load_addr)
        size, is_h = Signal.like(neuron), Signal()
        follow, follow_word = Signal.like(address), Signal.like(word)
        with m.Switch(vector):
            for v, (_layer, kind, _base, length) in enumerate(s.states):
                after = s.states[v + 1] if v + 1 < len(s.states) else s.states[0]
                with m.Case(v):
                    m.d.comb += [
                        size.eq(length - 1), is_h.eq(kind == "h"), follow.eq(after[2]),
                        follow_word.eq(s.bases[after[0]]),
                    ]  # fmt: skip
        at_end = Signal()
        m.d.sync += at_end.eq(neuron == size)
        m.d.comb += last.eq((vector == len(s.states) - 1) & at_end)
        with m.If(~self.busy):
            m.d.sync += [address.eq(s.states[0][2]), word.eq(s.bases[s.states[0][0]])]
        with m.If(step):
            m.d.sync += [
                neuron.eq(neuron + 1), lane.eq(Mux(lane == e - 1, 0, lane + 1)),
                bank.eq(Mux(bank == split - 1, 0, bank + 1)),
            ]  # fmt: skip
            with m.If(lane == e - 1):
                m.d.sync += address.eq(address + 1)
            with m.If(bank == split - 1):
                m.d.sync += word.eq(word + 1)
            with m.If(at_end):
                m.d.sync += [
                    neuron.eq(0), lane.eq(0), bank.eq(0), address.eq(follow), word.eq(follow_word),
                    vector.eq(Mux(vector == len(s.states) - 1, 0, vector + 1)),
                ]  # fmt: skip
        stored = Signal()
        m.d.sync += [
            stored.eq(store),
            self.o_code.eq(
                saturate(round_shift(self.load_data, n.operand_shift), n.activation_bits)
            ),
        ]
        m.d.comb += [
            self.load_data.eq(data[: self.state_bits].as_signed()),
            self.load_en.eq(Mux(store, 1 << lane, 0)),
            self.load_addr.eq(address),
            self.read_addr.eq(address),
            self.o_en.eq(Mux(stored & is_h, 1 << bank, 0)),
            self.o_word.eq(word),
        ]
        value = self.read_data[0]
        for i in range(1, e):
            value = Mux(lane == i, self.read_data[i], value)
        return value
