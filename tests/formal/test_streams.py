"""Every stream keeps its offer until it is taken, whatever its environment does; a reset ends an offer."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import (
    Assert,
    Assume,
    Cat,
    ClockSignal,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
    signed,
)  # fmt: skip
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from gatewright.compiler.config import Config
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.engine.core import Core
from gatewright.hw.export.verilog import TOP
from gatewright.hw.export.wrappers import AXIS, WISHBONE, axis_verilog, wishbone_verilog
from gatewright.hw.link.commands import Commands
from gatewright.hw.link.flash_loader import FlashLoader
from support.formal import AnySeq, Refuted, free_inputs, hold, prove, streams
from support.randoms import recurrent

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def program(
    cell: str = "rnn", size: int = 1, *, argmax: bool = False, lanes: int = 1, **widths: int
) -> Program:
    rng = np.random.default_rng(1)
    if cell == "linear":
        layers: Any = (Linear("y", ("x",), rng.normal(size=(2, 2))),)
    else:
        layers = (recurrent(rng, "only", cell, ("x",), size, size),)
    bits = dict.fromkeys(("weight_bits", "activation_bits", "state_bits", "gate_bits"), 4)
    options = Config(lanes=lanes, argmax=argmax, **(bits | widths))
    inputs = 2 if cell == "linear" else size
    return quantize(Model(inputs, layers), rng.normal(size=(2, 10, inputs)), options)


def prove_component(dut: Any, folder: Path, **options: Any) -> int:
    m = Module()
    m.submodules.dut = dut
    streams(m, dut)
    return prove(m, free_inputs(dut), folder, **options)


CORES: dict[str, Any] = {
    "rnn, default widths": (
        {"activation_bits": 12, "state_bits": 16, "gate_bits": 16, "weight_bits": 8}, {},
    ),
    "gru of 2": ({"cell": "gru", "size": 2, "lanes": 2}, {}),
    "lstm of 2, split": ({"cell": "lstm", "size": 2, "lanes": 12}, {}),
    "argmax": ({"cell": "gru", "size": 2, "argmax": True}, {}),
    "no state": ({"cell": "linear"}, {}),
    "loadable": ({}, {"loadable": True}),
}  # fmt: skip


def test_core(tmp_path: Path) -> None:
    """For any environment, one that breaks the rule included."""
    dut = Core(program())
    m = Module()
    m.submodules.dut = dut
    streams(m, dut, inputs=None)
    assert prove(m, free_inputs(dut), tmp_path, depth=4) <= 2


@pytest.mark.full
@pytest.mark.parametrize("name", CORES)
def test_more_cores(name: str, tmp_path: Path) -> None:
    widths, options = CORES[name]
    assert prove_component(Core(program(**widths), **options), tmp_path, depth=4) <= 2


@pytest.mark.parametrize("loadable", [False, True])
def test_commands_of_the_link(loadable: bool, tmp_path: Path) -> None:
    p = program()
    dut = Commands(program=p, core=Core(p, loadable=loadable), loadable=loadable)
    assert prove_component(dut, tmp_path, depth=8) <= 4


def test_flash_loader(tmp_path: Path) -> None:
    p = program()
    dut = FlashLoader(program=p, core=Core(p, loadable=True), clock_hz=12e6, offset=0)
    assert prove_component(dut, tmp_path, depth=8) <= 4


# -- wrappers: around any core that keeps the rule -----------------------------------------


def any_core(core: Core) -> str:
    """Return RTLIL of a module with a core's ports that does anything but break the rule.

    It asserts that the streams it is given keep the rule too.
    """
    m = Module()
    ports: list[Any] = []
    for name, member in core.signature.members.items():
        port: Any = getattr(core, name)
        payload = Value.cast(port.payload)
        ports += [port.valid, port.ready, payload]
        if member.flow.name == "Out":
            m.d.comb += [payload.eq(AnySeq(len(payload))), port.valid.eq(AnySeq(1))]
            hold(m, name, port, Assume)
        else:
            m.d.comb += port.ready.eq(AnySeq(1))
            hold(m, name, port, Assert)
    return rtlil.convert(m, name=TOP, ports=ports, emit_src=False)


PORT = re.compile(r"^    (input|output) +(?:wire|reg) +(?:\[(\d+):0\])? *(\w+),?$", re.MULTILINE)


def wrapped(top: str, text: str) -> tuple[Instance, dict[str, Signal], list[Signal]]:
    """Return an instance of a wrapper, the nets at its ports, and those that are free."""
    head = text[text.index(f"module {top}") :]
    nets, free, ports = {}, [], {}
    for direction, high, name in PORT.findall(head[: head.index(");")]):
        if name in ("clk", "aclk"):
            ports[f"i_{name}"] = ClockSignal()
        elif name in ("rst", "aresetn"):
            ports[f"i_{name}"] = ~ResetSignal() if name == "aresetn" else ResetSignal()
        else:
            nets[name] = net = Signal(int(high or 0) + 1, name=name)
            ports[f"{direction[0]}_{name}"] = net
            free += [net] if direction == "input" else []
    return Instance(top, **ports), nets, free


def test_axi_stream_wrapper(tmp_path: Path) -> None:
    core = Core(program(state_bits=6, activation_bits=5))
    text = axis_verilog(core, TOP)
    m = Module()
    m.submodules.dut, nets, free = wrapped(AXIS, text)
    for name in ("s_axis", "s_axis_command", "s_axis_state", "m_axis", "m_axis_state"):
        beats = [nets[f"{name}_{x}"] for x in ("tdata", "tuser", "tlast") if f"{name}_{x}" in nets]
        port = SimpleNamespace(
            valid=nets[f"{name}_tvalid"], ready=nets[f"{name}_tready"], payload=Cat(beats)
        )
        hold(m, name, port, Assert if name.startswith("m") else Assume)
    assert prove(m, free, tmp_path, depth=4, sources={"any.il": any_core(core), "top.v": text}) <= 2


@pytest.mark.parametrize("loadable", [False, True])
def test_wishbone_wrapper(loadable: bool, tmp_path: Path) -> None:
    """The bus may do what it likes: what the core is given keeps the rule. An answer lasts one cycle."""
    core = Core(program(), loadable=loadable)
    text = wishbone_verilog(core, TOP).replace("DEPTH_LOG2 = 6", "DEPTH_LOG2 = 2")
    m = Module()
    m.submodules.dut, nets, free = wrapped(WISHBONE, text)
    asked = Signal()
    m.d.sync += asked.eq(nets["wb_cyc_i"] & nets["wb_stb_i"] & ~nets["wb_ack_o"])
    m.d.comb += Assert(nets["wb_ack_o"] == asked)
    assert prove(m, free, tmp_path, depth=6, sources={"any.il": any_core(core), "top.v": text}) <= 4


def test_a_stream_that_withdraws_is_refuted(tmp_path: Path) -> None:
    """The monitor sees a payload that changes, a negative one too, and an offer that ends."""

    class Withdraws(wiring.Component):
        o: Any
        fault: Any

        def __init__(self) -> None:
            super().__init__({"o": Out(stream.Signature(signed(3))), "fault": In(2)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.d.sync += self.o.valid.eq(~self.o.ready | (self.fault == 1))
            with m.If(self.o.ready | (self.fault == 2)):
                m.d.sync += self.o.payload.eq(self.o.payload - 1)
            return m

    dut = Withdraws()
    m = Module()
    m.submodules.dut = dut
    streams(m, dut)
    with pytest.raises(Refuted):
        prove(m, free_inputs(dut), tmp_path, depth=6)
    m = Module()
    m.submodules.dut = dut = Withdraws()
    streams(m, dut)
    m.d.comb += Assume(dut.fault != 2)
    prove(m, free_inputs(dut), tmp_path, depth=6)
