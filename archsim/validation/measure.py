"""Measuring a GPU: streams, products of few rows, paged attention, gaps and graphs; then a calibration of its system.

    launch_gap      = time of a graph of n one-element kernels / n, the larger n: what a kernel costs that moves nothing
    ramp, window    = least squares on the products of one row, launch_gap held (`calibrate`): `runtime.ramp` and
                      `chip.bytes_in_flight`
    sustained bf16  = operations / time of a product of many rows, at most the datasheet's rate
    host launch     = (n kernels launched one by one - the same in a graph) / n: told, not set, since graphs have none

The predictions that stand beside the figures are those of the system as it is bundled, made without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from archsim.files import write_atomically
from archsim.hardware.library import load_system
from archsim.validation import kernels
from archsim.validation.calibrate import Calibration, calibrate
from archsim.validation.device import Attention, Device, DeviceInfo
from archsim.validation.kernel_tasks import Heads, attention, bench
from archsim.validation.selection import Selection
from archsim.validation.summary import summary

__all__ = ["Measured", "Timing", "host_launch_s", "kernel_table", "launch_gap_s", "measure", "predicted_lines",
           "settings_of", "write_measured"]  # fmt: skip

STREAMS = tuple(2**power for power in range(20, 33, 2))
"""Bytes, 1 MiB to 4 GiB; those beyond a quarter of the memory are left out."""
ROWS = (1, 4, 16, 64)
WEIGHTS = ((4096, 4096), (8192, 8192), (6144, 4096), (28672, 4096), (16384, 16384))
"""(columns, inner) of products: square ones and those of a Llama layer."""
ATTENTIONS = tuple(
    Attention(batch, 32, 8, 128, context) for batch, context in ((1, 8192), (8, 2048), (32, 2048), (64, 4096))
)
_MANY = (4096, 8192, 8192)
_CHAINS = (20, 200)
_RUNTIME = "trtllm-microbench"
_COLUMNS = "system,op,dtype,m_or_batch,n,k,kv_len,latency_us"


@dataclass(frozen=True, slots=True)
class Timing:
    """One figure."""

    what: str
    """`stream`, `product`, `attention`, `graph` or `launched`."""
    shape: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of one device."""

    info: DeviceInfo
    system: str
    timings: tuple[Timing, ...]

    def of(self, what: str) -> list[Timing]:
        """Return the figures of one kind."""
        return [timing for timing in self.timings if timing.what == what]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"device": asdict(self.info), "system": self.system, "timings": [asdict(t) for t in self.timings]}


def measure(device: Device, system: str, *, progress: Callable[[str], None] | None = None) -> Measured:
    """Return what *device* does in everything that is timed; *system* is the bundled one that it is set beside."""
    load_system(system)
    info = device.info()
    timings = []
    for what, shape, ask in _asked(device, info):
        if progress is not None:
            progress(f"{what} {' x '.join(map(str, shape))}")
        timings.append(Timing(what, shape, ask()))
    return Measured(info, system, tuple(timings))


