"""The house itself: rooms, direction of imports, budgets, and that the installed package is the one under test."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import archsim
from archsim.files import bundled_path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "archsim").rglob("*.py"))
LONGEST_FUNCTION = 60
LARGEST_MODULE = 400
MOST_ARGUMENTS = 8


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """Return `scripts/house.py`, which scripts/check prints from."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "scripts" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


def setup() -> configparser.ConfigParser:
    """Return setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_rooms_are_the_packages_that_setup_cfg_ships() -> None:
    """A room that setup.cfg does not name would be missing from the wheel; a name without a room breaks the build."""
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in SOURCES}
    shipped = set(setup()["options"]["packages"].split())
    data = {"archsim._data.hwconfigs", "archsim._data.workloads"}
    assert shipped - data == folders
    assert data < shipped


@pytest.mark.parametrize("room", ["dram", "network", "workload", "hardware", "mapping", "step", "metrics"])
def test_the_map_of_a_room_names_its_modules(room: str) -> None:
    """A stranger finds every file of a room, and what it is for, in the docstring of the room."""
    folder = ROOT / "archsim" / room
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    known = set(re.findall(r"\w+", told))
    modules = {path.stem.removeprefix("kernel_") for path in folder.glob("*.py")} - {"__init__"}
    assert modules <= known, sorted(modules - known)


def test_imports_go_one_way() -> None:
    """The contracts of setup.cfg hold: every module has its layer, and none imports from above or beside."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_installed_package_is_the_one_under_test() -> None:
    """What is imported equals the checkout, file by file: a stale install would test yesterday's code."""
    imported = Path(archsim.__file__).parent
    for path in SOURCES:
        assert (imported / path.relative_to(ROOT / "archsim")).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("kind", ["hwconfigs", "workloads"])
def test_bundled_files_are_those_of_the_checkout(kind: str) -> None:
    """Package data is complete and current, wherever the package was installed from."""
    wanted = {path.relative_to(ROOT / kind): path.read_bytes() for path in (ROOT / kind).rglob("*") if path.is_file()}
    assert wanted
    for name, content in wanted.items():
        assert (bundled_path(kind) / name).read_bytes() == content, name


def test_no_function_is_longer_than_the_longest_of_a_good_house(house: ModuleType) -> None:
    """At most 60 lines without the docstring."""
    assert [size for size in house.functions() if size.lines > LONGEST_FUNCTION] == []


def test_no_module_holds_more_than_one_idea_could_need(house: ModuleType) -> None:
    """At most 400 lines."""
    assert [size for size in house.modules() if size.lines > LARGEST_MODULE] == []


def test_functions_take_few_arguments(house: ModuleType) -> None:
    """At most 8 arguments; a click command has one for each of its options."""
    many = [size for size in house.functions() if size.arguments > MOST_ARGUMENTS]
    assert [
        size for size in many if not (size.name.startswith("archsim/cli/") and size.name.endswith(" command"))
    ] == []


def test_no_module_imports_in_a_circle(house: ModuleType) -> None:
    """Not even late, inside a function."""
    assert house.cycles() == []


def test_the_house_is_not_worse_than_contributing_says(house: ModuleType) -> None:
    """CONTRIBUTING states the figures of scripts/check; whoever makes one worse mends it or states it there."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stated = {what: int(figure) for what, figure in re.findall(r"^\| ([a-z ]+) \| ([0-9]+) \|", page, re.MULTILINE)}
    found = {
        "longest function": max(size.lines for size in house.functions()),
        "largest module": max(size.lines for size in house.modules()),
        "cycles of imports": len(house.cycles()),
        "pairs of places written twice": len(house.duplicates()),
    }
    assert stated.keys() == found.keys()
    assert {what: figure for what, figure in found.items() if figure > stated[what]} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_is_public_and_what_it_is(path: Path) -> None:
    """A docstring, and where there is anything besides, `__all__` as a plain list of names that exist."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if len(tree.body) == 1:
        return
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and _assigns_all(node)]
    assert len(lists) == 1
    assert isinstance(lists[0], ast.List)
    assert set(ast.literal_eval(lists[0])) <= _defined(tree)


def _assigns_all(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
