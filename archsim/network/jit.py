"""Compiling the sharing kernel: on demand, and cached where that is safe.

The kernel's functions are plain Python. Compiled, they are copies whose names lead to each other's compiled forms, so
that the originals stay interpretable. Where nothing can be cached (`archsim.cache`), the kernel is compiled in memory.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archsim.cache import kernel_folder, seal

__all__ = ["compiled"]

_SOURCES = ("columns.py", "filling.py", "sharing.py")


def compiled(functions: Sequence[Callable[..., Any]], names: dict[str, Any]) -> Callable[..., Any]:
    """Return the last of *functions* compiled, each of which calls earlier ones; *names* are the globals they use."""
    import numba  # noqa: PLC0415 - 240 ms, and only large problems need it

    config: Any = numba.config  # a module that makes its names as it loads
    folder = kernel_folder(Path(__file__).parent / name for name in _SOURCES)
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
