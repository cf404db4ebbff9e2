"""How many guesses in a row are right: shares by position, from tables of published measurements or as stated.

The share at position i is that of drafts whose first i guesses were all accepted; a step yields one token more than
guesses were accepted, 1 + the sum of the shares on average. Where a source states no more than that mean, its shares
are taken as powers of one rate: a table that has positions never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import parse_quantity

__all__ = ["ACCEPTANCE_BITS", "acceptance_of", "acceptance_tables", "profile_of"]

ACCEPTANCE_BITS = 20
"""Binary places of a rate that is solved for."""


def acceptance_tables() -> dict[str, dict[str, Any]]:
    """Return the bundled tables by name."""
    return files.read_toml(files.bundled_path("workloads") / "acceptance" / "published.toml")


def acceptance_of(name: str, depth: int, *, key: str) -> tuple[Fraction, ...]:
    """Return the shares of the table *name* for *depth* guesses in a row.

    Raises `InputError`, which names *key*, for a table that is not there or has fewer positions.
    """
    tables = acceptance_tables()
    if name not in tables:
        expected = f"one of {', '.join(tables)}{did_you_mean(name, list(tables))}"
        raise InputError(Problem("", key, name, expected))
    table = tables[name]
    if "positions" in table:
        return _checked(table["positions"], depth, key=key, what=name)
    return _with_mean(Fraction(table["mean_length"]), depth, key=key, what=name)


def profile_of(shares: Sequence[str], depth: int, *, key: str) -> tuple[Fraction, ...]:
    """Return *shares*, percentages by position, for *depth* guesses in a row; raises as `acceptance_of` does."""
    return _checked(shares, depth, key=key, what=", ".join(shares))


def _checked(texts: Sequence[str], depth: int, *, key: str, what: str) -> tuple[Fraction, ...]:
    try:
        shares = [parse_quantity(text, "share") for text in texts]
    except ValueError as error:
        raise InputError(Problem("", key, what, str(error))) from None
    falling = all(after <= before for before, after in zip([Fraction(1), *shares], shares, strict=False))
    if not falling or min(shares, default=Fraction(0)) < 0:
        raise InputError(Problem("", key, what, "shares from 100 % down to 0 %, none above the one before it"))
    if len(shares) < depth:
        expected = f"shares for all {depth} positions of a draft; there are {len(shares)}"
        raise InputError(Problem("", key, what, expected))
    return tuple(shares[:depth])


def _with_mean(length: Fraction, depth: int, *, key: str, what: str) -> tuple[Fraction, ...]:
    """Return powers of the rate that yields *length* tokens a step."""
    if not 1 < length < depth + 1:
        expected = f"more than {float(length) - 1:g} guesses in a row: its steps yield {float(length):g} tokens"
        raise InputError(Problem("", key, what, expected))
    low, high = 0, 1 << ACCEPTANCE_BITS
    while low < high:
        middle = (low + high) // 2
        rate = Fraction(middle, 1 << ACCEPTANCE_BITS)
        if 1 + sum(rate**power for power in range(1, depth + 1)) < length:
            low = middle + 1
        else:
            high = middle
    rate = Fraction(low, 1 << ACCEPTANCE_BITS)
    return tuple(rate**power for power in range(1, depth + 1))
