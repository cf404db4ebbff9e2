"""Laws of wear: a budget of bytes, and years as budget over rate."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.endurance import wear_of, write_rate_for_years
from archsim.dram.flash import SECONDS_PER_YEAR, Flash


def flash(capacity_bytes: int = 512 * 10**9, cycles: int = 100_000, amplification: Fraction = Fraction(2)) -> Flash:
    """Return a stack with these three numbers; the others do not bear on wear."""
    return Flash(
        name="toy", capacity_bytes=capacity_bytes, channels=1, channel_bytes_per_s=10**9, dies=1, planes=1,
        page_bytes=4096, read_ps=10**6, program_ps=10**7, buffer_bytes=8192, endurance_cycles=cycles,
        write_amplification=amplification,
    )  # fmt: skip


@settings(deadline=None, derandomize=True, database=None)
@given(
    capacity=st.integers(10**6, 10**15), cycles=st.integers(1, 10**6), rate=st.integers(1, 10**13),
    tenths=st.integers(10, 100), stacks=st.integers(1, 16),
)  # fmt: skip
def test_years_are_capacity_times_cycles_over_what_is_programmed(
    capacity: int, cycles: int, rate: int, tenths: int, stacks: int
) -> None:
    """Stacks x capacity x cycles / (rate x write amplification), in years of 365.25 days."""
    amplification = Fraction(tenths, 10)
    wear = wear_of(flash(capacity, cycles, amplification), stacks=stacks, write_bytes_per_s=rate)
    expected = Fraction(stacks * capacity * cycles) / (rate * amplification) / Fraction(36525 * 864)
    assert wear.years == pytest.approx(float(expected), rel=1e-12)


@settings(deadline=None, derandomize=True, database=None)
@given(years=st.integers(1, 100), stacks=st.integers(1, 16))
def test_the_bearable_rate_wears_flash_out_in_just_those_years(years: int, stacks: int) -> None:
    """Rate for years, and years at that rate, are inverse."""
    rate = write_rate_for_years(flash(), stacks=stacks, years=years)
    assert wear_of(flash(), stacks=stacks, write_bytes_per_s=rate).years == pytest.approx(years, rel=1e-12)


def test_a_known_stack_lasts_ten_months_at_a_gigabyte_a_second() -> None:
    """512 GB x 100,000 / 2 = 25.6 PB; at 1 GB/s 25.6e6 s = 0.811 years; two stacks take twice as long."""
    one, two = (wear_of(flash(), stacks=n, write_bytes_per_s=10**9) for n in (1, 2))
    assert (one.writable_bytes, two.writable_bytes) == (256 * 10**14, 512 * 10**14)
    assert one.years == pytest.approx(25.6e6 / SECONDS_PER_YEAR)
    assert two.years == pytest.approx(2 * 25.6e6 / SECONDS_PER_YEAR)


def test_what_is_never_written_never_wears_out() -> None:
    """No years, not infinitely many."""
    assert wear_of(flash(), stacks=1, write_bytes_per_s=0).years is None


def test_impossible_questions_are_refused() -> None:
    """No stack, a negative rate, no time."""
    with pytest.raises(ValueError, match="stack"):
        wear_of(flash(), stacks=0, write_bytes_per_s=1)
    with pytest.raises(ValueError, match="negative"):
        wear_of(flash(), stacks=1, write_bytes_per_s=-1)
    with pytest.raises(ValueError, match="positive"):
        write_rate_for_years(flash(), stacks=1, years=0)
