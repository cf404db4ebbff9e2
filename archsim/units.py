"""The only place that reads or prints units.

Outside archsim a physical value is a string with a unit (`"3.35 TB/s"`); inside it is a plain SI number whose
name carries the unit (`bytes_per_s`). GB is 1e9 bytes and GiB is 2**30 bytes, always. A bare number, a unit of
another dimension, trailing text, a sign or an exponent beyond reason is an error.

Time inside the simulation is integer picoseconds; `picoseconds_for` is the one function that rounds, and it
rounds up: a transfer never finishes early. Python integers are used because 141e9 B * 1e12 ps/s does not fit int64.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

__all__ = [
    "PS_PER_S",
    "UNITS",
    "exact_quantity",
    "format_quantity",
    "parse_quantity",
    "picoseconds_for",
    "seconds_of",
]

PS_PER_S = 10**12

_SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_IEC = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SMALL = {"": Fraction(1), "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9),
          "p": Fraction(1, 10**12)}  # fmt: skip


def _scaled(symbol: str, prefixes: dict[str, int] | dict[str, Fraction]) -> dict[str, Fraction]:
    return {prefix + symbol: Fraction(factor) for prefix, factor in prefixes.items()}


_BYTES = _scaled("B", _SI) | _scaled("B", _IEC)
_BITS = _scaled("b", _SI)
_FLOPS = _scaled("FLOP/s", _SI) | _scaled("OP/s", _SI)

UNITS: dict[str, dict[str, Fraction]] = {
    "bytes": _BYTES,
    "bytes/s": {unit + "/s": factor for unit, factor in _BYTES.items()},
    "bits": _BITS,
    "bits/s": {unit + "/s": factor for unit, factor in _BITS.items()},
    "flop/s": _FLOPS,
    "s": _scaled("s", _SMALL) | {"min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)},
    "Hz": _scaled("Hz", _SI),
    "1/s": {"req/s": Fraction(1), "/s": Fraction(1)},
    "W": _scaled("W", _SI) | {"mW": Fraction(1, 1000)},
    "J/bit": {"pJ/bit": Fraction(1, 10**12), "fJ/bit": Fraction(1, 10**15)},
    "J/flop": {"pJ/FLOP": Fraction(1, 10**12), "fJ/FLOP": Fraction(1, 10**15)},
    "W/m2": {"W/mm2": Fraction(10**6), "W/cm2": Fraction(10**4)},
    "m": {"um": Fraction(1, 10**6), "mm": Fraction(1, 10**3)},
    "m2": {"mm2": Fraction(1, 10**6), "cm2": Fraction(1, 10**4)},
    "USD": {"USD": Fraction(1)},
    "USD/B": {"USD/GB": Fraction(1, 10**9), "USD/TB": Fraction(1, 10**12)},
    "USD/(B/s)": {"USD/(GB/s)": Fraction(1, 10**9), "USD/(TB/s)": Fraction(1, 10**12)},
    "USD/W": {"USD/W": Fraction(1), "USD/kW": Fraction(1, 1000)},
    "USD/m2": {"USD/mm2": Fraction(10**6)},
    "USD/J": {"USD/kWh": Fraction(1, 3_600_000), "USD/MWh": Fraction(1, 3_600_000_000)},
    "kg": {"kg": Fraction(1), "g": Fraction(1, 1000), "t": Fraction(1000)},
    "kg/J": {"g/kWh": Fraction(1, 3_600_000_000), "kg/kWh": Fraction(1, 3_600_000)},
    "kg/B": {"kg/GB": Fraction(1, 10**9), "g/GB": Fraction(1, 10**12)},
    "kg/W": {"kg/W": Fraction(1)},
    "kg/m2": {"kg/mm2": Fraction(10**6), "kg/cm2": Fraction(10**4)},
    "1/m2": {"/cm2": Fraction(10**4)},
    "years": {"years": Fraction(31_557_600)},
    "tokens": {"tokens": Fraction(1)},
    "share": {"%": Fraction(1, 100)},
}
"""Dimension -> unit -> factor to SI. `OP/s` counts integer operations and is the same rate as `FLOP/s`; a year has
365.25 days."""

_NUMBER = re.compile(r"([0-9]{1,18}(?:_[0-9]{3}){0,6}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?) *(\S+)")


def parse_quantity(text: object, dimension: str) -> Fraction:
    """Return the SI value of *text*, exactly.

    *dimension* is a key of `UNITS` (`"bytes/s"`). Raises `ValueError` whose message says what was expected:
    the caller adds file and key.
    """
    units = UNITS[dimension]
    example = f'a number with a unit of {dimension}, such as "3.5 {_example_unit(units)}"'
    if not isinstance(text, str):
        raise ValueError(f"{example} (a quoted string)")  # noqa: TRY004  # one error for every wrong value
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(example)
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f"{example}; unit {unit[:40]!r} is not one of {', '.join(units)}")
    return Fraction(number.replace("_", "")) * units[unit]


def _example_unit(units: dict[str, Fraction]) -> str:
    return next((unit for unit in units if unit[0] in "Gnp" and len(unit) > 1), next(iter(units)))


_PRINTED = {
    "bytes": "B", "bytes/s": "B/s", "bits": "b", "bits/s": "b/s", "flop/s": "FLOP/s", "Hz": "Hz", "W": "W",
}  # fmt: skip


def format_quantity(value: float | Fraction, dimension: str, *, digits: int = 4) -> str:
    """Print an SI *value* with the decimal prefix that leaves one to three digits before the point.

    What it prints, `parse_quantity` reads back to within *digits* significant digits.
    """
    magnitude = abs(float(value))
    if dimension in _PRINTED:
        symbol = _PRINTED[dimension]
        for prefix, factor in reversed(_SI.items()):
            if magnitude >= factor:
                return f"{_significant(value / factor, digits)} {prefix}{symbol}"
        return f"{_significant(value, digits)} {symbol}"
    if dimension == "s":
        for prefix, small in _SMALL.items():
            if magnitude >= float(small):
                return f"{_significant(value / small, digits)} {prefix}s"
        return "0 s" if value == 0 else f"{_significant(value * PS_PER_S, digits)} ps"
    unit, smallest = min(UNITS[dimension].items(), key=lambda item: (item[1] != 1, -item[1]))
    return f"{_significant(value / smallest, digits)} {unit}"


_EXACT_DIGITS = 18
_AWKWARD_CHARACTERS = 2
"""What a number outside 1 to 999 counts extra: 200 us rather than 0.2 ms, yet 64 KiB rather than 65.536 kB."""
_READ_ONLY = frozenset(_scaled("OP/s", _SI))
"""Units that are read but not printed: `OP/s` is the same rate as `FLOP/s`."""


@lru_cache(maxsize=4096)
def exact_quantity(value: int | Fraction, dimension: str) -> str:
    """Print a non-negative SI *value* so that `parse_quantity` reads back exactly the same, in few characters.

    Raises `ValueError` where 18 digits on either side of the point do not suffice.
    """
    texts = []
    for unit, factor in UNITS[dimension].items():
        number = "" if unit in _READ_ONLY else _exact_decimal(value / factor)
        if number:
            awkward = 0 if 1 <= value / factor < 1000 else _AWKWARD_CHARACTERS
            texts.append((len(number) + len(unit) + awkward, f"{number} {unit}"))
    if not texts:
        raise ValueError(f"a value of {dimension} that 18 digits before and after the point can write")
    return min(texts, key=lambda ranked: ranked[0])[1]


def _exact_decimal(value: Fraction) -> str:
    """Return *value* in plain decimals, or an empty string where that takes too many digits."""
    whole = value * 10**_EXACT_DIGITS
    if whole.denominator != 1 or value < 0:
        return ""
    before, after = divmod(whole.numerator, 10**_EXACT_DIGITS)
    fraction = f"{after:0{_EXACT_DIGITS}d}".rstrip("0")
    return "" if before >= 10**_EXACT_DIGITS else f"{before}.{fraction}".rstrip(".")


def _significant(value: float | Fraction, digits: int) -> str:
    number = float(value)
    if number == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def picoseconds_for(amount: int, per_s: int | Fraction) -> int:
    """Return the whole picoseconds that *amount* takes at *per_s*, rounded up.

    *amount* and *per_s* share a unit (bytes and bytes/s, FLOPs and FLOP/s). The result is exact:
    `ceil(amount * 1e12 / per_s)` in integers of any size.
    """
    if amount < 0 or per_s <= 0:
        raise ValueError(f"amount {amount} must not be negative and rate {per_s} must be positive")
    if isinstance(per_s, int):
        return -((-amount * PS_PER_S) // per_s)
    return -((-amount * PS_PER_S * per_s.denominator) // per_s.numerator)


def seconds_of(picoseconds: int) -> float:
    """Return *picoseconds* as seconds, the nearest float."""
    return picoseconds / PS_PER_S
