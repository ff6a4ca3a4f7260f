"""Vectors of a program, and a small testbench that plays them on its Verilog and checks it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...compiler.arrays import IntArray, check_lengths
from ...compiler.errors import InputError
from ...compiler.program.program import Program
from ...compiler.program.turns import take_turns
from ..engine.core import Core

__all__ = ["Vectors", "random_codes", "testbench"]

CYCLES = 100_000
"""Cycles that random vectors should take, so that a slow simulator has soon done with them."""
FEWEST, MOST = 8, 64
"""Random steps, however many cycles they take."""
WORDS = 1 << 22
"""Words that a file of vectors may have."""


def random_codes(program: Program) -> IntArray:
    """Return input codes (N, T, I) like those of typical data, the same on every machine.

    N is 2, or the number of streams. Most lie around zero, in every fourth step all at one end of the format.
    """
    rng = random.Random(0)  # noqa: S311
    fmt, size = program.input_format, program.input_size
    number = max(2, program.streams)
    steps = max(1, min(MOST, max(FEWEST, CYCLES // program.schedule.cycles()[0])) // number)

    def code() -> int:
        return sum(rng.randint(fmt.low, fmt.high) for _ in range(4)) // 4

    made = [
        [rng.choice([fmt.low, fmt.high])] * size if k % 4 == 3 else [code() for _ in range(size)]
        for k in range(number * steps)
    ]
    return np.array(made, np.int64).reshape(number, steps, size)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Steps of a core one after the other, of its streams in turn, with what it must answer.

    Parameters
    ----------
    codes : ndarray of int64, shape (S, I)
    first : ndarray of bool, shape (S,)
        Steps that start from the reset state.
    outputs : ndarray of int64, shape (S, outputs)
        In the order in which the core emits them.
    ends : ndarray of int64, shape (S,)
        Cycle of each step's last output if nobody pauses; 0 is that of the first input element.
    """

    codes: IntArray
    first: npt.NDArray[np.bool_]
    outputs: IntArray
    ends: IntArray

    @classmethod
    def of(cls, program: Program, codes: IntArray, lengths: npt.ArrayLike | None = None) -> Vectors:
        """Compute the vectors of sequences.

        Parameters
        ----------
        program : Program
        codes : ndarray of int64, shape (N, T, I)
        lengths : array_like of int, shape (N,), optional
            True lengths of padded sequences.

        Raises
        ------
        InputError
            The file would be too large, or there is no step.
        """
        shape = codes.shape[:2]
        real = check_lengths(lengths, *shape)
        real = np.full(shape[0], shape[1]) if real is None else real
        sequence, step = take_turns(real, program.streams)
        steps, words = len(step), program.input_size + program.output_size + 1
        if not 0 < steps * words <= WORDS:
            raise InputError(
                f"vectors of {steps:,} steps with {words} words each; a file has 1 to {WORDS:,} words: "
                f"give {WORDS // words:,} steps at most"
            )
        order = program.schedule.output_order
        outputs = program.evaluate(codes, lengths=lengths).outputs[sequence, step]
        idle = sequence < 0
        outputs[idle] = program.evaluate(np.zeros((1, 1, program.input_size), np.int64)).outputs[0]
        codes = np.where(idle[:, None], 0, codes[sequence, step])
        return cls(codes, step <= 0, outputs[:, order], program.schedule.predict(steps))

    def text(self, program: Program) -> str:
        """Return the file for ``$readmemh``: 32-bit words, for each step those that it says at its top."""
        inputs, outputs = self.codes.shape[1], self.outputs.shape[1]
        head = (
            f"// program {program.digest[:16]}: {len(self.codes)} steps of {inputs + outputs + 1} words\n"
            f"// {inputs} input codes in 16 bits, bit 16 on the first of a step from the reset state;\n"
            f"// {outputs} output codes in 16 bits, in the order of the port; the cycle of the last of them\n"
            "// if nobody pauses, counted from the first input element of all\n"
        )
        words = np.concatenate([self.codes & 0xFFFF, self.outputs & 0xFFFF, self.ends[:, None]], 1)
        words[:, 0] |= self.first.astype(np.int64) << 16
        return head + "".join(
            f"// step {k}\n" + "".join(f"{word:08x}\n" for word in row)
            for k, row in enumerate(words.tolist())
        )


