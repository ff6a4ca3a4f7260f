// Gowin block RAM, which Yosys ships as black boxes.
// Source: Gowin UG285 (BSRAM). Not modelled: block selects other than 0.

/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNDRIVEN */
// Bytes of 8 bits in the lower part of bytes of 9.
`define GATEWRIGHT_WIDEN(d) {1'b0, d[31:24], 1'b0, d[23:16], 1'b0, d[15:8], 1'b0, d[7:0]}
`define GATEWRIGHT_NARROW(d) {d[34:27], d[25:18], d[16:9], d[7:0]}
// Widths 8, 16, 32 are those of 9, 18, 36 without the ninth bits.
`define GATEWRIGHT_WIDTH(w) ((w) < 8 ? (w) : (w) / 8 * 9)

module SP (
    output [31:0] DO, input [31:0] DI, input [2:0] BLKSEL, input [13:0] AD,
    input WRE, CLK, CE, OCE, RESET
);
    parameter READ_MODE = 1'b0, WRITE_MODE = 2'b00, BIT_WIDTH = 32, BLK_SEL = 3'b000, RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 256'd0, INIT_RAM_01 = 256'd0, INIT_RAM_02 = 256'd0, INIT_RAM_03 = 256'd0, INIT_RAM_04 = 256'd0, INIT_RAM_05 = 256'd0, INIT_RAM_06 = 256'd0, INIT_RAM_07 = 256'd0;
    parameter [255:0] INIT_RAM_08 = 256'd0, INIT_RAM_09 = 256'd0, INIT_RAM_0A = 256'd0, INIT_RAM_0B = 256'd0, INIT_RAM_0C = 256'd0, INIT_RAM_0D = 256'd0, INIT_RAM_0E = 256'd0, INIT_RAM_0F = 256'd0;
    parameter [255:0] INIT_RAM_10 = 256'd0, INIT_RAM_11 = 256'd0, INIT_RAM_12 = 256'd0, INIT_RAM_13 = 256'd0, INIT_RAM_14 = 256'd0, INIT_RAM_15 = 256'd0, INIT_RAM_16 = 256'd0, INIT_RAM_17 = 256'd0;
    parameter [255:0] INIT_RAM_18 = 256'd0, INIT_RAM_19 = 256'd0, INIT_RAM_1A = 256'd0, INIT_RAM_1B = 256'd0, INIT_RAM_1C = 256'd0, INIT_RAM_1D = 256'd0, INIT_RAM_1E = 256'd0, INIT_RAM_1F = 256'd0;
    parameter [255:0] INIT_RAM_20 = 256'd0, INIT_RAM_21 = 256'd0, INIT_RAM_22 = 256'd0, INIT_RAM_23 = 256'd0, INIT_RAM_24 = 256'd0, INIT_RAM_25 = 256'd0, INIT_RAM_26 = 256'd0, INIT_RAM_27 = 256'd0;
    parameter [255:0] INIT_RAM_28 = 256'd0, INIT_RAM_29 = 256'd0, INIT_RAM_2A = 256'd0, INIT_RAM_2B = 256'd0, INIT_RAM_2C = 256'd0, INIT_RAM_2D = 256'd0, INIT_RAM_2E = 256'd0, INIT_RAM_2F = 256'd0;
    parameter [255:0] INIT_RAM_30 = 256'd0, INIT_RAM_31 = 256'd0, INIT_RAM_32 = 256'd0, INIT_RAM_33 = 256'd0, INIT_RAM_34 = 256'd0, INIT_RAM_35 = 256'd0, INIT_RAM_36 = 256'd0, INIT_RAM_37 = 256'd0;
    parameter [255:0] INIT_RAM_38 = 256'd0, INIT_RAM_39 = 256'd0, INIT_RAM_3A = 256'd0, INIT_RAM_3B = 256'd0, INIT_RAM_3C = 256'd0, INIT_RAM_3D = 256'd0, INIT_RAM_3E = 256'd0, INIT_RAM_3F = 256'd0;
    localparam [16383:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    function [18431:0] widened(input [16383:0] rows);
        integer k;
        for (k = 0; k < 2048; k = k + 1) widened[9*k +: 9] = {1'b0, rows[8*k +: 8]};
    endfunction
    initial if (BLK_SEL != 0) $fatal(1, "SP: block selects are not modelled");
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(`GATEWRIGHT_WIDTH(BIT_WIDTH)), .MODE_A(WRITE_MODE), .REG_A(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(widened(ROWS))
    ) ram (
        .clk_a(CLK), .en_a(CE & ~|BLKSEL), .we_a(WRE), .bytes_a(AD[3:0]), .oce_a(OCE), .rst_a(RESET),
        .addr_a(AD), .in_a(`GATEWRIGHT_WIDEN(DI)), .out_a(out_a),
        .clk_b(1'b0), .en_b(1'b0), .we_b(1'b0), .bytes_b(4'd0), .oce_b(1'b0), .rst_b(1'b0),
        .addr_b(14'd0), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = `GATEWRIGHT_NARROW(out_a);
endmodule

module SPX9 (
    output [35:0] DO, input [35:0] DI, input [2:0] BLKSEL, input [13:0] AD,
    input WRE, CLK, CE, OCE, RESET
);
    parameter READ_MODE = 1'b0, WRITE_MODE = 2'b00, BIT_WIDTH = 36, BLK_SEL = 3'b000, RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 288'd0, INIT_RAM_01 = 288'd0, INIT_RAM_02 = 288'd0, INIT_RAM_03 = 288'd0, INIT_RAM_04 = 288'd0, INIT_RAM_05 = 288'd0, INIT_RAM_06 = 288'd0, INIT_RAM_07 = 288'd0;
    parameter [287:0] INIT_RAM_08 = 288'd0, INIT_RAM_09 = 288'd0, INIT_RAM_0A = 288'd0, INIT_RAM_0B = 288'd0, INIT_RAM_0C = 288'd0, INIT_RAM_0D = 288'd0, INIT_RAM_0E = 288'd0, INIT_RAM_0F = 288'd0;
    parameter [287:0] INIT_RAM_10 = 288'd0, INIT_RAM_11 = 288'd0, INIT_RAM_12 = 288'd0, INIT_RAM_13 = 288'd0, INIT_RAM_14 = 288'd0, INIT_RAM_15 = 288'd0, INIT_RAM_16 = 288'd0, INIT_RAM_17 = 288'd0;
    parameter [287:0] INIT_RAM_18 = 288'd0, INIT_RAM_19 = 288'd0, INIT_RAM_1A = 288'd0, INIT_RAM_1B = 288'd0, INIT_RAM_1C = 288'd0, INIT_RAM_1D = 288'd0, INIT_RAM_1E = 288'd0, INIT_RAM_1F = 288'd0;
    parameter [287:0] INIT_RAM_20 = 288'd0, INIT_RAM_21 = 288'd0, INIT_RAM_22 = 288'd0, INIT_RAM_23 = 288'd0, INIT_RAM_24 = 288'd0, INIT_RAM_25 = 288'd0, INIT_RAM_26 = 288'd0, INIT_RAM_27 = 288'd0;
    parameter [287:0] INIT_RAM_28 = 288'd0, INIT_RAM_29 = 288'd0, INIT_RAM_2A = 288'd0, INIT_RAM_2B = 288'd0, INIT_RAM_2C = 288'd0, INIT_RAM_2D = 288'd0, INIT_RAM_2E = 288'd0, INIT_RAM_2F = 288'd0;
    parameter [287:0] INIT_RAM_30 = 288'd0, INIT_RAM_31 = 288'd0, INIT_RAM_32 = 288'd0, INIT_RAM_33 = 288'd0, INIT_RAM_34 = 288'd0, INIT_RAM_35 = 288'd0, INIT_RAM_36 = 288'd0, INIT_RAM_37 = 288'd0;
    parameter [287:0] INIT_RAM_38 = 288'd0, INIT_RAM_39 = 288'd0, INIT_RAM_3A = 288'd0, INIT_RAM_3B = 288'd0, INIT_RAM_3C = 288'd0, INIT_RAM_3D = 288'd0, INIT_RAM_3E = 288'd0, INIT_RAM_3F = 288'd0;
    localparam [18431:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    initial if (BLK_SEL != 0) $fatal(1, "SPX9: block selects are not modelled");
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(BIT_WIDTH), .MODE_A(WRITE_MODE), .REG_A(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(ROWS)
    ) ram (
        .clk_a(CLK), .en_a(CE & ~|BLKSEL), .we_a(WRE), .bytes_a(AD[3:0]), .oce_a(OCE), .rst_a(RESET),
        .addr_a(AD), .in_a(DI), .out_a(out_a),
        .clk_b(1'b0), .en_b(1'b0), .we_b(1'b0), .bytes_b(4'd0), .oce_b(1'b0), .rst_b(1'b0),
        .addr_b(14'd0), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = out_a[35:0];
endmodule

module pROM (
    input CLK, CE, OCE, RESET, input [13:0] AD, output [31:0] DO
);
    parameter READ_MODE = 1'b0, BIT_WIDTH = 32, RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 256'd0, INIT_RAM_01 = 256'd0, INIT_RAM_02 = 256'd0, INIT_RAM_03 = 256'd0, INIT_RAM_04 = 256'd0, INIT_RAM_05 = 256'd0, INIT_RAM_06 = 256'd0, INIT_RAM_07 = 256'd0;
    parameter [255:0] INIT_RAM_08 = 256'd0, INIT_RAM_09 = 256'd0, INIT_RAM_0A = 256'd0, INIT_RAM_0B = 256'd0, INIT_RAM_0C = 256'd0, INIT_RAM_0D = 256'd0, INIT_RAM_0E = 256'd0, INIT_RAM_0F = 256'd0;
    parameter [255:0] INIT_RAM_10 = 256'd0, INIT_RAM_11 = 256'd0, INIT_RAM_12 = 256'd0, INIT_RAM_13 = 256'd0, INIT_RAM_14 = 256'd0, INIT_RAM_15 = 256'd0, INIT_RAM_16 = 256'd0, INIT_RAM_17 = 256'd0;
    parameter [255:0] INIT_RAM_18 = 256'd0, INIT_RAM_19 = 256'd0, INIT_RAM_1A = 256'd0, INIT_RAM_1B = 256'd0, INIT_RAM_1C = 256'd0, INIT_RAM_1D = 256'd0, INIT_RAM_1E = 256'd0, INIT_RAM_1F = 256'd0;
    parameter [255:0] INIT_RAM_20 = 256'd0, INIT_RAM_21 = 256'd0, INIT_RAM_22 = 256'd0, INIT_RAM_23 = 256'd0, INIT_RAM_24 = 256'd0, INIT_RAM_25 = 256'd0, INIT_RAM_26 = 256'd0, INIT_RAM_27 = 256'd0;
    parameter [255:0] INIT_RAM_28 = 256'd0, INIT_RAM_29 = 256'd0, INIT_RAM_2A = 256'd0, INIT_RAM_2B = 256'd0, INIT_RAM_2C = 256'd0, INIT_RAM_2D = 256'd0, INIT_RAM_2E = 256'd0, INIT_RAM_2F = 256'd0;
    parameter [255:0] INIT_RAM_30 = 256'd0, INIT_RAM_31 = 256'd0, INIT_RAM_32 = 256'd0, INIT_RAM_33 = 256'd0, INIT_RAM_34 = 256'd0, INIT_RAM_35 = 256'd0, INIT_RAM_36 = 256'd0, INIT_RAM_37 = 256'd0;
    parameter [255:0] INIT_RAM_38 = 256'd0, INIT_RAM_39 = 256'd0, INIT_RAM_3A = 256'd0, INIT_RAM_3B = 256'd0, INIT_RAM_3C = 256'd0, INIT_RAM_3D = 256'd0, INIT_RAM_3E = 256'd0, INIT_RAM_3F = 256'd0;
    localparam [16383:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    function [18431:0] widened(input [16383:0] rows);
        integer k;
        for (k = 0; k < 2048; k = k + 1) widened[9*k +: 9] = {1'b0, rows[8*k +: 8]};
    endfunction
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(`GATEWRIGHT_WIDTH(BIT_WIDTH)), .REG_A(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(widened(ROWS))
    ) ram (
        .clk_a(CLK), .en_a(CE), .we_a(1'b0), .bytes_a(4'd0), .oce_a(OCE), .rst_a(RESET),
        .addr_a(AD), .in_a(36'd0), .out_a(out_a),
        .clk_b(1'b0), .en_b(1'b0), .we_b(1'b0), .bytes_b(4'd0), .oce_b(1'b0), .rst_b(1'b0),
        .addr_b(14'd0), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = `GATEWRIGHT_NARROW(out_a);
endmodule

module pROMX9 (
    input CLK, CE, OCE, RESET, input [13:0] AD, output [35:0] DO
);
    parameter READ_MODE = 1'b0, BIT_WIDTH = 36, RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 288'd0, INIT_RAM_01 = 288'd0, INIT_RAM_02 = 288'd0, INIT_RAM_03 = 288'd0, INIT_RAM_04 = 288'd0, INIT_RAM_05 = 288'd0, INIT_RAM_06 = 288'd0, INIT_RAM_07 = 288'd0;
    parameter [287:0] INIT_RAM_08 = 288'd0, INIT_RAM_09 = 288'd0, INIT_RAM_0A = 288'd0, INIT_RAM_0B = 288'd0, INIT_RAM_0C = 288'd0, INIT_RAM_0D = 288'd0, INIT_RAM_0E = 288'd0, INIT_RAM_0F = 288'd0;
    parameter [287:0] INIT_RAM_10 = 288'd0, INIT_RAM_11 = 288'd0, INIT_RAM_12 = 288'd0, INIT_RAM_13 = 288'd0, INIT_RAM_14 = 288'd0, INIT_RAM_15 = 288'd0, INIT_RAM_16 = 288'd0, INIT_RAM_17 = 288'd0;
    parameter [287:0] INIT_RAM_18 = 288'd0, INIT_RAM_19 = 288'd0, INIT_RAM_1A = 288'd0, INIT_RAM_1B = 288'd0, INIT_RAM_1C = 288'd0, INIT_RAM_1D = 288'd0, INIT_RAM_1E = 288'd0, INIT_RAM_1F = 288'd0;
    parameter [287:0] INIT_RAM_20 = 288'd0, INIT_RAM_21 = 288'd0, INIT_RAM_22 = 288'd0, INIT_RAM_23 = 288'd0, INIT_RAM_24 = 288'd0, INIT_RAM_25 = 288'd0, INIT_RAM_26 = 288'd0, INIT_RAM_27 = 288'd0;
    parameter [287:0] INIT_RAM_28 = 288'd0, INIT_RAM_29 = 288'd0, INIT_RAM_2A = 288'd0, INIT_RAM_2B = 288'd0, INIT_RAM_2C = 288'd0, INIT_RAM_2D = 288'd0, INIT_RAM_2E = 288'd0, INIT_RAM_2F = 288'd0;
    parameter [287:0] INIT_RAM_30 = 288'd0, INIT_RAM_31 = 288'd0, INIT_RAM_32 = 288'd0, INIT_RAM_33 = 288'd0, INIT_RAM_34 = 288'd0, INIT_RAM_35 = 288'd0, INIT_RAM_36 = 288'd0, INIT_RAM_37 = 288'd0;
    parameter [287:0] INIT_RAM_38 = 288'd0, INIT_RAM_39 = 288'd0, INIT_RAM_3A = 288'd0, INIT_RAM_3B = 288'd0, INIT_RAM_3C = 288'd0, INIT_RAM_3D = 288'd0, INIT_RAM_3E = 288'd0, INIT_RAM_3F = 288'd0;
    localparam [18431:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(BIT_WIDTH), .REG_A(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(ROWS)
    ) ram (
        .clk_a(CLK), .en_a(CE), .we_a(1'b0), .bytes_a(4'd0), .oce_a(OCE), .rst_a(RESET),
        .addr_a(AD), .in_a(36'd0), .out_a(out_a),
        .clk_b(1'b0), .en_b(1'b0), .we_b(1'b0), .bytes_b(4'd0), .oce_b(1'b0), .rst_b(1'b0),
        .addr_b(14'd0), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = out_a[35:0];
endmodule

module SDPB (
    input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB, input [13:0] ADA, ADB,
    input [31:0] DI, input [2:0] BLKSELA, BLKSELB, output [31:0] DO
);
    parameter READ_MODE = 1'b0, BIT_WIDTH_0 = 32, BIT_WIDTH_1 = 32, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 256'd0, INIT_RAM_01 = 256'd0, INIT_RAM_02 = 256'd0, INIT_RAM_03 = 256'd0, INIT_RAM_04 = 256'd0, INIT_RAM_05 = 256'd0, INIT_RAM_06 = 256'd0, INIT_RAM_07 = 256'd0;
    parameter [255:0] INIT_RAM_08 = 256'd0, INIT_RAM_09 = 256'd0, INIT_RAM_0A = 256'd0, INIT_RAM_0B = 256'd0, INIT_RAM_0C = 256'd0, INIT_RAM_0D = 256'd0, INIT_RAM_0E = 256'd0, INIT_RAM_0F = 256'd0;
    parameter [255:0] INIT_RAM_10 = 256'd0, INIT_RAM_11 = 256'd0, INIT_RAM_12 = 256'd0, INIT_RAM_13 = 256'd0, INIT_RAM_14 = 256'd0, INIT_RAM_15 = 256'd0, INIT_RAM_16 = 256'd0, INIT_RAM_17 = 256'd0;
    parameter [255:0] INIT_RAM_18 = 256'd0, INIT_RAM_19 = 256'd0, INIT_RAM_1A = 256'd0, INIT_RAM_1B = 256'd0, INIT_RAM_1C = 256'd0, INIT_RAM_1D = 256'd0, INIT_RAM_1E = 256'd0, INIT_RAM_1F = 256'd0;
    parameter [255:0] INIT_RAM_20 = 256'd0, INIT_RAM_21 = 256'd0, INIT_RAM_22 = 256'd0, INIT_RAM_23 = 256'd0, INIT_RAM_24 = 256'd0, INIT_RAM_25 = 256'd0, INIT_RAM_26 = 256'd0, INIT_RAM_27 = 256'd0;
    parameter [255:0] INIT_RAM_28 = 256'd0, INIT_RAM_29 = 256'd0, INIT_RAM_2A = 256'd0, INIT_RAM_2B = 256'd0, INIT_RAM_2C = 256'd0, INIT_RAM_2D = 256'd0, INIT_RAM_2E = 256'd0, INIT_RAM_2F = 256'd0;
    parameter [255:0] INIT_RAM_30 = 256'd0, INIT_RAM_31 = 256'd0, INIT_RAM_32 = 256'd0, INIT_RAM_33 = 256'd0, INIT_RAM_34 = 256'd0, INIT_RAM_35 = 256'd0, INIT_RAM_36 = 256'd0, INIT_RAM_37 = 256'd0;
    parameter [255:0] INIT_RAM_38 = 256'd0, INIT_RAM_39 = 256'd0, INIT_RAM_3A = 256'd0, INIT_RAM_3B = 256'd0, INIT_RAM_3C = 256'd0, INIT_RAM_3D = 256'd0, INIT_RAM_3E = 256'd0, INIT_RAM_3F = 256'd0;
    localparam [16383:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    function [18431:0] widened(input [16383:0] rows);
        integer k;
        for (k = 0; k < 2048; k = k + 1) widened[9*k +: 9] = {1'b0, rows[8*k +: 8]};
    endfunction
    initial if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) $fatal(1, "SDPB: block selects are not modelled");
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(`GATEWRIGHT_WIDTH(BIT_WIDTH_0)), .WIDTH_B(`GATEWRIGHT_WIDTH(BIT_WIDTH_1)), .REG_B(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(widened(ROWS))
    ) ram (
        .clk_a(CLKA), .en_a(CEA & ~|BLKSELA), .we_a(1'b1), .bytes_a(ADA[3:0]), .oce_a(1'b0), .rst_a(RESETA),
        .addr_a(ADA), .in_a(`GATEWRIGHT_WIDEN(DI)), .out_a(out_a),
        .clk_b(CLKB), .en_b(CEB & ~|BLKSELB), .we_b(1'b0), .bytes_b(4'd0), .oce_b(OCE), .rst_b(RESETB),
        .addr_b(ADB), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = `GATEWRIGHT_NARROW(out_b);
endmodule

module SDPX9B (
    input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB, input [13:0] ADA, ADB,
    input [35:0] DI, input [2:0] BLKSELA, BLKSELB, output [35:0] DO
);
    parameter READ_MODE = 1'b0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 288'd0, INIT_RAM_01 = 288'd0, INIT_RAM_02 = 288'd0, INIT_RAM_03 = 288'd0, INIT_RAM_04 = 288'd0, INIT_RAM_05 = 288'd0, INIT_RAM_06 = 288'd0, INIT_RAM_07 = 288'd0;
    parameter [287:0] INIT_RAM_08 = 288'd0, INIT_RAM_09 = 288'd0, INIT_RAM_0A = 288'd0, INIT_RAM_0B = 288'd0, INIT_RAM_0C = 288'd0, INIT_RAM_0D = 288'd0, INIT_RAM_0E = 288'd0, INIT_RAM_0F = 288'd0;
    parameter [287:0] INIT_RAM_10 = 288'd0, INIT_RAM_11 = 288'd0, INIT_RAM_12 = 288'd0, INIT_RAM_13 = 288'd0, INIT_RAM_14 = 288'd0, INIT_RAM_15 = 288'd0, INIT_RAM_16 = 288'd0, INIT_RAM_17 = 288'd0;
    parameter [287:0] INIT_RAM_18 = 288'd0, INIT_RAM_19 = 288'd0, INIT_RAM_1A = 288'd0, INIT_RAM_1B = 288'd0, INIT_RAM_1C = 288'd0, INIT_RAM_1D = 288'd0, INIT_RAM_1E = 288'd0, INIT_RAM_1F = 288'd0;
    parameter [287:0] INIT_RAM_20 = 288'd0, INIT_RAM_21 = 288'd0, INIT_RAM_22 = 288'd0, INIT_RAM_23 = 288'd0, INIT_RAM_24 = 288'd0, INIT_RAM_25 = 288'd0, INIT_RAM_26 = 288'd0, INIT_RAM_27 = 288'd0;
    parameter [287:0] INIT_RAM_28 = 288'd0, INIT_RAM_29 = 288'd0, INIT_RAM_2A = 288'd0, INIT_RAM_2B = 288'd0, INIT_RAM_2C = 288'd0, INIT_RAM_2D = 288'd0, INIT_RAM_2E = 288'd0, INIT_RAM_2F = 288'd0;
    parameter [287:0] INIT_RAM_30 = 288'd0, INIT_RAM_31 = 288'd0, INIT_RAM_32 = 288'd0, INIT_RAM_33 = 288'd0, INIT_RAM_34 = 288'd0, INIT_RAM_35 = 288'd0, INIT_RAM_36 = 288'd0, INIT_RAM_37 = 288'd0;
    parameter [287:0] INIT_RAM_38 = 288'd0, INIT_RAM_39 = 288'd0, INIT_RAM_3A = 288'd0, INIT_RAM_3B = 288'd0, INIT_RAM_3C = 288'd0, INIT_RAM_3D = 288'd0, INIT_RAM_3E = 288'd0, INIT_RAM_3F = 288'd0;
    localparam [18431:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    initial if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) $fatal(1, "SDPX9B: block selects are not modelled");
    wire [35:0] out_a, out_b;
    gatewright_block_ram #(
        .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .REG_B(READ_MODE),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(ROWS)
    ) ram (
        .clk_a(CLKA), .en_a(CEA & ~|BLKSELA), .we_a(1'b1), .bytes_a(ADA[3:0]), .oce_a(1'b0), .rst_a(RESETA),
        .addr_a(ADA), .in_a(DI), .out_a(out_a),
        .clk_b(CLKB), .en_b(CEB & ~|BLKSELB), .we_b(1'b0), .bytes_b(4'd0), .oce_b(OCE), .rst_b(RESETB),
        .addr_b(ADB), .in_b(36'd0), .out_b(out_b)
    );
    assign DO = out_b[35:0];
endmodule

module DPB (
    input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB, input [13:0] ADA, ADB,
    input [2:0] BLKSELA, BLKSELB, input [15:0] DIA, DIB, output [15:0] DOA, DOB
);
    parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 16, BIT_WIDTH_1 = 16, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 256'd0, INIT_RAM_01 = 256'd0, INIT_RAM_02 = 256'd0, INIT_RAM_03 = 256'd0, INIT_RAM_04 = 256'd0, INIT_RAM_05 = 256'd0, INIT_RAM_06 = 256'd0, INIT_RAM_07 = 256'd0;
    parameter [255:0] INIT_RAM_08 = 256'd0, INIT_RAM_09 = 256'd0, INIT_RAM_0A = 256'd0, INIT_RAM_0B = 256'd0, INIT_RAM_0C = 256'd0, INIT_RAM_0D = 256'd0, INIT_RAM_0E = 256'd0, INIT_RAM_0F = 256'd0;
    parameter [255:0] INIT_RAM_10 = 256'd0, INIT_RAM_11 = 256'd0, INIT_RAM_12 = 256'd0, INIT_RAM_13 = 256'd0, INIT_RAM_14 = 256'd0, INIT_RAM_15 = 256'd0, INIT_RAM_16 = 256'd0, INIT_RAM_17 = 256'd0;
    parameter [255:0] INIT_RAM_18 = 256'd0, INIT_RAM_19 = 256'd0, INIT_RAM_1A = 256'd0, INIT_RAM_1B = 256'd0, INIT_RAM_1C = 256'd0, INIT_RAM_1D = 256'd0, INIT_RAM_1E = 256'd0, INIT_RAM_1F = 256'd0;
    parameter [255:0] INIT_RAM_20 = 256'd0, INIT_RAM_21 = 256'd0, INIT_RAM_22 = 256'd0, INIT_RAM_23 = 256'd0, INIT_RAM_24 = 256'd0, INIT_RAM_25 = 256'd0, INIT_RAM_26 = 256'd0, INIT_RAM_27 = 256'd0;
    parameter [255:0] INIT_RAM_28 = 256'd0, INIT_RAM_29 = 256'd0, INIT_RAM_2A = 256'd0, INIT_RAM_2B = 256'd0, INIT_RAM_2C = 256'd0, INIT_RAM_2D = 256'd0, INIT_RAM_2E = 256'd0, INIT_RAM_2F = 256'd0;
    parameter [255:0] INIT_RAM_30 = 256'd0, INIT_RAM_31 = 256'd0, INIT_RAM_32 = 256'd0, INIT_RAM_33 = 256'd0, INIT_RAM_34 = 256'd0, INIT_RAM_35 = 256'd0, INIT_RAM_36 = 256'd0, INIT_RAM_37 = 256'd0;
    parameter [255:0] INIT_RAM_38 = 256'd0, INIT_RAM_39 = 256'd0, INIT_RAM_3A = 256'd0, INIT_RAM_3B = 256'd0, INIT_RAM_3C = 256'd0, INIT_RAM_3D = 256'd0, INIT_RAM_3E = 256'd0, INIT_RAM_3F = 256'd0;
    localparam [16383:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    function [18431:0] widened(input [16383:0] rows);
        integer k;
        for (k = 0; k < 2048; k = k + 1) widened[9*k +: 9] = {1'b0, rows[8*k +: 8]};
    endfunction
    initial if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) $fatal(1, "DPB: block selects are not modelled");
    wire [35:0] out_a, out_b;
    wire [31:0] in_a = {16'd0, DIA}, in_b = {16'd0, DIB};
    gatewright_block_ram #(
        .WIDTH_A(`GATEWRIGHT_WIDTH(BIT_WIDTH_0)), .WIDTH_B(`GATEWRIGHT_WIDTH(BIT_WIDTH_1)), .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1),
        .REG_A(READ_MODE0), .REG_B(READ_MODE1),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(widened(ROWS))
    ) ram (
        .clk_a(CLKA), .en_a(CEA & ~|BLKSELA), .we_a(WREA), .bytes_a(ADA[3:0]), .oce_a(OCEA), .rst_a(RESETA),
        .addr_a(ADA), .in_a(`GATEWRIGHT_WIDEN(in_a)), .out_a(out_a),
        .clk_b(CLKB), .en_b(CEB & ~|BLKSELB), .we_b(WREB), .bytes_b(ADB[3:0]), .oce_b(OCEB), .rst_b(RESETB),
        .addr_b(ADB), .in_b(`GATEWRIGHT_WIDEN(in_b)), .out_b(out_b)
    );
    assign DOA = {out_a[16:9], out_a[7:0]};
    assign DOB = {out_b[16:9], out_b[7:0]};
endmodule

module DPX9B (
    input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB, input [13:0] ADA, ADB,
    input [2:0] BLKSELA, BLKSELB, input [17:0] DIA, DIB, output [17:0] DOA, DOB
);
    parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 288'd0, INIT_RAM_01 = 288'd0, INIT_RAM_02 = 288'd0, INIT_RAM_03 = 288'd0, INIT_RAM_04 = 288'd0, INIT_RAM_05 = 288'd0, INIT_RAM_06 = 288'd0, INIT_RAM_07 = 288'd0;
    parameter [287:0] INIT_RAM_08 = 288'd0, INIT_RAM_09 = 288'd0, INIT_RAM_0A = 288'd0, INIT_RAM_0B = 288'd0, INIT_RAM_0C = 288'd0, INIT_RAM_0D = 288'd0, INIT_RAM_0E = 288'd0, INIT_RAM_0F = 288'd0;
    parameter [287:0] INIT_RAM_10 = 288'd0, INIT_RAM_11 = 288'd0, INIT_RAM_12 = 288'd0, INIT_RAM_13 = 288'd0, INIT_RAM_14 = 288'd0, INIT_RAM_15 = 288'd0, INIT_RAM_16 = 288'd0, INIT_RAM_17 = 288'd0;
    parameter [287:0] INIT_RAM_18 = 288'd0, INIT_RAM_19 = 288'd0, INIT_RAM_1A = 288'd0, INIT_RAM_1B = 288'd0, INIT_RAM_1C = 288'd0, INIT_RAM_1D = 288'd0, INIT_RAM_1E = 288'd0, INIT_RAM_1F = 288'd0;
    parameter [287:0] INIT_RAM_20 = 288'd0, INIT_RAM_21 = 288'd0, INIT_RAM_22 = 288'd0, INIT_RAM_23 = 288'd0, INIT_RAM_24 = 288'd0, INIT_RAM_25 = 288'd0, INIT_RAM_26 = 288'd0, INIT_RAM_27 = 288'd0;
    parameter [287:0] INIT_RAM_28 = 288'd0, INIT_RAM_29 = 288'd0, INIT_RAM_2A = 288'd0, INIT_RAM_2B = 288'd0, INIT_RAM_2C = 288'd0, INIT_RAM_2D = 288'd0, INIT_RAM_2E = 288'd0, INIT_RAM_2F = 288'd0;
    parameter [287:0] INIT_RAM_30 = 288'd0, INIT_RAM_31 = 288'd0, INIT_RAM_32 = 288'd0, INIT_RAM_33 = 288'd0, INIT_RAM_34 = 288'd0, INIT_RAM_35 = 288'd0, INIT_RAM_36 = 288'd0, INIT_RAM_37 = 288'd0;
    parameter [287:0] INIT_RAM_38 = 288'd0, INIT_RAM_39 = 288'd0, INIT_RAM_3A = 288'd0, INIT_RAM_3B = 288'd0, INIT_RAM_3C = 288'd0, INIT_RAM_3D = 288'd0, INIT_RAM_3E = 288'd0, INIT_RAM_3F = 288'd0;
    localparam [18431:0] ROWS = {
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    };
    initial if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) $fatal(1, "DPX9B: block selects are not modelled");
    wire [35:0] out_a, out_b;
    wire [35:0] in_a = {18'd0, DIA}, in_b = {18'd0, DIB};
    gatewright_block_ram #(
        .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1),
        .REG_A(READ_MODE0), .REG_B(READ_MODE1),
        .ASYNC(RESET_MODE == "ASYNC"), .INIT(ROWS)
    ) ram (
        .clk_a(CLKA), .en_a(CEA & ~|BLKSELA), .we_a(WREA), .bytes_a(ADA[3:0]), .oce_a(OCEA), .rst_a(RESETA),
        .addr_a(ADA), .in_a(in_a), .out_a(out_a),
        .clk_b(CLKB), .en_b(CEB & ~|BLKSELB), .we_b(WREB), .bytes_b(ADB[3:0]), .oce_b(OCEB), .rst_b(RESETB),
        .addr_b(ADB), .in_b(in_b), .out_b(out_b)
    );
    assign DOA = out_a[17:0];
    assign DOB = out_b[17:0];
endmodule
