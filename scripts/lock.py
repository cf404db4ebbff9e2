"""Write what pins the dependencies of archsim, all of it from setup.cfg; `--check` compares instead of writing.

    python scripts/lock.py             # requirements/ci.txt (needs uv and a package index) and requirements/lowest.txt
    python scripts/lock.py --licences  # docs/licences.md, from the metadata of the packages of ci.txt
    python scripts/lock.py --installed # exit 1 unless this environment holds the versions of ci.txt

`ci.txt` holds one version and the SHA-256 of every file of it, for each package, each Python from 3.11 on and each
platform; `pip install --require-hashes` takes nothing else. `lowest.txt` holds the lower bounds as exact versions, for
an environment that shows that they are true.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "ci.txt"
INPUT = ROOT / "requirements" / "ci.in"
LOWEST = ROOT / "requirements" / "lowest.txt"
LICENCES = ROOT / "docs" / "licences.md"
EXTRAS = ("dev",)
HEAD = "# Made by scripts/lock.py from setup.cfg and requirements/ci.in.\n"
PAGE = """# Licences of the dependencies

archsim is Apache-2.0. This is what `.ci/run` installs (requirements/ci.txt) and the licence that each package states in
its metadata; a user's environment holds those of the first table. `python scripts/lock.py --licences` writes this page.
"""


@dataclass(frozen=True)
class Pin:
    """One line of the lock: a package at one version, on some Pythons and platforms."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def canonical(name: str) -> str:
    """Return *name* as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(*extras: str) -> dict[str, str]:
    """Return name -> lower bound of what setup.cfg asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split()
    for extra in extras:
        lines += config["options.extras_require"][extra].split()
    return {canonical(name): bound for name, _, bound in (line.partition(">=") for line in lines)}


def pins(text: str) -> list[Pin]:
    """Return the lines of a lock."""
    found = re.findall(r"^([\w.-]+)==(\S+?)(?: ; (.*?))? \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, flags=re.MULTILINE)
    return [
        Pin(canonical(name), version, marker, tuple(re.findall(r"--hash=(\S+)", hashes)))
        for name, version, marker, hashes in found
    ]


def lowest() -> str:
    """Return `lowest.txt`."""
    return HEAD + "".join(f"{name}=={bound}\n" for name, bound in wanted(*EXTRAS).items())


def compiled() -> str:
    """Return `ci.txt`, resolved against the package index in force."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ci.txt"
        command = ["uv", "pip", "compile", "setup.cfg", "requirements/ci.in", "--output-file", str(out)]
        options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        extras = [part for extra in EXTRAS for part in ("--extra", extra)]
        subprocess.run([*command, *options, *extras, "--quiet"], cwd=ROOT, check=True)
        return HEAD + out.read_text(encoding="utf-8")


def licences(locked: list[Pin]) -> Iterator[tuple[str, str]]:
    """Yield name and licence of each package, once."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted({pin.name for pin in locked}):
            found = next(iter(metadata.distributions(name=name)), None)
            if found is None:  # of another platform
                pin = next(pin for pin in locked if pin.name == name)
                install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
                subprocess.run([*install, f"{name}=={pin.version}"], check=True)
                found = next(iter(metadata.distributions(name=name, path=[folder])))
            yield name, licence_of(found)


def licence_of(distribution: metadata.Distribution) -> str:
    """Return what the metadata says: an SPDX expression, else a short text, else the classifiers."""
    about = distribution.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")
    ]
    text = about.get("License-Expression") or about.get("License") or ""
    if not text or "\n" in text or len(text) > 60:
        text = " and ".join(classifiers)
    return text or "not stated"


def runtime(names: set[str]) -> set[str]:
    """Return those of *names* that an installation without extras has: what archsim needs, and what that needs."""
    reached, left = set(), list(wanted())
    while left:
        name = left.pop()
        if name in reached or name not in names:
            continue
        reached.add(name)
        for found in metadata.distributions(name=name):
            needs = [
                line
                for line in found.requires or []
                if "extra ==" not in line.replace('"', "'").replace("extra==", "extra ==")
            ]
            left += [canonical(re.match(r"[\w.-]+", line).group()) for line in needs]  # type: ignore[union-attr]
    return reached


def page(locked: list[Pin]) -> str:
    """Return `licences.md`."""
    rows = dict(licences(locked))
    needed = runtime(set(rows))
    parts = [PAGE]
    for title, names in (("What archsim imports", needed), ("What tests and builds it", set(rows) - needed)):
        parts += [f"\n## {title}\n", "\n| package | licence |\n|---|---|\n"]
        parts += [f"| {name} | {rows[name]} |\n" for name in sorted(names)]
    return "".join(parts)


def not_as_locked(locked: list[Pin]) -> list[str]:
    """Return the installed packages of the lock whose version is none of its."""
    versions: dict[str, set[str]] = {}
    for pin in locked:
        versions.setdefault(pin.name, set()).add(pin.version)
    installed = {canonical(each.name): each.version for each in metadata.distributions()}
    return sorted(
        f"{name} {installed[name]} is installed, {' or '.join(sorted(known))} is locked"
        for name, known in versions.items()
        if name in installed and installed[name] not in known
    )


@click.command()
@click.option("--licences", "write_licences", is_flag=True, help="Write docs/licences.md.")
@click.option("--installed", is_flag=True, help="Compare this environment with the lock.")
def main(*, write_licences: bool, installed: bool) -> None:
    """Write the lock and the lowest versions, or do what the option says."""
    if installed:
        wrong = not_as_locked(pins(LOCK.read_text(encoding="utf-8")))
        click.echo("\n".join(wrong) or "as locked")
        sys.exit(1 if wrong else 0)
    if write_licences:
        LICENCES.write_text(page(pins(LOCK.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    LOCK.write_text(compiled(), encoding="utf-8")
    LOWEST.write_text(lowest(), encoding="utf-8")


if __name__ == "__main__":
    main()
