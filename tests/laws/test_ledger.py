"""Laws of the ledger: every instant of a gap has one cause, found by the walk and by brute force alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import SimulationError
from archsim.kernel import ROOT, JobLog
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.ledger import CLASS_ACCOUNT, check_balance, gaps_of, walk
from archsim.metrics.mixing import BookColumns, as_recomputed, balanced_shares, mixed, with_idle

LAWS = settings(max_examples=200, deadline=None, derandomize=True, database=None)
KINDS = sorted(CLASS_ACCOUNT)


@st.composite
def logs(draw: st.DrawFn) -> tuple[JobLog, list[int]]:
    """Draw a log of jobs on one rank in which each follows some earlier one, and the jobs of one pipe in it."""
    log, busy, free = JobLog(), [], 0
    for _ in range(draw(st.integers(1, 25))):
        before = draw(st.integers(0, len(log.end) - 1))
        start = log.end[before]
        job = log.add(
            draw(st.sampled_from([kind for kind in KINDS if kind != "flow"])),
            rank=0,
            lap=0,
            start=start,
            end=start + draw(st.integers(0, 9)),
            predecessor=before,
        )
        if start >= free and draw(st.booleans()):
            busy.append(job)
            free = log.end[job]
    return log, busy


def cause_at(log: JobLog, waiting: int, instant: int) -> str:
    """Return the account of *instant* before job *waiting*, by recursion over single instants: the slow twin."""
    cause = log.predecessor[waiting]
    if log.start[cause] <= instant < log.end[cause]:
        return CLASS_ACCOUNT[log.kind[cause]]
    return cause_at(log, cause, instant)


@LAWS
@given(logs())
def test_the_walk_gives_every_instant_of_a_gap_the_job_that_ran(drawn: tuple[JobLog, list[int]]) -> None:
    """The stretches of a pipe's gaps partition its idle time and agree with the instant-by-instant twin."""
    log, busy = drawn
    last = max(range(len(log.end)), key=lambda job: (log.end[job], job))
    close = log.end[last]
    blamed: dict[int, str] = {}
    for account, start, end in gaps_of(log, busy, last=last, close=close, rank=0):
        assert start < end
        for instant in range(start, end):
            assert instant not in blamed
            blamed[instant] = account
    held = {instant for job in busy for instant in range(log.start[job], log.end[job])}
    assert set(blamed) == set(range(close)) - held
    free = 0
    for job in busy:
        for instant in range(free, log.start[job]):
            assert blamed[instant] == cause_at(log, job, instant)
        free = log.end[job]


def test_waiting_for_a_slower_rank_is_a_bubble_until_ones_own_arrival() -> None:
    """A rank that arrived early books its own work first, then a bubble, then the collective."""
    log = JobLog()
    early = log.add("compute", rank=0, lap=0, start=0, end=10, predecessor=ROOT)
    late = log.add("compute", rank=1, lap=0, start=0, end=25, predecessor=ROOT)
    flow = log.add("flow", rank=-1, lap=0, start=25, end=30, predecessor=late)
    log.arrivals[flow] = (early, late)
    read = log.add("memory", rank=0, lap=0, start=30, end=31, predecessor=flow)
    assert walk(log, read, until=0, rank=0) == [("network", 25, 30), ("bubble", 10, 25), ("compute", 0, 10)]
    assert walk(log, read, until=0, rank=1) == [("network", 25, 30), ("compute", 0, 25)]
    assert walk(log, flow, until=0, rank=-1) == [("compute", 0, 25)]


def test_a_job_that_takes_no_time_leaves_no_stretch() -> None:
    """A launch gap of nothing is nobody's fault."""
    log = JobLog()
    host = log.add("host", rank=0, lap=0, start=0, end=5, predecessor=ROOT)
    launch = log.add("launch", rank=0, lap=0, start=5, end=5, predecessor=host)
    read = log.add("memory", rank=0, lap=0, start=5, end=6, predecessor=launch)
    assert gaps_of(log, [read], last=read, close=6, rank=0) == [("host", 0, 5)]


def test_a_rank_that_is_done_before_the_books_close_waits_for_a_slower_one() -> None:
    """Its last job of all is its own time; what is left until the close is a bubble, to the picosecond."""
    log = JobLog()
    read = log.add("memory", rank=0, lap=0, start=0, end=10, predecessor=ROOT)
    multiply = log.add("compute", rank=0, lap=0, start=10, end=16, predecessor=read)
    gaps = gaps_of(log, [read], last=multiply, close=30, rank=0)
    assert sorted(gaps) == [("bubble", 16, 30), ("compute", 10, 16)]
    assert gaps_of(log, [read], last=multiply, close=16, rank=0) == [("compute", 10, 16)]
    assert gaps_of(log, [multiply], last=multiply, close=17, rank=0) == [("memory", 0, 10), ("bubble", 16, 17)]


