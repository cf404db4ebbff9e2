"""The rows a run leaves: `Result`, the content of result.json, and `Tables`, the columns beside it.

Nothing here computes. Names carry SI units; a metric that is absent is None (null in JSON), never NaN. The JSON form
has sorted keys and the shortest digits that read back to the same float, so equal results are equal bytes. `SCHEMA`
changes when a field goes or changes its meaning; `schema_json` exports the JSON Schema (draft 2020-12).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, Field, FiniteFloat, InstanceOf
from pydantic.json_schema import SkipJsonSchema

from archsim.errors import InputError, Problem
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.cascading import CascadeFacts
from archsim.metrics.columns import LedgerColumns, Named, RequestColumns, polars_frame
from archsim.metrics.machine import (
    Energy,
    ParallelismFacts,
    PhaseName,
    PhasePower,
    PoolFacts,
    PoolPhase,
    SystemFacts,
    TransferFacts,
)
from archsim.metrics.operators import OperatorUse
from archsim.metrics.prices import Bounds, Carbon, Cost
from archsim.metrics.row import Count, NonNegative, Row
from archsim.metrics.techniques import DraftFacts, PercentileFacts, PrefixFacts, ServingFacts
from archsim.metrics.uncertainty import Uncertainty

__all__ = [
    "ARCHSIM_VERSION",
    "SCHEMA",
    "Bounds",
    "Carbon",
    "CascadeFacts",
    "Cost",
    "DraftFacts",
    "Energy",
    "Latency",
    "LedgerColumns",
    "ModelFacts",
    "ParallelismFacts",
    "PercentileFacts",
    "PhaseName",
    "PhasePower",
    "PhaseResult",
    "PoolFacts",
    "PoolPhase",
    "PrefixFacts",
    "Provenance",
    "RequestColumns",
    "RequestCounts",
    "Result",
    "Saturation",
    "ScopeLedger",
    "ServingFacts",
    "Slo",
    "Summary",
    "SystemFacts",
    "Tables",
    "Throughput",
    "TierFacts",
    "TokenCounts",
    "TransferFacts",
    "View",
    "schema_json",
]

ARCHSIM_VERSION = "0.1.0"
"""The same as in setup.cfg (a test compares them); the metadata of an installed package may be another's."""
SCHEMA = "archsim.result/1"

_ACCOUNTS = frozenset(ACCOUNTS)
_OPTIONAL = ("placement", "serving", "uncertainty", "pools", "kv_transfers", "cascade", "percentiles")
"""Fields of a result that are left out where there is nothing to say."""


def _known_accounts(accounts: dict[str, float]) -> dict[str, float]:
    unknown = sorted(accounts.keys() - _ACCOUNTS)
    if unknown:
        raise ValueError(f"accounts of the ledger; {', '.join(unknown)} are none")
    return accounts


class Provenance(Row):
    """What it takes to run this again, and how much simulation it was."""

    archsim_version: str
    command: str
    """Canonical: bundled names, every option that matters, in a fixed order; no path of this machine."""
    config_digest: str
    """Digest of config.resolved.toml."""
    trace_name: str | None
    """None where a single step was evaluated."""
    trace_digest: str | None
    sampled: bool
    """The requests were drawn from published quantiles, not recorded."""
    seed: Count
    fidelity: dict[str, str]
    """Floor (`memory`, `network`, `step`, `replay`) -> the mechanism that answered for it."""
    event_count: Count


class ModelFacts(Row):
    """The model at the precision of the run."""

    name: str
    precision: str
    """Canonical: `w8a16kv8`."""
    parameters: Count
    active_parameters: Count
    weight_bytes: Count
    kv_bytes_per_token: Count
    max_context_tokens: Count | None


class TierFacts(Row):
    """One memory of a chip's placement, in bytes of one chip: of the one with the least room, where stages differ."""

    usable_bytes: Count
    weight_bytes: Count
    kv_bytes: Count
    """Room for KV blocks."""
    activation_bytes: Count
    context_bytes: Count
    """KV of the context that all sequences share."""
    years_to_wear_out: FiniteFloat | None
    """Of flash that is written at this run's rate without pause; None where nothing wears."""


