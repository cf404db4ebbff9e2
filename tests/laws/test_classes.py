"""Classes of requests and admission by service level: who comes first, who is turned away."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from archsim.errors import InputError
from archsim.serving.queue import LATE, class_of
from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.techniques import AnswerRule, Techniques
from archsim.simulate import load_model, load_system, run
from archsim.step.costs import StepCosts
from archsim.workload.trace import load_trace

MS = 10**9


def _replay(rules: Techniques, *, places: int = 4) -> Record:
    """Serve 300 requests of 20 tokens at 1 ms a token, twice as fast as the places can."""

    def step(batch: Any) -> Any:
        return SimpleNamespace(time_ps=MS if batch.decode else 1)

    arrivals = [Arrival(at * 10 * MS // places, 4, 20) for at in range(300)]
    return replay(arrivals, StepCosts(step), limits=Limits(places, 64, 10**4, 16, 100, techniques=rules))


def _ttft_by_class(record: Record, shares: tuple[int, ...]) -> list[float]:
    table = record.requests
    ranks = np.array([class_of(number, shares) for number in range(len(table.arrival_ps))])
    waits = table.first_token_ps - table.arrival_ps
    return [float(waits[(ranks == rank) & (table.finish_ps >= 0)].mean()) for rank in range(len(shares))]


def test_classes_have_their_shares_of_any_stretch() -> None:
    """Of a thousand numbers in a row each class has its share within one percent."""
    shares = (20, 30, 50)
    for start in (0, 12345):
        ranks = [class_of(number, shares) for number in range(start, start + 1000)]
        assert [abs(ranks.count(rank) - 10 * share) <= 10 for rank, share in enumerate(shares)] == [True] * 3


def test_urgent_requests_wait_less_and_least_where_they_take_places() -> None:
    """Under overload the urgent fifth waits for one request at most, with preemption for an iteration."""
    shares = (20, 80)
    plain = _ttft_by_class(_replay(Techniques()), shares)
    first = _ttft_by_class(_replay(Techniques(classes=shares)), shares)
    taking = _ttft_by_class(_replay(Techniques(classes=shares, class_preempts=True)), shares)
    assert first[0] < 20 * MS < plain[0] / 5
    assert first[1] > plain[1]
    assert taking[0] <= 2 * MS < first[0]
    assert _replay(Techniques(classes=shares, class_preempts=True)).preemptions > 30


def test_who_has_waited_too_long_is_turned_away_and_nobody_else() -> None:
    """Under overload no completed request waited longer than the bound and an iteration; the rest is rejected."""
    record = _replay(Techniques(ttft_ps=30 * MS))
    table = record.requests
    done = table.finish_ps >= 0
    assert record.rejected > 100
    assert set(table.rejections) == {"", LATE}
    assert (table.first_token_ps - table.arrival_ps)[done].max() <= 31 * MS
    assert done.sum() + record.rejected == 300


def test_nobody_joins_who_would_make_an_iteration_too_long() -> None:
    """1 ms and 0.5 ms for each further sequence: within 2 ms three decode together, however many have places."""

    def step(batch: Any) -> Any:
        return SimpleNamespace(time_ps=MS // 2 + batch.decode * MS // 2 if batch.decode else 1)

    rules = Techniques(tpot_ps=2 * MS)
    record = replay([Arrival(0, 4, 20)] * 30, StepCosts(step), limits=Limits(16, 64, 10**4, 16, 100, techniques=rules))
    table = record.requests
    tpot = (table.finish_ps - table.first_token_ps) / 19
    assert record.completed == 30
    assert tpot.max() <= 2.0001 * MS
    assert record.mean_batch is not None
    assert record.mean_batch > 2.5


def test_a_cache_of_answers_gives_its_share_of_them_at_once() -> None:
    """Thirty of a hundred requests are done after 5 ms, whole; the other seventy are all that is computed."""
    record = _replay(Techniques(answers=AnswerRule(Fraction(3, 10), 5 * MS)))
    table = record.requests
    at_once = table.finish_ps == table.first_token_ps
    assert record.answered == at_once.sum()
    assert abs(record.answered - 90) <= 3
    assert set((table.finish_ps - table.arrival_ps)[at_once].tolist()) == {5 * MS}
    assert record.total.output_tokens == 20 * (300 - record.answered)


def test_a_run_reports_its_classes() -> None:
    """By share, and static batches that nobody joins are not preempted by class."""
    model, trace = load_model("llama-3.1-8b"), load_trace("azure-conv", limit=10)
    classes = ("serving.priority.shares=[20, 80]", "serving.priority.preempt=recompute")
    result = run(load_system("gh200", (*classes, "serving.metrics.detail=tokens")), model, trace=trace)
    assert result.serving is not None
    assert result.serving.classes is not None
    assert [found.share for found in result.serving.classes] == [0.2, 0.8]
    assert sum(found.completed for found in result.serving.classes) == 10
    assert result.serving.metrics is not None
    assert 0.5 <= (result.serving.metrics.fairness["classes"] or 0) <= 1
    with pytest.raises(InputError, match="whose batches nobody joins"):
        run(load_system("gh200", (*classes, "runtime.scheduler=static")), model, trace=trace)
    with pytest.raises(InputError, match="sum to 100"):
        load_system("gh200", ("serving.priority.shares=[20, 70]", "serving.priority.preempt=never"))
