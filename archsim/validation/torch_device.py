"""The GPU at hand through PyTorch: kernels timed with CUDA events in captured graphs, operands larger than the cache.

Needs the extra `measure` (PyTorch) and an NVIDIA GPU; `open_device` says which of them is missing.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import read_text
from archsim.validation.device import Attention, DeviceInfo

__all__ = ["TorchDevice", "open_device"]

_REPEATS = 15
_WARM = 3
_FLUSH = 4
"""Operands rotate over as many times the last cache."""
_MOST_COPIES = 64


def open_device() -> TorchDevice:
    """Return the first GPU. Raises `InputError` where there is no PyTorch, or none that sees an NVIDIA GPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        expected = "PyTorch, which measures: pip install 'archsim[measure]'"
        raise InputError(Problem("", "measure", "no PyTorch here", expected)) from None
    if not torch.cuda.is_available() or torch.version.cuda is None:
        raise InputError(Problem("", "measure", "no NVIDIA GPU here", "a machine with one, and PyTorch with CUDA"))
    return TorchDevice(torch)


class TorchDevice:
    """A GPU through the module *torch*."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._facts = torch.cuda.get_device_properties(0)
        self._cache_bytes = int(getattr(self._facts, "L2_cache_size", 0)) or 64 * 2**20

    def info(self) -> DeviceInfo:
        """Return what the device is."""
        torch = self._torch
        return DeviceInfo(
            name=str(self._facts.name),
            driver=_driver(),
            software=f"torch {torch.__version__}, CUDA {torch.version.cuda}",
            date=dt.datetime.now(dt.UTC).date().isoformat(),
            cache_bytes=self._cache_bytes,
            memory_bytes=int(self._facts.total_memory),
        )

    def stream_s(self, size: int) -> float:
        """Return the time of reading *size* bytes once, as the sum of 32-bit numbers."""
        torch = self._torch
        held = [torch.ones(max(size // 4, 1), dtype=torch.float32, device="cuda") for _ in range(self._copies(size))]
        return self._graph_s([partial(torch.sum, data) for data in held])

    def product_s(self, rows: int, columns: int, inner: int) -> float:
        """Return the time of a bfloat16 product of (rows, inner) by (inner, columns)."""
        torch = self._torch
        of = {"dtype": torch.bfloat16, "device": "cuda"}
        left, out = torch.randn(rows, inner, **of), torch.empty(rows, columns, **of)
        weights = [torch.randn(columns, inner, **of) for _ in range(self._copies(2 * columns * inner))]
        return self._graph_s([partial(torch.mm, left, held.t(), out=out) for held in weights])

    def attention_s(self, shape: Attention) -> float:
        """Return the time of gathering a cache's blocks by a table and attending over it."""
        torch = self._torch
        of = {"dtype": torch.bfloat16, "device": "cuda"}
        blocks = -(-shape.context // shape.block) * shape.batch
        query = torch.randn(shape.batch, shape.query, 1, shape.width, **of)
        attend = torch.nn.functional.scaled_dot_product_attention

        def call(cache: Any, table: Any) -> Any:
            keys, values = (
                torch.index_select(part, 0, table)
                .view(shape.batch, -1, shape.kv, shape.width)
                .transpose(1, 2)[:, :, : shape.context]
                for part in cache
            )
            return attend(query, keys, values, enable_gqa=shape.query != shape.kv)

        calls: list[Callable[[], Any]] = []
        for _ in range(min(self._copies(shape.kv_bytes), 4)):
            cache = torch.randn(2, blocks, shape.block, shape.kv, shape.width, **of)
            table = torch.randperm(blocks, device="cuda")
            calls.append(partial(call, cache, table))
        return self._graph_s(calls)

    def chain_s(self, kernels: int, *, graph: bool) -> float:
        """Return the time of *kernels* kernels of one element, one after the other; launched, or in a graph."""
        one = self._torch.zeros(1, device="cuda")
        calls = [partial(one.add_, 1.0)] * kernels
        return self._graph_s(calls) * kernels if graph else self._median_s(lambda: _each(calls))

    def _copies(self, size: int) -> int:
        return max(2, min(_MOST_COPIES, -(-_FLUSH * self._cache_bytes // max(size, 1))))

    def _graph_s(self, calls: Sequence[Callable[[], Any]]) -> float:
        """Return the time of one of *calls*, replayed in one graph in order."""
        torch = self._torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM):
                _each(calls)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            _each(calls)
        return self._median_s(graph.replay) / len(calls)

    def _median_s(self, call: Callable[[], Any]) -> float:
        torch = self._torch
        for _ in range(_WARM):
            call()
        times = []
        for _ in range(_REPEATS):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(float(begin.elapsed_time(end)) * 1e-3)
        return median(times)


def _each(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _driver() -> str:
    """Return the version of the NVIDIA driver, or `unknown`."""
    try:
        words = read_text(Path("/proc/driver/nvidia/version")).split()
    except InputError:
        return "unknown"
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
