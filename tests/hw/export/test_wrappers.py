"""Core and wrappers as Verilog: linted, and bit-exact under random pauses on every side."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.program.program import Program
from gatewright.compiler.program.turns import take_turns
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.export.verilog import TOP, write_verilog
from gatewright.hw.export.wrappers import AXIS, WISHBONE
from gatewright.sim.bench import Bench
from gatewright.sim.runner import compare
from gatewright.sim.simulators import simulator_tools
from support import tb_wishbone
from support.randoms import extreme_codes, recurrent

EXAMPLES = Path(__file__).parents[3] / "examples"

# The ports that the bench of a core plays on, joined to the AXI4-Stream names. Bits that the wrapper must ignore are
# noise; a wrong sign extension or a frame error stops the outputs.
ADAPTER = """
module adapter (
    input clk, input rst,
    input i__valid, output i__ready, input [{data}:0] i__payload,
    output o__valid, input o__ready, output [{out} + {bits} + 1:0] o__payload,
    input c__valid, output c__ready, input [{bits}:0] c__payload,
    input s_i__valid, output s_i__ready, input [{state} - 1:0] s_i__payload,
    output s_o__valid, input s_o__ready, output [{state} - 1:0] s_o__payload
);
    reg [15:0] element = 0, turn = 0;
    reg [31:0] noise = 1;
    always @(posedge clk) begin
        noise <= {{noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]}};
        if (rst) element <= 0;
        else if (i__valid & i__ready) element <= element == {inputs} - 1 ? 0 : element + 1;
        if (i__valid & i__ready & element == {inputs} - 1) turn <= turn == {streams} - 1 ? 0 : turn + 1;
    end
    wire [{out_bytes} * 8 - 1:0] tdata;
    wire [{state_bytes} * 8 - 1:0] tstate;
    wire valid, frame_error;
    wire good = ~frame_error & $signed(tdata) == $signed(tdata[{out} - 1:0]);
    assign o__valid = valid & good;
    assign o__payload[{out} - 1:0] = tdata[{out} - 1:0], s_o__payload = tstate[{state} - 1:0];
    gatewright_axis axis (
        .aclk(clk), .aresetn(~rst),
        .s_axis_tdata({{noise, i__payload[{data} - 1:0]}}), .s_axis_tvalid(i__valid), .s_axis_tready(i__ready),
        .s_axis_tlast(element == {inputs} - 1), .s_axis_tuser(i__payload[{data}]),
        .m_axis_tdata(tdata), .m_axis_tvalid(valid), .m_axis_tready(o__ready & good),
        .m_axis_tlast(o__payload[{out} + 1]), .m_axis_tuser(o__payload[{out}]),
        .s_axis_command_tdata({{noise, c__payload}}), .s_axis_command_tvalid(c__valid), .s_axis_command_tready(c__ready),
        .s_axis_state_tdata({{noise, s_i__payload}}), .s_axis_state_tvalid(s_i__valid), .s_axis_state_tready(s_i__ready),
        .m_axis_state_tdata(tstate), .m_axis_state_tvalid(s_o__valid), .m_axis_state_tready(s_o__ready),
        {tid} .frame_error(frame_error)
    );
