"""Decode, prefill and end to end against silicon: rows of `system, chips, model, precision, batch, ..., metric, value`.

A row's names pick a system, a model and the runtime of its engine. Decode rows are the mean of the iterations between
the first and the last output token; end-to-end rows are a batch of requests that arrive together, replayed; both on
the same step costs. What is not a time or a rate (power, MFU), or has no model, is skipped with the reason. Without a
file the suite compares with published figures (`published.py`). Rows of the same columns that are of one operation are
read by `operator_rows`, those of a saturated server by `saturated`, and a table of fitted formulas by `fits`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from archsim.errors import ArchsimError
from archsim.validation.fits import COLUMNS as FITTED
from archsim.validation.fits import fitted_rows
from archsim.validation.machines import Machine, Request, machine, precision_of
from archsim.validation.network import Row, row
from archsim.validation.operator_rows import is_operation, operate
from archsim.validation.origin import Origin, of_iterations, of_kernel
from archsim.validation.published import DECODE
from archsim.validation.saturated import is_saturated, runtime_of, saturate
from archsim.validation.selection import ALL, Selection
from archsim.validation.table import MOST_CONTEXT, MOST_SEQUENCES, Record, columns_of, number, read_table, whole

__all__ = ["COLUMNS", "FITTED", "Shape", "identity_of", "request_of", "shape_of", "suite"]

COLUMNS = ("system", "chips", "model", "precision", "batch", "input_len", "output_len", "metric", "value")
"""The columns that the schema needs; `notes` and `source` say the engine where they are there."""

_ENGINES = (
    ("gpt-fast", "gpt-fast"),
    ("splitwise", "eager-2023"),
    ("transformers neuronx", "neuron-2024"),
    ("tensorrt-llm", "trtllm-2024"),
    ("vllm", "vllm-2024"),
    ("2211.05102", "xla-tpu-2022"),
    ("pope et al", "xla-tpu-2022"),
)
"""Part of a row's source or notes -> runtime; the first that fits, else the system's own."""
_PIPELINED = "gpu-benchmarks-on-llm-inference"
"""llama.cpp gives each chip a run of layers."""
_CORES = {"neuron-2024": 2}
"""Runtimes that cut by cores: how many a chip has (NeuronCore-v2). Their caches are static, compiled for the prompt and
the output of a row."""
_PLANAR = frozenset({"xla-tpu-2022"})
"""Runtimes that cut matrices by both dimensions (Pope et al. 2022)."""


_DECODE_ALONE = ("runtime.max_prefill_tokens=8192",)
"""What a slice that only decodes sets aside: Pope et al. run prompts on another, whose buffers are those of a batch."""

_WHOLE_RUN = 0.9
"""Share of pace x output below which a run has not made all its tokens: generation ends at the end of the text."""


class Shape(NamedTuple):
    """What is run: sequences, prompt and output tokens of each."""

    batch: int
    prompt: int
    output: int


def _steps(shape: Shape) -> int:
    return max(shape.output - 1, 1)


def _mean_decode_s(made: Machine, shape: Shape) -> float:
    return made.decode_s(shape.batch, shape.prompt + 1, _steps(shape))


def _middle_decode_s(made: Machine, shape: Shape) -> float:
    return made.decode_s(shape.batch, shape.prompt + shape.output // 2)


def _last_decode_s(made: Machine, shape: Shape) -> float:
    return made.decode_s(shape.batch, shape.prompt + shape.output)


def _prefill_s(made: Machine, shape: Shape) -> float:
    return made.prefill_s(shape.batch, shape.prompt)


def _end_to_end_s(made: Machine, shape: Shape) -> float:
    return made.end_to_end_s(shape.batch, shape.prompt, shape.output)


def _weight_bytes_per_s(made: Machine, shape: Shape) -> float:
    return made.placement.weight_bytes_per_chip / _mean_decode_s(made, shape)


_METRICS: dict[str, Callable[[Machine, Shape], float]] = {
    "decode_tokens_per_s": lambda made, shape: shape.batch / _mean_decode_s(made, shape),
    "decode_time_per_token": _mean_decode_s,
    "decode_latency_per_token": _mean_decode_s,
    "tpot_p50": _middle_decode_s,
    "tpot_p99": _last_decode_s,
    "achieved_weight_bandwidth_per_chip": _weight_bytes_per_s,
    "prefill_time": _prefill_s,
    "ttft_p50": _prefill_s,
    "prefill_tokens_per_s": lambda made, shape: shape.batch * shape.prompt / _prefill_s(made, shape),
    "e2e_time": _end_to_end_s,
    "e2e_latency": _end_to_end_s,
    "output_throughput": lambda made, shape: shape.batch * shape.output / _end_to_end_s(made, shape),
    "total_throughput_in_plus_out": lambda made, shape: (
        shape.batch * (shape.prompt + shape.output) / _end_to_end_s(made, shape)
    ),
}
"""Metric -> prediction in seconds or a rate per second."""
_MEASURES = {
    "e2e_time": "e2e",
    "e2e_latency": "e2e",
    "output_throughput": "e2e",
    "total_throughput_in_plus_out": "e2e",
}
"""Metric of whole requests -> that it is one; others are of prompts or of decode."""
_OF_TOKENS = frozenset(
    {"decode_tokens_per_s", "decode_time_per_token", "decode_latency_per_token", "tpot_p50", "tpot_p99"}
)
"""Metrics that say how long an iteration takes, in which every weight is read."""
_OF_PROMPTS = ("prefill", "latency_prefill", "ttft")
_UNITS = {"ms": 1e3, "ms/token": 1e3, "us": 1e6, "s": 1.0, "GB/s": 1e-9, "TB/s": 1e-12}
"""Unit of the row -> what a prediction in seconds or bytes per second is multiplied by; others are rates per second."""
_DEFAULT_OUTPUT = {"gpt-fast": 200}
"""Tokens generated where the row leaves it to its harness: gpt-fast generates 200 by default."""


def suite(reference: Path | None, selection: Selection = ALL) -> list[Row]:
    """Return one row a measurement of the *selection*. Raises `InputError` for a file of another schema."""
    if reference is not None and set(FITTED) <= set(columns_of(reference)):
        return list(fitted_rows(selection.of(read_table(reference, FITTED)), selection.settings))
    records: Iterable[Record] = DECODE if reference is None else read_table(reference, COLUMNS)
    return list(_rows(selection.of(records), selection.settings))


def _rows(records: Iterable[Record], settings: tuple[str, ...]) -> Iterator[Row]:
    held = list(records)
    paces = {_run(record): number(record, "value") for record in held if record["metric"] == "decode_time_per_token"}
    for record in held:
        expected = number(record, "value")
        predicted, reason, origin = _predict(record, settings)
        if record["metric"] == "e2e_time" and _ended_early(record, paces.get(_run(record))):
            predicted, reason = None, "ended before its stated output: shorter than its own decode time a token allows"
        yield row(identity_of(record), record["metric"], expected, predicted, reason, origin=origin)


def _run(record: Record) -> tuple[str, ...]:
    """Return what names the run that several metrics of a table belong to."""
    return tuple(
        record[column] for column in ("system", "chips", "model", "precision", "batch", "input_len", "output_len")
    )


def _ended_early(record: Record, pace: float | None) -> bool:
    """Return whether a run of *pace* (time a token, in the row's unit) took too short for the output it states."""
    taken, output = number(record, "value"), whole(record, "output_len")
    return bool(pace and taken and output and taken < _WHOLE_RUN * pace * output)


def identity_of(record: Record) -> str:
    """Return what a report calls the row *record*."""
    engine = runtime_of(record) if is_saturated(record) else _runtime(record)
    lengths = f"{record['input_len'] or '-'}/{record['output_len'] or '-'}"
    return (
        f"{record['system']} x{record['chips']} {record['model']} {record['precision']} batch {record['batch'] or '-'} "
        f"{lengths} {record['metric']}" + (f" [{engine}]" if engine else "")
    )


def _runtime(record: Record) -> str:
    words = f"{record.get('source', '')} {record.get('notes', '')}".casefold()
    return next((runtime for part, runtime in _ENGINES if part in words), "")


Found = tuple[float | None, str | None, Origin | None]
"""A prediction in the row's unit and its origin; or None, why there is none, and None."""


def _predict(record: Record, settings: tuple[str, ...]) -> Found:
    try:
        if is_operation(record):
            return _operation(record, settings)
        return _saturation(record, settings) if is_saturated(record) else _iterations(record, settings)
    except ArchsimError as error:
        return None, str(error), None


def _iterations(record: Record, settings: tuple[str, ...]) -> Found:
    """Return the prediction of a row whose time is that of iterations."""
    metric, precision = _metric(record["metric"]), precision_of(record["precision"])
    shape, chips = shape_of(record), whole(record, "chips")
    if metric is None:
        return None, _other(record["metric"]), None
    if precision is None:
        return None, _unknown_precision(record), None
    if shape is None or not chips:
        return None, "chips, batch or lengths are not stated as numbers", None
    request = request_of(record, precision, chips)
    made = machine(replace(request, settings=(*request.settings, *settings)))
    if reason := _impossible(made, shape, record):
        return None, reason, None
    value, origin = metric(made, shape), _origin(made, shape, record["metric"])
    return value * _UNITS.get(record.get("unit", ""), 1.0), None, origin


def _operation(record: Record, settings: tuple[str, ...]) -> Found:
    done = operate(record, settings)
    origin = None if done.record is None else of_kernel(done.watched.system, done.record, record["precision"])
    return done.value, None, origin


def _saturation(record: Record, settings: tuple[str, ...]) -> Found:
    precision = precision_of(record["precision"])
    if precision is None:
        return None, _unknown_precision(record), None
    found = saturate(record, precision, settings)
    return found.tokens_per_s, None, found.origin


def _unknown_precision(record: Record) -> str:
    return f"no model of the precision {record['precision']!r}"


def _other(metric: str) -> str:
    """Return what *metric* is, which is no time and no rate that this suite predicts."""
    return next((why for part, why in _OTHERS if part in metric), _OTHERS[-1][1])


_OTHERS = (
    ("power", "a power: `archsim validate power` compares it"),
    ("mfu", "a share of a peak: its time stands in a row beside it"),
    ("max_context", "a capacity, no time and no rate"),
    ("per_user", "a claim without lengths: `archsim validate claims` compares it"),
    ("throughput", "a claim without lengths: `archsim validate claims` compares it"),
    ("", "not a time or a rate of decode, prefill or a whole request"),
)
"""Part of a metric -> what it is; the first that fits."""


def _impossible(made: Machine, shape: Shape, record: Record) -> str | None:
    """Return why no chip can have done what *record* says: all weights read faster than the memory can."""
    value, name = number(record, "value"), record["metric"]
    weights, memory = made.placement.weight_bytes_per_chip, made.spec.chip.memory[made.spec.chip.main_memory]
    caches = sum(cache.capacity_bytes for cache in made.spec.chip.cache.values())
    if not value or name not in _OF_TOKENS or made.model.experts or weights <= caches:
        return None
    step_s = shape.batch / value if name.endswith("_per_s") else value / _UNITS.get(record.get("unit", ""), 1.0)
    rate = weights / step_s
    if rate <= memory.peak_bytes_per_s:
        return None
    return f"impossible: weights read at {rate / 1e12:.2f} TB/s a chip, beyond the memory's peak and the last cache"


def _origin(made: Machine, shape: Shape, metric: str) -> Origin:
    """Return what the time behind *metric* is made of; that of a decode at its middle token."""
    measure = "ttft" if metric.startswith(_OF_PROMPTS) else _MEASURES.get(metric, "tpot")
    if measure == "tpot":
        attended = shape.batch * made.model.reach.attended(shape.prompt + max(shape.output // 2, 1))
        weights = dict(made.costs.decode(shape.batch, attended, 1).knots)
    else:
        output = 1 if measure == "ttft" else shape.output
        phases = made.served(shape.batch, shape.prompt, output).total.phases.values()
        weights = {}
        for use in phases:
            for knot, weight in use.weights.items():
                weights[knot] = weights.get(knot, 0) + weight
    return of_iterations(made, weights, sequences=shape.batch, measure=measure)


def _metric(name: str) -> Callable[[Machine, Shape], float] | None:
    """Return what predicts the metric *name*, or None for what is no time and no rate."""
    if decoded := re.fullmatch(r"latency_decode_(\d+)_tokens", name):
        return lambda made, shape: int(decoded[1]) * _mean_decode_s(made, shape)
    if re.fullmatch(r"latency_prefill_\d+", name):
        return _prefill_s
    return _METRICS.get(name)


def shape_of(record: Record) -> Shape | None:
    """Return what *record* runs; None where batch or lengths are not stated."""
    batch = whole(record, "batch")
    prompt, output = whole(record, "input_len"), whole(record, "output_len")
    if record["metric"].startswith(_OF_PROMPTS):
        # llama-bench calls the tokens that it hands over together its batch; they are one prompt.
        batch = 1 if batch == prompt and record["metric"] == "prefill_tokens_per_s" else batch
        output = 1
    output = _DEFAULT_OUTPUT.get(_runtime(record)) if output is None else output
    if not batch or prompt is None or not output or batch > MOST_SEQUENCES or prompt + output > MOST_CONTEXT:
        return None
    return Shape(batch, prompt, output)


def request_of(record: Record, precision: str, chips: int) -> Request:
    """Return the machine that *record* names."""
    runtime = _runtime(record)
    shape, cores = shape_of(record), _CORES.get(runtime, 1)
    pipelined = _PIPELINED in record.get("source", "").casefold() and chips > 1
    return Request(
        system=record["system"],
        model=re.sub(r"\s*\(.*\)$", "", record["model"]),
        precision=precision,
        chips=chips,
        runtime=runtime,
        parallelism=f"pp={chips}" if pipelined else f"tp={chips},layout=2d" if runtime in _PLANAR else "",
        padded=runtime in _CORES or record["model"].startswith("PaLM"),
        cores=cores,
        cache_tokens=shape.prompt + shape.output if shape and runtime in _CORES else 0,
        settings=_DECODE_ALONE if runtime in _PLANAR and record["metric"].startswith("latency_decode") else (),
    )
