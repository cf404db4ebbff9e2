"""Every command and every Python example of README.md and docs/*.md runs.

A line of a ```console block that begins with `$ ` is run, in order, in a folder of its own beside the reference data;
the parts of a line that install something are left out, and a replay is limited to its first requests. What needs a
shell, or starts processes of its own, is run by bash; any other command in this process, which has loaded everything.
A ```python block is run as it stands.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import archsim
from archsim.cli import group

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
SOURCE = str(Path(archsim.__file__).parents[1])
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LIMIT = "--limit 10"
INSTALLING = ("python3 -m venv", ". .venv", "pip ", "git ")
ELSEWHERE = ("pytest", "scripts/")
"""Commands that test the tests."""


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of *language* in *page*."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the commands of a page without the parts that install or test."""
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    parts = [part.strip() for line in lines for part in line.split(" && ")]
    return [part for part in parts if not part.startswith((*INSTALLING, *ELSEWHERE))]


def shortened(command: str) -> str:
    """Return *command* with its replay limited, where it replays a trace without a limit."""
    bounded = re.search(r"--(batch|limit|concurrency|together|decode-only)\b", command)
    return command if bounded or not re.match(r"archsim (compare|run) ", command) else f"{command} {LIMIT}"


def run_in(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* with bash; `archsim` is the package under test."""
    define = f'archsim() {{ "{sys.executable}" -m archsim "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", define + script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def run_here(command: str) -> tuple[int, str]:
    """Run *command* in the current folder and return its exit code and what it printed."""
    if re.search(r"[|<>;$`*&]", command) or not re.match(r"archsim (?!sweep|search)", command):
        done = run_in(Path.cwd(), command)
        return done.returncode, done.stderr
    found = CliRunner().invoke(group, shlex.split(command)[1:])
    return found.exit_code, f"{found.output}\n{found.exception!r}"


def lacks_something(command: str) -> bool:
    """Say whether *command* reads reference data, or searches with a library, that is absent."""
    searches = command.startswith("archsim search") and importlib.util.find_spec("optuna") is None
    return searches or ("../shared" in command and not SHARED.is_dir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command ends with exit code 0, in the order of the page."""
    folder = tmp_path / "main"
    folder.mkdir()
    if SHARED.is_dir():
        (tmp_path / "shared").symlink_to(SHARED)
    monkeypatch.chdir(folder)
    for command in commands(page):
        if not lacks_something(command):
            code, said = run_here(shortened(command))
            assert code == 0, f"{command}\n{said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """Each example runs by itself, in a fresh interpreter."""
    for number, block in enumerate(blocks(page, "python")):
        script = tmp_path / f"example{number}.py"
        script.write_text(block, encoding="utf-8")
        done = run_in(tmp_path, f'python "{script}"')
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_readme_gives_the_two_commands_of_a_fresh_machine() -> None:
    """The first compares four designs, the second runs the tests; each is one line."""
    fresh = "python3 -m venv .venv && . .venv/bin/activate && pip install "
    lines = [line[2:] for block in blocks(ROOT / "README.md", "console") for line in block.splitlines()]
    found = [line for line in lines if line.startswith(fresh)]
    assert found == [
        f"{fresh}. && archsim compare h100-sxm8 h200-sxm8 b200-sxm8 tpu-v6e-8 --model llama-3.1-70b",
        f"{fresh}'.[dev]' && pytest -n 2 --dist loadfile",
    ]


def test_shortening_leaves_single_steps_and_limited_replays_alone() -> None:
    """Only a replay without a limit is shortened."""
    assert shortened("archsim compare a b --model m") == "archsim compare a b --model m --limit 10"
    assert shortened("archsim run a --model m --batch 1 --context 1").endswith("--context 1")
    assert shortened("archsim run a --model m --trace t --limit 7").endswith("--limit 7")
    assert shortened("archsim show a") == "archsim show a"
