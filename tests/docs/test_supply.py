"""The lock is that of setup.cfg, its licences are known, and nothing of archsim asks the network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lock import EXTRAS, INPUT, LICENCES, LOCK, LOWEST, canonical, licence_of, lowest, pins, wanted  # noqa: E402

PINS = pins(LOCK.read_text(encoding="utf-8"))
PERMISSIVE = ("MIT", "BSD", "Apache", "PSF", "Python Software Foundation", "MPL", "Mozilla", "Zlib", "CC0", "ISC")
GUARD = """
import sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg", "urllib.Request"):
        raise RuntimeError(f"network: {event} {arguments}")
    if event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple):
        raise RuntimeError(f"network: {event} {arguments[1]}")

sys.addaudithook(refuse)

import builtins

plain = builtins.sum

def whole(items, /, start=0):
    items = list(items)
    if "/archsim/" in sys._getframe(1).f_code.co_filename and any(isinstance(item, float) for item in items):
        raise AssertionError("sum() of floats")
    return plain(items, start)

builtins.sum = whole
"""


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def test_the_lock_pins_what_setup_asks_for() -> None:
    """Each requirement of the package and of its tests is there, on every Python, not below its bound."""
    bounds = wanted(*EXTRAS) | {
        canonical(name): bound
        for name, bound in re.findall(r"^([\w.-]+)>=(\S+)", INPUT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    for name, bound in bounds.items():
        mine = [pin for pin in PINS if pin.name == name]
        assert mine, name
        assert all(version(pin.version) >= version(bound) for pin in mine), name
        # One line for all Pythons, or two that part them at one version.
        borders = {re.sub(r"[<>]=? ", "", pin.marker) for pin in mine}
        assert len(mine) <= 2
        assert len(borders) == 1, name


def test_the_lock_holds_hashes_and_no_place() -> None:
    """Every line has SHA-256 sums; no host, no folder, nothing that only one machine knows."""
    text = LOCK.read_text(encoding="utf-8")
    assert len(PINS) == len(re.findall(r"^\w", text, flags=re.MULTILINE))
    for pin in PINS:
        assert pin.hashes, pin.name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in pin.hashes), pin.name
    assert not re.search(r"://|index-url|find-links|^/|^-", text, flags=re.MULTILINE)


def test_the_lowest_versions_are_the_bounds_of_setup() -> None:
    """What was shown to work on `lowest.txt` is what setup.cfg promises."""
    assert LOWEST.read_text(encoding="utf-8") == lowest()


def test_every_locked_package_has_a_permissive_licence_on_the_page() -> None:
    """docs/licences.md lists the lock's packages, each once, and none that binds its users."""
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \|$", LICENCES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {name: licence for name, licence in rows if name != "package"}
    assert sorted(listed) == sorted({pin.name for pin in PINS})
    for name, licence in listed.items():
        assert any(word in licence for word in PERMISSIVE), f"{name}: {licence}"
        assert not re.search(r"GPL|AGPL|SSPL|not stated", licence), f"{name}: {licence}"


def test_the_page_says_what_packages_say() -> None:
    """Where one of them is installed at its locked version, its metadata is quoted."""
    page = LICENCES.read_text(encoding="utf-8")
    for name in wanted():
        found = metadata.distribution(name)
        if any((pin.name, pin.version) == (name, found.version) for pin in PINS):
            assert f"| {name} | {licence_of(found)} |" in page


def guarded(code: str, folder: Path, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run *code* in a process that refuses every name look-up and every connection."""
    return subprocess.run(
        [sys.executable, "-c", GUARD + code], cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        env={
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONHASHSEED": seed, "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request as u; u.urlopen('http://127.0.0.1:9')",
        "import socket; socket.create_connection(('::1', 9))",
    ],
)
def test_the_guard_refuses_the_network(code: str, tmp_path: Path) -> None:
    """A connection to this very machine does not pass, so none does."""
    assert "RuntimeError: network" in guarded(code, tmp_path).stderr


def test_no_module_asks_the_network_when_imported(tmp_path: Path) -> None:
    """Every module of the package, loaded under the guard; those that compile are left to the commands below."""
    code = (
        "import importlib, pkgutil, archsim\n"
        "for module in pkgutil.walk_packages(archsim.__path__, 'archsim.'):\n"
        "    if not module.name.startswith(('archsim.__main__', 'archsim.dram.kernel')):\n"
        "        importlib.import_module(module.name)\n"
    )
    done = guarded(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cheap", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_no_main_command_asks_the_network_and_all_bytes_are_those_of_another_hash_seed(
    cheap: bool, tmp_path: Path
) -> None:
    """The main commands under the guard, hash seed 1, then with seed 2, a study resumed, and options backwards.

    The guard refuses `sum` of floats, too: from Python 3.12 on it rounds otherwise than before; `math.fsum` does not.
    """
    made = []
    for seed, variant in (("1", {"cheap": cheap}), ("2", {"cheap": cheap, "resumed": True, "backwards": True})):
        code = (
            f"import json, pathlib, main_commands as m\nfolder = pathlib.Path({str(tmp_path / seed)!r})\n"
            f"m.make(folder, m.Variant(**{variant!r}))\nprint(json.dumps(m.digests(folder)))"
        )
        done = guarded(code, tmp_path, seed)
        assert done.returncode == 0, done.stderr
        made.append(json.loads(done.stdout))
    as_given = ("compare.out", "c/")  # designs in the order in which they were named
    first, second = ({name: each for name, each in one.items() if not name.startswith(as_given)} for one in made)
    assert len(first) > 8
    assert first == second
