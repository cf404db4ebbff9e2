"""What holds for every replay: nothing is lost, nothing is counted twice, and small cases come out by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from archsim.errors import InputError
from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

quiet = settings(deadline=None, derandomize=True, database=None, max_examples=100)

BASE_PS, SEQUENCE_PS, TOKEN_PS, PROMPT_PS = 10**9, 10**6, 1000, 10**7


def decode_ps(batch: int, kv_tokens: int) -> int:
    """Return the time of a decode iteration."""
    return BASE_PS + SEQUENCE_PS * batch + TOKEN_PS * kv_tokens


def prefill_ps(tokens: int, pairs: int) -> int:
    """Return the time of a prefill iteration."""
    return BASE_PS + PROMPT_PS * tokens + pairs


COSTS = toy.ToyCosts(decode_ps, prefill_ps, spacing_bits=10)
ROOMY = Limits(max_batch=64, max_prefill_tokens=4096, kv_blocks=10_000, block_tokens=16, context_tokens=100_000)


def pairs_of(prompt_tokens: int) -> int:
    """Return the causal pairs of a whole prompt."""
    return prompt_tokens * (prompt_tokens + 1) // 2


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Arrival], Limits]:
    """Return a trace and limits tight enough to reject and preempt."""
    rows = draw(st.lists(st.tuples(st.integers(0, 10**11), st.integers(1, 60), st.integers(1, 60)), max_size=40))
    arrivals = [Arrival(at, prompt, output) for at, prompt, output in sorted(rows)]
    limits = draw(
        st.builds(
            Limits,
            max_batch=st.integers(1, 12),
            max_prefill_tokens=st.integers(1, 200),
            kv_blocks=st.integers(10, 60),
            block_tokens=st.sampled_from([1, 2, 4, 16]),
            context_tokens=st.integers(50, 130),
        )
    )
    return arrivals, limits


@given(situations())
@quiet
def test_requests_and_tokens_are_conserved(situation: tuple[list[Arrival], Limits]) -> None:
    """In = completed + rejected; tokens out = output lengths of the completed; nobody is served out of turn."""
    arrivals, limits = situation
    record = replay(arrivals, COSTS, limits=limits)
    table = record.requests
    served = table.rejection == 0
    assert len(arrivals) == record.completed + record.rejected == len(table.arrival_ps)
    assert served.sum() == record.completed
    assert record.total.output_tokens == table.output_tokens[served].sum()
    assert (table.prompt_tokens + table.output_tokens)[served].max(initial=0) <= limits.context_tokens
    assert (table.first_token_ps[served] > table.arrival_ps[served]).all()
    assert (table.finish_ps[served] >= table.first_token_ps[served]).all()
    assert (table.finish_ps[~served] == -1).all()
    assert (table.first_token_ps[~served] == -1).all()
    assert sorted(table.first_token_ps[served]) == table.first_token_ps[served].tolist()
    assert table.preemptions.sum() == record.preemptions
    assert record.peak_kv_blocks <= limits.kv_blocks
    assert (record.mean_batch or 0) <= limits.max_batch


@given(situations())
@quiet
def test_windows_partition_the_run_and_their_books_balance(situation: tuple[list[Arrival], Limits]) -> None:
    """Windows follow each other; each is idle plus phases, and a phase is its weights times its knots, exactly."""
    arrivals, limits = situation
    record = replay(arrivals, COSTS, limits=limits)
    clock = 0
    for window in record.windows:
        assert clock == window.start_fine < window.end_fine
        clock = window.end_fine
        busy_fine = sum(use.time_fine for use in window.phases.values())
        assert window.end_fine - window.start_fine == window.idle_fine + busy_fine
        for use in window.phases.values():
            assert use.time_fine == sum(weight * COSTS.knot_ps(knot) for knot, weight in use.weights.items())
            assert use.iterations << 32 == sum(use.weights.values())
    assert clock == record.total.end_fine
    assert len(record.windows) <= 512
    last_arrival_ps = record.requests.arrival_ps.max(initial=0)
    assert record.end_ps == record.requests.finish_ps.max(initial=last_arrival_ps)


def test_a_request_alone_takes_the_step_costs() -> None:
    """TTFT is one prefill; the rest is output - 1 decode iterations over prompt + 1, prompt + 2, ... tokens."""
    record = replay([Arrival(5, 100, 50)], COSTS, limits=ROOMY)
    table = record.requests
    first_ps = 5 + prefill_ps(100, pairs_of(100))
    assert table.first_token_ps.tolist() == [first_ps]
    assert table.finish_ps.tolist() == [first_ps + sum(decode_ps(1, 100 + token) for token in range(1, 50))]
    assert record.total.idle_fine == 5 << 32
    assert record.mean_batch == 1
    assert record.peak_kv_blocks == -(-150 // 16)


def test_one_output_token_is_finished_by_its_prefill() -> None:
    """A request for one token never decodes."""
    record = replay([Arrival(0, 7, 1)], COSTS, limits=ROOMY)
    assert record.requests.finish_ps.tolist() == record.requests.first_token_ps.tolist() == [prefill_ps(7, 28)]
    assert record.mean_batch is None
    assert set(record.total.phases) == {"prefill"}


def test_simultaneous_arrivals_share_every_iteration() -> None:
    """Ten equal requests at one instant are one prefill and output - 1 decodes of batch ten."""
    record = replay([Arrival(0, 20, 5)] * 10, COSTS, limits=ROOMY)
    first_ps = prefill_ps(200, 10 * pairs_of(20))
    finish_ps = first_ps + sum(decode_ps(10, 10 * (20 + token)) for token in range(1, 5))
    assert record.requests.first_token_ps.tolist() == [first_ps] * 10
    assert record.requests.finish_ps.tolist() == [finish_ps] * 10
    assert record.mean_batch == 10


def test_no_requests_leave_an_empty_record() -> None:
    """Nothing arrives: no time passes, no window opens."""
    record = replay([], COSTS, limits=ROOMY)
    assert (record.end_ps, record.windows, record.completed, record.rejected) == (0, (), 0, 0)


def test_prompts_beyond_the_token_budget_wait_and_a_longer_one_runs_alone() -> None:
    """Budget 30: prompts of 20, 10, 50, 10 prefill as (20, 10), (50), (10), in order."""
    limits = Limits(max_batch=9, max_prefill_tokens=30, kv_blocks=99, block_tokens=16, context_tokens=999)
    record = replay([Arrival(0, prompt, 1) for prompt in (20, 10, 50, 10)], COSTS, limits=limits)
    first_ps = prefill_ps(30, pairs_of(20) + pairs_of(10))
    second_ps = first_ps + prefill_ps(50, pairs_of(50))
    third_ps = second_ps + prefill_ps(10, pairs_of(10))
    assert record.requests.finish_ps.tolist() == [first_ps, first_ps, second_ps, third_ps]


@pytest.mark.parametrize(("late_ps", "iterations_before"), [(0, 1), (1, 2)])
def test_an_arrival_at_a_boundary_is_let_in_there_and_one_after_it_at_the_next(
    late_ps: int, iterations_before: int
) -> None:
    """The boundary after the first decode iteration of another request lets in who has arrived by then."""
    boundary_ps = prefill_ps(10, 55) + decode_ps(1, 11)
    record = replay([Arrival(0, 10, 9), Arrival(boundary_ps + late_ps, 4, 1)], COSTS, limits=ROOMY)
    start_ps = prefill_ps(10, 55) + sum(decode_ps(1, 11 + step) for step in range(iterations_before))
    assert record.requests.finish_ps[1] == start_ps + prefill_ps(4, 10)


def test_exhausted_blocks_preempt_the_youngest_which_recomputes_all_it_had() -> None:
    """Six blocks of one token; A wants 2 + 4 tokens and B 2 + 3. Each holds 3 once prefilled.

    The first decode needs two more: B gives up its three, waits until A is done, and recomputes 2 + 1 tokens.
    """
    limits = Limits(max_batch=2, max_prefill_tokens=99, kv_blocks=6, block_tokens=1, context_tokens=99)
    record = replay([Arrival(0, 2, 4), Arrival(0, 2, 3)], COSTS, limits=limits)
    first_ps = prefill_ps(4, 2 * pairs_of(2))
    a_ps = first_ps + sum(decode_ps(1, length) for length in (3, 4, 5))
    b_ps = a_ps + prefill_ps(3, pairs_of(3)) + decode_ps(1, 4)
    assert record.requests.first_token_ps.tolist() == [first_ps, first_ps]
    assert record.requests.finish_ps.tolist() == [a_ps, b_ps]
    assert record.requests.preemptions.tolist() == [0, 1]
    assert record.total.phases["prefill_recompute"].time_fine == prefill_ps(3, pairs_of(3)) << 32
    assert record.total.phases["prefill"].iterations == record.total.phases["prefill_recompute"].iterations == 1
    assert record.peak_kv_blocks == 6


def test_what_can_never_fit_is_rejected_with_a_reason_and_the_run_goes_on() -> None:
    """Beyond the context, beyond the KV memory, and one that fits to the last token."""
    limits = Limits(max_batch=2, max_prefill_tokens=99, kv_blocks=5, block_tokens=16, context_tokens=90)
    record = replay([Arrival(0, 80, 11), Arrival(0, 80, 10), Arrival(0, 79, 1)], COSTS, limits=limits)
    table = record.requests
    reasons = [table.rejections[code] for code in table.rejection]
    assert reasons == [
        "prompt and output are 91 tokens, the model's context 90",
        "prompt and output are 90 tokens, the KV memory holds 80",
        "",
    ]
    assert table.finish_ps.tolist() == [-1, -1, prefill_ps(79, pairs_of(79))]


@pytest.mark.parametrize("second", [Arrival(4, 1, 1), Arrival(9, 0, 1), Arrival(9, 1, 0)])
def test_arrivals_back_in_time_or_without_tokens_are_refused(second: Arrival) -> None:
    """The replay's own door: a reader names file and line, this names the request."""
    with pytest.raises(InputError, match="request 1"):
        replay([Arrival(5, 1, 1), second], COSTS, limits=ROOMY)


