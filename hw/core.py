"""The core: input buffer, sequencer, lanes, elementwise unit, output queue, state port."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..compiler.program import Program
from ..compiler.timing import Timing
from .arith import Delay, count, round_shift, saturate
from .elementwise import Elementwise
from .lanes import Lanes
from .memory import Ram, Rom
from .sequencer import Sequencer

__all__ = ["LOAD", "READ", "Core"]

READ, LOAD = 0, 1
"""Commands of the state port."""


class Core(wiring.Component):
    """A program as hardware.

    Parameters
    ----------
    program : Program
    rom_files : bool
        Read weights and beat table from ``weights.hex`` and ``beats.hex`` (for Verilog);
        otherwise they are part of the design (for the Amaranth simulator).

    Members
    -------
    i : In(stream)
        Input elements, ``data`` (lowest bits) and ``first``: the step whose first element has
        ``first`` set starts from the reset state. A step is ``input_size`` elements.
    o : Out(stream)
        Output elements, ``data``, then ``first`` and ``last`` of the step.
    c : In(stream)
        State commands, 0 read and 1 load. Taken between steps, when the core is idle; while
        one waits, no new step is let in.
    s_i : In(stream)
        State words after a load command: for each layer h, and c where the cell has one.
    s_o : Out(stream)
        State words after a read command, in the same order.

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

    def __init__(self, program: Program, *, rom_files: bool = False) -> None:
        program.network.check_hardware()
        self.program, self.rom_files = program, rom_files
        self.schedule = program.schedule
        n = program.network.numbers
        self.acc_bits, self.sum_bits = program.network.bounds()
        s = self.schedule
        self.elementwise = Elementwise(
            schedule=s, images=program.images, acc_bits=self.acc_bits, sum_bits=self.sum_bits,
            file="beats.hex" if rom_files else "",
        )  # fmt: skip
        word = signed(self.elementwise.state_bits)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": signed(n.activation_bits), "first": 1}))),
            "o": Out(stream.Signature(
                data.StructLayout({"data": signed(n.state_bits), "first": 1, "last": 1})
            )),
            "c": In(stream.Signature(1)),
            "s_i": In(stream.Signature(word)),
            "s_o": Out(stream.Signature(word)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s, geometry, net = self.schedule, self.schedule.geometry, self.program.network
        n = net.numbers
        split, bits = geometry.split, n.activation_bits
        images = self.program.images
        m.submodules.elementwise = el = self.elementwise
        m.submodules.sequencer = seq = Sequencer(schedule=s)
        m.submodules.lanes = lanes = Lanes(
            rows=geometry.rows, split=split, beat=geometry.beat, weight_bits=n.weight_bits,
            operand_bits=net.operand_bits, acc_bits=self.acc_bits,
        )  # fmt: skip
        m.submodules.weights = weights = Rom(
            words=images.weights, width=images.weight_width,
            file="weights.hex" if self.rom_files else "",
        )  # fmt: skip

        state_busy = Signal()  # the state port has the memories

        # -- Input buffer: two steps, one being read while the next is written.
        depth = 1 << (max(1, s.input_words) - 1).bit_length()
        m.submodules.inputs = inputs = Ram(banks=split, width=bits, depth=2 * depth)
        element = Signal(count(net.input_size))
        in_bank, in_word, in_parity = Signal(count(split)), Signal(count(depth)), Signal()
        held = Signal(range(3))  # steps begun to load and not yet issued whole
        resets = Signal(2)
        after_reset = Signal(init=1)
        first, last = element == 0, element == net.input_size - 1
        take = self.i.valid & self.i.ready
        full_bank = (in_bank == split - 1) | last
        m.d.comb += [
            self.i.ready.eq(~first | ((held != 2) & ~self.c.valid & ~state_busy)),
            inputs.w_en.eq(Mux(take, 1 << in_bank, 0)),
            inputs.w_addr.eq(Cat(in_word, in_parity) if depth > 1 else in_parity),
            seq.input_word.eq(take & full_bank),
            seq.fresh.eq(resets.bit_select(seq.parity, 1)),
        ]
        m.d.comb += [inputs.w_data[b].eq(self.i.payload.data) for b in range(split)]
        m.d.sync += held.eq(held + (take & first) - seq.step_done)
        with m.If(take):
            with m.If(first):
                m.d.sync += [
                    resets.bit_select(in_parity, 1).eq(self.i.payload.first | after_reset),
                    after_reset.eq(0),
                ]
            m.d.sync += [
                element.eq(Mux(last, 0, element + 1)),
                in_bank.eq(Mux(full_bank, 0, in_bank + 1)),
            ]
            with m.If(full_bank):
                m.d.sync += in_word.eq(Mux(last, 0, in_word + 1))
            with m.If(last):
                m.d.sync += in_parity.eq(~in_parity)

        # -- Operand memory: every vector twice, for this step and the step before.
        words = 1 << (max(1, s.memory_words) - 1).bit_length()
        m.submodules.operands = operands = Ram(banks=split, width=bits, depth=2 * words)
        write_parity = Signal()
        with m.If(el.step_end):
            m.d.sync += write_parity.eq(~write_parity)

        def half(address: Signal, parity: Value, size: int) -> object:
            return Cat(address[: (size - 1).bit_length()], parity) if size > 1 else parity

        m.d.comb += [
            inputs.r_addr[0].eq(half(seq.address, seq.parity, depth)),
            operands.r_addr[0].eq(half(seq.address, seq.parity ^ seq.old, words)),
            weights.en.eq(1),
            weights.addr.eq(seq.weight_address),
        ]
        # Cycle 1: the memories answer; choose, blank the state of a step that starts afresh.
        chosen = Delay(m, seq.is_input).at(1)
        blank = Delay(m, seq.old & seq.fresh & ~seq.is_input).at(1)
        amount = Delay(m, seq.shift).at(1)
        for b in range(split):
            value = Mux(chosen, inputs.r_data[0][b].as_signed(), operands.r_data[0][b].as_signed())
            m.d.sync += lanes.operand[b].eq(Mux(blank, 0, value) << amount)
        m.d.sync += lanes.weight.eq(weights.data)
        # Cycle 2: multiply.
        m.d.comb += lanes.valid.eq(Delay(m, seq.valid, reset_less=False).at(2))
        for name in ("tile_first", "tile_last", "part_first", "reset"):
            m.d.comb += getattr(lanes, name).eq(Delay(m, getattr(seq, name)).at(2))

        m.d.comb += [
            el.chain_valid.eq(lanes.chain_valid),
            el.chain_reset.eq(lanes.chain_reset),
            lanes.shift.eq(el.shift),
            lanes.release.eq(el.release),
            seq.released.eq(el.release),
            seq.state_word.eq(el.word_done),
        ]
        for e in range(geometry.beat):
            m.d.comb += [el.first[e].eq(lanes.first[e]), el.second[e].eq(lanes.second[e])]

        self._outputs(m, el)
        idle = Signal()
        m.d.comb += idle.eq(seq.idle & (held == 0) & el.idle)
        load_word, load_bank, load_en, load_value = self._state_port(
            m, el, idle, state_busy, after_reset
        )

        # -- Operand writes: the elementwise unit's, or a loaded state's into the older half.
        e = geometry.beat
        m.d.comb += [
            operands.w_en.eq(
                Mux(
                    state_busy,
                    load_en << load_bank,
                    Mux(el.w_en, ((1 << e) - 1) << (el.w_bank * e), 0),
                )
            ),
            operands.w_addr.eq(
                Mux(
                    state_busy,
                    half(load_word, ~write_parity, words),
                    half(el.w_addr, write_parity, words),
                )
            ),
        ]
        m.d.comb += [
            operands.w_data[b].eq(Mux(state_busy, load_value, el.w_data[b % e]))
            for b in range(split)
        ]
        return m

    def _outputs(self, m: Module, el: Elementwise) -> None:
        """Queue beats of outputs; send their elements one by one with first and last."""
        e, net = self.schedule.geometry.beat, self.program.network
        width = net.numbers.state_bits
        m.submodules.queue = queue = SyncFIFOBuffered(
            width=width * e + len(el.o_count), depth=Timing.FIFO
        )
        codes = Cat(el.o_data[i] for i in range(e))
        m.d.comb += [queue.w_en.eq(el.o_valid), queue.w_data.eq(Cat(codes, el.o_count))]
        lane = Signal(count(e))
        number = Signal(count(net.elements))
        sent = Signal()
        beat_last = lane == queue.r_data[width * e :] if e > 1 else 1
        first, last = number == 0, number == net.elements - 1
        code = queue.r_data.word_select(lane, width) if e > 1 else queue.r_data[:width]
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
        else:
            m.d.comb += [
                sent.eq(self.o.valid & self.o.ready),
                self.o.valid.eq(queue.r_rdy),
                self.o.payload.data.eq(code),
                self.o.payload.first.eq(first),
                self.o.payload.last.eq(last),
            ]
        with m.If(sent):
            m.d.sync += [number.eq(Mux(last, 0, number + 1)), lane.eq(Mux(beat_last, 0, lane + 1))]
        # A beat is started only with a place in the queue kept for it.
        room = Signal(range(Timing.FIFO + 1), init=Timing.FIFO)
        m.d.sync += room.eq(room + (sent & beat_last) - el.output_start)
        m.d.comb += el.output_room.eq(room != 0)

    def _state_port(
        self, m: Module, el: Elementwise, idle: Signal, busy: Signal, after_reset: Signal
    ) -> tuple[Signal, Signal, Signal, object]:
        """Serve read and load commands; return word, bank, enable and code for the operand memory."""
        s, n = self.schedule, self.program.network.numbers
        e, split = s.geometry.beat, s.geometry.split
        word = Signal(count(s.memory_words))
        bank = Signal(count(split))
        enable = Signal()
        if not s.states:
            m.d.comb += [self.c.ready.eq(idle), self.s_i.ready.eq(1)]
            return word, bank, enable, self.s_i.payload[: n.activation_bits]
        vector = Signal(count(len(s.states)))
        neuron = Signal(count(max(size for _, _, _, size in s.states)))
        lane = Signal(count(e))
        address = Signal(count(s.state_words))
        size, is_h = Signal.like(neuron), Signal()
        follow = Signal.like(address)
        follow_word = Signal.like(word)
        with m.Switch(vector):
            for v, (_layer, kind, _base, length) in enumerate(s.states):
                after = s.states[v + 1] if v + 1 < len(s.states) else s.states[0]
                with m.Case(v):
                    m.d.comb += [
                        size.eq(length - 1), is_h.eq(kind == "h"), follow.eq(after[2]),
                        follow_word.eq(s.bases[after[0]]),
                    ]  # fmt: skip
        last = (vector == len(s.states) - 1) & (neuron == size)

        step = Signal()
        with m.If(step):
            m.d.sync += [
                neuron.eq(neuron + 1), lane.eq(Mux(lane == e - 1, 0, lane + 1)),
                bank.eq(Mux(bank == split - 1, 0, bank + 1)),
            ]  # fmt: skip
            with m.If(lane == e - 1):
                m.d.sync += address.eq(address + 1)
            with m.If(bank == split - 1):
                m.d.sync += word.eq(word + 1)
            with m.If(neuron == size):
                m.d.sync += [
                    neuron.eq(0), lane.eq(0), bank.eq(0), address.eq(follow), word.eq(follow_word),
                    vector.eq(Mux(vector == len(s.states) - 1, 0, vector + 1)),
                ]  # fmt: skip

        code = saturate(round_shift(self.s_i.payload, n.operand_shift), n.activation_bits)
        m.d.comb += [
            el.load_addr.eq(address),
            el.load_data.eq(self.s_i.payload),
            el.read_addr.eq(address),
        ]
        with m.FSM():
            with m.State("WAIT-COMMAND"):
                m.d.comb += self.c.ready.eq(idle)
                m.d.sync += [address.eq(s.states[0][2]), word.eq(s.bases[s.states[0][0]])]
                with m.If(self.c.valid & idle):
                    m.d.sync += busy.eq(1)
                    with m.If(self.c.payload == LOAD):
                        m.next = "WAIT-WORD"
                    with m.Else():
                        m.next = "FETCH"
            with m.State("WAIT-WORD"):
                m.d.comb += self.s_i.ready.eq(1)
                with m.If(self.s_i.valid):
                    m.d.comb += [step.eq(1), el.load_en.eq(1 << lane), enable.eq(is_h)]
                    with m.If(last):
                        m.d.sync += [busy.eq(0), after_reset.eq(0)]
                        m.next = "WAIT-COMMAND"
            with m.State("FETCH"):
                m.next = "SEND"
            with m.State("SEND"):
                # Before the first step the memories hold nothing: the state is the reset state.
                value = el.read_data[0]
                for i in range(1, e):
                    value = Mux(lane == i, el.read_data[i], value)
                m.d.comb += [self.s_o.valid.eq(1), self.s_o.payload.eq(Mux(after_reset, 0, value))]
                with m.If(self.s_o.ready):
                    m.d.comb += step.eq(1)
                    m.next = "FETCH"
                    with m.If(last):
                        m.d.sync += busy.eq(0)
                        m.next = "WAIT-COMMAND"
        return word, bank, enable, code
