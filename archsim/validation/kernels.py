"""Single kernels against silicon: products, decode attention, layers of experts, elementwise operators.

The schema is told from the columns. A row is the time of one operation on one chip, predicted by the step floor under
a runtime that launches kernel by kernel (`kernel_tasks`). How many small kernels belong to an operation is a fact
about the library that was timed, `_EXTRA`. Layers of models as profilers time them are read by `layer_kernels`. Rows
faster than the memory's peak whose operands exceed the last cache are refused: no chip does that. Without a file the
suite compares with published figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from archsim.errors import ArchsimError, InputError, Problem
from archsim.validation.kernel_question import Question, positive, unanswered
from archsim.validation.kernel_tasks import (
    Cut,
    Heads,
    Mixture,
    Watched,
    attention,
    bench,
    elementwise,
    experts,
    latent_attention,
    matmul,
    trtllm_cut,
)
from archsim.validation.layer_kernels import LAYERS
from archsim.validation.network import Row, row
from archsim.validation.origin import Origin, of_kernel
from archsim.validation.published import KERNELS
from archsim.validation.routing import touched_experts
from archsim.validation.selection import ALL, Selection
from archsim.validation.table import Record, columns_of, number, read_table, whole
from archsim.workload.latent import Latent

__all__ = ["SCHEMAS", "suite"]

_RUNTIME = "trtllm-microbench"
_TIMES = re.compile("source|(latency|time)_us|.*_(median|std)_ms|(median|std)_ms")
"""Columns that are not what a row asks."""


class _Type(NamedTuple):
    """How a reference's element type is stored and multiplied."""

    weight_bits: Fraction
    bits: int


_TYPES = {
    "bfloat16": _Type(Fraction(16), 16),
    "float16": _Type(Fraction(16), 16),
    "fp16": _Type(Fraction(16), 16),
    "bf16": _Type(Fraction(16), 16),
    "fp8": _Type(Fraction(8), 8),
    "fp8_block": _Type(Fraction(8), 8),
    "sq": _Type(Fraction(8), 8),
    "int8": _Type(Fraction(8), 8),
    "int8_wo": _Type(Fraction(8), 16),
    "int4_wo": _Type(4 + Fraction(16, 128), 16),
    "w4a16_mxfp4": _Type(4 + Fraction(8, 32), 16),
    "nvfp4": _Type(4 + Fraction(8, 16), 4),
}
"""A 16-bit scale every 128 weights, an 8-bit one every 32 (MXFP4) or 16 (NVFP4)."""
_LATENT = Latent(query_rank=1536, kv_rank=512, nope=128, rope=64, value=128)
"""DeepSeek-V3's, which the rows of latent attention were timed on."""
_EXTRA = {
    ("gemm", "fp8"): 2,
    ("gemm", "fp8_block"): 1,
    ("gemm", "sq"): 2,
    ("gemm", "int8_wo"): 2,
    ("gemm", "int4_wo"): 3,
    ("gemm", "nvfp4"): 2,
    ("attention", "trtllm", 16): 2,
    ("attention", "trtllm", 8): 1,
    ("attention", "vllm", 16): 3,
    ("mla", 16): 3,
    ("mla", 8): 3,
    ("experts", 16): 4,
    ("experts", 8): 5,
    ("experts", 4): 5,
    ("experts", "w4a16_mxfp4"): 20,
}
"""Small kernels beside the main one. Products: scale and quantise the input (per tensor two kernels, per block one), or
zero and add up split sums; attention: append and rotate, add up the parts (of latents
also to quantise or schedule); experts: sort, permute, activate, add up, and quantise what the second product takes;
Triton's for MXFP4 route and sort in 16 more."""
_TRITON = frozenset({"w4a16_mxfp4"})


def suite(reference: Path | None, selection: Selection = ALL) -> list[Row]:
    """Return one row a measurement of the *selection*. Raises `InputError` for a file of another schema."""
    if reference is None:
        return list(_rows(selection.of(KERNELS), _gemm_or_attention, selection.settings))
    columns = columns_of(reference)
    for needed, predict in SCHEMAS.items():
        if set(needed) <= set(columns):
            return list(_rows(selection.of(read_table(reference, needed)), predict, selection.settings))
    known = "; or ".join(", ".join(needed) for needed in SCHEMAS)
    raise InputError(Problem(str(reference), "header", ", ".join(columns), f"the columns {known}"))


def _rows(
    records: Iterable[Record], question_of: Callable[[Record], Question], settings: tuple[str, ...]
) -> Iterator[Row]:
    for record in records:
        names = " ".join(value for key, value in record.items() if not _TIMES.fullmatch(key))
        try:
            question = question_of(record)
        except (KeyError, ValueError):
            yield row(names, "unknown", None, None, "a cell is not what its column says")
            continue
        except ArchsimError as error:
            yield row(names, "unknown", None, None, str(error))
            continue
        predicted, reason, origin = _predict(question, settings)
        yield row(f"{names} latency_us", question.group, question.microseconds, predicted, reason, origin=origin)


def _predict(question: Question, settings: tuple[str, ...]) -> tuple[float | None, str | None, Origin | None]:
    if question.skipped or not question.microseconds:
        return None, question.skipped or "no time", None
    try:
        made = bench(question.system, _RUNTIME, (*question.settings, *settings))
        rate = question.moved_bytes / question.microseconds * 1e6
        if rate > made.peak_bytes_per_s and question.moved_bytes > made.cache_bytes:
            return None, f"impossible: {rate / 1e12:.2f} TB/s, beyond the memory's peak and the last cache", None
        watched = Watched(made.system)
        microseconds = question.answer(watched) * 1e6
    except ArchsimError as error:
        return None, str(error), None
    return microseconds, None, of_kernel(made.system, watched.kept[-1], question.group.rpartition(" ")[2])


