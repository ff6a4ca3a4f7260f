// Block RAM of iCE40 around the model that Yosys ships (renamed shipped_SB_RAM40_4K).
//
// Lattice (FPGA-TN-02002) promises nothing for a word that is read in the cycle in which it is written: the bits that
// both ports address are inverted here, so that a design which counts on either value fails. The ports run on one clock.

/* verilator lint_off DECLFILENAME */
module SB_RAM40_4K #(
    parameter WRITE_MODE = 0, parameter READ_MODE = 0,  // 0 1 2 3: words of 16 8 4 2 bits
    parameter [255:0] INIT_0 = 0, parameter [255:0] INIT_1 = 0, parameter [255:0] INIT_2 = 0, parameter [255:0] INIT_3 = 0,
    parameter [255:0] INIT_4 = 0, parameter [255:0] INIT_5 = 0, parameter [255:0] INIT_6 = 0, parameter [255:0] INIT_7 = 0,
    parameter [255:0] INIT_8 = 0, parameter [255:0] INIT_9 = 0, parameter [255:0] INIT_A = 0, parameter [255:0] INIT_B = 0,
    parameter [255:0] INIT_C = 0, parameter [255:0] INIT_D = 0, parameter [255:0] INIT_E = 0, parameter [255:0] INIT_F = 0
) (
    output [15:0] RDATA, input RCLK, input RCLKE, input RE, input [10:0] RADDR,
    input WCLK, input WCLKE, input WE, input [10:0] WADDR, input [15:0] MASK, input [15:0] WDATA
);
    // Where the bits of a word are in their row of 16, and on which pins they come out.
    function [15:0] bits(input integer mode, input [10:0] address);
        case (mode)
            1: bits = 16'h5555 << address[8];
            2: bits = 16'h1111 << address[9:8];
            3: bits = 16'h0101 << address[10:8];
            default: bits = 16'hFFFF;
        endcase
    endfunction
    function [15:0] pins(input [15:0] hit);
        integer k;
        for (k = 0; k < 16; k = k + 1)
            case (READ_MODE)
                1: pins[k] = k % 2 == 0 & |(hit >> k & 16'h3);
                2: pins[k] = k % 4 == 1 & |(hit >> k - 1 & 16'hF);
                3: pins[k] = k % 8 == 3 & |(hit >> k - 3 & 16'hFF);
                default: pins[k] = hit[k];
            endcase
    endfunction

    wire [15:0] written = bits(WRITE_MODE, WADDR) & ~(WRITE_MODE == 0 ? MASK : 16'd0);
    wire collides = WE & WCLKE & WADDR[7:0] == RADDR[7:0];
    wire [15:0] word;
    reg [15:0] wrong = 0;
    always @(posedge RCLK) if (RE & RCLKE) wrong <= pins(collides ? written & bits(READ_MODE, RADDR) : 16'd0);
    assign RDATA = word ^ wrong;

    shipped_SB_RAM40_4K #(
        .WRITE_MODE(WRITE_MODE), .READ_MODE(READ_MODE),
        .INIT_0(INIT_0), .INIT_1(INIT_1), .INIT_2(INIT_2), .INIT_3(INIT_3), .INIT_4(INIT_4), .INIT_5(INIT_5),
        .INIT_6(INIT_6), .INIT_7(INIT_7), .INIT_8(INIT_8), .INIT_9(INIT_9), .INIT_A(INIT_A), .INIT_B(INIT_B),
        .INIT_C(INIT_C), .INIT_D(INIT_D), .INIT_E(INIT_E), .INIT_F(INIT_F)
    ) ram (
        .RDATA(word), .RCLK(RCLK), .RCLKE(RCLKE), .RE(RE), .RADDR(RADDR),
        .WCLK(WCLK), .WCLKE(WCLKE), .WE(WE), .WADDR(WADDR), .MASK(MASK), .WDATA(WDATA)
    );
endmodule
