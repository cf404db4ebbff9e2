"""Text of one cell to a number, exactly: times to picoseconds, counts, identities. Never through a float.

Every function raises `ValueError` that says what would have been accepted.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from functools import lru_cache

from archsim.units import PS_PER_S

__all__ = ["CLOCK", "FRACTION_OF", "careful_blocks", "careful_clock", "careful_tokens", "careful_whole", "clock_ps",
           "duration_ps"]  # fmt: skip

CLOCK = r"(\d{4}-\d\d-\d\d)[ T]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,12}))?(?:\+00:00|Z)?"
"""A date with a time of day: five groups."""
FRACTION_OF = {digits: 10 ** (12 - digits) for digits in range(1, 13)}
"""Digits behind the point -> picoseconds of the last, of a second."""
_LONGEST_CELL = 64
_PLAIN_CELL = 32
_MOST_TOKENS = 10**9
_MOST_WHOLE = 2**63
_MOST_BLOCKS = 2**20
_NUMBER = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"\+?\d+", re.ASCII)


def clock_ps(groups: tuple[str, ...], at: int) -> int:
    """Return the picoseconds since year 1 of the five groups of `CLOCK` from *at* on."""
    day, hour, minute, second, part = groups[at : at + 5]
    whole = _day_s(day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    return whole * PS_PER_S + (int(part) * FRACTION_OF[len(part)] if part else 0)


@lru_cache(maxsize=8)
def _day_s(day: str) -> int:
    return date.fromisoformat(day).toordinal() * 86400


def careful_clock(text: str) -> int:
    """Return the picoseconds since year 1 of a date with a time of day."""
    found = re.fullmatch(CLOCK, text, re.ASCII)
    if found is None:
        raise ValueError("a time such as 2023-11-16 18:15:46.6805900, with at most 12 decimals and in UTC")
    try:
        return clock_ps(found.groups(), 0)
    except ValueError as error:
        raise ValueError(f"a date of the calendar ({error})") from None


def duration_ps(text: str, unit_ps: int) -> int:
    """Return a decimal number of units of *unit_ps* in picoseconds, rounded half up."""
    whole, _, part = text.partition(".")
    if whole and len(text) < _PLAIN_CELL and text.isascii() and (whole + part).isdigit():
        scale: int = 10 ** len(part)
        return (2 * int(whole + part) * unit_ps + scale) // (2 * scale)
    if len(text) > _LONGEST_CELL or not _NUMBER.fullmatch(text):
        unit = {PS_PER_S: "seconds"}.get(unit_ps, "milliseconds")
        raise ValueError(f"an arrival in {unit}, a decimal number from 0 on")
    picoseconds = Fraction(text) * unit_ps
    return (2 * picoseconds.numerator + picoseconds.denominator) // (2 * picoseconds.denominator)


def careful_tokens(text: str) -> int:
    """Return a number of tokens."""
    if len(text) > _LONGEST_CELL or not _WHOLE.fullmatch(text) or not 0 < int(text) < _MOST_TOKENS:
        raise ValueError("prompt and output of 1 to 999,999,999 tokens, whole numbers")
    return int(text)


def careful_whole(text: str, what: str) -> int:
    """Return a whole number from 0 below 2^63, *what* says of what."""
    if len(text) > _LONGEST_CELL or not _WHOLE.fullmatch(text) or int(text) >= _MOST_WHOLE:
        raise ValueError(f"{what}: a whole number from 0 below 2^63")
    return int(text)


def careful_blocks(value: object) -> tuple[int, ...]:
    """Return block identities, from a list of whole numbers as text or from text with spaces between."""
    cells = value.split() if isinstance(value, str) else value
    if not isinstance(cells, list) or len(cells) > _MOST_BLOCKS:
        raise ValueError(f"a list of at most {_MOST_BLOCKS:,} block identities")
    return tuple(careful_whole(cell if isinstance(cell, str) else "", "a block identity") for cell in cells)
