"""Judge the house by its worst rooms: longest function, largest module, cycles of imports, lines written twice.

`python scripts/house.py` prints them; `--most N` lists more of each. A cycle is a set of modules that import one
another, late imports inside functions included. A pair of places is written twice where it shares six or more lines to
the letter; blank lines, comments, imports and lines without a word do not count, and the tables of the DRAM standards,
one file each on purpose, are left out.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

PACKAGE = Path(__file__).parents[1] / "archsim"
SHARED_LINES = 6
_WORD = re.compile(r"[A-Za-z]{2}")


@dataclass(frozen=True, slots=True)
class Size:
    """Lines of one function (without its docstring) or module (all of it), and arguments of a function."""

    name: str
    lines: int
    arguments: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two places that share a run of lines: file and first line of each, and how many lines."""

    one: str
    other: str
    lines: int


def modules() -> list[Size]:
    """Return the size of every module."""
    return [Size(_name(path), len(path.read_text(encoding="utf-8").splitlines())) for path in _sources()]


def functions() -> list[Size]:
    """Return the size of every function and method."""
    return [size for path in _sources() for size in _functions_of(path)]


def cycles() -> list[list[str]]:
    """Return the sets of modules that import one another, each sorted."""
    names = {_module(path) for path in _sources()}
    edges = ((_module(path), target) for path in _sources() for target in _imported(path, names))
    graph = nx.DiGraph(edges)
    return sorted(sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1)


def duplicates() -> list[Pair]:
    """Return the pairs of places that share `SHARED_LINES` lines or more, the longest first."""
    files = {_name(path): _lines_of(path) for path in _sources() if path.parent.name != "standards"}
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, lines in files.items():
        for start in range(len(lines) - SHARED_LINES + 1):
            window = tuple(text for _, text in lines[start : start + SHARED_LINES])
            places[window].append((name, start))
    shared = {
        (one, other) for found in places.values() for place, one in enumerate(found) for other in found[place + 1 :]
    }
    return sorted(_runs(files, shared), key=lambda pair: (-pair.lines, pair.one, pair.other))


def _runs(
    files: dict[str, list[tuple[int, str]]], shared: set[tuple[tuple[str, int], tuple[str, int]]]
) -> Iterator[Pair]:
    for one, other in shared:
        if ((one[0], one[1] - 1), (other[0], other[1] - 1)) in shared:
            continue
        length = SHARED_LINES
        while (
            (one[0], one[1] + length - SHARED_LINES + 1),
            (other[0], other[1] + length - SHARED_LINES + 1),
        ) in shared:
            length += 1
        first, second = (f"{name}:{files[name][start][0]}" for name, start in (one, other))
        yield Pair(first, second, length)


def _sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, names: set[str]) -> Iterator[str]:
    """Yield the modules of *names* that *path* imports when it runs; what only types need is no import then."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    skipped = {inner for node in typed for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from (name for name in (inner if inner in names else node.module,) if name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)


def _lines_of(path: Path) -> list[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {line for node in imports for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if number not in left_out and _WORD.search(line) and not line.lstrip().startswith("#")
    ]


def _functions_of(path: Path) -> Iterator[Size]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            given = node.args
            arguments = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            yield Size(f"{_name(path)}:{node.lineno} {node.name}", lines, arguments)


def main() -> None:
    """Print the worst rooms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--most", type=int, default=3, help="how many of each (default 3)")
    most = parser.parse_args().most
    for what, sizes in (("function", functions()), ("module", modules())):
        for size in sorted(sizes, key=lambda size: -size.lines)[:most]:
            print(f"{what:10} {size.lines:4} lines  {size.name}")
    found, pairs = cycles(), duplicates()
    print(f"cycles     {len(found):4}")
    for cycle in found[:most]:
        print(f"{'cycle':10} {len(cycle):4} modules  {', '.join(cycle)}")
    print(f"duplicates {len(pairs):4} pairs of places that share {SHARED_LINES} lines or more")
    for pair in pairs[:most]:
        print(f"{'duplicate':10} {pair.lines:4} lines  {pair.one}  {pair.other}")


if __name__ == "__main__":
    main()
