"""The search for the fastest clock at which a design meets its timing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

__all__ = ["Attempt", "fastest"]

GAIN = 1.05
"""What a faster clock must gain to be worth another netlist with its place and route.

They take as long as the first ones did.
"""
TOUCH = Fraction(5, 1000)
"""Share of a clock by which a miss is a touch: the clock that was reached is taken.

The netlist for it differs in a few constants, and its route with the same seed hardly at all.
"""
NEAR = Fraction(4, 100)
"""Share of a clock by which a miss is near: another seed moves what is reached by as much.

A seed costs a route, another clock a netlist as well.
"""
MARGIN = Fraction(3, 100)
"""Share by which a clock is lower than what place and route reached before.

Each clock has a netlist of its own (the serial line's divisor and the identity are in it), which reaches
a few percent more or less; an aim that is too high costs a netlist and a route, a low one a few
percent of speed.
"""


class _HasFmax(Protocol):
    @property
    def fmax(self) -> float: ...


R = TypeVar("R", bound=_HasFmax)


@dataclass(frozen=True)
class Attempt(Generic[R]):
    """A place and route at one clock.

    Parameters
    ----------
    clock : Fraction
        Hertz, which is also what it aimed at.
    route : object
        Has ``fmax`` in hertz.
    """

    clock: Fraction
    route: R

    @property
    def met(self) -> bool:
        """True if the design runs at the clock."""
        return self.route.fmax >= self.clock


def fastest(
    clocks: Sequence[Fraction],
    aim: float,
    attempt: Callable[[Fraction, int], R],
    *,
    seed: int,
    tries: int,
) -> Attempt[R]:
    """Return the attempt with the fastest clock that met its timing, else the nearest miss.

    Aims at ``aim`` first. A clock that was missed by a touch gives way to the next below what was
    reached, with the same seed. One that was missed narrowly is tried again with the next seed, for
    the first ``tries``; else the next clock is a little below what was reached: upwards while that
    gains, downwards until one meets.

    Parameters
    ----------
    clocks : sequence of Fraction
        Frequencies that can be made, hertz, ascending.
    aim : float
        Hertz.
    attempt : callable
        Place and route at a clock with a seed.
    seed : int
        First seed.
    tries : int
        Attempts in all, where one meets; until one meets, twice as many.
    """
    best: Attempt[R] | None = None
    nearest: Attempt[R] | None = None
    ceiling = clocks[-1] + 1  # the lowest clock that was missed
    misses = 0
    clock = max((c for c in clocks if c <= aim), default=clocks[0])
    for number in range(2 * tries):
        if best is not None and number >= tries:
            break
        done = Attempt(clock, attempt(clock, seed))
        if done.met:
            best = done if best is None or done.clock > best.clock else best
        else:
            ceiling = min(ceiling, clock)
            misses += 1
            if nearest is None or done.route.fmax / done.clock > nearest.route.fmax / nearest.clock:
                nearest = done
            touched = [c for c in clocks if c <= done.route.fmax and (not best or c > best.clock)]
            if touched and done.route.fmax >= clock * (1 - TOUCH):
                clock = touched[-1]
                continue
            if number + 1 < tries and done.route.fmax >= clock * (1 - NEAR):
                seed += 1
                continue
        # What was reached once may be missed by a little again and again: take larger steps.
        reached = Fraction(done.route.fmax) * (1 - MARGIN)
        limit = min(reached, ceiling * (1 - MARGIN * max(0, misses - 1)))
        floor = best.clock if best else 0
        below = [c for c in clocks if floor < c <= limit and c < ceiling]
        if best is not None and (not below or below[-1] < best.clock * GAIN):
            break
        if below:
            clock = below[-1]
        else:  # missed at the lowest clock
            seed += 1
            ceiling = clocks[-1] + 1
            clock = clocks[0]
    found = best or nearest
    assert found is not None  # noqa: S101
    return found
