"""Single operations in the columns of the decode schema: products, streams, and the operators of one layer.

A row's metric says what was timed, its model what it was timed on: `matmul_time` and `max_achievable_matmul_tflops` of
a product (`matmul M=64 N=12288 K=12288`, `best-shape matmul 1024x10240x5120`), `achieved_*_bandwidth` of a stream or of
a product of one row, `op_time_*` and `layer_time_total` of one layer of a model, cut over the row's chips. All run on
the step floor under the runtime of single kernels (`kernel_tasks`); a layer's all-reduces are those of the library that
the row's source timed.

Best shapes that are not stated are taken as large ones (8,192 rows, 16,384 columns and inner size): what a search over
shapes ends near. Rows of a layer were timed in eager PyTorch, an operator at a time; its host is not modelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

from archsim.errors import InputError, Problem
from archsim.mapping.plan import Task
from archsim.step.record import StepRecord
from archsim.validation.collectives import Measurement, predict_us
from archsim.validation.kernel_tasks import Watched, bench, elementwise, matmul
from archsim.validation.table import Record, whole

__all__ = ["Operated", "is_operation", "operate"]

_RUNTIME = "trtllm-microbench"
_BEST = (8192, 16384, 16384)
_STREAM = 2**31
"""Bytes of a stream: beyond every cache. A test that does not say that it writes is taken to read."""
_NAMED = re.compile(r"M=(\d+) N=(\d+) K=(\d+)")
_SQUARE = re.compile(r"M=(\d+) N=K=(\d+)")
_TIMES = re.compile(r"\b(\d+)x(\d+)x(\d+)\b")
_METRICS = re.compile(
    r"matmul_time|max_achievable_matmul_tflops|achieved_(?:hbm|weight|memory)_bandwidth|op_time_\w+|layer_time_total"
)
_BITS = {
    "": 16,
    "bf16": 16,
    "fp16": 16,
    "bfloat16": 16,
    "float16": 16,
    "fp8": 8,
    "int8": 8,
    "int4": 4,
    "fp4": 4,
    "nvfp4": 4,
}
_SECONDS = {"us": 1e6, "ms": 1e3, "s": 1.0}
_RATES = {"TFLOPS": 1e-12, "TB/s": 1e-12, "GB/s": 1e-9, "GFLOPS": 1e-9}


class Operated(NamedTuple):
    """What an operation took, in the row's unit, and what was simulated for it."""

    value: float
    watched: Watched
    record: StepRecord | None
    """The longest kernel; None for a collective."""


def is_operation(record: Record) -> bool:
    """Return whether *record* is of a single operation, or of the operators of a layer."""
    return _METRICS.fullmatch(record["metric"]) is not None


def operate(record: Record, settings: tuple[str, ...]) -> Operated:
    """Return the prediction for *record*. Raises `InputError` where it does not state what was timed."""
    bits = _BITS.get(record["precision"].casefold())
    if bits is None:
        raise InputError(Problem("", "precision", record["precision"], f"one of {', '.join(filter(None, _BITS))}"))
    made = Watched(bench(record["system"], _RUNTIME, settings).system)
    metric, unit = record["metric"], record.get("unit", "")
    if metric.startswith(("op_time_", "layer_time_")):
        seconds = _layer_s(made, record)
    elif metric.startswith("achieved_"):
        moved, seconds = _streamed(made, record, bits)
        return _operated(moved / seconds * _scale(unit, _RATES), made)
    else:
        shape = _shape(record["model"])
        seconds = matmul(made, shape, weight_bits=Fraction(bits), bits=bits)
        if metric.endswith("_tflops"):
            return _operated(2 * shape[0] * shape[1] * shape[2] / seconds * _scale(unit, _RATES), made)
    return _operated(seconds * _scale(unit, _SECONDS), made)


def _operated(value: float, made: Watched) -> Operated:
    return Operated(value, made, max(made.kept, key=lambda record: record.time_ps, default=None))


def _scale(unit: str, known: Mapping[str, float]) -> float:
    if unit not in known:
        raise InputError(Problem("", "unit", unit, f"one of {', '.join(known)}"))
    return known[unit]


def _shape(model: str) -> tuple[int, int, int]:
    """Return M, N and K of the product that *model* names; a large one where it names none."""
    if match := _NAMED.search(model) or _TIMES.search(model):
        return int(match[1]), int(match[2]), int(match[3])
    if match := _SQUARE.search(model):
        return int(match[1]), int(match[2]), int(match[2])
    if model.strip() == "best-shape matmul":
        return _BEST
    raise InputError(Problem("", "model", model, "a product and its sizes, such as matmul M=64 N=12288 K=12288"))


