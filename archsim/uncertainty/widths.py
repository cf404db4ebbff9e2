"""Half-widths of error bars, from residuals: one for each mechanism, and one between silicons.

    e_i       = residual of row i, of cell c (one runtime on one silicon), of which mechanism m takes at least half
    spread(m) = 80 % quantile of |e_i - median of its cell| over the rows of lone kernels and collectives; of whole
                iterations where a mechanism has no kernel (the host)
    within(m) = spread(m) / sqrt(n), n different kernels of the mechanism in an iteration
    between   = t(S) * sqrt(mean over silicons of the mean of b_c^2), b_c = median residual of the cells of iterations
    half-width of ln(measured / predicted) = sqrt(sum over m of (share(m) * within(m))^2 + between^2)

    of a time to the first token: sqrt(spread^2 + between^2), both over rows of first tokens and of prompts alone

t(S) is the quantile of Student's t at 0.9 with as many degrees as there are silicons: the half-width of an 80 %
interval of the next one, whose spread is known from so few (1.44 for six, 1.28 for very many). A42: the error of a
kernel is that of its shape, the same in every layer, so it does not average out over layers; a decoder layer has four
different products, whose errors are independent, and one attention, one size of collective, one host. Errors of
different mechanisms are independent. A45: a silicon with its runtime has an error of its own, common to all
mechanisms, drawn from one spread; it is taken about zero, since no bias of silicon without rows is known. Rows of a
silicon can be left out, which is how the widths are checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from archsim.files import read_toml, write_atomically
from archsim.uncertainty.residuals import Residual, memory_kind
from archsim.uncertainty.shares import MECHANISMS, Mechanism, Shares

__all__ = [
    "LEVEL",
    "SHIPPED",
    "Validated",
    "Width",
    "Widths",
    "derived",
    "prior",
    "shipped_widths",
    "student",
    "write_widths",
]

LEVEL = 0.8
"""Probability that an interval holds the measured value."""
Z = 1.2815515655446004
"""Quantile of the normal distribution at (1 + LEVEL) / 2."""
_FOLDER = Path(__file__).parent
SHIPPED = _FOLDER / "widths.toml"
_DOMINANT = 0.5
_WHOLE = ("tpot", "e2e")
"""Measures of whole iterations."""
_FIRST = "ttft"
"""Measure of times to the first token and of prompts."""
_FEWEST = 10
"""Rows below which a mechanism has no width of its own."""


_SHAPES: dict[Mechanism, int] = {"streaming": 4, "launch": 4, "arithmetic": 4}
"""Different kernels of a decoder layer, where they are not one: QKV, output, gate and up, down."""


@dataclass(frozen=True, slots=True)
class Width:
    """The half-width of one mechanism and what it was read off."""

    half_width: float
    """Of an iteration that is this mechanism alone."""
    rows: int
    silicon: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Validated:
    """What the rows cover."""

    memories: tuple[str, ...]
    types: tuple[str, ...]
    """Element types of weights, activations and KV."""
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Widths:
    """Everything an error bar needs."""

    within: Mapping[Mechanism, Width]
    between: Width
    first: Width
    """Of a time to the first token, which queues make far less certain than what it is made of."""
    validated: Validated

    def parts(self, shares: Shares) -> dict[str, float]:
        """Return the parts of the half-width of ln(measured / predicted) of a time made of *shares*."""
        missing = prior()["mechanism"]
        widths = {mechanism: width.half_width for mechanism, width in self.within.items()}
        found: dict[str, float] = {
            mechanism: share * widths.get(mechanism, missing) for mechanism, share in shares.items()
        }
        return found | {"between": self.between.half_width}

    def half_width(self, shares: Shares) -> float:
        """Return the half-width itself: its parts in quadrature."""
        return math.sqrt(math.fsum(part**2 for part in self.parts(shares).values()))


def derived(residuals: Iterable[Residual], *, without: str = "") -> Widths:
    """Return the widths of *residuals*, rows of the silicon *without* left out."""
    others = [residual for residual in residuals if residual.silicon != without]
    kept = [residual for residual in others if residual.measure != _FIRST]
    whole = [residual for residual in kept if residual.measure in _WHOLE]
    first = _first([residual for residual in others if residual.measure == _FIRST])
    return Widths(_within(kept), _between(whole), first, _validated(kept))


def _first(rows: Sequence[Residual]) -> Width:
    """Return the width of times to the first token: that within a silicon and runtime, and that between them."""
    sizes = [abs(row.residual - centre) for members, centre in _cells(rows) for row in members]
    within = _quantile(sizes, LEVEL) if sizes else prior()["mechanism"]
    return _width(math.hypot(within, _between(rows).half_width), rows)


def _within(residuals: Sequence[Residual]) -> dict[Mechanism, Width]:
    found = {}
    for place, mechanism in enumerate(MECHANISMS):
        ruled = [residual for residual in residuals if residual.shares[place] >= _DOMINANT]
        lone = [residual for residual in ruled if residual.measure not in _WHOLE]
        rows, shapes = (lone, _SHAPES.get(mechanism, 1)) if len(lone) >= _FEWEST else (ruled, 1)
        if len(rows) < _FEWEST:
            continue
        sizes = [abs(row.residual - centre) for members, centre in _cells(rows) for row in members]
        found[mechanism] = _width(_quantile(sizes, LEVEL) / math.sqrt(shapes), rows)
    return found


def _between(rows: Sequence[Residual]) -> Width:
    by_silicon: dict[str, list[float]] = {}
    for members, centre in _cells(rows):
        by_silicon.setdefault(members[0].silicon, []).append(centre**2)
    squares = [math.fsum(values) / len(values) for values in by_silicon.values()]
    return _width(
        student(len(squares)) * math.sqrt(math.fsum(squares) / len(squares)) if squares else prior()["mechanism"], rows
    )


def student(degrees: int) -> float:
    """Return the quantile of Student's t at (1 + LEVEL) / 2, by the expansion of Fisher and Cornish (1960)."""
    z = Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


