"""Plain-Verilog faces of a core: AXI4-Stream names, and registers on a Wishbone bus.

The text has parameters only for what differs from program to program; ``docs/integration.md``
describes ports and registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...compiler.arrays import ceil_div
from ...compiler.program.program import Program
from ..engine.core import Core

__all__ = ["AXIS", "WISHBONE", "Shape", "axis_verilog", "fusesoc_core", "wishbone_verilog"]

AXIS, WISHBONE = "gatewright_axis", "gatewright_wishbone"
"""Names of the top modules."""
VERSION = "0.1.0"
"""Version of the ports and registers, for FuseSoC."""


@dataclass(frozen=True)
class Shape:
    """Widths and sizes of a core's ports.

    Parameters
    ----------
    inputs, outputs : int
        Elements of a step.
    data, out, command, state_in, state_out : int
        Bits of an input element, an output element, a command, and a word of the state port.
    streams, stream : int
        Streams, and the bits of their number: none where there is one.
    """

    inputs: int
    outputs: int
    data: int
    out: int
    command: int
    state_in: int
    state_out: int
    streams: int
    stream: int

    @classmethod
    def of(cls, core: Core) -> Shape:
        """Return the shape of a core."""
        net = core.program.network
        return cls(
            net.input_size, net.output_size, net.numbers.activation_bits, net.numbers.state_bits,
            len(core.c.payload), len(core.s_i.payload), len(core.s_o.payload),
            core.program.streams, (core.program.streams - 1).bit_length(),
        )  # fmt: skip


def _bytes(bits: int) -> int:
    """Return whole bytes that hold so many bits, in bits."""
    return ceil_div(bits, 8) * 8


def _core(top: str, names: dict[str, str], width: int = 8) -> str:
    """Return an instance of the core, with port names joined to nets."""
    lines = ",\n".join(f"        .{port:<{width}}({net})" for port, net in names.items())
    return f"    {top} core (\n{lines}\n    );"


def axis_verilog(core: Core, top: str) -> str:
    """Return a wrapper with AXI4-Stream names.

    Parameters
    ----------
    core : Core
    top : str
        Name of the core's module.
    """
    s = Shape.of(core)
    w_in, w_out = _bytes(s.data), _bytes(s.out)
    w_c, w_si, w_so = _bytes(s.command), _bytes(s.state_in), _bytes(s.state_out)
    count = max(1, (s.inputs - 1).bit_length())

    def extend(name: str, bits: int, width: int) -> str:
        pad = width - bits
        return (
            f"{{{{{pad}{{{name}[{bits - 1}]}}}}, {name}[{bits - 1}:0]}}"
            if pad
            else f"{name}[{bits - 1}:0]"
        )

    many = s.stream > 0
    tid_in = (
        f"    // The stream of an element. It is only compared with the one whose turn it is: 0 to {s.streams - 1}.\n"
        f"    input  wire [{s.stream - 1}:0] s_axis_tid,\n"
    ) * many  # fmt: skip
    tid_out = f"    output wire [{s.stream - 1}:0] m_axis_tid,\n" * many
    turn = (
        f"    localparam [{s.stream - 1}:0] LAST_STREAM = {s.streams - 1};\n"
        f"    reg [{s.stream - 1}:0] turn;\n"
        "    initial turn = 0;\n"
        "    always @(posedge aclk) begin\n"
        "        if (reset) turn <= 0;\n"
        "        else if (s_axis_tvalid && s_axis_tready && element == LAST) turn <= turn == LAST_STREAM ? 0 : turn + 1'b1;\n"
        "    end\n"
        f"    assign m_axis_tid = result[{s.out + s.stream + 1}:{s.out + 2}];\n"
    ) * many  # fmt: skip
    other = ", or of a tid that was not its turn's" * many
    astray = " || s_axis_tid != turn" * many
    instance = _core(top, {
        "clk": "aclk", "rst": "reset",
        "i__valid": "s_axis_tvalid", "i__ready": "s_axis_tready",
        "i__payload": f"{{s_axis_tuser, s_axis_tdata[{s.data - 1}:0]}}",
        "o__valid": "m_axis_tvalid", "o__ready": "m_axis_tready", "o__payload": "result",
        "c__valid": "s_axis_command_tvalid", "c__ready": "s_axis_command_tready",
        "c__payload": f"s_axis_command_tdata[{s.command - 1}:0]",
        "s_i__valid": "s_axis_state_tvalid", "s_i__ready": "s_axis_state_tready",
        "s_i__payload": f"s_axis_state_tdata[{s.state_in - 1}:0]",
        "s_o__valid": "m_axis_state_tvalid", "s_o__ready": "m_axis_state_tready",
        "s_o__payload": "state",
    }, 12)  # fmt: skip
    return f"""\
