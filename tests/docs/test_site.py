"""The pages build as a site without a warning, and every page is in its table of contents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import archsim

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """`sphinx-build -W`: headings, links between pages and their anchors, tables, and what is made from the code."""
    for package in ("sphinx", "furo", "myst_parser", "sphinx_click"):
        pytest.importorskip(package, reason="the extra `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
        env={"PYTHONPATH": str(Path(archsim.__file__).parents[1]), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    command_line = (tmp_path / "cli.html").read_text(encoding="utf-8")
    assert "--timeline-window" in command_line
    assert "evaluate_step" in (tmp_path / "api.html").read_text(encoding="utf-8")


def test_the_table_of_contents_names_pages_once_and_that_exist() -> None:
    """What it does not name stands at its end, under `More` (docs/conf.py)."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
    named = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert set(named) <= {path.stem for path in DOCS.glob("*.md")}
    assert len(named) == len(set(named))


def test_external_links_are_whole_and_encrypted() -> None:
    """Nothing is asked of the network: an address has a host and no space, and is https."""
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\((\w+:[^)]*)\)", page.read_text(encoding="utf-8")):
            assert re.fullmatch(r"https://[\w.-]+\.\w+(/[^\s<>\"]*)?", link), f"{page.name}: {link}"
