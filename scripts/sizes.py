"""Print the longest function and the largest module of archsim: a house is judged by its worst room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "archsim"


@dataclass(frozen=True, slots=True)
class Size:
    """Lines of one function (without its docstring) or module (all of it), and arguments of a function."""

    name: str
    lines: int
    arguments: int = 0


def modules() -> list[Size]:
    """Return the size of every module."""
    return [Size(_name(path), len(path.read_text(encoding="utf-8").splitlines())) for path in _sources()]


def functions() -> list[Size]:
    """Return the size of every function and method."""
    return [size for path in _sources() for size in _functions_of(path)]


def _sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


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
    for what, sizes in (("function", functions()), ("module", modules())):
        for size in sorted(sizes, key=lambda size: -size.lines)[:3]:
            print(f"{what:8} {size.lines:4} lines  {size.name}")


if __name__ == "__main__":
    main()
