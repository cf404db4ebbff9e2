"""Claims beside predictions: ratios, and settings that are moved until a claim is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.report.trend import growth_per_year, points, trend_figure
from archsim.validation.claim_table import CLAIMS, Claim
from archsim.validation.claims import claims_page, moves_of, predicted, suite
from archsim.validation.summary import ON_REQUEST, SUITES

TOY = Claim("m2-ultra", "llama-2-7b", 60.0, "nobody", "w16a16kv16", 64, movable=(
    "chip.memory.lpddr.pin_rate", "chip.energy.idle"))  # fmt: skip


def test_a_moved_setting_meets_the_claim_and_one_that_does_not_matter_says_so() -> None:
    """60 tokens/s of an M2 Ultra need a faster memory, by more than the rate: the rest of a step stays."""
    now = predicted(TOY)
    rate, idle = moves_of(TOY, now / TOY.tokens_per_s)
    assert rate.after
    assert rate.factor > 60 / now
    assert rate.ratio == pytest.approx(1, abs=0.03)
    assert predicted(TOY, [f"chip.memory.lpddr.pin_rate={rate.after}"]) == pytest.approx(60, rel=0.03)
    assert idle.after == ""
    assert idle.ratio == pytest.approx(now / 60, rel=1e-9)


def test_claims_run_by_name_alone_and_take_no_file(tmp_path: Path) -> None:
    """They are nobody's reference: `archsim validate` without names leaves them out."""
    assert "claims" in ON_REQUEST
    assert "claims" not in SUITES
    with pytest.raises(InputError, match="no file"):
        suite(tmp_path / "rows.csv")


def test_the_page_gives_signed_ratios_and_names_who_says_so() -> None:
    """A row within 30 % moves nothing; a row that cannot run stands with its reason."""
    rows = [
        {"predicted": 1.1 * claim.tokens_per_s, "skipped": None} if index else {"predicted": None, "skipped": "no room"}
        for index, claim in enumerate(CLAIMS)
    ]
    page = claims_page(rows)
    assert page.count("1.10 (+10 %)") == len(CLAIMS) - 1
    assert "no room" in page
    assert "within 30 %" in page
    assert all(claim.source in page for claim in CLAIMS)


def test_growth_is_the_slope_of_logarithms() -> None:
    """Doubling every year is a factor of 2; a constant one of 1. Arithmetic has outgrown bandwidth."""
    assert growth_per_year([(2020, 1.0), (2021, 2.0), (2023, 8.0)]) == pytest.approx(2)
    assert growth_per_year([(2020, 3.0), (2022, 3.0)]) == pytest.approx(1)
    found = points()
    assert len(found) > 10
    flops = growth_per_year((point.year, point.flop_per_s) for point in found)
    assert flops > growth_per_year((point.year, point.bytes_per_s) for point in found) > 1
    assert len(trend_figure(found).axes) == 2
