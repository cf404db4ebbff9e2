"""Throughput of a saturated server, in the columns of the decode schema: every request is queued at once.

Rows whose batch is not a number but says `saturated` (`total_output_throughput`, `output_throughput_per_gpu`) are
served by as many sequences at a time as the engine and its KV cache hold, each replaced when it is done. So they are a
closed loop of that many users, and the rate is Little's: output tokens of all of them over the mean time of a request.

Rows of a data set whose lengths are not stated in numbers cannot be predicted, and are skipped with that reason.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from archsim.errors import InputError, Problem
from archsim.serving.closed_loop import replay_closed_loop, steady
from archsim.serving.servers import ServerGroup
from archsim.units import PS_PER_S
from archsim.validation.machines import Machine, Request, machine
from archsim.validation.origin import Origin, of_iterations
from archsim.validation.table import Record, whole
from archsim.workload.closed_loop import ClosedLoop

__all__ = ["Saturated", "is_saturated", "runtime_of", "saturate"]

_PER_GPU = "output_throughput_per_gpu"
_METRICS = frozenset({"total_output_throughput", _PER_GPU, "serving_throughput"})
_MAX_BATCH = 2048
"""TensorRT-LLM's default `max_batch_size`, which its benchmark of throughput may raise."""
_ROUNDS = 2
_TRTLLM = "trtllm-2025"


class Saturated(NamedTuple):
    """Tokens a second, and what the time behind them is made of."""

    tokens_per_s: float
    origin: Origin


def is_saturated(record: Record) -> bool:
    """Return whether *record* is of a server's throughput."""
    return record["metric"] in _METRICS


def runtime_of(record: Record) -> str:
    """Return the runtime of a saturated server's engine; empty for the system's own."""
    return _TRTLLM if "tensorrt-llm" in f"{record.get('source', '')} {record.get('notes', '')}".casefold() else ""


def saturate(record: Record, precision: str, settings: tuple[str, ...]) -> Saturated:
    """Return the rate of *record*. Raises `InputError` where its lengths are not numbers, or nothing fits."""
    prompt, output, chips = (whole(record, column) for column in ("input_len", "output_len", "chips"))
    if not prompt or not output or not chips:
        said = f"{record['input_len']}/{record['output_len']}"
        raise InputError(
            Problem("", "lengths", said, "prompt, output and chips in numbers: a data set's are not stated")
        )
    request = Request(record["system"], record["model"], precision, chips, runtime_of(record), settings=settings)
    made = machine(request)
    rate, origin = _rate(made, prompt, output, whole(record, "batch"))
    return Saturated(rate / chips if record["metric"] == _PER_GPU else rate, origin)


def _rate(made: Machine, prompt: int, output: int, slots: int | None) -> tuple[float, Origin]:
    limits = replace(made.limits(prompt + output), max_batch=slots or _MAX_BATCH)
    held = limits.kv_blocks // limits.blocks_for(prompt + output)
    users = min(limits.max_batch, held)
    if not users:
        raise InputError(Problem("", "context", str(prompt + output), "a sequence that the KV cache holds"))
    loop = ClosedLoop(users, prompt, output, _ROUNDS)
    record = replay_closed_loop(loop, ServerGroup(made.costs, limits, policy=made.spec.runtime.scheduler)).record
    chosen = steady(record.requests, loop)
    taken_ps = (record.requests.finish_ps - record.requests.arrival_ps)[chosen]
    weights: dict[int, int] = {}
    for use in record.total.phases.values():
        for knot, weight in use.weights.items():
            weights[knot] = weights.get(knot, 0) + weight
    origin = of_iterations(made, weights, sequences=float(users), measure="e2e")
    return users * output * PS_PER_S / float(np.mean(taken_ps)), origin
