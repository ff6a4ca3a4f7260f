// A dual-port block RAM of 2048 bytes of 9 bits: what DP16KD of ECP5 and the BSRAM of Gowin have in common.
//
// Addresses count bits: a port of width w, rounded down to a power of two, ignores as many low address bits as its
// words have. Ports narrower than a byte see its lower 8 bits only. Sources: Lattice FPGA-TN-02204 (ECP5 memory),
// Gowin UG285 (BSRAM).
// Where one port reads what the other writes in the same cycle, the devices promise nothing: the read gives the
// old bits inverted, so that a design which counts on either value fails here. Both ports of such a pair must run
// on one clock. Two ports that write the same word at once are not modelled.

/* verilator lint_off DECLFILENAME */
/* verilator lint_off MULTIDRIVEN */
/* verilator lint_off SYNCASYNCNET */
module gatewright_block_ram #(
    parameter WIDTH_A = 18, parameter WIDTH_B = 18,  // 1 2 4 9 18 36
    parameter MODE_A = 0, parameter MODE_B = 0,      // a port that writes reads: 0 as before, 1 the new word, 2 the old
    parameter REG_A = 0, parameter REG_B = 0,        // output register
    parameter ASYNC = 0,                             // resets of the outputs do not wait for the clock
    parameter [18431:0] INIT = 18432'd0
) (
    input clk_a, input en_a, input we_a, input [3:0] bytes_a, input oce_a, input rst_a,
    input [13:0] addr_a, input [35:0] in_a, output [35:0] out_a,
    input clk_b, input en_b, input we_b, input [3:0] bytes_b, input oce_b, input rst_b,
    input [13:0] addr_b, input [35:0] in_b, output [35:0] out_b
);
    localparam SPAN_A = WIDTH_A == 1 ? 0 : WIDTH_A == 2 ? 1 : WIDTH_A == 4 ? 2 : WIDTH_A == 9 ? 3 : WIDTH_A == 18 ? 4 : 5;
    localparam SPAN_B = WIDTH_B == 1 ? 0 : WIDTH_B == 2 ? 1 : WIDTH_B == 4 ? 2 : WIDTH_B == 9 ? 3 : WIDTH_B == 18 ? 4 : 5;
    localparam SPAN = SPAN_A > SPAN_B ? SPAN_A : SPAN_B;

    reg [8:0] memory [0:2047];
    integer k;
    initial for (k = 0; k < 2048; k = k + 1) memory[k] = INIT[9*k +: 9];

    // Four bytes from the aligned address on; narrower words are at its low end.
    wire [10:0] base_a = addr_a[13:3] & ~(11'd0 | (11'd1 << (SPAN_A > 3 ? SPAN_A - 3 : 0)) - 11'd1);
    wire [10:0] base_b = addr_b[13:3] & ~(11'd0 | (11'd1 << (SPAN_B > 3 ? SPAN_B - 3 : 0)) - 11'd1);
    wire [2:0] bit_a = SPAN_A < 3 ? addr_a[2:0] & ~((3'd1 << SPAN_A) - 3'd1) : 3'd0;
    wire [2:0] bit_b = SPAN_B < 3 ? addr_b[2:0] & ~((3'd1 << SPAN_B) - 3'd1) : 3'd0;
    wire [35:0] old_a = {memory[base_a | 11'd3], memory[base_a | 11'd2], memory[base_a | 11'd1], memory[base_a]};
    wire [35:0] old_b = {memory[base_b | 11'd3], memory[base_b | 11'd2], memory[base_b | 11'd1], memory[base_b]};

    // Bits of the four bytes that a write replaces, and by what.
    wire [35:0] word_a = 36'hFFFFFFFFF >> (36 - WIDTH_A), word_b = 36'hFFFFFFFFF >> (36 - WIDTH_B);
    wire [35:0] lanes_a = {{9{bytes_a[3]}}, {9{bytes_a[2]}}, {9{bytes_a[1]}}, {9{bytes_a[0]}}};
    wire [35:0] lanes_b = {{9{bytes_b[3]}}, {9{bytes_b[2]}}, {9{bytes_b[1]}}, {9{bytes_b[0]}}};
    wire [35:0] mask_a = WIDTH_A < 18 ? word_a << bit_a : word_a & lanes_a;
    wire [35:0] mask_b = WIDTH_B < 18 ? word_b << bit_b : word_b & lanes_b;
    wire [35:0] new_a = old_a & ~mask_a | (in_a << bit_a) & mask_a;
    wire [35:0] new_b = old_b & ~mask_b | (in_b << bit_b) & mask_b;

    wire write_a = en_a & we_a, write_b = en_b & we_b;
    wire near = addr_a >> SPAN == addr_b >> SPAN;

    always @(posedge clk_a) if (write_a) begin
        memory[base_a] <= new_a[8:0];
        if (WIDTH_A >= 18) memory[base_a | 11'd1] <= new_a[17:9];
        if (WIDTH_A == 36) memory[base_a | 11'd2] <= new_a[26:18];
        if (WIDTH_A == 36) memory[base_a | 11'd3] <= new_a[35:27];
    end
    always @(posedge clk_b) if (write_b) begin
        memory[base_b] <= new_b[8:0];
        if (WIDTH_B >= 18) memory[base_b | 11'd1] <= new_b[17:9];
        if (WIDTH_B == 36) memory[base_b | 11'd2] <= new_b[26:18];
        if (WIDTH_B == 36) memory[base_b | 11'd3] <= new_b[35:27];
    end

    wire take_a = en_a & (~we_a | MODE_A != 0), take_b = en_b & (~we_b | MODE_B != 0);
    wire [35:0] read_a = (we_a & MODE_A == 1 ? new_a : old_a) >> bit_a & word_a ^ {36{write_b & near}};
    wire [35:0] read_b = (we_b & MODE_B == 1 ? new_b : old_b) >> bit_b & word_b ^ {36{write_a & near}};
    wire [35:0] latch_a, latch_b, reg_a, reg_b;
    gatewright_register #(36, ASYNC) latched_a (clk_a, take_a, rst_a, read_a, latch_a);
    gatewright_register #(36, ASYNC) latched_b (clk_b, take_b, rst_b, read_b, latch_b);
    gatewright_register #(36, ASYNC) register_a (clk_a, oce_a, rst_a, latch_a, reg_a);
    gatewright_register #(36, ASYNC) register_b (clk_b, oce_b, rst_b, latch_b, reg_b);
    assign out_a = REG_A ? reg_a : latch_a;
    assign out_b = REG_B ? reg_b : latch_b;
endmodule

// A register as in these blocks: zero at power-up, its reset stronger than its enable.
module gatewright_register #(
    parameter WIDTH = 1, parameter ASYNC = 0
) (
    input clk, input en, input rst, input [WIDTH-1:0] d, output reg [WIDTH-1:0] q
);
    initial q = 0;
    generate
        if (ASYNC) begin : asynchronous
            always @(posedge clk, posedge rst) if (rst) q <= 0; else if (en) q <= d;
        end else begin : synchronous
            always @(posedge clk) if (rst) q <= 0; else if (en) q <= d;
        end
    endgenerate
endmodule
