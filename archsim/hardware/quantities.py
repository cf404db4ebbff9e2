"""Types of the fields of a spec: a unit string outside, a plain exact number inside.

Each type carries a `Quantity` that names its dimension, so that the same table that reads a value also prints it
back (`Quantity.text`). No physics here, and no field has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StringConstraints

from archsim.units import PS_PER_S, exact_quantity, parse_quantity

__all__ = [
    "Area",
    "BitsPerSecond",
    "Bytes",
    "BytesOrNone",
    "BytesPerSecond",
    "Count",
    "Dtype",
    "FlopPerSecond",
    "Identifier",
    "Micrometres",
    "PicojoulesPerBit",
    "PicojoulesPerFlop",
    "Picoseconds",
    "PositivePicoseconds",
    "PowerDensity",
    "Price",
    "Quantity",
    "Ratio",
    "Share",
    "Text",
    "Watts",
]


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a field is written outside and held inside."""

    dimension: str
    """Key of `archsim.units.UNITS`."""
    scale: int = 1
    """Held value = SI value x scale (picoseconds: 1e12)."""
    whole: bool = True
    """Held as an `int`; else as a `Fraction`."""
    may_be_zero: bool = False
    most: int | None = None
    """Largest held value."""

    def parse(self, text: object) -> int | Fraction:
        """Return the held value of a unit string; raises `ValueError` that says what was expected."""
        return _held(self, text) if isinstance(text, str) else self.read(text)

    def read(self, text: object) -> int | Fraction:
        """Return what `parse` does, worked out anew."""
        value = parse_quantity(text, self.dimension)
        held = value * self.scale
        if held == 0 and not self.may_be_zero:
            raise ValueError(f"a value above zero of {self.dimension}")
        if self.whole and held.denominator != 1:
            smallest = "picoseconds" if self.scale == PS_PER_S else self.dimension
            raise ValueError(f"a whole number of {smallest}")
        if self.most is not None and held > self.most:
            raise ValueError(f"at most {self.text(self.most)}")
        exact_quantity(value, self.dimension)
        return held.numerator if self.whole else held

    def text(self, held: int | Fraction) -> str:
        """Return the unit string that `parse` turns into *held*."""
        return exact_quantity(Fraction(held) / self.scale, self.dimension)


@lru_cache(maxsize=4096)
def _held(quantity: Quantity, text: str) -> int | Fraction:
    """Return what *text* holds: points of a study have most of their settings in common."""
    return quantity.read(text)


def _reads(quantity: Quantity) -> BeforeValidator:
    def read(value: Any) -> int | Fraction:
        return quantity.parse(value)

    return BeforeValidator(read)


_BYTES = Quantity("bytes")
_BYTES_OR_NONE = Quantity("bytes", may_be_zero=True)
_BYTES_PER_S = Quantity("bytes/s")
_BITS_PER_S = Quantity("bits/s")
_FLOP_PER_S = Quantity("flop/s")
_HOUR_PS = 3600 * PS_PER_S
"""No latency or gap of hardware comes near; an iteration of thousands of them still fits 64 bits of picoseconds."""
_PICOSECONDS = Quantity("s", scale=PS_PER_S, may_be_zero=True, most=_HOUR_PS)
_POSITIVE_PICOSECONDS = Quantity("s", scale=PS_PER_S, most=_HOUR_PS)
_SHARE = Quantity("share", whole=False, may_be_zero=True)
_RATIO = Quantity("share", whole=False, most=1000)
_PJ_PER_BIT = Quantity("J/bit", scale=10**12, whole=False)
_PJ_PER_FLOP = Quantity("J/flop", scale=10**12, whole=False)
_WATTS = Quantity("W", whole=False)
_AREA = Quantity("m2", scale=10**6, whole=False)
_MICROMETRES = Quantity("m", scale=10**6, whole=False)
_POWER_DENSITY = Quantity("W/m2", whole=False)
_PRICE = Quantity("USD", whole=False)

Bytes = Annotated[int, _BYTES, _reads(_BYTES)]
BytesOrNone = Annotated[int, _BYTES_OR_NONE, _reads(_BYTES_OR_NONE)]
BytesPerSecond = Annotated[int, _BYTES_PER_S, _reads(_BYTES_PER_S)]
BitsPerSecond = Annotated[int, _BITS_PER_S, _reads(_BITS_PER_S)]
FlopPerSecond = Annotated[int, _FLOP_PER_S, _reads(_FLOP_PER_S)]
Picoseconds = Annotated[int, _PICOSECONDS, _reads(_PICOSECONDS)]
PositivePicoseconds = Annotated[int, _POSITIVE_PICOSECONDS, _reads(_POSITIVE_PICOSECONDS)]
Share = Annotated[Fraction, _SHARE, _reads(_SHARE), Field(lt=1)]
Ratio = Annotated[Fraction, _RATIO, _reads(_RATIO)]
PicojoulesPerBit = Annotated[Fraction, _PJ_PER_BIT, _reads(_PJ_PER_BIT)]
PicojoulesPerFlop = Annotated[Fraction, _PJ_PER_FLOP, _reads(_PJ_PER_FLOP)]
Watts = Annotated[Fraction, _WATTS, _reads(_WATTS)]
Area = Annotated[Fraction, _AREA, _reads(_AREA)]
Micrometres = Annotated[Fraction, _MICROMETRES, _reads(_MICROMETRES)]
PowerDensity = Annotated[Fraction, _POWER_DENSITY, _reads(_POWER_DENSITY)]
Price = Annotated[Fraction, _PRICE, _reads(_PRICE)]

Dtype = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "fp4", "int8", "int4", "mxint8", "mxint4"]
"""Element types an engine may have a rate for."""
Count = Annotated[StrictInt, Field(ge=1, le=10**9)]
"""A number of things: a bare whole number."""
Identifier = Annotated[str, StringConstraints(strict=True, pattern=r"\A[a-z][a-z0-9_]{0,31}\z")]
"""Name of a memory, cache or engine: it stands in scopes such as `chip0.hbm.ch3`, hence no dots."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text on one line")
    return text


Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200), AfterValidator(_printable)]
"""A name or a title: printable, one line."""
