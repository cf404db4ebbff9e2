"""Prices, lifetimes and emissions as data: one TOML file, checked at the door, that a user may replace.

Every figure is a range, `{ low = "...", mid = "...", high = "..." }`, with low <= mid <= high as numbers; which end is
the cheap one is the arithmetic's business. Values are held in SI units: joules, bytes, metres, seconds, USD, kg.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from archsim.economics.ranges import Range
from archsim.errors import InputError, did_you_mean
from archsim.files import digest_of, find, read_bytes, read_toml
from archsim.hardware.door import Tables, validated
from archsim.hardware.quantities import Count, Identifier, Quantity, Text
from archsim.hardware.spec_model import Spec, refusal

__all__ = ["DEFAULT", "Economics", "Ends", "MemoryPrices", "Region", "economics_with", "load_economics"]

DEFAULT = "default"
"""Name of the bundled file."""


def _read(dimension: str, *, may_be_zero: bool = False) -> BeforeValidator:
    quantity = Quantity(dimension, whole=False, may_be_zero=may_be_zero, most=10**15)

    def parse(value: Any) -> int | Fraction:
        return quantity.parse(value)

    return BeforeValidator(parse)


Usd = Annotated[Fraction, _read("USD", may_be_zero=True)]
UsdPerByte = Annotated[Fraction, _read("USD/B", may_be_zero=True)]
UsdPerRate = Annotated[Fraction, _read("USD/(B/s)", may_be_zero=True)]
UsdPerWatt = Annotated[Fraction, _read("USD/W", may_be_zero=True)]
UsdPerArea = Annotated[Fraction, _read("USD/m2", may_be_zero=True)]
UsdPerJoule = Annotated[Fraction, _read("USD/J", may_be_zero=True)]
Kg = Annotated[Fraction, _read("kg", may_be_zero=True)]
KgPerJoule = Annotated[Fraction, _read("kg/J", may_be_zero=True)]
KgPerByte = Annotated[Fraction, _read("kg/B", may_be_zero=True)]
KgPerWatt = Annotated[Fraction, _read("kg/W", may_be_zero=True)]
KgPerArea = Annotated[Fraction, _read("kg/m2", may_be_zero=True)]
Defects = Annotated[Fraction, _read("1/m2", may_be_zero=True)]
Metres = Annotated[Fraction, _read("m")]
SquareMetres = Annotated[Fraction, _read("m2")]
Years = Annotated[Fraction, _read("years")]
Factor = Annotated[Fraction, _read("share")]
Trend = Annotated[Fraction, _read("share"), Field(ge=0.1, le=10)]
Year = Annotated[int, Field(strict=True, ge=1990, le=2100)]

Value = TypeVar("Value")


class Ends(Spec, Generic[Value]):
    """One figure: its middle and the ends of what sources state."""

    low: Value
    mid: Value
    high: Value

    @model_validator(mode="after")
    def _check_order(self) -> Ends[Value]:
        low, mid, high = (Fraction(value) for value in (self.low, self.mid, self.high))  # type: ignore[call-overload]
        if not low <= mid <= high:
            key = "low" if low > mid else "high"
            raise refusal(key, "", "low <= mid <= high")
        return self

    @cached_property
    def range(self) -> Range:
        """The figure as floats, SI."""
        return Range(*(float(value) for value in (self.low, self.mid, self.high)))  # type: ignore[arg-type]


class Operation(Spec):
    """How the machines are used, table `[operation]`."""

    lifetime: Ends[Years]
    """Years over which hardware is paid off, evenly."""
    utilization: Ends[Factor]
    """Share of the day's hours in which the system works at the rate of the run."""
    pue: Ends[Factor]
    """Power of the facility over that of its machines."""

    @model_validator(mode="after")
    def _check_shares(self) -> Operation:
        if self.utilization.high > 1:
            raise refusal("utilization.high", f"{float(100 * self.utilization.high):g} %", "at most 100 % of the day")
        if self.pue.low < 1:
            raise refusal("pue.low", f"{float(100 * self.pue.low):g} %", "at least 100 %, the machines themselves")
        return self


class ChipPrices(Spec):
    """What a chip is worth, table `[chip]`."""

    basis: Literal["price", "parts"]
    """`price`: as its file states, where it does; `parts`: every chip is built up, which compares like with like."""
    stated: Ends[Factor]
    """Of the price that a chip's file states: how far street prices lie from it."""
    markup: Ends[Factor]
    """Price over the cost of its parts, where it is built up from them."""
    wafer: Ends[Usd]
    """One processed wafer."""
    wafer_diameter: Metres
    reticle: SquareMetres
    """Largest die: more silicon is several equal dies."""
    defects: Ends[Defects]
    """Of the wafer, by area."""
    package: Ends[UsdPerArea]
    """By area of the package, or of dies and stacks where it is not stated."""


