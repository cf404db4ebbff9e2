"""Files by name: the bundled ones, those that a user means, and those that a file names beside itself."""

from __future__ import annotations

import os
from pathlib import Path

from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["bundled_names", "bundled_path", "find", "inside"]

_SINGULAR = {
    "systems": "system",
    "chips": "chip",
    "memories": "memory device",
    "runtimes": "runtime",
    "tiers": "tier",
    "models": "model",
    "samplers": "trace",
    "studies": "study",
    "economics": "economics",
}
"""Folder of bundled files -> what a message calls one of them."""


def bundled_path(kind: str) -> Path:
    """Return the folder of the bundled *kind*, `"hwconfigs"` or `"workloads"`.

    Installed from a wheel they lie in `archsim/_data`; in a source tree beside the package.
    """
    package = Path(__file__).parents[1]
    installed = package / "_data" / kind
    return installed if installed.is_dir() else package.parent / kind


def bundled_names(kind: str, folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the sorted names (file names without suffix) bundled in *folder* of *kind*."""
    root = bundled_path(kind) / folder
    files = [path for path in root.iterdir() if path.suffix in suffixes] if root.is_dir() else []
    return sorted(path.stem for path in files)


def find(name_or_path: str, *, kind: str, folder: str, suffixes: tuple[str, ...]) -> Path:
    """Return the file that *name_or_path* means: a bundled name, else a path.

    A bundled name wins over a file of the same name in the working directory. Raises `InputError` for an unknown
    name (with the nearest known one) and for a path that is not a readable file.
    """
    what = _SINGULAR.get(folder, folder or kind)
    if "\0" in name_or_path or len(name_or_path) > 4096:
        raise InputError(Problem("", what, name_or_path[:40], "a name or a path without NUL, below 4,096 characters"))
    path = Path(name_or_path)
    if path.name == name_or_path:
        root = bundled_path(kind) / folder
        bundled = next((file for s in suffixes if _is_file(file := root / (name_or_path + s))), None)
        if bundled is not None:
            return bundled
    if _is_file(path):
        return path
    if "/" in name_or_path or os.sep in name_or_path or name_or_path.endswith(suffixes):
        raise InputError(Problem(name_or_path, "", "", f"a readable {what} file at this path; there is none"))
    known = bundled_names(kind, folder, suffixes)
    hint = did_you_mean(name_or_path, known)
    raise InputError(Problem("", what, name_or_path, f"a path or one of the bundled names{hint}: {', '.join(known)}"))


def inside(folder: Path, name: str) -> Path:
    """Return the path that *name*, as a file in *folder* writes it, means: in that folder or below it.

    Raises `InputError` for an absolute path and for one that leaves the folder, be it by a link: a file from elsewhere
    names no file of this machine. What a user writes on the command line may lie anywhere.
    """
    path = Path(name)
    try:
        leaves = ".." in path.parts or not (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, NUL
        leaves = True
    if leaves or path.is_absolute():
        raise InputError(Problem("", "", name, "a path in the folder of the file that names it, or below"))
    return folder / path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False
