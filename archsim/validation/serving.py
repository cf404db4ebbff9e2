"""Serving under load against silicon: closed loops at a stated concurrency, and replays of real request lists.

A row of a concurrency table (`model, gpu_system, ..., concurrency, ..., measured_tpot_ms`) is a closed loop of as many
users (`serving.closed_loop`); its time per output token contains the prefills of the others, as the measured one does.
A row without a concurrency is skipped: its batch a rank is what the engine may hold, and not what it served (Qwen3-32B
on two H100 with 48 sequences of 4,500 tokens would read 44 GB of weights and caches a chip in 11.6 ms). All users of a
benchmark start at once and send ten requests each (InferenceX: `--num-prompts` is ten times the concurrency), so a
tenth of the requests wait in the first wave: TTFT is the mean over that wave and nine more.
A request list of a vLLM benchmark (`request_id, input_toks, output_toks, arrival_s, ..., last_token_s`, beside it a
`*_meta.json`) is replayed request by request. Without a file the suite compares with published figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from archsim.errors import ArchsimError, InputError, Problem
from archsim.files import read_json
from archsim.hardware.library import load_system
from archsim.serving.closed_loop import replay_closed_loop, steady
from archsim.serving.record import Record as Replayed
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival
from archsim.serving.servers import ServerGroup
from archsim.units import PS_PER_S
from archsim.validation.machines import Machine, Request, machine
from archsim.validation.network import Row, row
from archsim.validation.origin import Origin, of_iterations
from archsim.validation.published import SERVING
from archsim.validation.selection import ALL, Selection
from archsim.validation.table import MOST_CONTEXT, MOST_SEQUENCES, Record, columns_of, number, read_table, whole
from archsim.workload.closed_loop import ClosedLoop

__all__ = ["CLOSED", "LISTED", "suite"]

CLOSED = ("model", "gpu_system", "weight_precision", "engine", "input_tokens", "output_tokens", "concurrency",
          "tensor_parallel", "measured_tpot_ms")  # fmt: skip
"""Columns of a table of closed loops."""
LISTED = ("request_id", "input_toks", "output_toks", "arrival_s", "first_token_s", "last_token_s")
"""Columns of a list of requests with the times at which their tokens came."""

_ENGINES = (("trt", "trtllm-2025"), ("tensorrt", "trtllm-2025"), ("vllm", "vllm-2025"), ("sglang", "sglang-2025"))
"""Part of an engine's name -> runtime; a system whose own runtime is of that engine keeps it."""
_PRECISIONS = {
    "": "w16a16kv16",
    "bf16": "w16a16kv16",
    "bfloat16": "w16a16kv16",
    "fp16": "w16a16kv16",
    "float16": "w16a16kv16",
    "fp8": "w8a8kv16",
    "fp8_block": "w8a8kv16",
    "nvfp4": "wnvfp4a4kv16",
    "fp4": "wnvfp4a4kv16",
    "mxfp4": "wmxfp4a16kv16",
    "w4a16_mxfp4": "wmxfp4a16kv16",
    "int8_wo": "w8a16kv16",
    "int4_wo": "w4g128a16kv16",
}
"""Types of weights -> archsim's; the table says nothing of the cache, which engines keep in 16 bits unless told."""
_TOGETHER = frozenset({"sglang-2025"})
"""Runtimes whose rows are of users who started together: their TTFT is that of all prompts one after the other."""
_ROUNDS = 2
_WAVES = 10
"""Requests of each user of a benchmark."""


def suite(reference: Path | None, selection: Selection = ALL) -> list[Row]:
    """Return two rows a closed loop (TPOT, TTFT) of the *selection*, or those of a whole list.

    Raises `InputError` for another schema.
    """
    if reference is None:
        return list(_closed_rows(selection.of(SERVING), selection.settings))
    columns = columns_of(reference)
    if set(LISTED) <= set(columns):
        return list(_list_rows(reference))
    return list(_closed_rows(selection.of(read_table(reference, CLOSED)), selection.settings))


