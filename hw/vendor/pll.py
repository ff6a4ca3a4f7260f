"""Phase-locked loops: their divisors within the vendors' limits, and the primitives.

Limits in MHz. iCE40: Lattice FPGA-DS-02008 and FPGA-DS-02029, guide FPGA-TN-02052 (filter range
as Project IceStorm's ``icepll`` chooses it). ECP5: FPGA-DS-02012, guide FPGA-TN-02200. Gowin:
DS117 (GW1NR, C6/I5) and DS226 (GW2AR, C8/I7), guide UG286.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from amaranth.hdl import C, Instance, Signal

from ...compiler.errors import InputError

__all__ = ["LIMITS", "Limits", "Pll", "choices", "highest", "parameters", "primitive"]

MHZ = 1_000_000


class Limits(NamedTuple):
    """Ranges of a PLL's frequencies in MHz, low and high."""

    reference: tuple[float, float]
    detector: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]


_ICE40 = Limits((10, 133), (10, 133), (533, 1066), (16, 275))
_GW2A = Limits((3, 500), (3, 500), (500, 1250), (3.90625, 625))
LIMITS = {
    "iCE40UP5K": _ICE40,
    "iCE40HX8K": _ICE40,
    "LFE5U-12F": (ecp5 := Limits((8, 400), (10, 400), (400, 800), (3.125, 400))),
    "LFE5U-25F": ecp5,
    "LFE5U-45F": ecp5,
    "LFE5U-85F": ecp5,
    "GW1NR-9C": Limits((3, 400), (3, 400), (400, 1200), (3.125, 600)),
    "GW2A-18C": _GW2A,
    "GW2AR-18C": _GW2A,
}
"""Limits by device."""

GOWIN_OUTPUT = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@dataclass(frozen=True)
class Pll:
    """Divisors of a PLL, and the exact frequencies they make.

    Parameters
    ----------
    device : str
    reference, detector, vco, output : Fraction
        Hertz; exact.
    divisors : tuple of int
        Input, feedback, and output divisor; on ECP5 then the divisor in the feedback path.
    """

    device: str
    reference: Fraction
    detector: Fraction
    vco: Fraction
    output: Fraction
    divisors: tuple[int, ...]


