"""The clock search, with place and route as a formula."""

import random
from dataclasses import dataclass
from fractions import Fraction

from gatewright.hw.search import fastest


@dataclass
class Made:
    fmax: float


CLOCKS = [Fraction(f) for f in range(16, 201, 2)]


def search(reach, goal, tries=3):
    """Run a search; ``reach(clock, seed)`` is what place and route reaches."""
    log = []

    def attempt(clock, seed):
        log.append((int(clock), seed))
        return Made(reach(int(clock), seed))

    return fastest(CLOCKS, goal, attempt, seed=1, tries=tries), log


def test_goal_met_then_higher_while_it_gains():
    found, log = search(lambda clock, seed: 90.0, 48)
    assert (found.clock, found.met) == (90, True)
    assert log == [(48, 1), (90, 1)]


def test_missed_goal_takes_what_was_reached():
    found, log = search(lambda clock, seed: 43.9, 60)
    assert (found.clock, found.met) == (42, True)
    assert log == [(60, 1), (42, 1)]


def test_a_miss_on_the_way_down_goes_on_down():
    found, log = search(lambda clock, seed: clock - 1.0 if clock > 54 else 56.0, 60)
    assert found.met and found.clock <= 54
    assert log[0] == (60, 1) and all(seed == 1 for _, seed in log)


def test_one_clock_tries_seeds():
    log = []

    def attempt(clock, seed):
        log.append(seed)
        return Made(50.0 if seed == 3 else 40.0)

    found = fastest([Fraction(48)], 48, attempt, seed=1, tries=2)
    assert found.met and log == [1, 2, 3]
    log.clear()
    missed = fastest([Fraction(60)], 60, attempt, seed=1, tries=2)
    assert not missed.met and log == [1, 2, 3, 4] and missed.route.fmax == 50.0


def test_never_claims_a_clock_that_was_not_reached():
    rng = random.Random(7)
    for case in range(300):
        centre, spread = rng.uniform(15, 210), rng.uniform(0, 0.2)

        def reach(clock, seed, centre=centre, spread=spread):
            noise = random.Random(f"{clock} {seed} {centre}").uniform(-spread, spread)
            return centre * (1 + noise)

        found, log = search(reach, rng.choice([16, 48, 120, 200]))
        assert len(log) <= 6, case
        assert found.met == (found.route.fmax >= found.clock)
        if not found.met:  # every attempt missed
            assert all(reach(c, s) < c for c, s in log)
