// Gowin multipliers, which Yosys ships as black boxes.
// Source: Gowin UG287 (DSP). Not modelled: the shift inputs and outputs from one multiplier to the next.

/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNDRIVEN */
// A multiplier 9 x 9 with registers at the inputs, in the middle and at the output, all on one clock.
module MULT9X9 (
    input [8:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [17:0] DOUT, output [8:0] SOA, SOB
);
    parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0, ASIGN_REG = 1'b0, BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0, MULT_RESET_MODE = "SYNC";
    gatewright_multiplier #(9, AREG, BREG, ASIGN_REG, BSIGN_REG, PIPE_REG, OUT_REG, MULT_RESET_MODE == "ASYNC")
        multiplier (CLK, CE, RESET, A, B, ASIGN, BSIGN, DOUT);
endmodule

// A multiplier 18 x 18 with registers at the inputs, in the middle and at the output, all on one clock.
module MULT18X18 (
    input [17:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT, output [17:0] SOA, SOB
);
    parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0, ASIGN_REG = 1'b0, BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0, MULT_RESET_MODE = "SYNC";
    gatewright_multiplier #(18, AREG, BREG, ASIGN_REG, BSIGN_REG, PIPE_REG, OUT_REG, MULT_RESET_MODE == "ASYNC")
        multiplier (CLK, CE, RESET, A, B, ASIGN, BSIGN, DOUT);
endmodule

module MULT36X36 (
    input [35:0] A, B, input ASIGN, BSIGN, CE, CLK, RESET, output [71:0] DOUT
);
    parameter AREG = 1'b0, BREG = 1'b0, OUT0_REG = 1'b0, OUT1_REG = 1'b0, PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, MULT_RESET_MODE = "SYNC";
    initial if (OUT0_REG != OUT1_REG) $fatal(1, "MULT36X36: output registers of one half are not modelled");
    gatewright_multiplier #(36, AREG, BREG, ASIGN_REG, BSIGN_REG, PIPE_REG, OUT1_REG, MULT_RESET_MODE == "ASYNC")
        multiplier (CLK, CE, RESET, A, B, ASIGN, BSIGN, DOUT);
endmodule

module gatewright_multiplier #(
    parameter N = 9, parameter AREG = 0, parameter BREG = 0, parameter ASIGN_REG = 0, parameter BSIGN_REG = 0,
    parameter PIPE_REG = 0, parameter OUT_REG = 0, parameter ASYNC = 0
) (
    input clk, input ce, input rst, input [N-1:0] a, input [N-1:0] b, input a_sign, input b_sign, output [2*N-1:0] p
);
    wire [N-1:0] a_q, b_q;
    wire a_sign_q, b_sign_q;
    wire [2*N-1:0] middle, last;
    gatewright_register #(N, ASYNC) input_a (clk, ce, rst, a, a_q);
    gatewright_register #(N, ASYNC) input_b (clk, ce, rst, b, b_q);
    gatewright_register #(1, ASYNC) sign_a (clk, ce, rst, a_sign, a_sign_q);
    gatewright_register #(1, ASYNC) sign_b (clk, ce, rst, b_sign, b_sign_q);
    wire [N-1:0] a_now = AREG ? a_q : a, b_now = BREG ? b_q : b;
    wire signed [N:0] left = {(ASIGN_REG ? a_sign_q : a_sign) & a_now[N-1], a_now};
    wire signed [N:0] right = {(BSIGN_REG ? b_sign_q : b_sign) & b_now[N-1], b_now};
    wire signed [2*N+1:0] exact = left * right;
    gatewright_register #(2*N, ASYNC) pipe (clk, ce, rst, exact[2*N-1:0], middle);
    wire [2*N-1:0] product = PIPE_REG ? middle : exact[2*N-1:0];
    gatewright_register #(2*N, ASYNC) out (clk, ce, rst, product, last);
    assign p = OUT_REG ? last : product;
endmodule
