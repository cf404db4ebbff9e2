"""What a result says of requests: read off their rows, or off the counts that stand for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archsim.metrics.binned import RELATIVE_ERROR
from archsim.metrics.latency import end_to_end_s, rates, summary, tpot_s, ttft_s
from archsim.metrics.techniques import PercentileFacts
from archsim.result import Latency, RequestColumns, RequestCounts, Summary, Throughput, TokenCounts
from archsim.serving.record import Record

__all__ = ["latency_of", "percentile_facts", "request_counts", "throughput_of", "token_counts"]


def request_counts(record: Record) -> RequestCounts:
    """Return how many there were."""
    return RequestCounts(
        offered=record.offered,
        completed=record.completed,
        rejected=record.rejected,
        preempted=record.preemptions,
    )


def token_counts(record: Record) -> TokenCounts:
    """Return the tokens of the completed requests."""
    if record.tally is not None:
        return TokenCounts(prompt=record.tally.prompt_tokens, output=record.tally.output_tokens)
    table = record.requests
    done = table.finish_ps >= 0
    return TokenCounts(prompt=int(table.prompt_tokens[done].sum()), output=int(table.output_tokens[done].sum()))


def throughput_of(record: Record, *, chips: int) -> Throughput:
    """Return tokens and requests per second of the whole run on *chips*."""
    tokens = token_counts(record).output
    return Throughput(**rates(tokens, record.completed, elapsed_ps=record.end_ps, chips=chips))


def latency_of(record: Record, counted: npt.NDArray[np.bool_] | None) -> Latency:
    """Return the latencies of the *counted* requests; None: of all."""
    tally = record.tally
    if tally is None:
        return _latency(record.requests, counted)
    return Latency(
        ttft=Summary(**tally.ttft.summary()), tpot=Summary(**tally.tpot.summary()), e2e=Summary(**tally.e2e.summary())
    )


def _latency(table: RequestColumns, counted: npt.NDArray[np.bool_] | None) -> Latency:
    which = slice(None) if counted is None else counted
    arrival, first, finish = (column[which] for column in (table.arrival_ps, table.first_token_ps, table.finish_ps))
    return Latency(
        ttft=Summary(**summary(ttft_s(arrival, first))),
        tpot=Summary(**summary(tpot_s(first, finish, table.output_tokens[which]))),
        e2e=Summary(**summary(end_to_end_s(arrival, finish))),
    )


def percentile_facts(record: Record) -> PercentileFacts | None:
    """Return how percentiles were counted; None where they are exact."""
    if record.tally is None:
        return None
    return PercentileFacts(method="logarithmic bins", relative_error=RELATIVE_ERROR)
