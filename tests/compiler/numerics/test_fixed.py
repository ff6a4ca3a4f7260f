"""Fixed point against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.numerics.fixed import (
    Format,
    bits_signed,
    bits_unsigned,
    round_shift,
    saturate,
    shift,
)
from hypothesis import given
from hypothesis import strategies as st

codes = st.integers(-(2**61), 2**61)
formats = st.builds(Format, st.integers(1, 52), st.integers(-20, 60), st.booleans())
HALF = Fraction(1, 2)


def half_up(value: Fraction) -> int:
    return math.floor(value + HALF)


@given(codes, st.integers(0, 60))
def test_round_shift_is_half_up(code: int, amount: int) -> None:
    expected = half_up(Fraction(code, 2**amount))
    assert round_shift(code, amount) == expected
    assert round_shift(np.array([code], np.int64), amount).tolist() == [expected]


@given(st.integers(-(2**40), 2**40), st.integers(-20, 40))
def test_shift_moves_the_point(code: int, amount: int) -> None:
    expected = half_up(Fraction(code) / Fraction(2) ** amount)
    assert shift(code, amount) == expected
    assert shift(np.array([code], np.int64), amount).tolist() == [expected]


@given(st.lists(codes, max_size=8), st.integers(1, 62), st.booleans())
def test_saturate_clips_and_counts(values: list[int], bits: int, signed: bool) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    clipped, count = saturate(np.array(values, np.int64), bits, signed)
    assert clipped.tolist() == [min(max(v, low), high) for v in values]
    assert count == sum(not low <= v <= high for v in values)


@given(st.integers(1, 64), st.integers(-20, 60))
def test_a_format_has_as_many_codes_as_its_bits_say(bits: int, frac: int) -> None:
    whole, half = Format(bits, frac, signed=False), Format(bits, frac)
    assert (whole.low, half.low) == (0, -(whole.high // 2) - 1)
    assert whole.high - whole.low == half.high - half.low == 2**bits - 1
    assert whole.step == half.step == 2.0**-frac


@given(formats, st.floats(-1e9, 1e9))
def test_quantize_is_half_up_then_saturates(fmt: Format, value: float) -> None:
    exact = half_up(Fraction(value) * Fraction(2) ** fmt.frac)
    assert int(fmt.quantize(value)) == min(max(exact, fmt.low), fmt.high)


@pytest.mark.parametrize(
    "value", [0.5, -0.5, 1.5, -1.5, 0.49999999999999994, -0.5000000000000001, 4503599627370497.0]
)
def test_quantize_where_adding_a_half_would_round(value: float) -> None:
    assert int(Format(54, 0).quantize(value)) == half_up(Fraction(value))


@given(formats, st.data())
def test_a_code_keeps_its_value(fmt: Format, data: st.DataObject) -> None:
    code = data.draw(st.integers(fmt.low, fmt.high))
    assert fmt.quantize(fmt.value(code)) == code
    assert Fraction(float(fmt.value(code))) == code / Fraction(2) ** fmt.frac


@given(codes, codes)
def test_bits_are_the_fewest(a: int, b: int) -> None:
    low, high = min(a, b), max(a, b)
    bits = bits_signed(low, high)
    assert -(2 ** (bits - 1)) <= low and high <= 2 ** (bits - 1) - 1
    assert bits == 1 or not (-(2 ** (bits - 2)) <= low and high <= 2 ** (bits - 2) - 1)
    assert abs(a) < 2 ** bits_unsigned(abs(a))
    assert a == 0 or abs(a) >= 2 ** (bits_unsigned(abs(a)) - 1)


@pytest.mark.parametrize("bits", [0, -1, 65])
def test_refuses_a_width(bits: int) -> None:
    with pytest.raises(InputError, match=f"1 to 64 bits, not {bits}"):
        Format(bits, 0)


@pytest.mark.parametrize("fmt", [Format(12, 11), Format(8, -3), Format(5, 9, signed=False)])
def test_json_round_trip(fmt: Format) -> None:
    assert Format.from_json(fmt.to_json()) == fmt
    assert str(fmt) == f"{'Q' if fmt.signed else 'UQ'}{fmt.bits}.{fmt.frac}"
