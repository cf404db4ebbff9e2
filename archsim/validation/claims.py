"""Claims beside predictions: the signed ratio, and where it is far off, what would have to move to meet the claim.

Nothing is fitted. Where prediction over claim leaves 0.7 to 1.3, each setting that the claim's row names is moved
alone, by a factor found by interpolation, until the prediction meets the claim. A factor is an answer of its own: 1.2
may be a rounding of the datasheet, 20 says that the claim and the machine as published do not belong together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from archsim.errors import ArchsimError, InputError, Problem
from archsim.hardware.library import load_system, setting_paths
from archsim.simulate import evaluate_step
from archsim.units import UNITS, exact_quantity, format_quantity, parse_quantity
from archsim.validation.claim_table import CLAIMS, Claim
from archsim.validation.network import Row, row
from archsim.workload.model import load_model

__all__ = ["FAR_OFF", "Move", "claims_page", "moves_of", "predicted", "suite"]

FAR_OFF = 0.3
"""Relative error beyond which the page asks what would have to move."""
_MOST = 64
"""The largest factor, up or down, that a setting is moved by."""
_STEPS = 6
"""Trials of a factor."""
_MET = 0.02
"""Logarithm of prediction over claim below which the claim is met."""


class Move(NamedTuple):
    """One setting, moved alone until the prediction meets the claim."""

    path: str
    before: str
    after: str
    """Empty where no factor up to 64 meets the claim."""
    factor: float
    """The one that meets it, or that comes nearest."""
    ratio: float
    """Prediction over claim at that factor."""


def predicted(claim: Claim, overrides: Sequence[str] = ()) -> float:
    """Return tokens/s of *claim*'s machine with *overrides* on top. Raises `ArchsimError` where it cannot run."""
    spec = load_system(claim.system, [*claim.overrides, *overrides])
    result = evaluate_step(
        spec,
        load_model(claim.model),
        batch=claim.batch,
        context=claim.context,
        precision=claim.precision,
        parallelism=claim.parallel,
    )
    rate = result.throughput.output_tokens_per_s
    if rate is None:
        raise InputError(Problem(claim.system, "batch", str(claim.batch), "at least one token"))
    return rate if claim.whole else rate / claim.batch


def suite(reference: Path | None) -> list[Row]:
    """Return one row a claim. Raises `InputError` for a file: claims stand in the project."""
    if reference is not None:
        raise InputError(
            Problem(str(reference), "--reference", "claims", "no file: claims and their sources are built in")
        )
    return [_row(claim) for claim in CLAIMS]


def _row(claim: Claim) -> Row:
    try:
        return row(claim.name, claim.system, claim.tokens_per_s, predicted(claim), None)
    except ArchsimError as error:
        return row(claim.name, claim.system, claim.tokens_per_s, None, str(error))


def moves_of(claim: Claim, ratio: float) -> list[Move]:
    """Return what each movable setting of *claim* would have to be, where prediction over claim is *ratio* now."""
    spec = load_system(claim.system, claim.overrides)
    settings = setting_paths(spec)
    return [_moved(claim, path, settings[path], ratio) for path in claim.movable if settings.get(path)]


def _moved(claim: Claim, path: str, before: str, ratio: float) -> Move:
    def at(factor: float) -> float:
        try:
            return predicted(claim, [f"{path}={_scaled(before, factor)}"]) / claim.tokens_per_s
        except ArchsimError:
            return math.nan

    delays = _dimension(before) == "s"
    # Longer delays and lower rates slow a machine that is predicted too fast; the other end is tried if that fails.
    ends: dict[float, float] = {}
    for end in (_MOST, 1 / _MOST) if delays == (ratio > 1) else (1 / _MOST, _MOST):
        ends[end] = at(end)
        if (ends[end] - 1) * (ratio - 1) < 0:
            factor, found = _solved(at, far=end, ratios=(ratio, ends[end]), delays=delays)
            return Move(path, before, _scaled(before, factor, digits=3), factor, found)
    nearest = min((math.inf if math.isnan(found) else abs(math.log(found)), end) for end, found in ends.items())[1]
    return Move(path, before, "", nearest, ends[nearest])