// The core with AXI4-Stream names. Codes are two's complement; tdata is whole bytes, sign-extended on the way
// out, and its upper bits are ignored on the way in.
module {AXIS} (
    input  wire        aclk,
    input  wire        aresetn,
    /* verilator lint_off UNUSEDSIGNAL */
    // Input elements. tuser on the first of a step: the step starts from the reset state.
    input  wire [{w_in - 1}:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,
    input  wire        s_axis_tuser,
{tid_in}    // Output elements. tuser on the first of a step, tlast on the last.
    output wire [{w_out - 1}:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,
    output wire        m_axis_tuser,
{tid_out}    // Commands, then words of the state in or out.
    input  wire [{w_c - 1}:0] s_axis_command_tdata,
    input  wire        s_axis_command_tvalid,
    output wire        s_axis_command_tready,
    input  wire [{w_si - 1}:0] s_axis_state_tdata,
    input  wire        s_axis_state_tvalid,
    output wire        s_axis_state_tready,
    output wire [{w_so - 1}:0] m_axis_state_tdata,
    output wire        m_axis_state_tvalid,
    input  wire        m_axis_state_tready,
    /* verilator lint_on UNUSEDSIGNAL */
    // High from a tlast that was not on the last of {s.inputs} elements, or was missing there{other}, until reset.
    output reg         frame_error
);
    // A step is counted by the core; tlast is only compared with its count.
    localparam [{count - 1}:0] LAST = {s.inputs - 1};
    wire reset = ~aresetn;
    reg [{count - 1}:0] element;
    wire [{s.out + s.stream + 1}:0] result;
    wire [{s.state_out - 1}:0] state;
    initial begin
        element = 0;
        frame_error = 0;
    end
    always @(posedge aclk) begin
        if (reset) begin
            element <= 0;
            frame_error <= 0;
        end else if (s_axis_tvalid && s_axis_tready) begin
            element <= element == LAST ? 0 : element + 1'b1;
            if (s_axis_tlast != (element == LAST){astray}) frame_error <= 1;
        end
    end
    assign m_axis_tdata = {extend("result", s.out, w_out)};
    assign m_axis_tuser = result[{s.out}];
    assign m_axis_tlast = result[{s.out + 1}];
{turn}    assign m_axis_state_tdata = {extend("state", s.state_out, w_so)};
{instance}
endmodule
"""


def wishbone_verilog(core: Core, top: str) -> str:
    """Return a wrapper with registers on a Wishbone bus (B4 classic, 32 bits).

    Parameters
    ----------
    core : Core
    top : str
        Name of the core's module.
    """
    s = Shape.of(core)
    program: Program = core.program

    def extend(name: str, bits: int, width: int) -> str:
        return f"{{{{{width - bits}{{{name}[{bits - 1}]}}}}, {name}}}" if width > bits else name

    streams = f"            4'd12: wb_dat_o <= 32'd{s.streams};\n" * (s.streams > 1)
    instance = _core(top, {
        "clk": "clk", "rst": "reset",
        "i__valid": "i_valid", "i__ready": "i_ready", "i__payload": "i_payload",
        "o__valid": "o_valid", "o__ready": "o_ready", "o__payload": "o_payload",
        "c__valid": "command_valid", "c__ready": "c_ready", "c__payload": "command",
        "s_i__valid": "s_i_valid", "s_i__ready": "s_i_ready", "s_i__payload": "s_i_payload",
        "s_o__valid": "s_o_valid", "s_o__ready": "take_state", "s_o__payload": "s_o_payload",
    }, 12)  # fmt: skip
    return f"""\
// The core behind registers on a Wishbone bus: B4 classic, 32 data bits, word addresses, one wait cycle.
// Accesses that do not select all four bytes are answered and have no effect.
module {WISHBONE} #(
    parameter DEPTH_LOG2 = 6  // input and output FIFO have 2**DEPTH_LOG2 elements
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        wb_cyc_i,
    input  wire        wb_stb_i,
    input  wire        wb_we_i,
    input  wire [3:0]  wb_sel_i,
    input  wire [3:0]  wb_adr_i,
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire [31:0] wb_dat_i,
    /* verilator lint_on UNUSEDSIGNAL */
    output reg  [31:0] wb_dat_o,
    output reg         wb_ack_o,
    output wire        irq
);
    localparam [31:0] IDENTITY = 32'h47575231;  // "GWR1"
    localparam [31:0] PROGRAM = 32'h{program.digest[:8]};
    localparam [31:0] HARDWARE = 32'h{program.hardware_digest[:8]};
    localparam [31:0] SHAPE = {{16'd{s.outputs}, 16'd{s.inputs}}};
    localparam [31:0] WIDTHS = {{8'd{s.command}, 8'd{s.state_out}, 8'd{s.out}, 8'd{s.data}}};

    wire access = wb_cyc_i & wb_stb_i & ~wb_ack_o & (&wb_sel_i);
    wire write = access & wb_we_i, read = access & ~wb_we_i;
    wire put_control = write & wb_adr_i == 5;
    wire put_input = write & wb_adr_i == 7, get_output = read & wb_adr_i == 8;
    wire put_command = write & wb_adr_i == 9, put_state = write & wb_adr_i == 10, get_state = read & wb_adr_i == 11;

    // Control: a reset of core and FIFOs, the interrupt, and what went wrong until it is cleared.
    reg restart, irq_enable, overrun, underrun;
    wire reset = rst | restart;
    wire i_full, o_empty;
    wire i_valid, i_ready, o_valid, o_ready, c_ready, s_i_ready, s_o_valid;
    reg command_valid, s_i_valid;
    reg [{s.command - 1}:0] command;
    reg [{s.state_in - 1}:0] s_i_payload;
    wire [{s.state_out - 1}:0] s_o_payload;
    wire take_state = get_state;
    initial begin
        {{wb_ack_o, wb_dat_o}} = 0;
        {{irq_enable, overrun, underrun, command_valid, s_i_valid}} = 0;
        {{command, s_i_payload}} = 0;
        restart = 1;
    end
    always @(posedge clk) begin
        restart <= put_control & wb_dat_i[0];
        if (put_control) irq_enable <= wb_dat_i[2];
        // What comes where there is no place, and what is asked for where there is nothing.
        if (put_input & i_full | put_command & command_valid | put_state & s_i_valid) overrun <= 1;
        if (get_output & o_empty | get_state & ~s_o_valid) underrun <= 1;
        if (put_control & wb_dat_i[3] | rst) overrun <= 0;
        if (put_control & wb_dat_i[3] | rst) underrun <= 0;
        if (put_command & ~command_valid) begin
            command <= wb_dat_i[{s.command - 1}:0];
            command_valid <= 1;
        end else if (c_ready) command_valid <= 0;
        if (put_state & ~s_i_valid) begin
            s_i_payload <= wb_dat_i[{s.state_in - 1}:0];
            s_i_valid <= 1;
        end else if (s_i_ready) s_i_valid <= 0;
        if (reset) begin
            command_valid <= 0;
            s_i_valid <= 0;
        end
        if (rst) irq_enable <= 0;
    end
    assign irq = irq_enable & ~o_empty;

    wire [{s.data}:0] i_payload;
    wire [{s.out + s.stream + 1}:0] o_payload, o_word;
    wire [15:0] i_level, o_level;
    gatewright_fifo #(.WIDTH({s.data + 1}), .LOG2(DEPTH_LOG2)) input_fifo (
        .clk(clk), .rst(reset), .put(put_input & ~i_full), .in({{wb_dat_i[16], wb_dat_i[{s.data - 1}:0]}}),
        .full(i_full), .valid(i_valid), .take(i_ready), .out(i_payload), .level(i_level)
    );
    wire o_full, o_there;
    assign o_ready = ~o_full, o_empty = ~o_there;
    gatewright_fifo #(.WIDTH({s.out + s.stream + 2}), .LOG2(DEPTH_LOG2)) output_fifo (
        .clk(clk), .rst(reset), .put(o_valid & o_ready), .in(o_payload),
        .full(o_full), .valid(o_there), .take(get_output), .out(o_word), .level(o_level)
    );
    wire signed [{s.out - 1}:0] o_code = o_word[{s.out - 1}:0];
    wire signed [{s.state_out - 1}:0] s_code = s_o_payload;
    wire [15:0] i_room = (16'd1 << DEPTH_LOG2) - i_level;

    always @(posedge clk) begin
        wb_ack_o <= wb_cyc_i & wb_stb_i & ~wb_ack_o & ~rst;
        case (wb_adr_i)
            4'd0: wb_dat_o <= IDENTITY;
            4'd1: wb_dat_o <= PROGRAM;
            4'd2: wb_dat_o <= HARDWARE;
            4'd3: wb_dat_o <= SHAPE;
            4'd4: wb_dat_o <= WIDTHS;
            4'd5: wb_dat_o <= {{24'd0, s_o_valid, s_i_valid, command_valid, underrun, overrun, irq_enable, ~o_empty, ~i_full}};
            4'd6: wb_dat_o <= {{o_level, i_room}};
            4'd8: wb_dat_o <= o_empty ? 32'd0 : {{1'b1, {13 - s.stream}'d0, o_word[{s.out + s.stream + 1}:{s.out}], {extend("o_code", s.out, 16)}}};
            4'd11: wb_dat_o <= s_o_valid ? {{1'b1, 7'd0, {extend("s_code", s.state_out, 24)}}} : 32'd0;
{streams}            default: wb_dat_o <= 32'd0;
        endcase
    end
{instance}
endmodule