def _closed_rows(records: Iterable[Record], settings: tuple[str, ...]) -> Iterator[Row]:
    for record in records:
        name = (
            f"{record['gpu_system']} x{_chips(record)} {record['model']} "
            f"{record['weight_precision'] or 'bf16'} {record['engine']} concurrency {record['concurrency'] or '-'} "
            f"{record['input_tokens']}/{record['output_tokens']}"
        )
        predicted, reason = _closed(record, settings)
        for place, metric in enumerate(("tpot", "ttft")):
            expected = number(record, f"measured_{metric}_ms")
            value = None if predicted is None else predicted.times_ms[place]
            origin = None if predicted is None else predicted.origin | {"measure": metric}
            yield row(f"{name} {metric}_ms", f"{metric} {record['engine']}", expected, value, reason, origin=origin)


class _Served(NamedTuple):
    """What a replay gave."""

    times_ms: tuple[float, float]
    """TPOT and TTFT."""
    origin: Origin
    output_tokens_per_s: float


def _closed(record: Record, settings: tuple[str, ...]) -> tuple[_Served | None, str | None]:
    """Return what the loop of *record* gave, or None and why there is none."""
    engine, kind = record["engine"].casefold(), record["weight_precision"].casefold()
    runtime = next((name for part, name in _ENGINES if part in engine), None)
    if runtime is None or kind not in _PRECISIONS:
        return None, f"no model of the engine {engine} or of the precision {kind}"
    sizes = [whole(record, key) for key in ("concurrency", "input_tokens", "output_tokens", "tensor_parallel")]
    if not sizes[0]:
        return None, "concurrency is not stated: a batch a rank is what the engine may hold, not what it served"
    if None in sizes or 0 in sizes:
        return None, "lengths or tensor parallelism are not stated"
    users, prompt, output, ranks = (size or 0 for size in sizes)
    if users > MOST_SEQUENCES or prompt + output > MOST_CONTEXT:
        return None, f"more than {MOST_SEQUENCES:,} users or {MOST_CONTEXT:,} tokens"
    try:
        request = _request(record, ranks, runtime, settings)
        return _loop_ms(request, ClosedLoop(users, prompt, output, _ROUNDS, runtime in _TOGETHER)), None
    except ArchsimError as error:
        return None, str(error)


def _chips(record: Record) -> int:
    """Return the ranks of all stages and attention groups; 0 where they are not stated."""
    ranks = whole(record, "tensor_parallel") or 0
    return ranks * (whole(record, "pipeline_parallel") or 1) * (whole(record, "attention_data_parallel") or 1)


def _request(record: Record, ranks: int, runtime: str, settings: tuple[str, ...]) -> Request:
    """Return the machine of *record*. Raises `InputError` for a cut that is not modelled."""
    system = record["gpu_system"]
    own = load_system(system).runtime.name
    stages, groups, slices, parts = (
        whole(record, key) or 1
        for key in ("pipeline_parallel", "attention_data_parallel", "moe_tensor_parallel", "moe_expert_parallel")
    )
    if groups > 1 and slices > 1:
        expected = "experts whole on ranks where attention groups share them"
        raise InputError(Problem("", "moe_tensor_parallel", str(slices), expected))
    ways = "" if stages == groups == parts == 1 else f"tp={ranks},pp={stages},dp={groups},ep={max(groups, parts)}"
    return Request(
        system=system,
        model=record["model"],
        precision=_PRECISIONS[record["weight_precision"].casefold()],
        chips=_chips(record),
        runtime="" if own.partition("-")[0] == runtime.partition("-")[0] else runtime,
        parallelism=ways,
        settings=settings,
    )


@cache
def _loop_ms(request: Request, loop: ClosedLoop) -> _Served:
    made = machine(request)
    limits = made.limits(loop.prompt_tokens + loop.output_tokens)
    fleet = replay_closed_loop(loop, ServerGroup(made.costs, limits, policy=made.spec.runtime.scheduler))
    requests = fleet.record.requests
    served = _served(made, fleet.record, steady(requests, loop))
    if loop.together:
        return served
    first = _times_ms(requests, np.arange(len(requests.arrival_ps)) < loop.users)[1]
    tpot, later = served.times_ms
    return served._replace(times_ms=(tpot, (first + (_WAVES - 1) * later) / _WAVES))