class RequestCounts(Row):
    """Offered = completed + rejected; *preempted* counts preemptions."""

    offered: Count
    completed: Count
    rejected: Count
    preempted: Count


class TokenCounts(Row):
    """Tokens of the completed requests."""

    prompt: Count
    output: Count


class Throughput(Row):
    """Per simulated second, whole run."""

    output_tokens_per_s: FiniteFloat | None
    output_tokens_per_s_per_chip: FiniteFloat | None
    requests_per_s: FiniteFloat | None


class Summary(Row):
    """Mean and percentiles of one latency, seconds, exact but for `percentiles`; None where no request has it."""

    mean: FiniteFloat | None
    p50: FiniteFloat | None
    p90: FiniteFloat | None
    p95: FiniteFloat | None
    p99: FiniteFloat | None


class Latency(Row):
    """Time to first token, time per output token after the first, end to end."""

    ttft: Summary
    tpot: Summary
    e2e: Summary


class ScopeLedger(Row):
    """One memory, engine or link: where its peak went, as fractions of peak x time that sum to 1."""

    peak_per_s: FiniteFloat
    unit: Literal["B/s", "FLOP/s"]
    accounts: Annotated[dict[str, FiniteFloat], AfterValidator(_known_accounts)]


class PhaseResult(Row):
    """The part of a run in which iterations were of one kind (`none`: no iteration ran)."""

    time_s: NonNegative
    mbu: NonNegative | None
    mfu: NonNegative | None
    ledger: dict[str, ScopeLedger]


class Slo(Row):
    """The service level that saturation is searched for."""

    tpot_p99_s: FiniteFloat


class Saturation(Row):
    """The highest request rate of a slice of the trace that still meets the service level.

    The numbers are None where not even the lowest rate met it.
    """

    at_slo: Slo
    requests: Count
    """Requests in the slice."""
    requests_per_s: FiniteFloat | None
    """Offered rate."""
    output_tokens_per_s: FiniteFloat | None
    output_tokens_per_s_per_chip: FiniteFloat | None
    tpot_p99_s: FiniteFloat | None
    mbu: NonNegative | None
    mfu: NonNegative | None
    limited_by: str
    """The largest loss of the main memory in the decode phase, or what kept the rate from rising."""


class View(Protocol):
    """How a result is shown to a person."""

    def html(self, result: Result) -> str:
        """Return *result* as HTML."""

    def figure(self, result: Result, what: str) -> Any:
        """Return the figure *what* of *result*."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What a run directory holds beside result.json."""

    make_ledger: Callable[[], LedgerColumns]
    """Makes the ledger over time, once: with channels it has thousands of rows a replica, and most runs show none."""
    resolved_toml: str
    """The whole system as one file that `load_system` reads back."""
    requests: RequestColumns | None
    """None where a single step was evaluated, or requests were counted and not kept."""
    view: View | None = None
    """Who draws it, for `Result.plot` and notebooks."""
    series: tuple[tuple[int, int, float, float, float], ...] = ()
    """(start ps, length ps, mean waiting, running, KV blocks held) of stretches of the run, where they are measured."""
    joules: tuple[float, ...] = ()
    """Energy of each request, where that is measured."""
    time_shares: tuple[float, ...] = ()
    """Share of each request in the time of the run, and so in its cost, where that is measured."""
    operators: tuple[OperatorUse, ...] = ()
    """Operators of an iteration of one sequence and of the run's batch, where they were asked for."""

    @property
    def ledger(self) -> LedgerColumns:
        """The ledger of every scope over time, and of every memory channel over the whole run."""
        return self.make_ledger()


