"""Compiling the memory floor's kernels: lazily, and cached where that is safe.

Only the kernel modules import this one, and nothing imports a kernel module at its top: Numba costs 240 ms and is
loaded with the first simulated channel. Numba stamps a cached function with the time of its own file alone, so an
edited callee in a second file would leave a stale caller. The cache therefore lies in a folder named by the digest of
all kernel sources: any edit starts a new folder. It is a private folder of the user (Numba's cache is pickle, so never
a shared temporary one); where none can be written, kernels compile in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from archsim.dram.memo import cache_folder
from archsim.files import digest_of

__all__ = ["kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _kernel_digest() -> str:
    sources = sorted(Path(__file__).parent.glob("kernel_*.py"))
    return digest_of(b"\0".join(path.read_bytes() for path in sources)).removeprefix("sha256:")


def _compiled_folder() -> str | None:
    folder = cache_folder()
    if folder is None:
        return None
    compiled = folder / f"numba-{_kernel_digest()}"
    try:
        compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return str(compiled) if os.access(compiled, os.W_OK) else None


_FOLDER = _compiled_folder()


def kernel(function: Function) -> Function:
    """Compile *function* for the types of its first call, without the GIL, in 64-bit integers.

    Kernels allocate nothing, so Numba's reference counts are off: counting each array at each call that passes it,
    atomically, took half the time of a channel.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    try:
        if _FOLDER is not None and not before:
            config.CACHE_DIR = _FOLDER
        compile_with: Any = numba.njit
        compiled = compile_with(nogil=True, error_model="numpy", cache=_FOLDER is not None, _nrt=False)(function)
    finally:
        config.CACHE_DIR = before
    return cast("Function", compiled)
