"""From a foreign file to a hwconfig that loads: find the format by content, convert, check the result.

No format is told by its file name. What a parser may be made to do by a hostile file (aliases that multiply, deep
nesting, endless numbers) is refused before anything is read from it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from archsim.errors import InputError, Problem, did_you_mean
from archsim.files import parse_json, read_text, write_atomically
from archsim.hardware.importers import aiconfigurator, calculon, dramsim3, llmcompass, ramulator
from archsim.hardware.importers.draft import Source
from archsim.hardware.library import load_memory_device, load_system

__all__ = ["FORMATS", "Imported", "imported"]

FORMATS: dict[str, ModuleType] = {
    "llmcompass": llmcompass,
    "dramsim3": dramsim3,
    "ramulator": ramulator,
    "aiconfigurator": aiconfigurator,
    "calculon": calculon,
}
"""Name of a format -> the module that converts it."""


class Imported(NamedTuple):
    """A converted file."""

    format: str
    """Its name among `FORMATS`."""
    kind: str
    """`system` or `memory device`."""
    toml: str
    unmapped: list[str]
    """What could not be mapped, a line each."""


def imported(path: Path, *, wanted: str | None = None) -> Imported:
    """Return *path* as a hwconfig. *wanted*, a key of `FORMATS`, is the format; without it the content decides.

    Raises `InputError` for a file of no known format, one that lacks what a hwconfig needs, or values that cannot be.
    """
    if wanted is not None and wanted not in FORMATS:
        raise InputError(Problem("", "--format", wanted, f"one of {', '.join(FORMATS)}{did_you_mean(wanted, FORMATS)}"))
    content = _content(path)
    name = wanted or next((name for name, module in FORMATS.items() if module.is_it(content)), None)
    if name is None:
        known = ", ".join(module.NAME for module in FORMATS.values())
        raise InputError(Problem(str(path), "", "", f"a file of one of these formats: {known}"))
    module = FORMATS[name]
    draft = module.convert(Source(path.name, module.NAME, content))
    text = draft.toml()
    kind = "system" if "kind = " in "".join(draft.lines.get("", ())) else "memory device"
    _check(text, path, load_system if kind == "system" else load_memory_device)
    return Imported(name, kind, text, draft.unmapped())


def _check(text: str, path: Path, load: Callable[[str], object]) -> None:
    """Load *text* as a user would, and blame *path* for what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "imported.toml"
        write_atomically(written, text.encode())
        try:
            load(str(written))
        except InputError as error:
            problems = [Problem(str(path), f"(as {p.key})", p.value, p.expected) for p in error.problems]
            raise InputError(*problems) from None


def _content(path: Path) -> dict[str, Any]:
    text = read_text(path)
    start = text.lstrip()[:1]
    if start == "{":
        content = parse_json(text, path)
    elif start == "[" or "\n[dram_structure]" in f"\n{text}":
        content = dramsim3.read(text, str(path))
    else:
        content = _yaml(text, path)
    if not isinstance(content, dict):
        raise InputError(Problem(str(path), "", "", "a table at the top of the file"))
    return content


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra, and only this format needs it
    except ImportError:
        raise InputError(Problem(str(path), "", "", "PyYAML for this format: pip install archsim[import]")) from None
    from archsim.files import check_values  # noqa: PLC0415 - as above

    try:
        if any(isinstance(token, yaml.AliasToken | yaml.AnchorToken) for token in yaml.scan(text)):
            raise InputError(Problem(str(path), "", "", "YAML without anchors and aliases"))
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(Problem(str(path), "", "", f"valid YAML ({str(error).splitlines()[0][:120]})")) from None
    except (RecursionError, ValueError) as error:
        raise InputError(Problem(str(path), "", "", f"YAML of ordinary size ({str(error)[:80]})")) from None
    check_values(path, content)
    return content