class Result(Row):
    """One run on one system: exactly the content of result.json, and `tables`, which is not part of it."""

    schema_: Literal["archsim.result/1"] = Field(alias="schema")
    provenance: Provenance
    system: SystemFacts
    model: ModelFacts
    parallelism: ParallelismFacts
    collectives: dict[str, str]
    """Kind of collective -> algorithm that ran it."""
    simulated_s: NonNegative
    requests: RequestCounts
    tokens: TokenCounts
    throughput: Throughput
    latency_s: Latency
    mbu: NonNegative | None
    """Useful bytes over peak of the main memory, decode phase."""
    mbu_array: NonNegative | None
    """The same against the bank-internal peak; None without near-memory units."""
    mfu: NonNegative | None
    """Useful FLOPs over peak of the matrix engines, decode phase."""
    ledger: dict[str, ScopeLedger]
    """Whole run."""
    phases: dict[PhaseName, PhaseResult]
    """Those that occurred."""
    saturation: Saturation | None
    energy: Energy | None
    cost: Cost | None
    carbon: Carbon | None
    placement: dict[str, TierFacts] | None = None
    """Memory -> what it holds; absent where the main memory holds everything."""
    serving: ServingFacts | None = None
    """What techniques of the server did; absent where none is asked for."""
    uncertainty: Uncertainty | None = None
    """Absent where nothing was decoded."""
    pools: dict[str, PoolFacts] | None = None
    """Pool -> what it is and did; absent where one system serves. Scopes of a pool are named `pool/scope`."""
    kv_transfers: TransferFacts | None = None
    """KV caches that passed between pools; absent where none can."""
    cascade: CascadeFacts | None = None
    """What became of the requests of a cascade; absent of other designs."""
    percentiles: PercentileFacts | None = None
    """How those of `latency_s` were counted; absent where they are exact, as up to a million requests they are."""
    tables: SkipJsonSchema[InstanceOf[Tables] | None] = Field(default=None, exclude=True, repr=False)
    """Columns for the writers and figures; None for a result read back from JSON."""

    def to_json(self) -> str:
        """Return result.json: sorted keys, shortest exact digits, a line end. Raises `ValueError` on a NaN."""
        absent: dict[str, Any] = {name: True for name in _OPTIONAL if getattr(self, name) is None}
        if self.serving is not None:
            absent["serving"] = {name for name in ("kv_tier", "scaling") if getattr(self.serving, name) is None}
        content = self.model_dump(by_alias=True, exclude=absent or None)
        return json.dumps(content, sort_keys=True, allow_nan=False, indent=2, ensure_ascii=False) + "\n"

    def plot(self, what: str = "ledger") -> Any:
        """Return a drawing that notebooks show: `"ledger"`, `"bandwidth"`, `"latency"` or `"cost"`.

        Its `savefig(path)` writes PDF, SVG or PNG, its `figure` is matplotlib's.

        Raises `InputError` for another name, for what this run does not have, and for a result read back from JSON.
        """
        return self._viewed().figure(self, what)

    def columns(self, name: str = "ledger") -> Named:
        """Return the columns of the table *name*, `"ledger"` or `"requests"`, as NumPy arrays.

        Raises `InputError` where there is no such table.
        """
        tables = self._with_tables()
        table = {"ledger": tables.ledger, "requests": tables.requests}.get(name)
        if table is None:
            expected = "ledger, or requests of a replay that kept them: a single step has none"
            raise InputError(Problem("", "columns", name[:80], expected))
        return table.named()

    def frame(self, name: str = "ledger") -> Any:
        """Return `columns` as a Polars frame (extra `notebook`). Raises `InputError` as it does."""
        return polars_frame(self.columns(name))

    def _repr_html_(self) -> str | None:
        tables = self.tables
        return tables.view.html(self) if tables is not None and tables.view is not None else None

    def _with_tables(self) -> Tables:
        if self.tables is None:
            expected = "one that `run` returned: read back from JSON it has no columns"
            raise InputError(Problem("", "result", self.system.name, expected))
        return self.tables

    def _viewed(self) -> View:
        view = self._with_tables().view
        if view is None:
            raise InputError(Problem("", "result", self.system.name, "one that `run` returned"))
        return view

    @staticmethod
    def from_json(text: str) -> Result:
        """Return the result in *text*. Raises pydantic's `ValidationError` where it does not follow the schema."""
        return Result.model_validate_json(text)


def schema_json() -> str:
    """Return the JSON Schema of result.json (draft 2020-12), sorted keys, a line end."""
    schema: dict[str, Any] = Result.model_json_schema(by_alias=True, mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = SCHEMA
    return json.dumps(schema, sort_keys=True, indent=2) + "\n"