// A FIFO whose oldest word is at its output while valid is high.
/* verilator lint_off DECLFILENAME */
module gatewright_fifo #(
    parameter WIDTH = 8,
    parameter LOG2 = 6
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             put,
    input  wire [WIDTH-1:0] in,
    output wire             full,
    output wire             valid,
    input  wire             take,
    output wire [WIDTH-1:0] out,
    output wire [15:0]      level
);
    reg [WIDTH-1:0] memory [0:(1<<LOG2)-1];
    reg [LOG2:0] head, tail;
    initial {{head, tail}} = 0;
    wire [LOG2:0] count = tail - head;
    assign full = count[LOG2], valid = count != 0, out = memory[head[LOG2-1:0]], level = {{{{15-LOG2{{1'b0}}}}, count}};
    always @(posedge clk) begin
        if (put) memory[tail[LOG2-1:0]] <= in;
        if (rst) begin
            head <= 0;
            tail <= 0;
        end else begin
            if (put) tail <= tail + 1'b1;
            if (take & valid) head <= head + 1'b1;
        end
    end
endmodule
"""


def fusesoc_core(top: str, images: Iterable[str]) -> str:
    """Return a FuseSoC description (CAPI2) of the folder that ``gatewright verilog`` writes.

    Parameters
    ----------
    top : str
        Name of the core's module.
    images : iterable of str
        Files that the memories are read from.
    """
    copied = "\n".join(f"      - {name}: {{file_type: user, copyto: {name}}}" for name in images)
    text = f"""\
CAPI=2:
name: ::{top}:{VERSION}
description: Gated recurrent network as a core, with AXI4-Stream names, or behind Wishbone registers
filesets:
  rtl:
    files: [core.v, {AXIS}.v, {WISHBONE}.v]
    file_type: verilogSource
  images:
    files:
{copied}
  bench:
    files:
      - gatewright_tb.sv
      - gatewright.svh: {{is_include_file: true}}
      - vectors.hex: {{file_type: user, copyto: vectors.hex}}
    file_type: systemVerilogSource
targets:
  default:
    filesets: [rtl, images]
    toplevel: {top}
  sim:
    filesets: [rtl, images, bench]
    toplevel: gatewright_tb
    default_tool: icarus
    tools:
      icarus:
        iverilog_options: [-g2012]
"""
    for name, module in (("lint", top), ("lint_axis", AXIS), ("lint_wishbone", WISHBONE)):
        text += f"""\
  {name}:
    filesets: [rtl, images]
    toplevel: {module}
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
"""
    return text