def _solved(
    at: Callable[[float], float], *, far: float, ratios: tuple[float, float], delays: bool
) -> tuple[float, float]:
    """Return the factor between 1 and *far* at which the ratio is 1, and the ratio there.

    Time is a sum of parts, some of which grow with a delay, or with one over a rate: straight lines through times meet
    the claim at once where no other part takes over. *ratios* are those at 1 and at *far*.
    """

    def turned(value: float) -> float:
        return value if delays else 1 / value

    low, high = (1.0, 1 / ratios[0] - 1), (turned(far), 1 / ratios[1] - 1)
    for _ in range(_STEPS):
        middle = low[0] + (high[0] - low[0]) * low[1] / (low[1] - high[1])
        ratio = at(turned(middle))
        found = 1 / ratio - 1
        if abs(math.log(ratio)) < _MET:
            break
        if found * low[1] > 0:
            # The end that stays counts half as much: both ends then close in (the Illinois rule).
            low, high = (middle, found), (high[0], high[1] / 2)
        else:
            low, high = (low[0], low[1] / 2), (middle, found)
    return turned(middle), ratio


def _scaled(text: str, factor: float, *, digits: int = 6) -> str:
    """Return the quantity *text* times *factor*, in whole SI units, or picoseconds."""
    dimension = _dimension(text)
    scale = 10**12 if dimension == "s" else 8 if dimension == "bits/s" else 1
    value = parse_quantity(text, dimension) * Fraction(f"{factor:.{digits}g}")
    whole = Fraction(round(value * scale), scale) if scale != 8 else Fraction(round(value / 8) * 8)
    return exact_quantity(whole, dimension)


def _dimension(text: str) -> str:
    """Return what the quantity *text* is: a key of `UNITS`."""
    return next(name for name, units in UNITS.items() if text.rsplit(maxsplit=1)[-1] in units)


def _readable(text: str) -> str:
    dimension = _dimension(text)
    return format_quantity(parse_quantity(text, dimension), dimension, digits=3)


_HEAD = """# Claims

What makers, operators and testers state, beside what archsim predicts for the machine as it is published. Claims are
not calibration: no setting was chosen to meet one. Written by `archsim validate claims --out DIR` (DIR/claims.md), not
by hand; `archsim validate claims` prints the ratios alone.

Where prediction over claim leaves 0.7 to 1.3, each setting that nobody publishes (or that the claim's machine may have
had otherwise) is moved alone until the prediction meets the claim.

"""


def claims_page(rows: Sequence[Row]) -> str:
    """Return the page of *rows*, the rows of `suite`: ratios with their sources, then what would have to move."""
    lines = ["| machine and model | claim | predicted | predicted / claim | who says so |", "|---|---|---|---|---|"]
    far: list[tuple[Claim, float]] = []
    for claim, found in zip(CLAIMS, rows, strict=True):
        cells = f"| {claim.name} | {claim.tokens_per_s:,.0f} |"
        if found["predicted"] is None:
            lines.append(f"{cells} - | - | {claim.source} |")
            continue
        ratio = found["predicted"] / claim.tokens_per_s
        lines.append(f"{cells} {found['predicted']:,.0f} | {ratio:.2f} ({100 * (ratio - 1):+.0f} %) | {claim.source} |")
        if abs(ratio - 1) > FAR_OFF:
            far.append((claim, ratio))
    skipped = [f"* {c.name}: {r['skipped']}" for c, r in zip(CLAIMS, rows, strict=True) if r["skipped"]]
    if skipped:
        lines += ["", "Not compared:", "", *skipped]
    return _HEAD + "\n".join([*lines, "", "## What would have to move", "", *_moves(far)]) + "\n"


def _moves(far: Sequence[tuple[Claim, float]]) -> list[str]:
    if not far:
        return ["Nothing: every prediction is within 30 % of its claim."]
    lines: list[str] = []
    for claim, ratio in far:
        lines += [f"**{claim.name}**: predicted / claim {ratio:.2f}.", ""]
        for move in moves_of(claim, ratio):
            if move.after:
                after = _readable(move.after)
                lines.append(f"* `{move.path}`: {move.before} -> {after} (x {move.factor:.3g}) meets the claim.")
            else:
                lines.append(
                    f"* `{move.path}`: no factor up to {_MOST} either way meets it; "
                    f"x {move.factor:.3g} gives {move.ratio:.2f}."
                )
        lines.append("")
    return lines[:-1]
