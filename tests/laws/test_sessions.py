"""Laws of sessions: who waits is sent when it may, once, on its own replica; nobody else is held up."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_toy import ToyCosts

from archsim.serving.configure import sessions_of
from archsim.serving.fleet import replay_fleet
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.serving.sessions import replay_sessions, stream_of
from archsim.workload.trace import Trace

LAWS = settings(max_examples=40, deadline=None, derandomize=True, database=None)
LIMITS = Limits(max_batch=8, max_prefill_tokens=2048, kv_blocks=400, block_tokens=16, context_tokens=1024)
COSTS = ToyCosts(
    lambda batch, kv_tokens: 10**9 + batch * 10**6 + kv_tokens * 1000,
    lambda tokens, pairs: tokens * 10**6 + pairs * 10,
    spacing_bits=6,
)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**10), st.integers(1, 300), st.integers(1, 20), st.integers(-1, 3), st.integers(-1, 10**10)
    ),
    min_size=1,
    max_size=25,
)


def trace_of(rows: list[tuple[int, int, int, int, int]]) -> Trace:
    """Return the trace of *rows*: (arrival, prompt, output, session, wait), no wait without a session."""
    ordered = sorted(rows, key=lambda row: row[0])
    columns = [array("q", column) for column in zip(*ordered, strict=True)]
    columns[4] = array("q", (-1 if session < 0 else wait for *_, session, wait in ordered))
    return Trace(
        "x", "x", "", sampled=False, seed=None, arrivals_ps=columns[0], prompt_tokens=columns[1],
        output_tokens=columns[2], sessions=columns[3], waits_ps=columns[4],
    )  # fmt: skip


@LAWS
@given(rows=ROWS)
def test_a_request_that_waits_is_sent_its_wait_after_the_one_before(rows: list[tuple[int, int, int, int, int]]) -> None:
    """By prompts of different lengths each row is known again: arrival = max(own, end of all before + wait)."""
    rows = [(at, number + 1, output, session, wait) for number, (at, _, output, session, wait) in enumerate(rows)]
    trace = trace_of(rows)
    table = replay_sessions(trace, ServerGroup(COSTS, LIMITS)).record.requests
    columns = (table.prompt_tokens.tolist(), table.arrival_ps.tolist(), table.finish_ps.tolist())
    when = {prompt: (arrival, finish) for prompt, arrival, finish in zip(*columns, strict=True)}
    assert len(when) == len(rows)
    before: dict[int, list[int]] = {}
    for request in trace:
        earlier = before.setdefault(request.session, [])
        arrival, _ = when[request.prompt_tokens]
        if request.session < 0 or request.wait_ps < 0:
            assert arrival == request.arrival_ps
        else:
            ends = [when[prompt][1] for prompt in earlier]
            assert arrival == max([request.arrival_ps, *(end + request.wait_ps for end in ends)])
        earlier.append(request.prompt_tokens)


def test_an_agent_calls_again_after_its_tool() -> None:
    """Three calls of one session by hand: each comes its wait after the end of the one before, not at its arrival."""
    waits = (-1, 5 * 10**9, 7 * 10**9)
    trace = trace_of([(number, 100, 10, 0, wait) for number, wait in enumerate(waits)])
    table = replay_sessions(trace, ServerGroup(COSTS, LIMITS)).record.requests
    ends = table.finish_ps.tolist()
    assert table.arrival_ps.tolist() == [0, ends[0] + waits[1], ends[1] + waits[2]]


def test_requests_without_a_session_are_dealt_to_replicas_in_turn() -> None:
    """The first, the third and the fifth to the one, the others to the other."""
    trace = trace_of([(number * 1000, 50 + number, 5, -1, -1) for number in range(5)])
    fleet = replay_sessions(trace, ServerGroup(COSTS, LIMITS, 2))
    assert [record.requests.prompt_tokens.tolist() for record in fleet.replicas] == [[50, 52, 54], [51, 53]]


def test_progress_counts_the_requests_of_all_sessions() -> None:
    """One to seven, on two replicas, as the clock rises."""
    calls: list[tuple[int, int]] = []
    trace = trace_of([(number * 1000, 50, 5, number % 3, 10**9) for number in range(7)])
    replay_sessions(trace, ServerGroup(COSTS, LIMITS, 2), progress=lambda done, now: calls.append((done, now)))
    assert [done for done, _ in calls] == [*range(1, 8)]
    assert [now for _, now in calls] == sorted(now for _, now in calls)


def test_requests_are_numbered_as_they_arrive() -> None:
    """From 0 on, whatever their sessions."""
    stream = stream_of(trace_of([(number, 100, 2, number % 3 - 1, -1) for number in range(5)]))
    assert [stream.take().id for _ in range(5)] == [0, 1, 2, 3, 4]
    assert stream.next_ps is None


def test_a_wait_counts_for_who_comes_after_the_one_before_is_done() -> None:
    """Its session has long been idle when it might come, behind another request: its wait is longer, or is over."""
    for wait, arrival in ((5 * 10**12, None), (10**12, 2 * 10**12 + 1)):
        trace = trace_of([(0, 100, 2, 0, -1), (2 * 10**12, 100, 2, -1, -1), (2 * 10**12 + 1, 100, 2, 0, wait)])
        table = replay_sessions(trace, ServerGroup(COSTS, LIMITS)).record.requests
        assert table.arrival_ps.tolist()[2] == (arrival or table.finish_ps.tolist()[0] + wait)


@LAWS
@given(rows=ROWS)
def test_without_waits_it_is_the_open_replay(rows: list[tuple[int, int, int, int, int]]) -> None:
    """Sessions alone hold nobody up: the same table and the same time as for plain arrivals."""
    trace = trace_of([(*row[:4], -1) for row in rows])
    closed = replay_sessions(trace, ServerGroup(COSTS, LIMITS)).record
    open_ = replay((Arrival(*request[:3]) for request in trace), COSTS, limits=LIMITS)
    assert closed.total == open_.total
    for name in ("arrival_ps", "first_token_ps", "finish_ps"):
        assert getattr(closed.requests, name).tolist() == getattr(open_.requests, name).tolist()


def test_an_affine_router_keeps_open_sessions_together() -> None:
    """Session s goes to replica s mod n, a request without a session where its own number says."""
    trace = trace_of([(number * 1000, 50 + number, 5, number % 3 - 1, -1) for number in range(12)])
    arrivals = (Arrival(*request[:3]) for request in trace)
    group = ServerGroup(COSTS, LIMITS, 2, router="session_affinity")
    fleet = replay_fleet(arrivals, group, sessions=sessions_of(trace))
    mine = [record.requests.prompt_tokens.tolist() for record in fleet.replicas]
    owner = [request.id if request.session < 0 else request.session for request in trace]
    assert mine == [[50 + at for at in range(12) if owner[at] % 2 == replica] for replica in range(2)]


@pytest.mark.parametrize("replicas", [2, 3])
def test_sessions_stay_on_their_replica(replicas: int) -> None:
    """Each replica has the requests of its own sessions, all of them, and the fleet has every one."""
    trace = trace_of([(number * 1000, 50, 5, number % 4, 10**9) for number in range(20)])
    fleet = replay_sessions(trace, ServerGroup(COSTS, LIMITS, replicas))
    sizes = [len(record.requests.arrival_ps) for record in fleet.replicas]
    assert sizes == [5 * len(range(replica, 4, replicas)) for replica in range(replicas)]
    assert fleet.record.completed == 20
