"""The report of a study's store as a file."""

from __future__ import annotations

from pathlib import Path

from archsim.report.html_file import page_place, write_page
from archsim.report.html_frame import MOST_BYTES
from archsim.report.study_page import study_html
from archsim.study.page import page_of
from archsim.study.store import Store

__all__ = ["write_study_report"]

_ROWS = (2_000, 500, 100)
"""Points of the table, fewer where their texts are so long that the page would outgrow its limit."""


def write_study_report(store: Path, out: Path | None) -> tuple[Path, int]:
    """Write the report of *store* to *out*, or to a free name here; return the file and its bytes.

    Raises `InputError` where *store* is none or *out* is taken.
    """
    path = page_place(out)
    with Store(store) as opened:
        for most in _ROWS:
            page = study_html(page_of(opened, most_rows=most))
            if len(page.encode()) < MOST_BYTES:
                break
    return path, write_page(path, page)
