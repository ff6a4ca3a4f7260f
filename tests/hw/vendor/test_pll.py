"""PLL divisors: the vendors' formulas and limits, over every board and many frequencies."""

import random
from fractions import Fraction

import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.target.devices import DEVICES
from gatewright.hw.boards import BOARDS
from gatewright.hw.vendor import find_family
from gatewright.hw.vendor.pll import MHZ, PllBlock

CLOCKS = sorted({(b.device, b.clock) for b in BOARDS.values()})


def block(device: str) -> PllBlock:
    return find_family(DEVICES[device].family.name).pll


def made(device, reference, p):
    """Detector, VCO and output by the vendors' formulas, from the primitive's parameters alone."""
    r = Fraction(reference)
    if device.startswith("iCE40"):
        assert 0 <= p["DIVR"] < 16 and 0 <= p["DIVF"] < 128 and 1 <= p["DIVQ"] <= 6
        detector = r / (p["DIVR"] + 1)
        vco = detector * (p["DIVF"] + 1)
        return detector, vco, vco / 2 ** p["DIVQ"]
    if device.startswith("LFE5U"):
        assert 1 <= p["CLKI_DIV"] <= 128 and 1 <= p["CLKFB_DIV"] <= 80
        assert 1 <= p["CLKOP_DIV"] <= 128 and 1 <= p["CLKOS_DIV"] <= 128
        assert p["CLKOP_CPHASE"] == p["CLKOP_DIV"] - 1 and p["CLKOS_CPHASE"] == p["CLKOS_DIV"] - 1
        detector = r / p["CLKI_DIV"]
        vco = detector * p["CLKFB_DIV"] * p["CLKOP_DIV"]
        assert 3.125 * MHZ <= vco / p["CLKOP_DIV"] <= 400 * MHZ  # the loop is an output as well
        return detector, vco, vco / p["CLKOS_DIV"]
    assert 0 <= p["IDIV_SEL"] < 64 and 0 <= p["FBDIV_SEL"] < 64
    assert p["ODIV_SEL"] in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
    detector = r / (p["IDIV_SEL"] + 1)
    output = detector * (p["FBDIV_SEL"] + 1)
    return detector, output * p["ODIV_SEL"], output


@pytest.mark.parametrize(("device", "reference"), CLOCKS)
def test_every_choice_is_what_it_says_and_within_limits(device, reference):
    limits = block(device).limits[device]
    found = block(device).choices(device, reference)
    assert len(found) > 100
    assert [p.output for p in found] == sorted({p.output for p in found})
    for pll in found:
        detector, vco, output = made(device, reference, block(device).parameters(pll))
        assert (detector, vco, output) == (pll.detector, pll.vco, pll.output)
        for value, (low, high) in zip((detector, vco, output), limits[1:], strict=True):
            assert low * MHZ <= value <= high * MHZ


@pytest.mark.parametrize(("device", "reference"), CLOCKS)
def test_highest_is_close_below_what_is_wished(device, reference):
    rng = random.Random(f"{device} {reference}")
    frequencies = [p.output for p in block(device).choices(device, reference)]
    for _ in range(50):
        wished = rng.uniform(20e6, 200e6)
        output = block(device).highest(device, reference, wished).output
        assert output <= wished
        assert output == max(f for f in frequencies if f <= wished)
        # Gowin's detector takes 27 MHz / 9 at the least: steps of up to 3 MHz.
        assert wished - output <= max(0.03 * wished, 3e6 if device.startswith("GW") else 0)


def test_known_settings():
    """The vendors' tools give these: icepll -i 12 -o 48, and Gowin's for 27 to 108 MHz."""
    ice40, gowin = block("iCE40UP5K"), block("GW1NR-9C")
    assert ice40.parameters(ice40.highest("iCE40UP5K", 12_000_000, 48e6)) == {
        "DIVR": 0, "DIVF": 63, "DIVQ": 4, "FILTER_RANGE": 1,
    }  # fmt: skip
    found = gowin.parameters(gowin.highest("GW1NR-9C", 27_000_000, 108e6))
    assert found == {"IDIV_SEL": 0, "FBDIV_SEL": 3, "ODIV_SEL": 8}


def test_out_of_reach_is_refused():
    with pytest.raises(InputError, match=r"5 MHz is below the 16.1 MHz"):
        block("iCE40UP5K").highest("iCE40UP5K", 12_000_000, 5e6)
    with pytest.raises(InputError, match="takes 10 to 133 MHz, not 5 MHz"):
        block("iCE40UP5K").choices("iCE40UP5K", 5_000_000)