def test_a_log_in_which_a_cause_did_not_end_when_its_job_began_is_refused() -> None:
    """Whether it ended before or after: the walk would leave time out, or book some twice."""
    for end in (9, 11):
        log = JobLog()
        host = log.add("host", rank=0, lap=0, start=0, end=10, predecessor=ROOT)
        launch = log.add("launch", rank=0, lap=0, start=10, end=12, predecessor=host)
        read = log.add("memory", rank=0, lap=0, start=12, end=20, predecessor=launch)
        log.end[host] = end
        with pytest.raises(SimulationError, match=f"started at 10 ps, but its cause ended at {end} ps"):
            walk(log, read, until=0, rank=0)


def test_an_arrival_after_the_collective_began_is_refused() -> None:
    """A rank arrives before, or when, the collective begins."""
    log = JobLog()
    first = log.add("compute", rank=0, lap=0, start=0, end=10, predecessor=ROOT)
    late = log.add("compute", rank=1, lap=0, start=0, end=11, predecessor=ROOT)
    flow = log.add("flow", rank=-1, lap=0, start=10, end=15, predecessor=first)
    log.arrivals[flow] = (first, late)
    read = log.add("memory", rank=1, lap=0, start=15, end=16, predecessor=flow)
    with pytest.raises(SimulationError, match="ended at 11 ps"):
        walk(log, read, until=0, rank=1)


def test_a_job_that_does_not_follow_its_predecessor_is_refused() -> None:
    """The log keeps the invariant that makes the walk a partition."""
    log = JobLog()
    first = log.add("host", rank=0, lap=0, start=0, end=10, predecessor=ROOT)
    with pytest.raises(SimulationError, match="cannot follow"):
        log.add("memory", rank=0, lap=0, start=11, end=12, predecessor=first)


@pytest.mark.parametrize(
    ("accounts", "message"),
    [({"useful": 1.0, "idle": 2.1}, "does not balance"), ({"useful": 4.0, "idle": -1.0}, "negative")],
)
def test_books_that_do_not_add_up_are_refused(accounts: dict[str, float], message: str) -> None:
    """The balance is a check that can fail."""
    with pytest.raises(SimulationError, match=message):
        check_balance("chip0.hbm", accounts, booked=3.0)


def test_books_may_be_off_by_the_tolerance_and_not_by_more() -> None:
    """Of next to nothing that is 1e-9 itself, for a sum as for an account below zero."""
    check_balance("chip0.hbm", {"useful": 1e-9}, booked=0.0)
    check_balance("chip0.hbm", {"useful": 1e-9, "idle": -1e-9}, booked=0.0)
    with pytest.raises(SimulationError, match="does not balance"):
        check_balance("chip0.hbm", {"useful": 1.1e-9}, booked=0.0)
    with pytest.raises(SimulationError, match="negative"):
        check_balance("chip0.hbm", {"useful": 2e-9, "idle": -1.1e-9}, booked=0.0)


def test_a_mixture_of_balanced_books_balances() -> None:
    """Convex weights keep the balance; idle time and recomputation keep it too."""
    books = [{"m": {"useful_weights": 3.0, "latency": 1.0}}, {"m": {"useful_weights": 5.0, "network": 3.0}}]
    columns = BookColumns.of(books, {"m": 2.0})
    amounts = mixed(columns, {0: 0.25, 1: 1.5})
    shares = balanced_shares(columns, with_idle(columns, amounts, 1.0), 0.25 * 2 + 1.5 * 4 + 1.0)
    assert shares[columns.rows["m"]] == {
        "useful_weights": (0.75 + 7.5) / 15,
        "latency": 0.25 / 15,
        "network": 4.5 / 15,
        "idle": 2.0 / 15,
    }
    redone = as_recomputed(amounts)
    assert redone[0, ACCOUNTS.index("overfetch")] == 8.25
    assert np.sum(redone) == np.sum(amounts)
    assert Counter(redone[0].tolist())[8.25] == 1
    with pytest.raises(SimulationError, match="does not balance"):
        balanced_shares(columns, amounts, 7.0)


def test_idle_time_and_recomputation_add_to_what_is_booked() -> None:
    """Two seconds and one are three; what was overfetch stays so beside what becomes it."""
    columns = BookColumns.of([{"m": {"useful_weights": 3.0, "useful": 2.0, "overfetch": 1.0}}], {"m": 2.0})
    amounts = mixed(columns, {0: 1.0})
    twice = with_idle(columns, with_idle(columns, amounts, 1.0), 2.0)
    assert np.array_equal(twice, with_idle(columns, amounts, 3.0))
    assert twice[0, ACCOUNTS.index("idle")] == 6.0
    assert as_recomputed(amounts)[0, ACCOUNTS.index("overfetch")] == 6.0
