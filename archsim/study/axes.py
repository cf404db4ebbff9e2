"""One axis of a study: the values that a key, or several linked keys, take.

An axis is a list, a range of whole numbers, or a range of unit strings, even in the value or in its logarithm. A range
with `steps` is a list of so many values with both ends among them; without, it is continuous: fit for drawing, not for
a grid. Values of a range are rounded to six digits, and to whole bytes, FLOPs, bits and picoseconds, as hardware keys
want them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import Count, Text
from archsim.units import UNITS, exact_quantity, parse_quantity

__all__ = ["Axis", "AxisSpec", "Span", "Value", "WordOrNumber", "scaled"]

Value = str | int | bool | list[Any]
"""What a key may be set to: a unit string, a name, a whole number, a list."""


def _word_or_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('a whole number, or text in quotes such as "4 TB/s"')  # noqa: TRY004  # pydantic's way
    return value


WordOrNumber = Annotated[str | int, PlainValidator(_word_or_number)]
"""What stands in a file: a whole number or a quoted text."""

_DIGITS = 6
_WHOLE = {"bytes": 1, "bytes/s": 1, "bits": 1, "bits/s": 8, "flop/s": 1}
"""Dimension -> what its values are a multiple of; a channel moves whole bytes."""
_MOST_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """A range between two numbers, both included."""

    low: Fraction
    high: Fraction
    log: bool
    dimension: str
    """Key of `archsim.units.UNITS`; empty: whole numbers."""

    def at(self, share: float) -> str | int:
        """Return the value at *share* of the way, 0 to 1."""
        if share <= 0 or share >= 1:
            return self._written(self.low if share <= 0 else self.high)
        low, high = float(self.low), float(self.high)
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        return self._written(min(max(_significant(value), self.low), self.high))

    def _written(self, value: Fraction) -> str | int:
        return _written(value, self.dimension) if self.dimension else round(value)


def _written(value: Fraction, dimension: str) -> str:
    unit = Fraction(1, 10**12) if dimension == "s" else Fraction(_WHOLE.get(dimension, 0))
    whole = max(unit, round(value / unit) * unit) if unit else value
    return exact_quantity(whole, dimension)


def scaled(text: str, factor: Fraction) -> str:
    """Return the quantity *text* times *factor*, to six digits. Raises `ValueError` where it has no known unit."""
    for dimension in UNITS:
        try:
            value = parse_quantity(text, dimension)
        except ValueError:
            continue
        return _written(_significant(float(value * factor)), dimension)
    raise ValueError(f"a quantity with a unit, not {text[:40]!r}")


def _significant(value: float) -> Fraction:
    return Fraction(f"{value:.{_DIGITS - 1}e}")


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis as points are drawn from it."""

    keys: tuple[str, ...]
    """Keys that are set together."""
    levels: tuple[tuple[Value, ...], ...]
    """Settings in order, one value a key; empty where the axis is continuous."""
    span: Span | None = None

    @property
    def name(self) -> str:
        """The keys as one word."""
        return "+".join(self.keys)

    def at(self, share: float) -> tuple[Value, ...]:
        """Return the setting at *share* of the way along the axis, 0 <= share < 1."""
        if self.span is not None and not self.levels:
            return (self.span.at(share),)
        return self.levels[min(int(share * len(self.levels)), len(self.levels) - 1)]

    @property
    def samples(self) -> tuple[tuple[Value, ...], ...]:
        """Settings that show whether the axis is possible: every level, or both ends."""
        return self.levels or (self.at(0.0), self.at(1.0))


