"""The page on what is said of inference quotes what the simulator says today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "said.md").read_text(encoding="utf-8")


def test_every_saying_has_a_command_a_figure_and_its_limits() -> None:
    """A section without one of them is an opinion."""
    for section in PAGE.split("\n## ")[1:]:
        title = section.splitlines()[0]
        assert "$ archsim " in section, title
        assert re.search(r"!\[[^\]]+\]\(images/said-[\w-]+\.svg\)", section), title
        assert re.search(r"\*\*Does not\*\*|flat", section), title


@pytest.mark.slow
def test_tables_and_figures_are_those_of_today(tmp_path: Path) -> None:
    """`scripts/said.py` prints what the page quotes and writes the figures that lie beside it, byte by byte."""
    images = ROOT / "docs" / "images"
    before = {path.name: path.read_bytes() for path in images.glob("said-*.svg")}
    done = subprocess.run(
        [sys.executable, "scripts/said.py"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=1200,
    )  # fmt: skip
    tables = re.findall(r"```text\n(.*?)\n```", PAGE, flags=re.DOTALL)
    assert sorted(tables) == sorted(part.split("\n", 1)[1].rstrip("\n") for part in done.stdout.split("# ")[1:])
    assert {path.name: path.read_bytes() for path in images.glob("said-*.svg")} == before
