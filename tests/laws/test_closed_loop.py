"""Laws of a closed loop: everybody asks again when served, nobody else does, and the average obeys Little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_toy import ToyCosts

from archsim.errors import InputError
from archsim.serving.closed_loop import replay_closed_loop, steady
from archsim.serving.requests import Limits
from archsim.serving.servers import ServerGroup
from archsim.workload.closed_loop import ClosedLoop

LAWS = settings(max_examples=40, deadline=None, derandomize=True, database=None)
LIMITS = Limits(max_batch=64, max_prefill_tokens=2048, kv_blocks=4000, block_tokens=16, context_tokens=4096)
COSTS = ToyCosts(
    lambda batch, kv_tokens: 10**9 + batch * 10**6 + kv_tokens * 1000,
    lambda tokens, pairs: tokens * 10**6 + pairs * 10,
    spacing_bits=6,
)
LOOPS = st.builds(
    ClosedLoop,
    users=st.integers(1, 12),
    prompt_tokens=st.integers(1, 300),
    output_tokens=st.integers(1, 40),
    rounds=st.integers(1, 4),
    together=st.booleans(),
)


@LAWS
@given(loop=LOOPS)
def test_every_request_after_the_first_starts_when_another_ends(loop: ClosedLoop) -> None:
    """Arrivals are the instants of completions, as often as requests completed then."""
    requests = replay_closed_loop(loop, ServerGroup(COSTS, LIMITS)).record.requests
    later = np.sort(requests.arrival_ps[loop.users :])
    assert len(requests.arrival_ps) == loop.users * (1 + loop.rounds)
    assert (requests.arrival_ps[: loop.users] == 0).all()
    assert later.tolist() == np.sort(requests.finish_ps)[: len(later)].tolist()


@LAWS
@given(loop=LOOPS)
def test_all_users_are_busy_until_the_last_request_is_sent(loop: ClosedLoop) -> None:
    """At any arrival exactly as many requests have begun and not ended as there are users."""
    requests = replay_closed_loop(loop, ServerGroup(COSTS, LIMITS)).record.requests
    at = requests.arrival_ps[-1]
    assert int((requests.arrival_ps <= at).sum() - (requests.finish_ps <= at).sum()) <= loop.users
    assert int((requests.arrival_ps <= at).sum() - (requests.finish_ps < at).sum()) >= loop.users


def test_users_who_start_together_stay_in_step() -> None:
    """Equal requests that begin together end together, wave after wave."""
    loop = ClosedLoop(4, 100, 10, 3, together=True)
    requests = replay_closed_loop(loop, ServerGroup(COSTS, LIMITS)).record.requests
    waves = requests.finish_ps.reshape(4, 4)
    assert (waves == waves[:, :1]).all()


def test_the_steady_part_leaves_out_first_and_last_requests() -> None:
    """Of n users with r rounds, (r - 1) n requests lie between; with one round those of that round."""
    for rounds, expected in ((1, 5), (3, 10)):
        loop = ClosedLoop(5, 10, 20, rounds)
        requests = replay_closed_loop(loop, ServerGroup(COSTS, LIMITS)).record.requests
        assert int(steady(requests, loop).sum()) == expected


def test_progress_counts_every_request_that_is_done() -> None:
    """Of six users on two replicas with two rounds: one to eighteen, as the clock rises."""
    calls: list[tuple[int, int]] = []
    loop = ClosedLoop(6, 10, 5, 2)
    group = ServerGroup(COSTS, LIMITS, 2)
    replay_closed_loop(loop, group, progress=lambda done, now: calls.append((done, now)))
    assert [done for done, _ in calls] == [*range(1, 19)]
    assert [now for _, now in calls] == sorted(now for _, now in calls)


def test_an_impossible_loop_is_refused() -> None:
    """Nobody, and requests beyond the context, are told at the door."""
    with pytest.raises(InputError):
        ClosedLoop(0, 1, 1, 1)
    with pytest.raises(InputError):
        replay_closed_loop(ClosedLoop(1, 4000, 200, 1), ServerGroup(COSTS, LIMITS))


@LAWS
@given(loop=LOOPS, replicas=st.integers(1, 4))
def test_users_dealt_to_replicas_are_loops_of_their_own(loop: ClosedLoop, replicas: int) -> None:
    """A user stays with its replica: each serves its users' requests, and the fleet all of them."""
    if loop.users < replicas:
        with pytest.raises(InputError):
            replay_closed_loop(loop, ServerGroup(COSTS, LIMITS, replicas))
        return
    fleet = replay_closed_loop(loop, ServerGroup(COSTS, LIMITS, replicas))
    users = [len(range(first, loop.users, replicas)) for first in range(replicas)]
    if replicas > 1:
        assert [record.completed for record in fleet.replicas] == [count * (1 + loop.rounds) for count in users]
        alone = [np.sort(record.requests.finish_ps) for record in fleet.replicas]
        assert np.sort(np.concatenate(alone)).tolist() == np.sort(fleet.record.requests.finish_ps).tolist()
    assert fleet.record.completed == loop.count
    assert (np.diff(fleet.record.requests.arrival_ps) >= 0).all()


def test_the_options_of_a_loop_ask_for_it_again() -> None:
    """Equal loops have equal options and digests; any other number gives another digest."""
    loop = ClosedLoop(4, 100, 10, 3)
    assert loop.options == "--concurrency 4 --prompt 100 --output 10 --rounds 3"
    others = [ClosedLoop(5, 100, 10, 3), ClosedLoop(4, 101, 10, 3), ClosedLoop(4, 100, 10, 3, together=True)]
    assert len({loop.digest, *(other.digest for other in others)}) == 4