class AxisSpec(Spec):
    """One axis, a table of `[[axis]]`."""

    key: Text | None = None
    """What varies: `model`, `precision`, `parallel`, `batch`, `context`, `rate_scale`, or a key as `show` prints it."""
    keys: tuple[Text, ...] = ()
    """Several keys that vary together; every value is then a list with one value a key."""
    values: tuple[Any, ...] | None = None
    """A list of values."""
    low: WordOrNumber | None = Field(alias="from", default=None)
    """First value of a range, a whole number or a unit string."""
    high: WordOrNumber | None = Field(alias="to", default=None)
    """Last value of a range."""
    steps: Count | None = None
    """Values of the range; a range without them is continuous."""
    scale: Literal["linear", "log"] = "linear"
    """Whether the range is even in the value or in its logarithm."""

    @model_validator(mode="after")
    def _check(self) -> AxisSpec:
        if (self.key is None) == (not self.keys):
            raise refusal("key", self.key or "", "key, or keys for linked ones, and not both")
        if len(set(self.keys)) != len(self.keys):
            raise refusal("keys", ", ".join(self.keys), "keys that differ")
        if (self.values is None) == (self.low is None and self.high is None):
            raise refusal("values", "", "a list of values, or from and to")
        if self.values is not None:
            _check_values(self.values, self.keys)
            if self.steps is not None or self.scale == "log":
                raise refusal("steps", str(self.steps or self.scale), "no steps and no scale beside values")
            return self
        if self.keys:
            raise refusal("keys", ", ".join(self.keys), "values where keys are linked: a range has one key")
        if self.low is None or self.high is None:
            raise refusal("from" if self.low is None else "to", "", "both ends of a range")
        _span(self.low, self.high, log=self.scale == "log")
        if self.steps is not None and not 2 <= self.steps <= _MOST_VALUES:
            raise refusal("steps", self.steps, f"2 to {_MOST_VALUES:,} values")
        return self

    def made(self) -> Axis:
        """Return the axis."""
        if self.values is not None:
            if self.keys:
                return Axis(self.keys, tuple(tuple(value) for value in self.values))
            return Axis((self.key or "",), tuple((value,) for value in self.values))
        span = _span(self.low, self.high, log=self.scale == "log")
        levels: Sequence[str | int] = ()
        if self.steps is not None:
            levels = tuple(dict.fromkeys(span.at(index / (self.steps - 1)) for index in range(self.steps)))
        return Axis((self.key or "",), tuple((level,) for level in levels), span)


def _check_values(values: tuple[Any, ...], keys: tuple[str, ...]) -> None:
    if not values:
        raise refusal("values", "[]", "at least one value: an axis without any leaves no point")
    if len(values) > _MOST_VALUES:
        raise refusal("values", f"{len(values):,} values", f"at most {_MOST_VALUES:,}")
    seen: list[object] = []
    for value in values:
        if keys and not (isinstance(value, list) and len(value) == len(keys)):
            raise refusal("values", value, f"lists of {len(keys)} values, one for each of {', '.join(keys)}")
        for part in value if keys else (value,):
            if not isinstance(part, str | int | list):
                raise refusal("values", part, 'whole numbers, words, lists, or quoted values with a unit ("4 TB/s")')
        if (type(value), value) in seen:
            raise refusal("values", value, "values that differ")
        seen.append((type(value), value))


def _span(low: object, high: object, *, log: bool) -> Span:
    if isinstance(low, bool) or isinstance(high, bool) or isinstance(low, str) != isinstance(high, str):
        raise refusal("to", str(high), "two whole numbers, or two values with units of one dimension")
    if isinstance(low, int) and isinstance(high, int):
        ends, dimension = (Fraction(low), Fraction(high)), ""
    else:
        ends, dimension = _quantities(str(low), str(high))
    if not ends[0] < ends[1]:
        raise refusal("to", str(high), f"more than {low}, the first value: this range is empty")
    if log and ends[0] <= 0:
        raise refusal("from", str(low), "a value above zero on a logarithmic scale")
    return Span(*ends, log, dimension)


def _quantities(low: str, high: str) -> tuple[tuple[Fraction, Fraction], str]:
    for dimension in UNITS:
        try:
            return (parse_quantity(low, dimension), parse_quantity(high, dimension)), dimension
        except ValueError:
            continue
    raise refusal("from", low, 'two values with units of one dimension, such as "2 TB/s" and "8 TB/s"')