def _streamed(made: Watched, record: Record, bits: int) -> tuple[float, float]:
    """Return bytes moved and seconds: of the weights of a product, or of a stream that is read."""
    if re.search(r"(?i)gem[mv]", record["model"]):
        shape = _shape(record["model"])
        seconds = matmul(made, shape, weight_bits=Fraction(bits), bits=bits)
        return shape[1] * shape[2] * bits / 8, seconds
    if not re.search(r"(?i)stream|bandwidth", record["model"]):
        raise InputError(
            Problem("", "model", record["model"], "a stream, a bandwidth test, or a product and its sizes")
        )
    return float(_STREAM), made.time_s((Task("stream", (made.read("stream", _STREAM),)),))


class _Layer(NamedTuple):
    """One layer of a model of multi-head attention and a plain MLP of four times its width, on one of its ranks."""

    rows: int
    width: int
    heads: int
    ranks: int
    batch: int
    queries: int
    """Tokens of each sequence that attend."""
    context: int
    chip: str

    @property
    def share(self) -> int:
        """Width of one rank."""
        return self.width // self.ranks

    @property
    def head(self) -> int:
        """Width of a head."""
        return self.width // self.heads


_PAIR = 16
"""Bits of an element."""


def _layer_s(made: Watched, record: Record) -> float:
    layer = _layer(record)
    name = record["metric"].removeprefix("op_time_")
    if name == "layer_time_total":
        return sum(operator(made, layer) for operator in _OPERATORS.values())
    if name not in _OPERATORS:
        raise InputError(Problem("", "metric", record["metric"], f"op_time_ and one of {', '.join(_OPERATORS)}"))
    return _OPERATORS[name](made, layer)


def _layer(record: Record) -> _Layer:
    """Return the layer that *record* names: a decode step after its output where there is one, else its prompt."""
    sizes = re.search(r"d_model (\d+), (\d+) heads", record["model"])
    numbers = [whole(record, column) for column in ("chips", "batch", "input_len", "output_len")]
    if sizes is None or None in numbers or 0 in numbers[:3]:
        raise InputError(Problem("", "model", record["model"], "d_model and heads of a layer; chips, batch, lengths"))
    ranks, batch, prompt, output = (number or 0 for number in numbers)
    width, heads = int(sizes[1]), int(sizes[2])
    if width % ranks or heads % ranks or not heads or width % heads:
        raise InputError(Problem("", "chips", str(ranks), f"a divisor of {width} and of {heads} heads"))
    queries = 1 if output else prompt
    return _Layer(batch * queries, width, heads, ranks, batch, queries, prompt + output, record["system"])


def _product(made: Watched, rows: int, columns: int, inner: int) -> float:
    return matmul(made, (rows, columns, inner), weight_bits=Fraction(_PAIR), bits=_PAIR)


def _projections(made: Watched, layer: _Layer) -> float:
    """Three products: a rank's queries, keys and values, each on its own (LLMCompass, transformer.py)."""
    return 3 * _product(made, layer.rows, layer.share, layer.width)


def _pairs(layer: _Layer) -> int:
    return layer.batch * layer.heads // layer.ranks * layer.queries * layer.context


def _scores(made: Watched, layer: _Layer) -> float:
    """Queries by keys: a batched product whose stored matrices are the caches of all heads."""
    return _product(made, layer.queries, layer.batch * layer.heads // layer.ranks * layer.context, layer.head)


def _values(made: Watched, layer: _Layer) -> float:
    """Scores by values: as many bytes and operations as queries by keys, scores read in place of written."""
    return _scores(made, layer)


def _reduced(_made: Watched, layer: _Layer) -> float:
    size = layer.rows * layer.width * _PAIR // 8
    measured = Measurement(layer.chip, "NVLink", "all_reduce", "NCCL (LLMCompass measurement)", layer.ranks, size, 0.0)
    microseconds, why = predict_us(measured)
    if microseconds is None:
        raise InputError(Problem("", "all_reduce", layer.chip, why or "a fabric"))
    return microseconds * 1e-6


def _norm(made: Watched, layer: _Layer) -> float:
    return elementwise(made, layer.rows * layer.width, operations=8, bits=_PAIR)


_OPERATORS: dict[str, Callable[[Watched, _Layer], float]] = {
    "Q_K_V": _projections,
    "Q_mul_K": _scores,
    "A_mul_V": _values,
    "Wo_proj": lambda made, layer: _product(made, layer.rows, layer.width, layer.share),
    "W1_proj": lambda made, layer: _product(made, layer.rows, 4 * layer.share, layer.width),
    "W2_proj": lambda made, layer: _product(made, layer.rows, layer.width, 4 * layer.share),
    "Softmax": lambda made, layer: elementwise(made, _pairs(layer), operations=5, bits=_PAIR),
    "LayerNorm_MHA": _norm,
    "LayerNorm_FFN": _norm,
    "GeLU": lambda made, layer: elementwise(made, layer.rows * 4 * layer.share, operations=10, bits=_PAIR),
    "AllReduce_MHA": _reduced,
    "AllReduce_FFN": _reduced,
}
"""Operators of LLMCompass's layer -> seconds."""