def test_limits_must_be_positive() -> None:
    """All that are not are named at once."""
    with pytest.raises(InputError, match=r"max_batch(.|\n)*block_tokens"):
        Limits(max_batch=0, max_prefill_tokens=1, kv_blocks=1, block_tokens=-1, context_tokens=1)


def test_an_unknown_policy_is_refused_with_a_suggestion() -> None:
    """A name that is not in the dictionary."""
    with pytest.raises(InputError, match="did you mean 'prefill_first'"):
        replay([], COSTS, limits=ROOMY, policy="prefil_first")


@pytest.mark.parametrize(("beyond_ps", "windows"), [(0, 512), (1, 257)])
def test_idle_time_is_cut_into_at_most_512_windows(beyond_ps: int, windows: int) -> None:
    """Cells of 2**20 ps: 512 of them are kept; one picosecond more doubles the cells, and opens the 257th."""
    end_ps = (512 << 20) + beyond_ps
    record = replay([Arrival(end_ps, 10**6, 1)], COSTS, limits=ROOMY)
    assert record.rejected == 1
    assert len(record.windows) == windows
    assert record.total.idle_fine == sum(window.idle_fine for window in record.windows) == end_ps << 32


def test_windows_of_a_short_run_are_a_microsecond_long() -> None:
    """Three cells of 2**20 ps without a request, and a bit of a fourth."""
    record = replay([Arrival((3 << 20) + 1, 10**6, 1)], COSTS, limits=ROOMY)
    ends = [window.end_fine for window in record.windows]
    assert ends == [(1 << 20) << 32, (2 << 20) << 32, (3 << 20) << 32, ((3 << 20) + 1) << 32]


