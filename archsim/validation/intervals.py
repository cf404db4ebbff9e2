"""Do error bars hold? Silicon by silicon, with widths that are derived without it: the share of its rows inside.

A row of the suite is one silicon left out, and one all of them together: expected 0.8, the level of an interval, and
what was found. Without a file these are the residuals that came with archsim, of the tables in `CHECKED`; with one, its
own rows of time per output token (schemas of the suites decode and serving), silicon that the widths know left out.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem
from archsim.uncertainty.residuals import Residual, shipped_residuals
from archsim.uncertainty.shares import MECHANISMS, Shares
from archsim.uncertainty.widths import LEVEL, Widths, derived, shipped_widths
from archsim.validation.network import Row, row
from archsim.validation.origin import Origin
from archsim.validation.schemas import suite_of

__all__ = ["CHECKED", "residuals_of", "suite", "with_intervals"]

CHECKED = (
    "serving_tpot_agg_nvidia",
    "gpt_fast_decode",
    "llamacpp_apple_7b",
    "splitwise_a100_h100",
    "aws_neuron_decode",
)
"""Tables whose rows are left out silicon by silicon: serving, and decode at batch 1."""
_MEASURES = ("kernel", "collective", "tpot", "ttft")
_END_TO_END = "e2e_latency"
_TWICE = frozenset({"achieved_weight_bandwidth_per_chip", "tpot_p99"})
"""Metrics that say again what another row of their table says."""
_ELEMENTWISE = frozenset({"softmax", "layernorm", "gelu"})
"""Operators of PyTorch, timed with a host for which there is no runtime."""


def suite(reference: Path | None) -> list[Row]:
    """Return the coverage rows. Raises `InputError` for a file of another schema."""
    known = shipped_residuals()
    if reference is None:
        found = [residual for residual in known if residual.table in CHECKED]
    else:
        found = residuals_of(_suite_of(reference).suite(reference), reference.stem)
    return [*_rows(found, known, "tpot"), *_rows(found, known, "ttft")]


def _suite_of(reference: Path) -> Any:
    return importlib.import_module(f"archsim.validation.{suite_of(reference, ('serving', 'decode'))}")


def _rows(found: Sequence[Residual], known: Sequence[Residual], measure: str) -> Iterator[Row]:
    rows = [residual for residual in found if residual.measure == measure]
    of, of_all = _GROUPS[measure]
    inside = total = 0
    for silicon in sorted({residual.silicon for residual in rows}):
        widths = derived(known, without=silicon)
        mine = [residual for residual in rows if residual.silicon == silicon]
        held = sum(abs(residual.residual) <= _width_of(widths, residual) for residual in mine)
        inside, total = inside + held, total + len(mine)
        yield row(f"{silicon}, {len(mine)} rows inside", of, LEVEL, held / len(mine))
    if total:
        yield row(f"all, {total} rows inside", of_all, LEVEL, inside / total)


_GROUPS = {"tpot": ("left out", "overall"), "ttft": ("left out, first tokens", "overall, first tokens")}
"""Measure -> groups of the rows of a silicon, and of all together."""


def _width_of(widths: Widths, residual: Residual) -> float:
    return widths.first.half_width if residual.measure == "ttft" else widths.half_width(_shares(residual))


def _shares(residual: Residual) -> Shares:
    return dict(zip(MECHANISMS, residual.shares, strict=True))


def residuals_of(rows: Iterable[Mapping[str, Any]], table: str) -> list[Residual]:
    """Return the residuals of the compared *rows* of a suite that have an origin, fit for error bars.

    Raises `InputError` for a measured value that is not above zero.
    """
    found = []
    for compared in rows:
        origin, group = compared.get("origin"), str(compared["group"])
        if not origin or not origin["shares"] or group in _TWICE | _ELEMENTWISE:
            continue
        if origin["measure"] not in _MEASURES and group != _END_TO_END:
            continue
        if compared["expected"] <= 0:
            raise InputError(Problem(table, group, str(compared["expected"]), "a measured value above zero"))
        residual = math.log(compared["expected"] / compared["predicted"])
        found.append(
            Residual(
                table=table,
                measure=origin["measure"],
                chip=origin["chip"],
                memory=origin["memory"],
                precision=origin["precision"],
                runtime=origin["runtime"],
                residual=-residual if group.endswith("_per_s") else residual,
                shares=tuple(origin["shares"].get(mechanism, 0.0) for mechanism in MECHANISMS),
            )
        )
    return found


def with_intervals(rows: Iterable[Row]) -> list[Row]:
    """Return *rows* with `interval`, where the measured value lies with 80 %: of output tokens and of first ones."""
    widths = shipped_widths()
    found = []
    for bare in rows:
        half = _half_width(widths, bare.get("origin"))
        bar = {} if half is None else {"interval": [bare["predicted"] * math.exp(side * half) for side in (-1, 1)]}
        found.append(bare | bar)
    return found


def _half_width(widths: Widths, origin: Origin | None) -> float | None:
    if not origin or not origin["shares"]:
        return None
    if origin["measure"] == "ttft":
        return widths.first.half_width
    return widths.half_width(origin["shares"]) if origin["measure"] == "tpot" else None