def testbench(core: Core, vectors: Vectors, name: str, top: str, source: str, file: str) -> str:
    """Return a testbench for Verilator (``--binary``) and Icarus (``-g2012``).

    It plays the vectors twice, first without a pause, comparing codes and cycles, then with
    random pauses on both sides, comparing codes.

    Parameters
    ----------
    core : Core
    vectors : Vectors
    name : str
        Of the package with the core's facts.
    top : str
        Name of the core's module.
    source, file : str
        Files of the core and of the vectors.
    """
    state_in, state_out = len(core.s_i.payload), len(core.s_o.payload)
    command, last = len(core.c.payload), int(vectors.ends[-1])
    top_bit = len(core.o.payload.as_value()) - 1
    many = core.program.streams > 1
    astray = f" || 32'(o_payload[{top_bit}:OUTPUT_BITS+2]) != o_step % STREAMS" * many
    other = ", or the stream is another" * many
    return f"""\
// Plays {file} on {top}, without pauses and then with, and compares every output code with the golden
// model, and without pauses every cycle. Prints PASS, or FAIL with the first difference and ends with an error.
//     $ verilator --binary -CFLAGS -std=c++20 --Mdir ../obj --top-module {name}_tb {name}_tb.sv {source} && ../obj/V{name}_tb
//     $ iverilog -g2012 -s {name}_tb -o ../{name}.vvp {name}_tb.sv {source} && vvp -n ../{name}.vvp
/* verilator lint_save */
/* verilator lint_off PROCASSINIT */
/* verilator lint_off UNUSEDSIGNAL */
`include "{name}.svh"
module {name}_tb;
    import {name}_pkg::*;
    localparam int STEPS = {len(vectors.codes)};
    localparam int WORDS = INPUTS + OUTPUTS + 1;
    localparam int LIMIT = {last * 4 + 4000};  // cycles, the watchdog

    logic clk = 0;
    always #5 clk = ~clk;

    logic [31:0] vectors [0:STEPS*WORDS-1];
    initial begin
        vectors[STEPS*WORDS-1] = 'x;
        $readmemh("{file}", vectors);
        #1 if (^vectors[STEPS*WORDS-1] === 1'bx) $display("FAIL: {file} is not in the working folder, or has other vectors");
        if (^vectors[STEPS*WORDS-1] === 1'bx) $fatal(1);
    end

    // The core under test.
    logic rst = 1;
    logic i_valid = 0, o_ready = 0;
    wire i_ready, o_valid;
    wire [INPUT_BITS:0] i_payload;
    wire [{f"{top_bit}" if many else "OUTPUT_BITS+1"}:0] o_payload;
    wire c_ready, s_i_ready, s_o_valid;
    wire [{state_out - 1}:0] s_o_payload;
    {top} core (
        .clk(clk), .rst(rst),
        .i__valid(i_valid), .i__ready(i_ready), .i__payload(i_payload),
        .o__valid(o_valid), .o__ready(o_ready), .o__payload(o_payload),
        .c__valid(1'b0), .c__ready(c_ready), .c__payload({command}'d0),
        .s_i__valid(1'b0), .s_i__ready(s_i_ready), .s_i__payload({state_in}'d0),
        .s_o__valid(s_o_valid), .s_o__ready(1'b0), .s_o__payload(s_o_payload)
    );

    bit pauses = 0;                  // in the second round
    int now = 0, start = -1;         // cycles of the round; that of the first input element
    int i_step = 0, i_element = 0;   // next to be sent
    int o_step = 0, o_element = 0;   // next to come
    int idle = 0;                    // cycles since the last output of all
    logic [31:0] noise = 32'd1;
    wire go_in = !pauses || noise[1:0] != 0, go_out = !pauses || noise[9:8] != 0;

    wire [31:0] given = i_step < STEPS ? vectors[i_step * WORDS + i_element] : 0;
    assign i_payload = {{given[16], given[INPUT_BITS-1:0]}};
    wire [31:0] wanted = vectors[(o_step < STEPS ? o_step : 0) * WORDS + INPUTS + o_element];
    wire [31:0] cycle = vectors[(o_step < STEPS ? o_step : 0) * WORDS + INPUTS + OUTPUTS];
    wire output_t got = o_payload[OUTPUT_BITS-1:0];
    wire first = o_element == 0, last = o_element == OUTPUTS - 1;
    wire more = i_step < STEPS - 1 || i_element < INPUTS - 1;

    task automatic fail;
        $display("      step %0d, transfer %0d (output %0d), cycle %0d, %0s pauses", o_step, o_element,
                 output_element(o_element), now - start, pauses ? "with" : "without");
        $fatal(1);
    endtask

    always @(posedge clk) begin
        noise <= {{noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]}};
        now <= now + 1;
        rst <= now < 2;
        o_ready <= go_out;
        if (rst) i_valid <= 0;
        else if (!i_valid) i_valid <= i_step < STEPS && go_in;
        else if (i_ready) begin
            i_valid <= more && go_in;
            if (start < 0) start <= now;
            i_element <= i_element == INPUTS - 1 ? 0 : i_element + 1;
            if (i_element == INPUTS - 1) i_step <= i_step + 1;
        end
        if (!rst && o_valid && o_ready) begin
            if (o_step == STEPS || got != output_t'(wanted[OUTPUT_BITS-1:0])) begin
                $display("FAIL: the core gives %0d, the golden model %0d", got, output_t'(wanted[OUTPUT_BITS-1:0]));
                fail();
            end
            if (o_payload[OUTPUT_BITS+1:OUTPUT_BITS] != {{last, first}}{astray}) begin
                $display("FAIL: first and last are %b%b{other}", o_payload[OUTPUT_BITS], o_payload[OUTPUT_BITS+1]);
                fail();
            end
            if (last && !pauses && now - start != cycle) begin
                $display("FAIL: the step ends in cycle %0d, not %0d", now - start, cycle);
                fail();
            end
            o_element <= last ? 0 : o_element + 1;
            if (last) o_step <= o_step + 1;
        end
        if (now > LIMIT) begin
            $display("FAIL: no end after %0d cycles", LIMIT);
            fail();
        end
        // Nothing may follow the last output.
        idle <= o_step == STEPS ? idle + 1 : 0;
        if (idle == 100) begin
            if (pauses) begin
                $display("PASS: %0d steps, %0d outputs, cycles as predicted; the same with pauses", STEPS, STEPS * OUTPUTS);
                $finish;
            end
            pauses <= 1;
            {{now, start, idle}} <= {{32'd0, -32'd1, 32'd0}};
            {{i_step, i_element, o_step, o_element}} <= 0;
            i_valid <= 0;
            rst <= 1;
        end
    end
endmodule
/* verilator lint_restore */
"""
