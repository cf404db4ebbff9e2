"""Units: what is read, what is refused, what is printed, and the one rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.units import (
    PS_PER_S,
    UNITS,
    exact_quantity,
    format_quantity,
    parse_quantity,
    picoseconds_for,
    seconds_of,
)

QUIET = settings(deadline=None, derandomize=True, database=None, max_examples=200)
PRINTED = ("bytes", "bytes/s", "bits", "bits/s", "flop/s", "Hz", "W", "s")


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3.35 TB/s", "bytes/s", 3_350_000_000_000),
        ("80 GB", "bytes", 80 * 10**9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("450GB/s", "bytes/s", 450 * 10**9),
        ("5.2 Gb/s", "bits/s", 5_200_000_000),
        ("989 TFLOP/s", "flop/s", 989 * 10**12),
        ("624 TOP/s", "flop/s", 624 * 10**12),
        ("1_024 B", "bytes", 1024),
        ("1.5e3 kB", "bytes", 1_500_000),
        ("  10 us ", "s", Fraction(1, 10**5)),
        ("3.9 pJ/bit", "J/bit", Fraction(39, 10**13)),
        ("814 mm2", "m2", Fraction(814, 10**6)),
        ("8 %", "share", Fraction(8, 100)),
        ("0 s", "s", 0),
    ],
)
def test_a_unit_string_is_read_exactly(text: str, dimension: str, value: Fraction) -> None:
    """GB is 1e9 and GiB is 2**30, always, and no float comes between text and value."""
    assert parse_quantity(text, dimension) == value


@pytest.mark.parametrize(
    "text",
    [
        "3.35",
        "TB/s",
        "",
        " ",
        "3.35 TB",
        "3.35 Tb/s",
        "3.35 tb/s",
        "3.35 TB/s peak",
        "-3 TB/s",
        "+3 TB/s",
        "1,5 TB/s",
        "1..5 TB/s",
        "1. TB/s",
        ".5 TB/s",
        "NaN TB/s",
        "inf TB/s",
        "Infinity TB/s",
        "1e999 TB/s",
        "0x10 TB/s",
        "1__000 TB/s",
        "1_00 TB/s",
        "٣ TB/s",
        "3\n TB/s",
        "3 TB/s\x00",
        "9" * 5000 + " TB/s",
        "1e5000 TB/s",
        "3 TB//s",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """A bare number, another dimension, trailing text, a sign, or a number without end is an error that helps."""
    with pytest.raises(ValueError, match=r'such as "3\.5 GB/s"'):
        parse_quantity(text, "bytes/s")


@pytest.mark.parametrize("value", [3.35e12, 3, True, None, ["1 TB/s"], float("nan"), {"value": "1 TB/s"}])
def test_a_value_that_is_not_a_string_is_refused(value: object) -> None:
    """A number without a unit stays an error when it arrives as a number."""
    with pytest.raises(ValueError, match="quoted string"):
        parse_quantity(value, "bytes/s")


def test_a_wrong_unit_is_named_with_those_that_would_do() -> None:
    """The message lists the units of the dimension."""
    with pytest.raises(ValueError, match=r"unit 'TB' is not one of .*TB/s.*GiB/s"):
        parse_quantity("3.35 TB", "bytes/s")


@QUIET
@given(st.sampled_from(sorted(UNITS)), st.integers(0, 10**17), st.integers(0, 15))
def test_an_exact_text_reads_back_to_the_same_value(dimension: str, digits: int, decimals: int) -> None:
    """`exact_quantity` and `parse_quantity` are inverses for every value that eighteen digits can write."""
    factor = min(UNITS[dimension].values())
    value = Fraction(digits, 10**decimals) * factor
    assert parse_quantity(exact_quantity(value, dimension), dimension) == value


def test_an_exact_text_is_the_one_a_person_would_write() -> None:
    """Decimal and binary prefixes are tried, and a number from 1 to 999 is preferred."""
    assert exact_quantity(3_350_000_000_000, "bytes/s") == "3.35 TB/s"
    assert exact_quantity(16 * 2**30, "bytes") == "16 GiB"
    assert exact_quantity(1024, "bytes") == "1 KiB"
    assert exact_quantity(Fraction(1, 10**6), "s") == "1 us"
    assert exact_quantity(989 * 10**12, "flop/s") == "989 TFLOP/s"


@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(1, 10**40), Fraction(-1)])
def test_a_value_that_no_decimal_writes_is_refused(value: Fraction) -> None:
    """A third, a value below eighteen decimals and a negative one have no exact text."""
    with pytest.raises(ValueError, match="18 digits"):
        exact_quantity(value, "W")


@QUIET
@given(st.sampled_from(PRINTED), st.floats(1e-11, 1e17))
def test_what_is_printed_reads_back_to_four_digits(dimension: str, value: float) -> None:
    """`format_quantity` rounds to the stated digits and changes nothing else."""
    assert float(parse_quantity(format_quantity(value, dimension), dimension)) == pytest.approx(value, rel=5e-4)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (3.35e12, "bytes/s", "3.35 TB/s"),
        (0, "bytes/s", "0 B/s"),
        (1e-6, "s", "1 us"),
        (Fraction(1, 10**6), "s", "1 us"),
        (1.5e-13, "s", "0.15 ps"),
        (0, "s", "0 s"),
        (999, "bytes", "999 B"),
        (Fraction(7, 10), "share", "70 %"),
    ],
)
def test_a_value_is_printed_with_the_largest_fitting_prefix(value: float, dimension: str, text: str) -> None:
    """One to three digits stand before the point, also at the edge of a prefix."""
    assert format_quantity(value, dimension) == text


def test_a_transfer_never_finishes_early() -> None:
    """Time is rounded up: 10 B at 3 B/s last 3.33... s, so one picosecond more than the cut-off value."""
    assert picoseconds_for(10, 3) == 3_333_333_333_334
    assert picoseconds_for(9, 3) == 3 * PS_PER_S
    assert picoseconds_for(0, 3) == 0
    assert picoseconds_for(1, Fraction(1, 3)) == 3 * PS_PER_S


@QUIET
@given(st.integers(0, 10**30), st.fractions(Fraction(1, 1000), 10**15))
def test_the_rounding_is_below_one_picosecond(amount: int, per_s: Fraction) -> None:
    """The rounded time carries the whole amount, and one picosecond less would not."""
    picoseconds = picoseconds_for(amount, per_s)
    assert picoseconds * per_s >= amount * PS_PER_S
    assert (picoseconds - 1) * per_s < amount * PS_PER_S


def test_large_products_do_not_wrap() -> None:
    """141e9 B times 1e12 ps/s is beyond int64."""
    assert picoseconds_for(141 * 10**9, 1) == 141 * 10**21


@pytest.mark.parametrize(("amount", "per_s"), [(-1, 1), (1, 0), (1, -1), (1, Fraction(0))])
def test_a_negative_amount_or_a_rate_of_nothing_is_a_programming_error(amount: int, per_s: int) -> None:
    """No time is made up for what cannot happen."""
    with pytest.raises(ValueError, match="must"):
        picoseconds_for(amount, per_s)


def test_seconds_are_the_nearest_float() -> None:
    """1.5 s are 1.5e12 ps."""
    assert seconds_of(1_500_000_000_000) == 1.5