def _cells(rows: Iterable[Residual]) -> list[tuple[list[Residual], float]]:
    """Return the rows of every silicon by runtime and measure, with the median residual of each."""
    cells: dict[tuple[str, ...], list[Residual]] = {}
    for row in rows:
        cells.setdefault((row.silicon, row.measure, row.runtime), []).append(row)
    return [(members, median(row.residual for row in members)) for _, members in sorted(cells.items())]


def _width(half_width: float, rows: Iterable[Residual]) -> Width:
    held = list(rows)
    silicon, tables = ({getattr(row, name) for row in held} for name in ("silicon", "table"))
    return Width(round(half_width, 4), len(held), tuple(sorted(silicon)), tuple(sorted(tables)))


def _validated(rows: Sequence[Residual]) -> Validated:
    whole = [row for row in rows if row.measure in _WHOLE]
    return Validated(
        memories=tuple(sorted({memory_kind(row.memory) for row in rows if row.memory})),
        types=tuple(sorted({kind for row in rows for kind in row.types})),
        runtimes=tuple(sorted({row.runtime for row in whole})),
    )


def _quantile(values: Iterable[float], share: float) -> float:
    """Return the quantile by linear interpolation between order statistics."""
    ascending = sorted(values)
    position = (len(ascending) - 1) * share
    low = int(position)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (position - low)


def write_widths(path: Path, widths: Widths) -> None:
    """Write *widths* as TOML, every number with the rows that it was read off."""
    lines = [_HEAD]
    for mechanism, width in widths.within.items():
        lines += [f"[within.{mechanism}]", *_lines(width)]
    lines += ["[between]", *_lines(widths.between), "[first]", *_lines(widths.first), "[validated]"]
    for name in ("memories", "types", "runtimes"):
        lines.append(f"{name} = {_words(getattr(widths.validated, name))}")
    write_atomically(path, ("\n".join(lines) + "\n").encode())


_HEAD = """# Half-widths of 80 % intervals of ln(measured / predicted), and what they were read off.
# Written by scripts/interval_widths.py; formulas in archsim/uncertainty/widths.py."""


def _lines(width: Width) -> list[str]:
    source = f"  # source: {width.rows} residuals of {', '.join(width.tables)}"
    return [
        f"half_width = {width.half_width}{source}",
        f"rows = {width.rows}",
        f"silicon = {_words(width.silicon)}",
        f"tables = {_words(width.tables)}",
    ]


def _words(names: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _width_of(table: Mapping[str, Any]) -> Width:
    return Width(float(table["half_width"]), int(table["rows"]), tuple(table["silicon"]), tuple(table["tables"]))


@cache
def shipped_widths() -> Widths:
    """Return the widths that came with archsim."""
    content = read_toml(SHIPPED)
    return Widths(
        within={mechanism: _width_of(content["within"][mechanism]) for mechanism in content["within"]},
        between=_width_of(content["between"]),
        first=_width_of(content["first"]),
        validated=Validated(**{name: tuple(names) for name, names in content["validated"].items()}),
    )


@cache
def prior() -> dict[str, float]:
    """Return the stated half-widths of what no residual speaks of, by reason."""
    return {reason: float(width) for reason, width in read_toml(_FOLDER / "prior.toml").items()}
