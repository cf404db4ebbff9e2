"""What a suite promises: bounds on its errors, and which rows each bound is over.

A bound names a statistic of |error| over its rows and the most that it may be. Rows are chosen by their group and
identity alone, so a bound can be looked up for any file of the suite's schema; where no row is chosen it says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archsim.validation.dram import class_of_row

__all__ = ["BOUNDS", "Bound", "Verdict", "verdicts"]

Row = Mapping[str, Any]
_FEW_ROWS = r"(?:[1-9]|[1-5]\d|6[0-4]) "
"""1 to 64 rows of a product."""
_FEWEST_BYTES, _MOST_BYTES = 2**10, 2**27
_MOST_TINY_BYTES = 2**9


@dataclass(frozen=True, slots=True)
class Bound:
    """A promise of one suite."""

    suite: str
    name: str
    limit: float
    """The most that the statistic may be, as a fraction."""
    statistic: str = "mean"
    """Of |error|: `mean`, `median`, `p95` or `max`."""
    group: str = ""
    """What the whole group matches, a regular expression; empty: any."""
    identity: str = ""
    """What some part of the identity matches."""
    where: Callable[[Row], bool] | None = None
    """What else a row must satisfy."""

    def holds_for(self, row: Row) -> bool:
        """Return whether *row* is one of those that the bound is over."""
        return (
            row["error"] is not None
            and (not self.group or re.fullmatch(self.group, str(row["group"])) is not None)
            and (not self.identity or re.search(self.identity, str(row["id"])) is not None)
            and (self.where is None or self.where(row))
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound beside what was found."""

    bound: Bound
    rows: int
    found: float

    @property
    def held(self) -> bool:
        """Whether the promise is kept."""
        return self.found <= self.bound.limit


def _of_size(row: Row) -> bool:
    match = re.search(r" (\d+) B latency_us", str(row["id"]))
    return match is not None and _FEWEST_BYTES <= int(match[1]) <= _MOST_BYTES


def _of_class(name: str) -> Callable[[Row], bool]:
    return lambda row: class_of_row(row) == name


def _collective(name: str, words: str) -> Bound:
    return Bound("collectives", f"{name}, 1 KiB to 128 MiB", 0.15, identity=words, where=_of_size)


def _floor(name: str, words: str) -> Bound:
    """All-reduces of at most 512 bytes on eight H100: what a call costs however small its message."""
    identity = f"(?i)^h100-sxm.*{words}"
    return Bound("collectives", name, 0.10, "mean", group="all_?reduce", identity=identity, where=_is_tiny)


def _is_tiny(row: Row) -> bool:
    match = re.search(r" (\d+) B latency_us", str(row["id"]))
    return match is not None and 0 < int(match[1]) <= _MOST_TINY_BYTES


_BATCH_1 = {
    "gpt-fast, batch 1": (r"decode_tokens_per_s", r"\[gpt-fast\]"),
    "llama.cpp on M1 and M2, decode": (r"decode_tokens_per_s", r"^Apple M[12]"),
    "Splitwise Llama-2-70B, time a token": (r"decode_time_per_token", r"llama2-70b"),
    "Inferentia2, decode": (r"(decode_.*|tpot_p50)", r"\[neuron-2024\]"),
}
_CONTRADICTING = re.compile(r"80gb x[48] llama2-70b \S+ batch 64 |h100-80gb x2 llama2-70b \S+ batch 32 ")
"""Splitwise rows that contradict their neighbours: batch 64 on 4 and 8 GPUs; 32 slower than 64 on two H100."""


def _consistent(row: Row) -> bool:
    return not _CONTRADICTING.search(str(row["id"]))


BOUNDS: tuple[Bound, ...] = (
    Bound("dram", "device-bound patterns, median", 0.01, "median", where=_of_class("device-bound")),
    Bound("dram", "device-bound patterns, 95 %", 0.03, "p95", where=_of_class("device-bound")),
    Bound("dram", "policy-bound patterns, median", 0.03, "median", where=_of_class("policy-bound")),
    Bound("dram", "policy-bound patterns, 95 %", 0.10, "p95", where=_of_class("policy-bound")),
    Bound("network", "every row", 1e-9, "max"),
    _collective("NCCL", r"(?i)^(?!.* (nvls|msccl)).* nccl"),
    _collective("NVLS", r"(?i)^(?!.* msccl).* nvls\b"),
    _collective("TensorRT-LLM one- and two-shot", r"(?i)^(?!.* nvls).* trtllm"),
    _collective("vLLM custom", r"(?i)^(?!.* nvls).* (vllm|sglang)\b"),
    _collective("MSCCL++", r"(?i) msccl"),
    _collective("DeepEP", r"(?i) deepep"),
    _floor("NCCL on 8 H100, 15.5 us", " nccl-.* 8 ranks "),
    _floor("custom one-shot on 8 H100, 3.2 us", " trtllm.* 8 ranks "),
    Bound("kernels", "GEMM bf16, M to 64", 0.08, group="gemm (bfloat16|bf16)", identity=f"bfloat16 {_FEW_ROWS}"),
    Bound("kernels", "GEMM fp8, M to 64", 0.10, group="gemm fp8(_block)?", identity=f" fp8(_block)? {_FEW_ROWS}"),
    Bound("kernels", "GEMM int4, M to 64", 0.15, group="gemm int4_wo", identity=f"int4_wo {_FEW_ROWS}"),
    Bound("kernels", "decode attention, H100", 0.12, group="attention .*", identity="(?i)^h100"),
    Bound("kernels", "layers of experts, H100", 0.15, group="experts .*", identity="(?i)^h100"),
    *(
        Bound("decode", name, 0.10, group=group, identity=identity, where=_consistent)
        for name, (group, identity) in _BATCH_1.items()
    ),
    *(
        Bound("decode", f"{name}, worst row", 0.30, "max", group=group, identity=identity, where=_consistent)
        for name, (group, identity) in _BATCH_1.items()
    ),
    Bound("decode", "PaLM-540B on 64 TPU v4", 0.12, identity="^TPU v4 x64 PaLM"),
    Bound("decode", "Llama on A100 and H100, end to end", 0.15, identity="^Nvidia [AH]100 GPU"),
    Bound("serving", "TPOT, H100, TensorRT-LLM and vLLM", 0.12, group="tpot (trtllm|vllm)", identity="^h100"),
    Bound("serving", "request lists of vLLM, TPOT", 0.12, group="tpot_ms"),
    Bound("serving", "request lists of vLLM, throughput", 0.12, group="output_tokens_per_s"),
    Bound("intervals", "share of 0.7 to 0.9 inside, silicon left out", 0.125, "max", group="overall"),
    Bound("pim", "clocks of PIMSimulator's product", 0.10, "max", group="gemv"),
    Bound("attacc", "speed-up over a DGX", 0.15, "max", group="speedup"),
    Bound("attacc", "energy over a DGX's", 0.20, "max", group="energy_ratio"),
)
"""Every promise; those of `network` hold for other simulators' flows and makespans row by row."""


def verdicts(
    suite: str, rows: Sequence[Row], statistics: Mapping[str, Callable[[list[float]], float]]
) -> list[Verdict]:
    """Return the bounds of *suite* that any of *rows* falls under; *statistics* are functions of ascending |errors|."""
    found = []
    for bound in BOUNDS:
        chosen = sorted(abs(row["error"]) for row in rows if bound.suite == suite and bound.holds_for(row))
        if chosen:
            found.append(Verdict(bound, len(chosen), statistics[bound.statistic](chosen)))
    return found