endmodule
"""


def small(streams: int = 1) -> Program:
    rng = np.random.default_rng(4)
    model = Model(
        3,
        (
            recurrent(rng, "first", "gru", ("x",), 3, 5),
            recurrent(rng, "second", "lstm", ("first",), 5, 3),
            Linear("head", ("second",), rng.normal(size=(2, 3))),
        ),
    )
    config = Config(
        lanes=4, weight_bits=6, activation_bits=7, state_bits=11, gate_bits=9, streams=streams
    )
    return quantize(model, rng.normal(size=(2, 20, 3)), config)


class AxisBench(Bench):
    top = "adapter"

    def _sources(self) -> list[Path]:
        net = self.program.network
        n, state = net.numbers, net.numbers.state_bits
        state = max(state, n.cell_bits)
        text = ADAPTER.format(
            data=n.activation_bits, out=n.state_bits, state=state, inputs=net.input_size,
            out_bytes=-(-n.state_bits // 8), state_bytes=-(-state // 8),
            streams=self.program.streams, bits=(bits := (self.program.streams - 1).bit_length()),
            tid=f".s_axis_tid(turn[{bits - 1}:0]), .m_axis_tid(o__payload[{n.state_bits} + 2 +: {bits}]),"
            if bits else "",
        )  # fmt: skip
        (self.folder / "adapter.v").write_text(text)
        return [
            self.folder / "adapter.v", self.folder / "verilog" / f"{AXIS}.v", *super()._sources()
        ]  # fmt: skip


class WishboneBench(Bench):
    top, bench = WISHBONE, "support.tb_wishbone"

    def _sources(self) -> list[Path]:
        return [self.folder / "verilog" / f"{WISHBONE}.v", *super()._sources()]


def check(
    bench: Bench, stall: float, seed: int, *, load: bool = False, cycles: bool = False
) -> None:
    p, rng = bench.program, np.random.default_rng(seed)
    n = 2 * p.streams  # two sequences a stream, of which the first goes on from a loaded state
    x = extreme_codes(p, rng, n, 7)
    sequence, step = take_turns(np.full(n, 7), p.streams)
    state = golden.run(p.network, extreme_codes(p, rng, p.streams, 5)).state if load else None
    first = (step == 0) & ((sequence >= p.streams) | (not load))
    got = bench.record(
        x[sequence, step], first, stall=stall, seed=seed,
        load=None if state is None else state.flat(p.network),
    )  # fmt: skip
    a = golden.run(p.network, x[: p.streams], state)
    b = golden.run(p.network, x[p.streams :])
    expected = np.concatenate([a.outputs, b.outputs])[sequence, step]
    outputs = np.zeros_like(got.outputs)
    outputs[:, p.schedule.output_order] = got.outputs
    assert not compare(p, expected, outputs), f"seed {seed}"
    assert (got.state == b.state.flat(p.network).ravel()).all()
    if cycles:
        assert (got.ends == p.schedule.predict(7 * n)).all()


@pytest.mark.parametrize("streams", [1, pytest.param(3, marks=pytest.mark.full)])
def test_axis_is_exact(streams: int, tmp_path: Path) -> None:
    with AxisBench(small(streams), folder=tmp_path) as bench:
        check(bench, 0.0, 1, cycles=True)  # no cycle is added
        check(bench, 0.5, 2)
        check(bench, 0.3, 3, load=True)


@pytest.mark.parametrize("streams", [1, pytest.param(3, marks=pytest.mark.full)])
def test_wishbone_is_exact(streams: int, tmp_path: Path) -> None:
    p = small(streams)
    with WishboneBench(p, folder=tmp_path) as bench:
        check(bench, 0.3, 1)
        check(bench, 0.0, 2, load=True)
    with np.load(tmp_path / "run" / "result.npz") as result:
        registers = result["registers"].tolist()
    n = p.network.numbers
    words = max(n.state_bits, n.cell_bits)
    assert registers == [
        0x47575231, int(p.digest[:8], 16), int(p.hardware_digest[:8], 16),
        p.network.output_size << 16 | p.network.input_size,
        (1 + (streams - 1).bit_length()) << 24 | words << 16 | n.state_bits << 8 | n.activation_bits,
    ]  # fmt: skip


def lint(folder: Path, top: str) -> str:
    """Return every warning of Verilator about a module and all below it."""
    environment = os.environ | simulator_tools("verilator")
    sources = dict.fromkeys(("core.v", f"{top}.v" if top != TOP else "core.v"))
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", *sources, "--top-module", top],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("top", [TOP, AXIS, WISHBONE])
@pytest.mark.parametrize(
    "cell, inputs, size, bits", [("lstm", 1, 1, 16), ("mgu", 5, 3, 8), ("gru", 2, 4, 2)]
)
def test_modules_have_no_warning(
    cell: str, inputs: int, size: int, bits: int, top: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    model = Model(inputs, (recurrent(rng, "only", cell, ("x",), inputs, size),))
    config = Config(lanes=2, activation_bits=bits, state_bits=bits, gate_bits=8)
    p = quantize(model, rng.normal(size=(1, 9, inputs)), config)
    write_verilog(p, tmp_path / "v")
    assert lint(tmp_path / "v", top) == ""


def test_fusesoc_knows_the_folder_and_lints_it(tmp_path: Path) -> None:
    pytest.importorskip("fusesoc", reason="FuseSoC is a development tool")
    write_verilog(small(), tmp_path / "v")
    environment = os.environ | simulator_tools("verilator") | {"HOME": str(tmp_path)}
    fusesoc = [sys.executable, "-m", "fusesoc.main", "--cores-root", "v"]
    for target in ("lint", "lint_axis", "lint_wishbone"):
        done = subprocess.run(
            [*fusesoc, "run", f"--target={target}", "gatewright_core"],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "%Warning" not in done.stdout + done.stderr
    shown = subprocess.run(
        [*fusesoc, "core", "show", "gatewright_core"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.returncode == 0 and "lint_wishbone" in shown.stdout, shown.stdout + shown.stderr


# -- examples ---------------------------------------------------------------------

SOC = """
module adapter (
    input clk, input rst, input wb_cyc_i, input wb_stb_i, input wb_we_i, input [3:0] wb_sel_i, input [3:0] wb_adr_i,
    input [31:0] wb_dat_i, output [31:0] wb_dat_o, output wb_ack_o, output irq
);
    wire error;
    soc soc (
        .sys_clk(clk), .sys_rst(rst), .wb_cyc(wb_cyc_i), .wb_stb(wb_stb_i), .wb_we(wb_we_i), .wb_sel(wb_sel_i),
        .wb_adr(30'h24000000 + {26'd0, wb_adr_i}), .wb_dat_w(wb_dat_i), .wb_dat_r(wb_dat_o), .wb_ack(wb_ack_o),
        .wb_cti(3'd0), .wb_bte(2'd0), .wb_err(error)
    );
    assign irq = soc.gatewright_wishbone.irq;