class MemoryPrices(Spec):
    """One kind of memory, table `[memory.STANDARD]`."""

    capacity: Ends[UsdPerByte]
    """What goes with its bytes."""
    bandwidth: Ends[UsdPerRate] | None = None
    """What goes with its bytes per second, on top: base die, stacking, test; not stated: nothing does."""
    year: Year
    """Of the prices."""
    yearly: Trend
    """Price of a year over that of the year before."""
    embodied: Ends[KgPerByte] | None = None
    """CO2e of making it; not stated: absent."""


class SystemPrices(Spec):
    """What a chip needs around it, table `[system]`."""

    host: Ends[UsdPerWatt]
    """Processors, memory, storage, chassis, supplies: by design power of the chips."""
    network: Ends[UsdPerRate]
    """Switches, adapters, cables: by bytes per second that chips inject into their links, one direction."""
    datacenter: Ends[UsdPerWatt]
    """Building, power and cooling: by watt that the facility can draw."""
    datacenter_lifetime: Ends[Years]


class Embodied(Spec):
    """CO2e of making things, table `[embodied]`; of memories it stands with their prices."""

    die: Ends[KgPerArea]
    """Of wafer; a die that fails is paid for by those that work."""
    package: Ends[Kg]
    """Of one chip's."""
    host: Ends[KgPerWatt]
    """By design power of the chips."""


class User(Spec):
    """What one user asks for, table `[user]`."""

    queries_per_day: Count
    output_tokens_per_query: Count


class Region(Spec):
    """Where the machines stand, table `[regions.NAME]`."""

    title: Text
    energy: Ends[UsdPerJoule]
    """Price of electricity."""
    grid: Ends[KgPerJoule]
    """CO2e of electricity."""


class Economics(Spec):
    """All prices and emissions, `hwconfigs/economics/*.toml`."""

    name: Text
    title: Text
    year: Year
    """Year whose memory prices are taken, by the trend of each kind."""
    region: Identifier
    """Key of `regions`."""
    in_die: tuple[Text, ...]
    """Standards of memories that are part of the compute die."""
    operation: Operation
    chip: ChipPrices
    memory: dict[Text, MemoryPrices]
    system: SystemPrices
    embodied: Embodied
    user: User
    regions: dict[Identifier, Region] = Field(min_length=1)

    @property
    def place(self) -> Region:
        """The region that is meant."""
        return self.regions[self.region]

    @cached_property
    def digest(self) -> str:
        """Digest of the content, whatever the file looks like."""
        return digest_of(self.model_dump_json(by_alias=True).encode())


def load_economics(name_or_path: str = DEFAULT, *, region: str | None = None, basis: str | None = None) -> Economics:
    """Return the prices of a bundled name or a path, with another *region* or *basis* of chips where one is given.

    Raises `InputError` with every problem of the file.
    """
    path = find(name_or_path, kind="hwconfigs", folder="economics", suffixes=(".toml",))
    return _parsed(path, digest_of(read_bytes(path)), region, basis)


def economics_with(name_or_path: str, *, region: str, digest: str) -> Economics | None:
    """Return the prices of that name and *region* whose digest is *digest*, by whatever basis; None where none are.

    A result says what its bill was built from. Of a chip without a price these are parts, whatever was asked for.
    """
    for basis in (None, "price", "parts"):
        with contextlib.suppress(InputError):  # no such file, or no such region in the file of this version
            found = load_economics(name_or_path, region=region, basis=basis)
            if found.digest == digest:
                return found
    return None


@lru_cache(maxsize=8)
def _parsed(path: Path, _digest: str, region: str | None, basis: str | None) -> Economics:
    """Return the file as read; the digest of its bytes keeps a changed file from being taken for the old one."""
    tables = Tables(read_toml(path), {(): str(path)})
    if region is not None:
        tables.root["region"] = region
        tables.files["region",] = "--region"
    if basis is not None and isinstance(tables.root.get("chip"), dict):
        tables.root["chip"]["basis"] = basis
        tables.files["chip", "basis"] = "--basis"
    _check_region(tables)
    return validated(Economics, tables)


def _check_region(tables: Tables) -> None:
    """Note a region that no table describes, beside whatever else is wrong with the file."""
    name, known = tables.root.get("region"), tables.root.get("regions")
    if isinstance(name, str) and isinstance(known, dict) and name not in known:
        tables.problem(("region",), name, f"one of {', '.join(known)}{did_you_mean(name, known)}")
