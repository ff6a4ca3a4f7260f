"""The core: input buffer, sequencer, lanes, elementwise unit, output queue, state port."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ...compiler.arrays import power_of_two
from ...compiler.layout.latency import Timing
from ...compiler.program.chain import check_program
from ...compiler.program.program import Program
from ..blocks.arith import Delay, count
from ..blocks.memory import Ram, Table
from ..vendor import find_family
from .elementwise import Elementwise
from .lanes import LaneArray, Lanes
from .options import CoreOptions
from .port import Port
from .queue import Queue
from .sequencer import Sequencer
from .trace import Trace
from .turn import half_turn, stream_turn
from .weights import Weights

__all__ = ["Core"]


class Core(wiring.Component):
    """A program as hardware.

    Parameters
    ----------
    program : Program
    family : str
        Name of a family of :func:`~gatewright.hw.vendor.families`, for its primitives; ``generic``
        leaves all to the synthesizer. Cycles are the same for all.
    multipliers : int, optional
        Multipliers of the device that may be used (default: as many as the family spares);
        further ones are made of adders.
    loadable : bool
        Weights and beat table are RAM, read, loaded and verified over the state port.
    rom_files : bool
        Read weights and beat table from hexadecimal files (for Verilog);
        otherwise they are part of the design (for the Amaranth simulator).
    trace : bool
        Add named tracks for a waveform; nothing else changes.

    Attributes
    ----------
    initialized : bool
        Weights are there after power-up; otherwise (SPRAM) they must be loaded before the
        first step, and what comes out until then is not defined.

    Members
    -------
    i : In(stream)
        Input elements, ``data`` (lowest bits) and ``first``: the step whose first element has
        ``first`` set starts from the reset state. A step is ``input_size`` elements. Where the
        program has several streams, steps are of stream 0, 1, ... and 0 again, each with its state.
    o : Out(stream)
        Output elements, ``data``, then ``first`` and ``last`` of the step, and its ``stream`` where
        there are several.
    c : In(stream)
        State commands, 0 read and 1 load. A loadable core has 3 bits: 2 read weights, 3 load
        weights, 4 read beat table, 5 load beat table, 6 verify both; 7 does nothing. Taken between steps,
        when the core is idle; while one waits, no new step is let in. Above these bits is the
        stream whose state it is, where there are several.
    s_i : In(stream)
        State words after a load command: for each layer h, and c where the cell has one. For
        memories all words in order of their addresses, each in 16-bit chunks from the lowest
        up (:func:`~.port.chunks`). After a verify command the CRC-32 of all chunks, beat table
        first, low half first.
    s_o : Out(stream)
        State words or chunks after a read command, in the same order. After a verify command
        0 if the memories have that CRC, else 1.

    Timing: cycles per step as ``Program.summary`` says; every output of every step at the
    cycle that ``Schedule.predict`` gives while the source offers and the sink takes.
    The core stalls without loss on any stream; a state is held for as long as nothing comes.
    After reset the first step starts from the reset state.
    """

    i: stream.Interface
    o: stream.Interface
    c: stream.Interface
    s_i: stream.Interface
    s_o: stream.Interface

    def __init__(
        self, program: Program, *, rom_files: bool = False, family: str = "generic",
        loadable: bool = False, verify: bool = True, multipliers: int | None = None,
        trace: bool = False,
    ) -> None:  # fmt: skip
        check_program(program, one_pass=True)
        self.family = vendor = find_family(family)
        program.network.check_hardware()
        self.program, self.rom_files, self.loadable = program, rom_files, loadable
        self.verify = loadable and verify
        self.multipliers = vendor.multiplier_blocks if multipliers is None else multipliers
        options = CoreOptions(vendor, loadable, rom_files, self.multipliers, trace)
        self.schedule = s = program.schedule
        n, images, widths = program.network.numbers, program.images, program.hardware
        self.elementwise = Elementwise(
            schedule=s, images=images, acc_bits=widths.acc_bits, sum_bits=widths.sum_bits,
            options=options,
        )  # fmt: skip
        self.weights = Weights(
            images=images, lanes=s.geometry.rows * s.geometry.split, bits=n.weight_bits,
            options=options,
        )  # fmt: skip
        self.initialized = self.weights.initialized
        streams = {"stream": range(s.streams)} if s.streams > 1 else {}
        self.port = Port(
            schedule=s, state_bits=self.elementwise.state_bits, loadable=loadable,
            verify=self.verify,
            weights=(images.planes[0].depth, images.weight_width),
            beats=(len(images.beats), images.beat_width),
        )  # fmt: skip
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": signed(n.activation_bits), "first": 1}))),
            "o": Out(stream.Signature(
                data.StructLayout({"data": signed(n.state_bits), "first": 1, "last": 1, **streams})
            )),
            "c": In(self.port.c.signature.flip()),
            "s_i": In(self.port.s_i.signature.flip()),
            "s_o": Out(self.port.s_o.signature),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s, geometry, net = self.schedule, self.schedule.geometry, self.program.network
        n = net.numbers
        m.submodules.elementwise = el = self.elementwise
        m.submodules.sequencer = seq = Sequencer(schedule=s)
        m.submodules.lanes = lanes = Lanes(
            array=LaneArray(
                geometry.rows, geometry.split, geometry.beat, n.weight_bits, net.operand_bits,
                self.program.hardware.acc_bits,
            ),
            family=self.family,
            hard=None if self.multipliers is None else self.multipliers - el.multipliers,
        )  # fmt: skip
        m.submodules.weights = weights = self.weights
        m.submodules.port = port = self.port

        after_reset = Signal(s.streams, init=-1)  # a bit a stream
        inputs, held, closed = self._inputs(m, seq, after_reset)
        operands, write_half = self._operands(m, seq, el, lanes, inputs)
        # Weights and operands meet in cycle 3: the weight's address is there in cycle 1, or, where weights take
        # a cycle more, in cycle 0.
        weight_address = Signal.like(seq.weight_address, reset_less=True)
        ahead = seq.weight_next if weights.latency > Table.latency else seq.weight_address
        m.d.sync += weight_address.eq(Mux(port.m_busy, port.m_addr, ahead))
        m.d.comb += [
            weights.addr.eq(weight_address),
            lanes.weight.eq(weights.weight),
            lanes.valid.eq(Delay(m, seq.valid, reset_less=False).at(3)),
        ]
        for name in ("tile_first", "tile_last", "part_first", "reset"):
            m.d.comb += getattr(lanes, name).eq(Delay(m, getattr(seq, name)).at(3))

        m.d.comb += [
            el.chain_next.eq(lanes.chain_next),
            el.chain_reset.eq(lanes.chain_reset),
            lanes.take.eq(el.take),
            lanes.release.eq(el.release),
            seq.released.eq(el.release),
            seq.state_word.eq(el.word_done),
        ]
        for e in range(geometry.beat):
            m.d.comb += [el.first[e].eq(lanes.first[e]), el.second[e].eq(lanes.second[e])]

        if el.taps is not None:
            m.submodules.trace = trace = Trace(schedule=s, **el.taps.widths)
            m.d.comb += [
                trace.valid.eq(el.taps.valid), trace.pre.eq(el.taps.pre),
                trace.value.eq(el.taps.value), trace.result.eq(el.taps.result),
            ]  # fmt: skip

        self._outputs(m, el)
        # No step begins while a command waits, from a cycle later on.
        idle = Signal()
        m.d.sync += idle.eq(seq.idle & (held == 0) & el.idle & closed & self.c.valid)
        self._connect_port(m, el, weights)
        fresh = after_reset.bit_select(port.stream, 1)
        m.d.comb += [port.idle.eq(idle), port.fresh.eq(fresh)]
        with m.If(port.loaded):
            m.d.sync += fresh.eq(0)
        self._write_operands(m, el, operands, write_half)
        return m

    def _inputs(self, m: Module, seq: Sequencer, after_reset: Signal) -> tuple[Ram, Signal, Signal]:
        """Buffer the inputs of two steps, one being read while the next is written.

        Returns
        -------
        inputs : Ram
        held : Signal
            Steps that are there, or begun, and not yet issued whole.
        closed : Signal
            No step begins, since a command waits.
        """
        s, port = self.schedule, self.port
        split, bits = s.geometry.split, s.network.numbers.activation_bits
        depth = power_of_two(s.input_words)
        m.submodules.inputs = inputs = Ram(
            banks=split, width=bits, depth=2 * depth, family=self.family
        )
        size = s.network.input_size
        element = Signal(count(size))
        first, last = Signal(init=1), Signal(init=size == 1)  # the next element's place
        in_bank, in_word, in_parity = Signal(count(split)), Signal(count(depth)), Signal()
        held = Signal(range(3))  # steps begun to load and not yet issued whole
        open_, closed = Signal(init=1), Signal()
        resets = Signal(2)
        take = self.i.valid & self.i.ready
        stream = stream_turn(m, s.streams, take & last, "in")
        full_bank = (in_bank == split - 1) | last
        m.d.comb += [
            self.i.ready.eq(~first | open_),
            inputs.w_en.eq(Mux(take, 1 << in_bank, 0)),
            inputs.w_addr.eq(Cat(in_word, in_parity) if depth > 1 else in_parity),
            seq.fresh.eq(resets.bit_select(seq.parity, 1)),
        ]
        m.d.comb += [inputs.w_data[b].eq(self.i.payload.data) for b in range(split)]
        begins = take & first
        m.d.sync += [
            # A step may begin in the next cycle; a command that waits is taken when none can.
            open_.eq((seq.step_done | ~(held + begins)[1]) & ~self.c.valid & ~port.busy),
            closed.eq(self.c.valid),
            held.eq(held + begins - seq.step_done),
            seq.input_word.eq(take & full_bank),
        ]
        with m.If(take):
            with m.If(first):
                fresh = after_reset.bit_select(stream, 1)
                m.d.sync += [
                    resets.bit_select(in_parity, 1).eq(self.i.payload.first | fresh), fresh.eq(0),
                ]  # fmt: skip
            m.d.sync += [
                element.eq(Mux(last, 0, element + 1)),
                first.eq(last),
                last.eq((element == size - 2) if size > 1 else 1),
                in_bank.eq(Mux(full_bank, 0, in_bank + 1)),
            ]
            with m.If(full_bank):
                m.d.sync += in_word.eq(Mux(last, 0, in_word + 1))
            with m.If(last):
                m.d.sync += in_parity.eq(~in_parity)
        return inputs, held, closed

    def _operands(
        self, m: Module, seq: Sequencer, el: Elementwise, lanes: Lanes, inputs: Ram
    ) -> tuple[Ram, Value]:
        """Give operands to the lanes; every vector is kept twice, for this step and the one before.

        Returns
        -------
        operands : Ram
        write_half : Value
            Half that the step writes, of the halves of its stream.
        """
        s, net = self.schedule, self.program.network
        split, bits = s.geometry.split, net.numbers.activation_bits
        depth = inputs.depth // 2
        words = power_of_two(s.memory_words)
        m.submodules.operands = operands = Ram(
            banks=split, width=bits, depth=2 * s.streams * words, family=self.family
        )
        write_half = half_turn(m, s.streams, el.step_end, "write")
        half = seq.half if s.streams > 1 else seq.parity
        m.d.comb += [
            inputs.r_addr[0].eq(_half(seq.address, seq.parity, depth)),
            operands.r_addr[0].eq(_half(seq.address, half ^ seq.old, words)),
        ]
        # Cycle 2: the operands are there; choose, blank the state of a step that starts afresh.
        chosen = Delay(m, seq.is_input).at(2)
        blank = Delay(m, seq.old & seq.fresh & ~seq.is_input).at(2)
        amount = Delay(m, seq.shift).at(2)
        for b in range(split):
            value = Mux(chosen, inputs.r_data[0][b].as_signed(), operands.r_data[0][b].as_signed())
            operand = Signal(signed(net.operand_bits), name=f"operand_{b}", reset_less=True)
            m.d.sync += operand.eq(Mux(blank, 0, value) << amount)
            m.d.comb += lanes.operand[b].eq(operand)
        return operands, write_half

    def _write_operands(self, m: Module, el: Elementwise, operands: Ram, write_half: Value) -> None:
        """Write operands of the elementwise unit, or a loaded state into the older half."""
        s, port = self.schedule, self.port
        e, split = s.geometry.beat, s.geometry.split
        words = operands.depth // 2 // s.streams
        older: Value = ~write_half
        if s.streams > 1:
            # Streams before the one whose turn it is have written this round's half.
            done = Signal()
            m.d.sync += done.eq(write_half[0] ^ (port.stream < write_half[1:]))
            older = Cat(~done, port.stream)
        m.d.comb += [
            operands.w_en.eq(
                Mux(
                    port.busy,
                    port.o_en,
                    Mux(el.w_en, ((1 << e) - 1) << (el.w_bank * e), 0),
                )
            ),
            operands.w_addr.eq(
                Mux(
                    port.busy,
                    _half(port.o_word, older, words),
                    _half(el.w_addr, write_half, words),
                )
            ),
        ]
        m.d.comb += [
            operands.w_data[b].eq(Mux(port.busy, port.o_code, el.w_data[b % e]))
            for b in range(split)
        ]

    def _outputs(self, m: Module, el: Elementwise) -> None:
        """Queue beats of outputs; send their elements one by one with first and last."""
        e, net = self.schedule.geometry.beat, self.program.network
        width, streams = net.numbers.state_bits, self.schedule.streams
        # A number of elements that is the same for all beats is not stored.
        field = self.program.images.layout["count"]
        word = Cat(*(el.o_data[i] for i in range(e)), *([el.o_count] if field.width else []))
        m.submodules.queue = queue = Queue(width=len(word), depth=Timing.FIFO, family=self.family)
        m.d.comb += [queue.w_en.eq(el.o_valid), queue.w_data.eq(word)]
        lane = Signal(count(e))
        number = Signal(count(net.elements))
        sent = Signal()
        beat_last = lane == (queue.r_data[width * e :] if field.width else field.base)
        first, last = number == 0, number == net.elements - 1
        code = queue.r_data.word_select(lane, width) if e > 1 else queue.r_data[:width]
        stream = stream_turn(m, streams, sent & last, "out")
        m.d.comb += queue.r_en.eq(sent & beat_last)
        if net.argmax:
            # The elements end here; the index of the largest goes out when all were seen.
            best, index = Signal(signed(width)), Signal.like(number)
            larger = first | (code.as_signed() > best)
            winner = Mux(larger, number, index)
            m.d.comb += [
                sent.eq(queue.r_rdy & (~self.o.valid | self.o.ready)),
                self.o.payload.first.eq(1),
                self.o.payload.last.eq(1),
            ]
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            with m.If(sent & larger):
                m.d.sync += [best.eq(code), index.eq(number)]
            with m.If(sent & last):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.data.eq(winner)]
                if streams > 1:
                    m.d.sync += self.o.payload.stream.eq(stream)
        else:
            m.d.comb += [
                sent.eq(self.o.valid & self.o.ready),
                self.o.valid.eq(queue.r_rdy),
                self.o.payload.data.eq(code),
                self.o.payload.first.eq(first),
                self.o.payload.last.eq(last),
            ]
            if streams > 1:
                m.d.comb += self.o.payload.stream.eq(stream)
        with m.If(sent):
            m.d.sync += [number.eq(Mux(last, 0, number + 1)), lane.eq(Mux(beat_last, 0, lane + 1))]
        # A beat is started only with a place in the queue kept for it: how many there are is counted,
        # whether there is one, and one more, is decided a cycle ahead.
        room, freed = Signal(range(Timing.FIFO + 1), init=Timing.FIFO), Signal()
        one, two = Signal(init=1), Signal(init=1)
        left = [room.any(), room[1:].any(), room[2:].any() | room[:2].all()]  # 1, 2, 3 at least
        less, more = el.output_start & ~freed, freed & ~el.output_start
        m.d.sync += [
            freed.eq(sent & beat_last),
            room.eq(room + freed - el.output_start),
            one.eq(Mux(less, left[1], left[0] | more)),
            two.eq(Mux(less, left[2], Mux(more, left[0], left[1]))),
        ]
        m.d.comb += el.output_room.eq(Cat(one, two))

    def _connect_port(self, m: Module, el: Elementwise, weights: Weights) -> None:
        """Give the state port its streams and the memories."""
        port, beats = self.port, el.beats
        connect(m, flipped(self.c), port.c)
        connect(m, flipped(self.s_i), port.s_i)
        connect(m, port.s_o, flipped(self.s_o))
        m.d.comb += [
            el.load_en.eq(port.load_en), el.load_addr.eq(Cat(port.load_addr, port.stream)),
            el.load_data.eq(port.load_data), el.read_addr.eq(Cat(port.read_addr, port.stream)),
            el.held.eq(port.busy),
        ]  # fmt: skip
        m.d.comb += [port.read_data[i].eq(value) for i, value in enumerate(el.read_data)]
        if self.loadable:
            # The weights' address is a cycle late, so is what is written.
            m.d.sync += [weights.w_en.eq(port.m_weights), weights.w_data.eq(port.m_data)]
            m.d.comb += [
                beats.held.eq(port.m_busy), beats.addr.eq(port.m_addr),
                beats.w_en.eq(port.m_table), beats.w_data.eq(port.m_data),
                port.m_read.eq(Mux(port.m_beats, beats.word, weights.data)),
            ]  # fmt: skip


def _half(address: Signal, half: Value, size: int) -> Value:
    """Return the address of a word in one of the halves, of ``size`` words, of a memory."""
    return Cat(address[: (size - 1).bit_length()], half) if size > 1 else half