endmodule
"""


class LitexBench(WishboneBench):
    """The same registers, reached over the bus of the example's SoC."""

    top = "adapter"

    def _sources(self) -> list[Path]:
        script = EXAMPLES / "litex" / "soc.py"
        done = subprocess.run(
            [sys.executable, script, "verilog", "-o", "soc"],
            cwd=self.folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        gateware = self.folder / "soc" / "gateware"
        for name in hex_files(self.program.images):  # where the synthesizer looks for them
            assert (gateware / name).read_bytes() == (self.folder / "verilog" / name).read_bytes()
        (self.folder / "run").mkdir()
        shutil.copy(gateware / "soc_mem.init", self.folder / "run")
        (self.folder / "adapter.v").write_text(SOC)
        return [self.folder / "adapter.v", gateware / "soc.v", *super()._sources()]

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), "-Wno-lint", "-Wno-COMBDLY"]


def test_litex_example_is_exact(tmp_path: Path) -> None:
    pytest.importorskip("litex", reason="LiteX is a development tool")
    with LitexBench(small(), folder=tmp_path) as bench:
        check(bench, 0.2, 1)


def test_header_for_firmware(tmp_path: Path) -> None:
    """It compiles without a warning, and its bits are those that the bench uses."""
    header = EXAMPLES / "litex" / "gatewright_registers.h"
    (tmp_path / "a.c").write_text(f'#include "{header}"\nint main(void) {{ return 0; }}\n')
    subprocess.run(
        ["g++", "-x", "c", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "a.c"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    text = header.read_text()
    names = re.findall(r"GATEWRIGHT_(\w+) \(1u << (\d)\)", text)
    bits = {name: 1 << int(bit) for name, bit in names}
    for name in ("ROOM", "THERE", "IRQ", "OVERRUN", "UNDERRUN", "COMMAND_BUSY", "STATE_BUSY"):
        assert bits[name] == getattr(tb_wishbone, name)
    registers = re.findall(r"^    GATEWRIGHT_(\w+)", text, re.MULTILINE)
    for name in (
        "IDENTITY",
        "CONTROL",
        "LEVELS",
        "INPUT",
        "OUTPUT",
        "COMMAND",
        "STATE_IN",
        "STATE_OUT",
    ):
        assert registers.index(name) == getattr(tb_wishbone, name)


def test_amaranth_example() -> None:
    """Its alarm is what golden's outputs say, with pauses between samples."""
    spec = importlib.util.spec_from_file_location("detector", EXAMPLES / "amaranth" / "detector.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    p, rng = small(), np.random.default_rng(7)
    steps, threshold = 40, 6
    codes = extreme_codes(p, rng, 1, steps)
    fresh = rng.random(steps) < 0.2
    fresh[0] = True
    state, expected, on = None, [], False
    for t in range(steps):
        done = golden.run(p.network, codes[:, t : t + 1], None if fresh[t] else state)
        state, first = done.state, done.outputs[0, 0][p.schedule.output_order[0]]
        on = bool(first > threshold or (on and first >= threshold // 2))
        expected.append(on)
    assert 5 < sum(expected) < 35
    dut = module.Detector(p, sample_bits=16, threshold=threshold)
    shift = 16 - p.input_format.bits
    seen: list[bool] = []

    async def source(ctx: Any) -> None:
        for t in range(steps):
            ctx.set(dut.restart, int(fresh[t]))
            for code in codes[0, t].tolist():
                while rng.random() < 0.3:
                    await ctx.tick()
                ctx.set(dut.samples.payload, (code << shift) + int(rng.integers(1 << shift)))
                ctx.set(dut.samples.valid, 1)
                await ctx.tick().until(dut.samples.ready)
                ctx.set(dut.samples.valid, 0)

    async def sink(ctx: Any) -> None:
        while len(seen) < steps:
            *_, valid, first = await ctx.tick().sample(
                dut.core.o.valid & dut.core.o.ready, dut.core.o.payload.first
            )
            if valid and first:
                seen.append(bool(ctx.get(dut.alarm)))

    async def watchdog(ctx: Any) -> None:
        for _ in range(400 * steps):
            await ctx.tick()
        raise TimeoutError(f"{len(seen)} of {steps} steps")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    assert seen == expected