def _asked(device: Device, info: DeviceInfo) -> list[tuple[str, tuple[int, ...], Callable[[], float]]]:
    """Return what is timed, in order."""
    sizes = [size for size in STREAMS if size <= info.memory_bytes // 4]
    shapes = [*((rows, *held) for held in WEIGHTS for rows in ROWS), _MANY]
    asked: list[tuple[str, tuple[int, ...], Callable[[], float]]] = [
        *(("stream", (size,), partial(device.stream_s, size)) for size in sizes),
        *(("product", shape, partial(device.product_s, *shape)) for shape in shapes),
        *(("attention", tuple(asdict(heads).values()), partial(device.attention_s, heads)) for heads in ATTENTIONS),
    ]
    for count in _CHAINS:
        asked.append(("graph", (count,), partial(device.chain_s, count, graph=True)))
        asked.append(("launched", (count,), partial(device.chain_s, count, graph=False)))
    return asked


def kernel_table(found: Measured) -> str:
    """Return the products as a table of the suite `kernels`."""
    info = found.info
    head = f"# measured {info.date} on {info.name}, driver {info.driver}, {info.software}, by `archsim measure`"
    rows = [
        f"{found.system},gemm,bfloat16,{rows},{columns},{inner},,{timing.seconds * 1e6:.4f}"
        for timing in found.of("product")
        for rows, columns, inner in [timing.shape]
    ]
    return "\n".join([head, _COLUMNS, *rows, ""])


def settings_of(found: Measured, table: Path) -> tuple[tuple[str, ...], Calibration]:
    """Return the settings that the figures ask for, and the fit of ramp and window on the rows in *table*."""
    gap = launch_gap_s(found)
    fixed = (f"runtime.launch_gap={max(round(gap * 1e12), 1)} ps",)
    fit = calibrate(
        "kernels", table, where=(("m_or_batch", "1"),), names="runtime.ramp=1 us,chip.bytes_in_flight", fixed=fixed
    )
    settings = [*fixed, *fit.settings]
    engine = load_system(found.system).chip.engine["matrix"]
    rate = engine.flop_per_s.get("bf16")
    if rate:
        many = next(timing for timing in found.of("product") if timing.shape == _MANY)
        done = 2 * _MANY[0] * _MANY[1] * _MANY[2] / many.seconds
        settings.append(f"chip.engine.matrix.sustained.bf16={round(min(done, float(rate)))} FLOP/s")
    return tuple(settings), fit


def launch_gap_s(found: Measured) -> float:
    """Return what a kernel of one element costs in a graph."""
    longest = max(found.of("graph"), key=lambda timing: timing.shape)
    return longest.seconds / longest.shape[0]


def host_launch_s(found: Measured) -> float:
    """Return what the host takes to issue a kernel, beyond what the same kernels take in a graph."""
    launched = max(found.of("launched"), key=lambda timing: timing.shape)
    graph = max(found.of("graph"), key=lambda timing: timing.shape)
    return max(launched.seconds - graph.seconds, 0.0) / launched.shape[0]


def predicted_lines(found: Measured, table: Path, settings: Sequence[str]) -> list[str]:
    """Return measured beside predicted, of the bundled system and of the calibrated one, in lines."""
    info, peak = found.info, bench(found.system, _RUNTIME).peak_bytes_per_s
    lines = [f"{info.name}, driver {info.driver}, {info.software}, {info.date}; beside {found.system}"]
    for timing in found.of("stream"):
        rate = timing.shape[0] / timing.seconds
        lines.append(f"  stream {timing.shape[0] / 2**20:,.0f} MiB: {rate / 1e12:.3f} TB/s, {rate / peak:.0%} of peak")
    lines.append(
        f"  kernel in a graph {launch_gap_s(found) * 1e6:.2f} us; launched {host_launch_s(found) * 1e6:.2f} us more"
    )
    for name, chosen in (("bundled", ()), ("calibrated", tuple(settings))):
        rows = kernels.suite(table, Selection((("m_or_batch", "1..64"),), chosen))
        lines.append(f"  products of up to 64 rows, {name}: {_errors(summary(rows))}")
    made = bench(found.system, _RUNTIME, tuple(settings))
    for timing in found.of("attention"):
        batch, query, kv, width, context, _ = timing.shape
        heads = Heads(batch=batch, query=query, kv=kv, width=width, context=context)
        predicted = attention(made, heads, kv_bits=16, extra=1)
        lines.append(
            f"  attention, batch {batch}, {context} tokens: {timing.seconds * 1e6:.1f} us gathered from blocks, "
            f"{predicted * 1e6:.1f} us predicted for a kernel that reads blocks in place"
        )
    return lines


def write_measured(found: Measured, folder: Path) -> Path:
    """Write the table of products into *folder* and return its path."""
    path = folder / "kernels.csv"
    write_atomically(path, kernel_table(found).encode())
    return path


def _errors(found: Mapping[str, Any]) -> str:
    if not found["n"]:
        return "no row could be compared"
    size, signed = 100 * found["mean_abs_error"], 100 * found["mean_signed_error"]
    return f"{found['n']} rows, mean |e| {size:.1f} %, mean {signed:+.1f} %"
