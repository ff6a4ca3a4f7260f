"""Phase-locked loops: the search for divisors within a vendor's limits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from amaranth.hdl import Instance, Signal

from ...compiler.errors import InputError

__all__ = ["MHZ", "Limits", "Pll", "PllBlock"]

MHZ = 1_000_000


class Limits(NamedTuple):
    """Ranges of a PLL's frequencies in MHz, low and high."""

    reference: tuple[float, float]
    detector: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]


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


class PllBlock:
    """Kind of PLL of a family; a subclass has its divisors and its primitive.

    Attributes
    ----------
    limits : mapping of str -> Limits
        By device.
    """

    limits: Mapping[str, Limits]

    def settings(
        self, detectors: Callable[[int], bool]
    ) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
        """Yield input divisor, VCO over detector, output divisor, and the divisors that make them.

        ``detectors`` says which input divisors there are.
        """
        raise NotImplementedError

    def parameters(self, pll: Pll) -> dict[str, int]:
        """Return the parameters of the primitive that the frequency decides, by name."""
        raise NotImplementedError

    def instance(self, kind: str, pll: Pll, source: Any, clock: Signal, locked: Signal) -> Instance:
        """Return the PLL as an instance.

        Parameters
        ----------
        kind : str
            Name of the primitive.
        pll : Pll
        source : value
            The reference; for ``SB_PLL40_PAD`` the port of the pin itself.
        clock, locked : Signal
            Driven.
        """
        raise NotImplementedError

    def choices(self, device: str, reference: int) -> tuple[Pll, ...]:
        """Return every output frequency once, the lowest first.

        Of several ways to the same frequency the one with the fastest phase detector is taken,
        which has the least jitter, then the one with the fastest VCO.

        Parameters
        ----------
        device : str
            Key of :attr:`limits`.
        reference : int
            Hertz.

        Raises
        ------
        InputError
            The reference is outside of the device's limits.
        """
        return _choices(self, device, reference)

    def highest(self, device: str, reference: int, limit: float) -> Pll:
        """Return the PLL with the highest output that is not above ``limit`` hertz.

        Raises
        ------
        InputError
            The limit is below everything the PLL can make.
        """
        plls = self.choices(device, reference)
        at = bisect_right([pll.output for pll in plls], Fraction(limit))
        if not at:
            lowest = plls[0].output
            raise InputError(
                f"{limit / MHZ:.3g} MHz is below the {float(lowest) / MHZ:.3g} MHz that the PLL of "
                f"{device} starts at with {reference / MHZ:g} MHz"
            )
        return plls[at - 1]


@cache
def _choices(block: PllBlock, device: str, reference: int) -> tuple[Pll, ...]:
    limits = block.limits[device]
    r = Fraction(reference)

    def inside(value: Fraction, limit: tuple[float, float]) -> bool:
        return Fraction(limit[0]) * MHZ <= value <= Fraction(limit[1]) * MHZ

    if not inside(r, limits.reference):
        low, high = limits.reference
        raise InputError(
            f"the PLL of {device} takes {low:g} to {high:g} MHz, not {reference / MHZ:g} MHz"
        )
    best: dict[Fraction, Pll] = {}
    for i, multiple, out, divisors in block.settings(lambda i: inside(r / i, limits.detector)):
        detector = r / i
        vco = detector * multiple
        output = vco / out
        if not (inside(vco, limits.vco) and inside(output, limits.output)):
            continue
        old = best.get(output)
        if old is None or (detector, vco) > (old.detector, old.vco):
            best[output] = Pll(device, r, detector, vco, output, divisors)
    return tuple(best[f] for f in sorted(best))
