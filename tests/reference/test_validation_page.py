"""The page of comparisons says what the results say, and lists every fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.files import bundled_path
from archsim.report.parity_figure import parity_figure, write_parity_figure
from archsim.report.style import svg_bytes
from archsim.validation.network import row
from archsim.validation.page import fitted_parameters, page
from archsim.validation.page_parts import MEANINGS, meaning_of
from archsim.validation.summary import run_suite, summary

ROWS = [row("a time", "g", 2.0, 3.0), row("b time", "g", 4.0, 3.0), row("c power", "h", 1.0, None, "no time")]
RESULT = {"suite": "decode", "reference": "folder/rows.csv", **summary(ROWS), "rows": ROWS}


def test_every_error_of_a_table_stands_in_the_page() -> None:
    """Mean of |+50 %| and |-25 %| is 37.5 %, their mean 12.5 %; the worst comes first; a skipped row says why."""
    text = page([RESULT], "notes of mine")
    assert "| decode | rows.csv | 2 | 1 | 37.5 % | 37.5 % | 48.8 % | 12.5 % |" in text
    assert text.index("a time: 2 measured, 3 predicted, 50.0 %") < text.index(
        "b time: 4 measured, 3 predicted, -25.0 %"
    )
    assert "* 1: no time" in text
    assert "notes of mine" in text


def test_rows_of_memories_beyond_their_bar_stand_in_the_page_with_their_cause() -> None:
    """Random reads 5 % off are beyond 3 %; a mix 5 % off is not beyond 10 %; digits of the reference are a cause."""
    rows = [
        row("A rand 0 util_steady", "rand", 0.2, 0.21),
        row("A seqrw 3 util_steady", "seqrw", 0.2, 0.21),
        row("B conflict 0 util_steady", "conflict", 0.0008, 0.00084),
    ]
    text = page([{"suite": "dram", "reference": "runs.csv", **summary(rows), "rows": rows}], "")
    assert "* A rand 0 util_steady: 5.0 %: not explained" in text
    assert "* B conflict 0 util_steady: 5.0 %: the reference's last digit" in text
    assert "* A seqrw 3 util_steady: 5.0 %: " not in text


def test_every_number_fitted_on_data_is_listed() -> None:
    """A line of a hwconfig that says `fitted` is one row of the list, and of the page."""
    listed = {(Path(found.file).name, found.path) for found in fitted_parameters()}
    assert ("a100-sxm.toml", "bytes_in_flight") in listed
    assert ("eager-2023.toml", "host_launch") in listed
    said = [path.name for path in bundled_path("hwconfigs").glob("*/*.toml") if "fitted" in path.read_text("utf-8")]
    assert set(said) >= {name for name, _ in listed}
    text = page([], "")
    assert all(f"`{found.path}` | {found.value}" in text for found in fitted_parameters())


def test_the_page_of_the_docs_lists_the_fits_of_today() -> None:
    """A fit that changes asks for `scripts/validation_page.py`."""
    text = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
    missing = [found for found in fitted_parameters() if f"`{found.path}` | {found.value} | {found.text} |" not in text]
    assert missing == []


def test_every_fitted_key_has_a_meaning() -> None:
    """No parameter is listed that the page does not explain."""
    unexplained = {found.path for found in fitted_parameters() if meaning_of(found.path) not in MEANINGS}
    assert unexplained == set()


def test_the_page_says_whether_error_bars_hold() -> None:
    """A line a silicon left out, one over all, and each mechanism's width; the docs have those of today."""
    text = page([], "", run_suite("intervals", reference=None, params=None))
    section = text[text.index("## Error bars") : text.index("## Every fitted")]
    assert "| attention | 0." in section
    assert section.rstrip() in (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")


def test_parity_is_drawn_to_the_same_bytes() -> None:
    """The picture depends on the points alone."""
    panels = [("rows", {"g": [(2.0, 3.0), (4.0, 3.0)]}), ("none", {})]
    assert svg_bytes(parity_figure(panels)) == svg_bytes(parity_figure(panels))


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """Only what can be drawn is written."""
    with pytest.raises(InputError):
        write_parity_figure([], tmp_path / "parity.pdf")
