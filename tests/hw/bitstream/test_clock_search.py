"""The clock search, with place and route as a formula."""

import random
from dataclasses import dataclass
from fractions import Fraction

from gatewright.hw.bitstream.clock_search import fastest


@dataclass
class Made:
    fmax: float


CLOCKS = [Fraction(f) for f in range(16, 201, 2)]


def search(reach, aim, tries=3):
    """Run a search; ``reach(clock, seed)`` is what place and route reaches."""
    log = []

    def attempt(clock, seed):
        log.append((int(clock), seed))
        return Made(reach(int(clock), seed))

    return fastest(CLOCKS, aim, attempt, seed=1, tries=tries), log


def test_a_good_aim_takes_one_place_and_route():
    for reached in (48.0, 49.0, 51.0):
        found, log = search(lambda clock, seed, reached=reached: reached, 48)
        assert (found.clock, log) == (48, [(48, 1)])


def test_aim_met_then_higher_while_it_gains():
    found, log = search(lambda clock, seed: 90.0, 48)
    assert (found.clock, found.met) == (86, True)  # the margin below 90, and the next that there is
    assert log == [(48, 1), (86, 1)]


def test_missed_aim_takes_what_was_reached_less_the_margin():
    found, log = search(lambda clock, seed: 43.9, 60)
    assert (found.clock, found.met) == (42, True)
    assert log == [(60, 1), (42, 1)]
    # A netlist that reaches 2 % less than the one before is met all the same.
    found, log = search(lambda clock, seed: 100.0 if clock > 100 else 98.0, 120)
    assert (found.clock, len(log)) == (96, 2)


def test_a_near_miss_takes_the_next_seed_of_the_same_clock():
    found, log = search(lambda clock, seed: 47.0 if seed < 3 else 49.0, 48)
    assert (found.clock, found.met) == (48, True)
    assert log == [(48, 1), (48, 2), (48, 3)]
    # Not for ever: after as many as there are tries it goes down.
    found, log = search(lambda clock, seed: 47.0, 48)
    assert (found.clock, found.met) == (44, True)
    assert log == [(48, 1), (48, 2), (48, 3), (44, 3)]
    assert search(lambda clock, seed: 47.0, 48, tries=1)[1] == [(48, 1), (44, 1)]


def test_a_touch_below_the_aim_takes_the_clock_that_was_reached():
    """Within 0.5 %: no other seed, and no margin below what was reached."""
    found, log = search(lambda clock, seed: 99.6, 100)
    assert (found.clock, found.met) == (98, True)
    assert log == [(100, 1), (98, 1)]
    found, log = search(lambda clock, seed: 99.4, 100)  # further off: the next seed
    assert log[:2] == [(100, 1), (100, 2)]
    # Above a clock that was met there is nothing to take: that one stays.
    found, log = search(lambda clock, seed: 104.0 if clock < 100 else 99.9, 94)
    assert (found.clock, found.met) == (98, True) and log == [(94, 1), (100, 1), (98, 1)]


def test_a_miss_above_what_was_met_keeps_what_was_met():
    found, log = search(lambda clock, seed: 60.0 if clock <= 48 else 47.0, 48)
    assert (found.clock, found.met) == (48, True)
    assert log[:2] == [(48, 1), (58, 1)]


def test_a_miss_on_the_way_down_goes_on_down():
    found, _ = search(lambda clock, seed: clock - 1.0 if clock > 54 else 56.0, 60)
    assert found.met and found.clock <= 54
    found, log = search(lambda clock, seed: 0.95 * clock if clock > 50 else 56.0, 60)
    assert (found.clock, found.met) == (48, True)
    assert log == [(60, 1), (54, 1), (48, 1)]


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
