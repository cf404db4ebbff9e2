"""Reports as files: read the runs, make the page, write it once and over nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.report.html_input import read_run
from archsim.report.html_page import report_html
from archsim.report.writers import free_place

__all__ = ["page_place", "write_page", "write_report"]

_STEM = "archsim-report"


def write_report(runs: Sequence[Path], out: Path | None) -> tuple[Path, int]:
    """Write the report of *runs* (one or two) to *out*, or to a free name here; return the file and its bytes.

    Raises `InputError` where a run is none, *out* exists or its folder does not.
    """
    path = page_place(out)
    return path, write_page(path, report_html([read_run(run) for run in runs]))


def page_place(out: Path | None) -> Path:
    """Return where a page goes: *out*, or a free name here. Raises `InputError` where *out* is taken."""
    return free_place(_STEM, ".html") if out is None else _checked(out)


def write_page(path: Path, page: str) -> int:
    """Write *page* to *path* and return its bytes."""
    content = page.encode()
    write_atomically(path, content)
    return len(content)


def _checked(out: Path) -> Path:
    try:
        taken, placed = out.exists() or out.is_symlink(), out.parent.is_dir()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise InputError(Problem(str(out)[:80], "--out", "", f"a file that can be written ({error})")) from None
    if taken or not placed:
        expected = "a file that does not exist yet" if taken else "a file in a folder that exists"
        raise InputError(Problem(str(out), "--out", "", expected))
    return out
