"""Compiling the memory floor's kernels: once for the types they state, and cached where that is safe.

Only the kernel modules import this one, and nothing imports a kernel module at its top: Numba costs 240 ms and is
loaded with the first simulated channel. Where nothing can be cached (`archsim.cache`), kernels compile in memory.

A kernel's annotations are its types: `Any` is the record of `kernel_state`, `int` 64 bits. Compiled as its caller calls
it, a kernel would be compiled again for every constant it is passed, which doubled the time of the first run. Loops
are not vectorised: theirs are short walks over a few nodes, which vector code makes slower and longer to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from archsim.cache import kernel_folder, seal
from archsim.dram.kernel_state import STATE

__all__ = ["Bytes", "Ints", "Table", "called", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Table = npt.NDArray[np.int64]
"""Annotations of kernels: one row of bytes or of 32-bit integers; rows and columns of 64-bit integers."""

_TYPES: dict[str, Any] = {
    "Any": numba.from_dtype(STATE),
    "int": numba.int64,
    "bool": numba.boolean,
    "None": numba.void,
    "Bytes": numba.uint8[::1],
    "Ints": numba.int32[::1],
    "Table": numba.int64[:, ::1],
}


_FOLDER = kernel_folder([Path(__file__), *sorted(Path(__file__).parent.glob("kernel_*.py"))])


def _signature(function: Callable[..., Any]) -> Any:
    types = {name: _TYPES[text] for name, text in function.__annotations__.items()}
    result = types.pop("return")
    return result(*types.values())


def _compile(function: Function, *, inline: bool) -> Function:
    config: Any = numba.config
    before = config.CACHE_DIR, config.LOOP_VECTORIZE, config.SLP_VECTORIZE
    try:
        config.LOOP_VECTORIZE = config.SLP_VECTORIZE = 0
        if _FOLDER is not None and not config.CACHE_DIR:
            config.CACHE_DIR = _FOLDER
        compile_with: Any = numba.njit
        cache = _FOLDER is not None
        compiled = compile_with(nogil=True, error_model="numpy", cache=cache, forceinline=inline, _nrt=False)(function)
        if cache:
            seal(compiled)
        if not config.DISABLE_JIT:
            compiled.compile(_signature(function))
            compiled.disable_compile()
        return cast("Function", compiled)
    finally:
        config.CACHE_DIR, config.LOOP_VECTORIZE, config.SLP_VECTORIZE = before


def kernel(function: Function) -> Function:
    """Compile *function* into each of its callers, for the types of its annotations, without the GIL.

    Most kernels are a few loads and a comparison, and called from Numba they cost more than they do: inlined, a
    channel takes less than half the time. Kernels allocate nothing, so Numba's reference counts are off.
    """
    return _compile(function, inline=True)


def called(function: Function) -> Function:
    """Compile a larger *function*, one with several callers or one off the beaten track, as a function of its own.

    Inlined too, these would make the first compile twice as long and the channel no faster.
    """
    return _compile(function, inline=False)
