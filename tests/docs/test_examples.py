"""Examples print what stands beside them, pages quote what examples print, and links and numbers lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import archsim

ROOT = Path(__file__).parents[2]
SOURCE = Path(archsim.__file__).parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def text_of(page: Path) -> str:
    """Return the text of *page*."""
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_the_output_beside_it(example: Path, tmp_path: Path) -> None:
    """Each program of docs/examples runs by itself and prints its .out, byte by byte."""
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SOURCE.parent)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == text_of(example.with_suffix(".out"))


def test_every_example_has_an_output_and_a_page_that_names_it() -> None:
    """No output is left without its program, and no program without a reader."""
    names = {path.stem for path in EXAMPLES}
    assert names
    assert {path.stem for path in (ROOT / "docs" / "examples").glob("*.out")} == names
    pages = "".join(map(text_of, PAGES))
    assert {name for name in names if f"examples/{name}.py" in pages} == names


def test_the_ledger_page_quotes_its_example() -> None:
    """The worked gap on the page is what the example prints."""
    assert f"```text\n{text_of(ROOT / 'docs' / 'examples' / 'gap.out')}```" in text_of(ROOT / "docs" / "ledger.md")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """A relative link names a file that exists."""
    missing = [link for link in LINK.findall(text_of(page)) if not (page.parent / link).exists()]
    assert missing == []


def test_the_index_links_every_page() -> None:
    """A page that the index does not name is not found."""
    linked = set(LINK.findall(text_of(ROOT / "docs" / "index.md")))
    assert {page.name for page in PAGES} - {"index.md"} <= linked


def test_assumptions_are_numbered_without_a_gap() -> None:
    """A1 to An and P1 to Pn, each once."""
    found = re.findall(r"^- \*\*([AP])(\d+)\*\*", text_of(ROOT / "docs" / "model.md"), flags=re.MULTILINE)
    for letter in "AP":
        numbers = sorted(int(number) for kind, number in found if kind == letter)
        assert numbers == list(range(1, len(numbers) + 1)), letter


def test_the_code_names_only_assumptions_of_the_page() -> None:
    """An assumption that the code refers to by number stands in docs/model.md, or on the page of its subject."""
    told = {
        number for page in PAGES for number in re.findall(r"^- \*\*([AP]\d+)\*\*", text_of(page), flags=re.MULTILINE)
    }
    named = {number for path in SOURCE.rglob("*.py") for number in re.findall(r"\b([AP]\d+):", text_of(path))}
    assert named
    assert named <= told