def _served(made: Machine, record: Replayed, chosen: Any) -> _Served:
    """Return the times of the *chosen* requests; the origin is that of all iterations with any decode."""
    weights: dict[int, int] = {}
    for phase in ("decode", "mixed"):
        if phase in record.total.phases:
            for knot, weight in record.total.phases[phase].weights.items():
                weights[knot] = weights.get(knot, 0) + weight
    origin = of_iterations(made, weights, sequences=record.mean_batch or 1.0, measure="tpot")
    rate = float(record.requests.output_tokens.sum() / (record.requests.finish_ps.max() / PS_PER_S))
    return _Served(_times_ms(record.requests, chosen), origin, rate)


def _times_ms(requests: Any, chosen: Any) -> tuple[float, float]:
    """Return the means of TPOT (over requests of two tokens and more) and TTFT of the chosen requests, in ms."""
    chosen = chosen & (requests.finish_ps >= 0)
    tokens = requests.output_tokens[chosen] - 1
    spans = (requests.finish_ps - requests.first_token_ps)[chosen]
    waits = (requests.first_token_ps - requests.arrival_ps)[chosen]
    several = tokens > 0
    each = spans[several] / tokens[several]
    scale = 1000 / PS_PER_S
    return float(np.mean(each)) * scale if several.any() else 0.0, float(np.mean(waits)) * scale


def _list_rows(reference: Path) -> Iterator[Row]:
    records = list(read_table(reference, LISTED))
    measured = {key: np.array([number(record, key) or 0.0 for record in records]) for key in LISTED[1:]}
    name = reference.stem.removesuffix("_requests")
    try:
        found: _Served | None = _replayed(_listed_machine(reference), measured)
        reason = None
    except ArchsimError as error:
        found, reason = None, str(error)
    values = None if found is None else (*found.times_ms, found.output_tokens_per_s)
    several = measured["output_toks"] > 1
    spans = (measured["last_token_s"] - measured["first_token_s"])[several] / (measured["output_toks"][several] - 1)
    expected = {
        "tpot_ms": float(np.mean(spans)) * 1000,
        "ttft_ms": float(np.mean(measured["first_token_s"] - measured["arrival_s"])) * 1000,
        "output_tokens_per_s": float(measured["output_toks"].sum() / measured["last_token_s"].max()),
    }
    for place, (metric, value) in enumerate(expected.items()):
        origin = None if found is None else found.origin | {"measure": metric.removesuffix("_ms")}
        predicted = None if values is None else values[place]
        yield row(f"{name} {metric}", metric, value, predicted, reason, origin=origin)


def _listed_machine(reference: Path) -> Machine:
    path = reference.with_name(reference.name.replace("_requests.csv", "_meta.json"))
    said = read_json(path)
    arguments = said.get("engine_kwargs") if isinstance(said, dict) else None
    if not isinstance(arguments, dict):
        raise InputError(Problem(str(path), "engine_kwargs", "", "the arguments of the engine"))
    chips = arguments.get("tensor_parallel_size", 1)
    system = reference.name.partition("_")[0] + (" PCIe" if chips != 1 else "")
    precision = _PRECISIONS.get(str(arguments.get("dtype")), "w16a16kv16")
    made = machine(Request(system, str(said.get("model")), precision, int(chips)))
    limits = {"max_batch": arguments.get("max_num_seqs"), "max_prefill_tokens": arguments.get("max_num_batched_tokens")}
    runtime = made.spec.runtime.model_copy(update={key: value for key, value in limits.items() if value})
    return replace(made, spec=made.spec.model_copy(update={"runtime": runtime}))


def _replayed(made: Machine, measured: dict[str, Any]) -> _Served:
    arrivals = [
        Arrival(round(at * PS_PER_S), int(prompt), int(output))
        for at, prompt, output in zip(
            measured["arrival_s"], measured["input_toks"], measured["output_toks"], strict=True
        )
    ]
    record = replay(sorted(arrivals), made.costs, limits=made.limits(0), policy=made.spec.runtime.scheduler)
    return _served(made, record, record.requests.finish_ps >= 0)