def _gemm_or_attention(record: Record) -> Question:
    time = number(record, "latency_us")
    if record["op"] == "decode_attention":
        return _attention_question(
            record, (record["system"], "trtllm"), record["kv_dtype"], _heads(record, "q_heads", "kv_heads", "kv_len")
        )
    kind = record["dtype"]
    shape = (positive(record, "m_or_batch"), positive(record, "n"), positive(record, "k"))
    if kind not in _TYPES:
        return unanswered(f"gemm {kind}", record["system"], time, f"no model of the type {kind}")
    held = _TYPES[kind]
    extra = _EXTRA.get(("gemm", kind), 0)
    return Question(
        f"gemm {kind}",
        record["system"],
        float(shape[1] * shape[2] * held.weight_bits / 8),
        lambda made: matmul(made, shape, weight_bits=held.weight_bits, bits=held.bits, extra=extra),
        time,
    )


def _heads(record: Record, query: str, kv: str, context: str) -> Heads:
    batch = "m_or_batch" if "m_or_batch" in record else "batch"
    return Heads(*(positive(record, column) for column in (batch, query, kv, "head_dim", context)))


def _attention_question(record: Record, where: tuple[str, str], kind: str, heads: Heads) -> Question:
    system, engine = where
    bits = _TYPES[kind].bits
    extra = _EXTRA.get(("attention", engine, bits), 1)
    cut = trtllm_cut(heads, bits) if engine == "trtllm" else Cut(merges=False, waves=1)
    extra += cut.merges
    size = heads.batch * heads.context * 2 * heads.kv * heads.width * bits / 8
    time = number(record, "latency_us")
    return Question(
        f"attention {kind}",
        system,
        size,
        lambda made: attention(made, heads, kv_bits=bits, extra=extra, waves=cut.waves),
        time,
    )


def _decode_attention(record: Record) -> Question:
    engine = "vllm" if "vllm" in record["engine"].casefold() else "trtllm"
    heads = _heads(record, "query_heads", "kv_heads", "kv_len_tokens")
    return _attention_question(record, (record["gpu_system"], engine), record["kv_element_type"], heads)


def _latent_attention(record: Record) -> Question:
    kind, system = record["kv_element_type"], record["gpu_system"]
    bits = _TYPES[kind].bits
    heads = Heads(
        batch=positive(record, "batch"),
        query=positive(record, "query_heads"),
        kv=1,
        width=_LATENT.value,
        context=positive(record, "kv_len_tokens"),
    )
    size = heads.batch * heads.context * _LATENT.cached * bits / 8
    extra = _EXTRA[("mla", bits)]
    return Question(
        f"attention mla {kind}",
        system,
        size,
        lambda made: latent_attention(made, heads, _LATENT, kv_bits=bits, extra=extra),
        number(record, "latency_us"),
    )


def _experts(record: Record) -> Question:
    kind, system = record["element_type"], record["gpu_system"]
    time = number(record, "latency_us")
    group = f"experts {kind}"
    if kind not in _TYPES:
        return unanswered(group, system, time, f"no model of the type {kind}")
    held = _TYPES[kind]
    tokens, top_k = positive(record, "tokens"), positive(record, "top_k")
    count, parallel = positive(record, "num_experts"), positive(record, "moe_expert_parallel")
    distinct, routed = touched_experts(record["routing"], tokens * top_k, count, ranks=parallel)
    layer = Mixture(
        tokens, routed, distinct, positive(record, "hidden"),
        positive(record, "expert_intermediate") // positive(record, "moe_tensor_parallel"),
    )  # fmt: skip
    size = float(distinct * 3 * layer.hidden * layer.width * held.weight_bits / 8)
    extra = _EXTRA[("experts", kind if kind in _TRITON else held.bits)]
    return Question(
        group, system, size,
        lambda made: experts(made, layer, weight_bits=held.weight_bits, bits=held.bits, extra=extra), time,
    )  # fmt: skip


_OPERATIONS = {"softmax": 5, "layernorm": 8, "gelu": 10}
"""Vector operations an element."""


def _operator(record: Record) -> Question:
    system, kind = record["gpu"], record["operator"]
    time = number(record, "latency_us")
    if kind == "matmul":
        shape = (positive(record, "dim_m"), positive(record, "dim_n"), positive(record, "dim_k"))
        return Question(kind, system, 0.0, lambda made: matmul(made, shape, weight_bits=Fraction(16), bits=16), time)
    if kind not in _OPERATIONS:
        return unanswered(kind, system, time, f"no model of the operator {kind}")
    elements = (whole(record, "dim_m") or positive(record, "dim_m")) * (whole(record, "dim_n") or 1)
    work = _OPERATIONS[kind]
    return Question(kind, system, 0.0, lambda made: elementwise(made, elements, operations=work, bits=16), time)


SCHEMAS: dict[tuple[str, ...], Callable[[Record], Question]] = {
    ("system", "op", "dtype", "m_or_batch", "n", "k", "kv_len", "latency_us"): _gemm_or_attention,
    ("gpu_system", "engine", "kv_element_type", "batch", "kv_heads", "kv_len_tokens", "latency_us"): _decode_attention,
    ("gpu_system", "engine", "element_type", "tokens", "num_experts", "routing", "latency_us"): _experts,
    ("gpu_system", "engine", "kv_element_type", "batch", "query_heads", "kv_len_tokens"): _latent_attention,
    ("gpu", "operator", "element_type", "dim_m", "dim_n", "dim_k", "latency_us"): _operator,
    **LAYERS,
}
"""Columns that tell a schema -> how its rows are read; the first that fits."""