def _settings(
    device: str, detectors: Callable[[int], bool]
) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
    """Yield input divisor, VCO over detector, output divisor, and the divisors that make them.

    ``detectors`` says which input divisors there are.
    """
    if device.startswith("iCE40"):
        for r in filter(detectors, range(1, 17)):
            for f in range(1, 129):
                for q in range(1, 7):
                    yield r, f, 2**q, (r, f, q)
    elif device.startswith("LFE5U"):
        # CLKOP closes the loop and CLKOS drives the logic, so that the VCO has finer steps.
        # Half the fastest VCO is the fastest output, so CLKOP divides by 2 at least.
        for i in filter(detectors, range(1, 129)):
            for multiple in range(2, 161):
                loop = next((p for p in (2, 3, 5, 7) if multiple % p == 0), 0)
                for out in range(1, 129) if loop else ():
                    yield i, multiple, out, (i, multiple // loop, out, loop)
    else:
        for i in filter(detectors, range(1, 65)):
            for f in range(1, 65):
                for o in GOWIN_OUTPUT:
                    yield i, f * o, o, (i, f, o)


@cache
def choices(device: str, reference: int) -> tuple[Pll, ...]:
    """Return every output frequency of a PLL once, the lowest first.

    Of several ways to the same frequency the one with the fastest phase detector is taken, which
    has the least jitter, then the one with the fastest VCO.

    Parameters
    ----------
    device : str
        Key of :data:`LIMITS`.
    reference : int
        Hertz.

    Raises
    ------
    InputError
        The reference is outside of the device's limits.
    """
    limits = LIMITS[device]
    r = Fraction(reference)

    def inside(value: Fraction, limit: tuple[float, float]) -> bool:
        return Fraction(limit[0]) * MHZ <= value <= Fraction(limit[1]) * MHZ

    if not inside(r, limits.reference):
        low, high = limits.reference
        raise InputError(
            f"the PLL of {device} takes {low:g} to {high:g} MHz, not {reference / MHZ:g} MHz"
        )
    best: dict[Fraction, Pll] = {}
    for i, multiple, out, divisors in _settings(device, lambda i: inside(r / i, limits.detector)):
        detector = r / i
        vco = detector * multiple
        output = vco / out
        if not (inside(vco, limits.vco) and inside(output, limits.output)):
            continue
        old = best.get(output)
        if old is None or (detector, vco) > (old.detector, old.vco):
            best[output] = Pll(device, r, detector, vco, output, divisors)
    return tuple(best[f] for f in sorted(best))


def highest(device: str, reference: int, limit: float) -> Pll:
    """Return the PLL with the highest output that is not above ``limit`` hertz.

    Raises
    ------
    InputError
        The limit is below everything the PLL can make.
    """
    found = choices(device, reference)
    at = bisect_right([p.output for p in found], Fraction(limit))
    if not at:
        lowest = found[0].output
        raise InputError(
            f"{limit / MHZ:.3g} MHz is below the {float(lowest) / MHZ:.3g} MHz that the PLL of "
            f"{device} starts at with {reference / MHZ:g} MHz"
        )
    return found[at - 1]


def parameters(pll: Pll) -> dict[str, int]:
    """Return the parameters of the primitive that the frequency decides, by name."""
    if pll.device.startswith("iCE40"):
        r, f, q = pll.divisors
        bounds = (17, 26, 44, 66, 101)
        filter_range = 1 + sum(pll.detector >= b * MHZ for b in bounds)
        return {"DIVR": r - 1, "DIVF": f - 1, "DIVQ": q, "FILTER_RANGE": filter_range}
    if pll.device.startswith("LFE5U"):
        i, feedback, out, loop = pll.divisors
        return {
            "CLKI_DIV": i, "CLKFB_DIV": feedback, "CLKOP_DIV": loop,
            "CLKOP_CPHASE": loop - 1, "CLKOS_DIV": out, "CLKOS_CPHASE": out - 1,
        }  # fmt: skip
    i, f, o = pll.divisors
    return {"IDIV_SEL": i - 1, "FBDIV_SEL": f - 1, "ODIV_SEL": o}


def primitive(kind: str, pll: Pll, source: object, clock: Signal, locked: Signal) -> Instance:
    """Return the PLL as an instance.

    Parameters
    ----------
    kind : str
        ``SB_PLL40_PAD``, ``SB_PLL40_CORE``, ``EHXPLLL`` or ``rPLL``.
    pll : Pll
    source : value
        The reference; for ``SB_PLL40_PAD`` the port of the pin itself.
    clock, locked : Signal
        Driven.
    """
    numbers = parameters(pll)
    if kind.startswith("SB_PLL40"):
        widths = {"DIVR": 4, "DIVF": 7, "DIVQ": 3, "FILTER_RANGE": 3}
        pin = {"io_PACKAGEPIN" if kind == "SB_PLL40_PAD" else "i_REFERENCECLK": source}
        return Instance(
            kind,
            p_FEEDBACK_PATH="SIMPLE",
            **{f"p_{name}": C(value, widths[name]) for name, value in numbers.items()},
            i_RESETB=C(1), i_BYPASS=C(0), o_PLLOUTGLOBAL=clock, o_LOCK=locked, **pin,
        )  # fmt: skip
    given = {f"p_{name}": value for name, value in numbers.items()}
    if kind == "EHXPLLL":
        loop = Signal()
        return Instance(
            kind, **given,
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
    return Instance(
        kind, **given,
        p_FCLKIN=f"{float(pll.reference) / MHZ:g}", p_DEVICE=pll.device,
        p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false", p_PSDA_SEL="0000", p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal", p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false",
        p_CLKOUTD_BYPASS="false", p_DYN_SDIV_SEL=2, p_CLKOUTD_SRC="CLKOUT",
        i_CLKIN=source, i_CLKFB=C(0), i_RESET=C(0), i_RESET_P=C(0), i_FBDSEL=C(0, 6),
        i_IDSEL=C(0, 6), i_ODSEL=C(0, 6), i_PSDA=C(0, 4), i_DUTYDA=C(0, 4), i_FDLY=C(0, 4),
        o_CLKOUT=clock, o_LOCK=locked,
    )  # fmt: skip