def test_arrivals_are_drawn_one_ahead_of_the_clock() -> None:
    """When request n is prefilled, no more than request n + 1 has been drawn from the iterator."""
    drawn: list[int] = []
    seen: list[int] = []

    def stream() -> Iterator[Arrival]:
        for number in range(50):
            drawn.append(number)
            yield Arrival(number * 10**13, 10, 10)

    class Watching(toy.ToyCosts):
        def prefill(self, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> Any:
            seen.append(len(drawn))
            return super().prefill(sequences, tokens, pairs, kv_tokens)

    replay(stream(), Watching(decode_ps, prefill_ps, spacing_bits=10), limits=ROOMY)
    assert seen == [*range(2, 51), 50]


def test_events_grow_with_requests_and_not_with_tokens() -> None:
    """Outputs a hundred times as long take hardly more events: two or three a request, and a few a window."""
    counts = {}
    for factor in (1, 10, 100):
        arrivals = [Arrival(number * 10**10, 50, factor * (10 + number % 7)) for number in range(500)]
        counts[factor] = replay(arrivals, COSTS, limits=ROOMY).event_count
    assert max(counts.values()) <= 4 * 500 + 512 * 12
    assert counts[100] <= 1.5 * counts[10]


def test_a_record_is_the_same_every_time() -> None:
    """No clock, hash or order of a set enters."""
    arrivals = [Arrival(number * 10**9, 10 + number % 90, 1 + number % 50) for number in range(300)]
    limits = Limits(max_batch=20, max_prefill_tokens=300, kv_blocks=300, block_tokens=4, context_tokens=999)
    assert _plain(replay(arrivals, COSTS, limits=limits)) == _plain(replay(iter(arrivals), COSTS, limits=limits))


def _plain(record: Record) -> Any:
    table = record.requests
    return record.windows, record.event_count, table.first_token_ps.tolist(), table.finish_ps.tolist()


def test_progress_counts_up_and_an_interrupt_in_it_ends_the_replay() -> None:
    """The callback sees requests and clock rise; KeyboardInterrupt leaves the replay as itself."""
    arrivals = [Arrival(number * 10**9, 10, 3) for number in range(1000)]
    calls: list[tuple[int, int]] = []

    def note(done: int, simulated_ps: int) -> None:
        calls.append((done, simulated_ps))

    def interrupt(done: int, simulated_ps: int) -> None:
        raise KeyboardInterrupt

    replay(arrivals, COSTS, limits=ROOMY, progress=note)
    assert [done for done, _ in calls] == [256, 512, 768]
    assert [simulated_ps for _, simulated_ps in calls] == sorted(simulated_ps for _, simulated_ps in calls)
    with pytest.raises(KeyboardInterrupt):
        replay(arrivals, COSTS, limits=ROOMY, progress=interrupt)
