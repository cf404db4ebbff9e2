"""How libraries run collectives: protocols with measured software times and link shares, from hwconfigs/collectives.

A file names an implementation, the algorithm of each of its protocols by collective, and for each generation of chips
at most three parameters a protocol: `software` (time of one collective that is neither per step nor on a wire), `step`
(time of one step for an empty message; left out where steps overlap), `share` (part of the links' rate) and `up_to`
(largest message, where the library has a fixed limit). Measured times contain the hops of the machine they were taken
on: `hop` is the latency of its path between two chips, which is taken off before the hops of another network are put
in. `host` is what the host needs for a call: a duration is never shorter. A chip of no listed generation takes the
parameters of the file's `stand_in`, and `note` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem, did_you_mean
from archsim.files import bundled_names, bundled_path, read_toml
from archsim.units import PS_PER_S, parse_quantity

__all__ = ["Implementation", "Protocol", "implementation_names", "load_implementation"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way in which a library moves a message."""

    implementation: str
    name: str
    algorithm: Mapping[str, str]
    """Collective -> algorithm."""
    software_ps: int
    step_ps: int
    hop_ps: int
    """Latency between two neighbours on the machine that it was measured on: `software_ps` and `step_ps` contain it."""
    share: float
    up_to_bytes: int | None
    least_ranks: int


@dataclass(frozen=True, slots=True)
class Implementation:
    """A library on a generation of chips, with the protocols of the library that it falls back on."""

    name: str
    title: str
    generation: str
    note: str
    """Whose parameters stand in where the chip itself was not measured; else empty."""
    host_ps: int
    protocols: tuple[Protocol, ...]


def implementation_names() -> list[str]:
    """Return the names of the bundled implementations."""
    return bundled_names("hwconfigs", "collectives", (".toml",))


@lru_cache(maxsize=64)
def load_implementation(name: str, chip: str) -> Implementation:
    """Return the implementation *name* with the parameters for *chip* (a name such as `h100-sxm`).

    Raises `InputError` for an unknown name and for every problem of its file.
    """
    names = implementation_names()
    if name not in names:
        expected = f"one of {', '.join(names)}{did_you_mean(name, names)}"
        raise InputError(Problem("", "collective.implementation", name, expected))
    path = bundled_path("hwconfigs") / "collectives" / f"{name}.toml"
    reader = _Reader(path, read_toml(path))
    found = reader.implementation(chip)
    otherwise = reader.tables.get("otherwise")
    if otherwise is None:
        return found
    below = load_implementation(str(otherwise), chip)
    note = "; ".join(part for part in (found.note, below.note) if part)
    return Implementation(
        found.name, found.title, found.generation, note, found.host_ps, found.protocols + below.protocols
    )


class _Reader:
    """Reads one file and collects its problems."""

    def __init__(self, path: Path, tables: dict[str, Any]) -> None:
        self.path = path
        self.tables = tables
        self.problems: list[Problem] = []

    def implementation(self, chip: str) -> Implementation:
        """Return the implementation for *chip*, without the one it falls back on."""
        name = str(self.tables.get("name", self.path.stem))
        generation, note = self._generation(name, chip.lower())
        table = self.tables.get("generation", {}).get(generation, {})
        host = {**self.tables, **table}
        protocols = tuple(
            self._protocol(name, generation, protocol, table)
            for protocol in self.tables.get("protocol", {})
            if protocol in table
        )
        host_ps = self._picoseconds(host, "host")
        if not protocols:
            self.problems.append(
                Problem(str(self.path), f"generation.{generation}", "", "a table of one of its protocols")
            )
        if self.problems:
            raise InputError(*self.problems)
        return Implementation(name, str(self.tables.get("title", name)), generation, note, host_ps, protocols)

    def _generation(self, name: str, chip: str) -> tuple[str, str]:
        for generation, table in self.tables.get("generation", {}).items():
            if any(chip.startswith(str(prefix)) for prefix in table.get("chips", ())):
                return generation, ""
        stand_in = str(self.tables.get("stand_in", ""))
        return stand_in, f"{name} was not measured on {chip or 'this chip'}: the parameters of {stand_in} stand in"

    def _protocol(self, implementation: str, generation: str, name: str, measured: dict[str, Any]) -> Protocol:
        described, table = self.tables["protocol"][name], measured[name]
        place = f"generation.{generation}.{name}"
        share = table.get("share")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
            self.problems.append(Problem(str(self.path), f"{place}.share", str(share or ""), "a number from 0 to 1"))
            share = 1.0
        unknown = set(table) - {"software", "step", "share", "up_to"}
        self.problems += [Problem(str(self.path), f"{place}.{key}", "", "no such key") for key in sorted(unknown)]
        return Protocol(
            implementation=implementation,
            name=name,
            algorithm=dict(described.get("algorithm", {})),
            software_ps=self._picoseconds(table, "software"),
            step_ps=self._picoseconds(table, "step") if "step" in table else 0,
            hop_ps=self._picoseconds(measured, "hop"),
            share=float(share),
            up_to_bytes=self._read(table, "up_to", "bytes", int) if "up_to" in table else None,
            least_ranks=int(described.get("least_ranks", 2)),
        )

    def _picoseconds(self, table: Mapping[str, Any], key: str) -> int:
        return self._read(table, key, "s", lambda seconds: round(seconds * PS_PER_S))

    def _read(self, table: Mapping[str, Any], key: str, dimension: str, convert: Callable[[Fraction], int]) -> int:
        try:
            return convert(parse_quantity(table.get(key), dimension))
        except ValueError as error:
            self.problems.append(Problem(str(self.path), key, str(table.get(key, "")), str(error)))
            return 0
