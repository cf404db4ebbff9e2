"""A hand-made result: small enough to derive every number of it, complete enough for every writer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np

from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.latency import end_to_end_s, summary, throughput, tpot_s, ttft_s
from archsim.result import (
    ARCHSIM_VERSION,
    SCHEMA,
    Latency,
    LedgerColumns,
    ModelFacts,
    ParallelismFacts,
    PhaseResult,
    Provenance,
    RequestColumns,
    RequestCounts,
    Result,
    Saturation,
    ScopeLedger,
    Slo,
    Summary,
    SystemFacts,
    Tables,
    Throughput,
    TokenCounts,
)

DECODE = {
    "useful_weights": 0.375,
    "useful_kv_read": 0.125,
    "useful_kv_write": 0.001,
    "useful_activations": 0.002,
    "overfetch": 0.005,
    "refresh": 0.04,
    "latency": 0.10,
    "compute": 0.03,
    "network": 0.22,
    "bubble": 0.002,
    "host": 0.10,
}
WINDOW_PS = 10**12
WINDOWS = 4
PEAK_PER_S = 1e12


def make_result(
    name: str = "toy",
    *,
    accounts: dict[str, float] | None = None,
    tokens_per_s: float | None = 1000.0,
    sampled: bool = False,
    status: str = "shipped",
) -> Result:
    """Return a result of four windows of a second, decoding in all but the last, with three requests, one rejected."""
    decode = accounts or DECODE | {"rounding": 0.0}
    requests = _requests()
    ledger = {"hbm": ScopeLedger(peak_per_s=PEAK_PER_S, unit="B/s", accounts=decode)}
    useful = sum(fraction for account, fraction in decode.items() if account.startswith("useful"))
    return Result(
        schema=SCHEMA,
        provenance=_provenance(name, sampled=sampled),
        system=_system(name, status),
        model=ModelFacts(
            name="llama-toy", precision="w16a16kv16", parameters=10**9, active_parameters=10**9,
            weight_bytes=2 * 10**9, kv_bytes_per_token=65536, max_context_tokens=4096,
        ),
        parallelism=ParallelismFacts(tp=8, pp=1, dp=1, ep=1, cp=1),
        collectives={"all_reduce": "ring"},
        simulated_s=4.0,
        requests=RequestCounts(offered=3, completed=2, rejected=1, preempted=0),
        tokens=TokenCounts(prompt=300, output=15),
        throughput=Throughput(
            **throughput(requests.finish_ps, requests.output_tokens, elapsed_ps=WINDOWS * WINDOW_PS, chips=8)
        ),
        latency_s=_latency(requests),
        mbu=useful,
        mbu_array=None,
        mfu=0.05,
        ledger=ledger,
        phases={"decode": PhaseResult(time_s=3.0, mbu=useful, mfu=0.05, ledger=ledger)},
        saturation=_saturation(tokens_per_s, useful),
        energy=None,
        cost=None,
        carbon=None,
        tables=Tables(cache(partial(_ledger, decode)), resolved_toml=f'name = "{name}"\n', requests=requests),
    )  # fmt: skip


def make_rejecting_result(name: str = "toy") -> Result:
    """Return a result in which no request was served: every metric of a request is absent."""
    made = make_result(name)
    never = np.full(3, -1)
    requests = replace(
        made.tables.requests, first_token_ps=never, finish_ps=never, rejection=np.ones(3, dtype=np.int64)
    )
    absent = Summary(**summary(np.array([])))
    return made.model_copy(
        update={
            "requests": RequestCounts(offered=3, completed=0, rejected=3, preempted=0),
            "latency_s": Latency(ttft=absent, tpot=absent, e2e=absent),
            "mbu": None,
            "mfu": None,
            "phases": {},
            "saturation": None,
            "tables": replace(made.tables, requests=requests),
        }
    )


def _provenance(name: str, *, sampled: bool) -> Provenance:
    return Provenance(
        archsim_version=ARCHSIM_VERSION, command=f"archsim run {name} --model llama-toy --trace toy",
        config_digest="sha256:00", trace_name="toy", trace_digest="sha256:01", sampled=sampled, seed=0,
        fidelity={"memory": "closed form"}, event_count=87,
    )  # fmt: skip


def _system(name: str, status: str) -> SystemFacts:
    return SystemFacts.model_validate(
        {
            "name": name, "title": name.upper(), "status": status, "chip": "toy-chip", "chips": 8, "topology": "switch",
            "main_memory": "hbm", "memory_bytes_per_s": PEAK_PER_S, "memory_bytes": 10**11,
            "flop_per_s": {"bf16": 1e15},
        }
    )  # fmt: skip


def _requests() -> RequestColumns:
    return RequestColumns(
        arrival_ps=np.array([0, 5 * 10**11, 10**12]),
        prompt_tokens=np.array([100, 200, 9000]),
        output_tokens=np.array([11, 4, 7]),
        first_token_ps=np.array([10**11, 6 * 10**11, -1]),
        finish_ps=np.array([11 * 10**11, 12 * 10**11, -1]),
        preemptions=np.array([0, 0, 0]),
        rejection=np.array([0, 0, 1]),
        rejections=("", "=longer than the context of 4,096 tokens"),
    )


def _latency(rows: RequestColumns) -> Latency:
    return Latency(
        ttft=Summary(**summary(ttft_s(rows.arrival_ps, rows.first_token_ps))),
        tpot=Summary(**summary(tpot_s(rows.first_token_ps, rows.finish_ps, rows.output_tokens))),
        e2e=Summary(**summary(end_to_end_s(rows.arrival_ps, rows.finish_ps))),
    )


def _saturation(tokens_per_s: float | None, mbu: float) -> Saturation:
    reached = tokens_per_s is not None
    return Saturation(
        at_slo=Slo(tpot_p99_s=0.05), requests=3, requests_per_s=tokens_per_s / 10 if reached else None,
        output_tokens_per_s=tokens_per_s, output_tokens_per_s_per_chip=tokens_per_s / 8 if reached else None,
        tpot_p99_s=0.049 if reached else None, mbu=mbu if reached else None, mfu=0.2 if reached else None,
        limited_by="network",
    )  # fmt: skip


def _ledger(decode: dict[str, float]) -> LedgerColumns:
    """Decode accounts fill the first three windows, `idle` the last."""
    rows = [(window, 0, account, fraction) for window in range(WINDOWS - 1) for account, fraction in decode.items()]
    rows.append((WINDOWS - 1, 1, "idle", 1.0))
    window, phase, account, fraction = zip(*rows, strict=True)
    return LedgerColumns(
        start_ps=np.array(window) * WINDOW_PS,
        end_ps=(np.array(window) + 1) * WINDOW_PS,
        phase=np.array(phase),
        scope=np.zeros(len(rows), dtype=np.int64),
        account=np.array([ACCOUNTS.index(name) for name in account]),
        amount=np.array(fraction) * PEAK_PER_S,
        phases=("decode", "none"),
        scopes=("hbm",),
        peaks_per_s=(PEAK_PER_S,),
        units=("B/s",),
    )
