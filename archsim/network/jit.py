"""Compiling the sharing kernel: on demand, and cached where that is safe.

The kernel's functions are plain Python. Compiled, they are copies whose names lead to each other's compiled forms, so
that the originals stay interpretable. Numba stamps a cached function with its own file alone; the cache therefore lies
in a private folder of the user that is named by the digest of all kernel sources, and any edit starts a new one. Where
no folder can be written, the kernel is compiled in memory.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archsim.files import digest_of
from archsim.sealed import seal

__all__ = ["compiled"]

_SOURCES = ("columns.py", "filling.py", "sharing.py")


def compiled(functions: Sequence[Callable[..., Any]], names: dict[str, Any]) -> Callable[..., Any]:
    """Return the last of *functions* compiled, each of which calls earlier ones; *names* are the globals they use."""
    import numba  # noqa: PLC0415 - 240 ms, and only large problems need it

    config: Any = numba.config  # a module that makes its names as it loads
    folder = _folder()
    before = config.CACHE_DIR
    names = dict(names)
    try:
        config.CACHE_DIR = before or folder or ""
        for function in functions:
            copy = types.FunctionType(function.__code__, names, function.__name__)
            names[function.__name__] = numba.njit(copy, cache=folder is not None, error_model="numpy")
            if folder is not None:
                seal(names[function.__name__])
    finally:
        config.CACHE_DIR = before
    last: Callable[..., Any] = names[functions[-1].__name__]
    return last


def _folder() -> str | None:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = digest_of(b"\0".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES))
    folder = Path(base) / "archsim" / f"numba-{digest.removeprefix('sha256:')}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) and Path(base).is_absolute() else None
