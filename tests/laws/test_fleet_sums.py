"""The record of a fleet is that of its replicas together: sums, means over time, and the most of anybody."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.serving.fleet import Fleet, replay_fleet
from archsim.serving.merging import merged_windows
from archsim.serving.observe import CELLS, Series
from archsim.serving.prefix import PrefixUse
from archsim.serving.record import PhaseUse, Window
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import DraftRule, PrefixRule, ScaleRule, Techniques, TierRule
from archsim.serving.tier import TierUse
from archsim.summary.pooled import record_of_pool

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

COSTS = toy.ToyCosts(
    lambda batch, kv: 10**8 + 10**6 * batch + 7 * kv, lambda tokens, pairs: 10**8 + 10**4 * tokens + pairs,
    spacing_bits=4,
)  # fmt: skip
TIER = TierRule(4000, 10**9, 10**9, 1000, 8, swaps=True)
RULES = Techniques(
    prefix=PrefixRule("lru", 4, "lru", "always"), tier=TIER, drafts=DraftRule((Fraction(1, 2),), 2), watched=True
)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """Return three replicas that have more to do than they hold: they preempt, swap, guess and find prefixes."""
    arrivals = [
        Arrival(number * 10**8, 24 + number % 5, 20 + number % 11, tuple(range(number % 4 * 10, number % 4 * 10 + 5)))
        for number in range(90)
    ] + [Arrival(10**11, 500, 1)]
    limits = Limits(6, 200, 60, 4, 200, techniques=RULES)
    return replay_fleet(iter(arrivals), ServerGroup(COSTS, limits, 3))


def test_counts_of_a_fleet_are_sums_and_its_peak_is_the_highest(fleet: Fleet) -> None:
    """Every replica has something of each, so that none could be left out unseen."""
    whole, parts = fleet.record, fleet.replicas
    assert len(parts) == 3
    for name in ("completed", "preemptions", "decode_tokens", "draft_tokens"):
        assert all(getattr(part, name) > 0 for part in parts)
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    assert (whole.completed, whole.rejected, whole.answered) == (90, 1, 0)
    assert whole.peak_kv_blocks == max(part.peak_kv_blocks for part in parts)
    assert whole.total.output_tokens == sum(20 + number % 11 for number in range(90))
    assert {part.end_ps for part in parts} == {whole.end_ps}


def test_what_moved_to_tiers_and_what_prefixes_saved_are_sums(fleet: Fleet) -> None:
    """Field by field, none of them zero everywhere but what was turned away."""
    for of, kind in (("tier", TierUse), ("prefixes", PrefixUse)):
        uses = [getattr(part, of) for part in fleet.replicas]
        for field in fields(kind):
            amounts = [getattr(use, field.name) for use in uses]
            assert getattr(getattr(fleet.record, of), field.name) == sum(amounts)
            assert all(amounts) or field.name in ("turned_away", "dropped_units", "evicted_units")


def test_what_was_seen_of_a_fleet_is_what_was_seen_of_all_its_replicas(fleet: Fleet) -> None:
    """Gaps by length, and levels over time; looking at the fleet leaves the replicas' own as they were."""
    watches = [part.observer for part in fleet.replicas]
    whole = fleet.record.observer
    assert whole is not None
    bins: Counter[int] = Counter()
    for watch in watches:
        assert watch is not None
        assert watch.gaps.total_fine > 0
        bins.update(watch.gaps.bins)
    assert whole.gaps.bins == bins
    assert whole.gaps.total_fine == sum(watch.gaps.total_fine for watch in watches if watch)
    for place in range(1, 4):
        levels = [sum(sums[place] for sums in watch.series.cells.values()) for watch in watches if watch]
        assert all(levels)
        assert sum(sums[place] for sums in whole.series.cells.values()) == sum(levels)
    times = [sum(sums[0] for sums in watch.series.cells.values()) for watch in watches if watch]
    assert sum(sums[0] for sums in whole.series.cells.values()) == pytest.approx(sum(times) / 3, rel=1e-9)


def test_series_of_unlike_cells_add_up_in_the_longer_ones() -> None:
    """One replica ran a thousand times as long: levels of both in its cells, over the mean of their times."""
    short, long = Series(), Series()
    short.add(0, 3 << short.shift, (5, 7, 11))
    long.add(0, 3000 << long.shift, (1, 2, 3))
    assert long.shift == short.shift + 3
    both = short.with_others([long])
    assert both.shift == long.shift
    unit = 1 << short.shift
    assert both.cells[0] == [11 * unit // 2, 23 * unit, 37 * unit, 57 * unit]
    assert [both.cells[cell][1:] for cell in (1, 374)] == [[8 * unit, 16 * unit, 24 * unit]] * 2
    assert short.cells[0] == [unit, 5 * unit, 7 * unit, 11 * unit]
    assert [row[:2] for row in list(short.rows())[:2]] == [(0, 1 << 20), (1 << 20, 1 << 20)]


def test_a_series_has_as_many_cells_as_are_kept_and_doubles_them_for_a_unit_more() -> None:
    """512 cells of 2**20 ps to the last unit of the clock; with one more there are 257 twice as long."""
    full, more = Series(), Series()
    end = CELLS << full.shift
    full.add(0, end, (1, 0, 0))
    more.add(0, end + 1, (1, 0, 0))
    assert (len(full.cells), full.shift) == (512, more.shift - 1)
    assert len(more.cells) == 257
    assert more.cells[256] == [1, 1, 0, 0]


def test_windows_of_replicas_merge_by_when_they_start_and_move_a_common_clock() -> None:
    """Two replicas of 512 and 8 windows: cells hold all that start in them; time is the mean of both."""
    unit = 1 << 33
    busy = PhaseUse(3, unit - 2, {4: 3 << 32})
    many = [Window(at * unit, (at + 1) * unit, 2, 5, {"decode": busy}) for at in range(512)]
    few = [Window(at * 64 * unit, (at + 1) * 64 * unit, 64 * unit, 0, {}) for at in range(8)]
    merged = merged_windows([many, few])
    assert len(merged) <= 512
    clock = 0
    for window in merged:
        assert window.start_fine == clock < window.end_fine
        clock = window.end_fine
    assert clock == 512 * unit
    whole = Window.of(merged)
    assert (whole.idle_fine, whole.output_tokens) == (512 * 2 + 512 * unit, 512 * 5)
    assert whole.phases["decode"] == PhaseUse(512 * 3, 512 * (unit - 2), {4: 512 * 3 << 32})
    assert merged[0].output_tokens == merged[-1].output_tokens
    assert merged_windows([[], []]) == ()


def test_an_unknown_router_or_policy_is_refused_by_what_it_is() -> None:
    """Each with the name that was meant."""
    limits = Limits(6, 200, 60, 4, 200)
    with pytest.raises(InputError, match=r"^router: got 'rond_robin'.*did you mean 'round_robin'"):
        ServerGroup(COSTS, limits, 2, router="rond_robin")
    with pytest.raises(InputError, match=r"^policy: got 'statc'.*did you mean 'static'"):
        ServerGroup(COSTS, limits, 2, policy="statc")


def test_progress_counts_the_requests_of_all_replicas() -> None:
    """Every 256th that is done, whoever did it, and the clock with it; without a listener nobody is told."""
    calls: list[tuple[int, int]] = []
    limits = Limits(64, 4000, 400, 4, 200)

    def note(done: int, now_ps: int) -> None:
        calls.append((done, now_ps))

    for progress in (None, note):
        replay_fleet([Arrival(at, 3, 1) for at in range(600)], ServerGroup(COSTS, limits, 2), progress=progress)
    assert [done for done, _ in calls] == [256, 512]
    assert 0 < calls[0][1] < calls[1][1]


def test_requests_of_one_instant_stand_in_the_order_of_the_trace() -> None:
    """Five at once for two replicas in turn: not those of the one before those of the other."""
    arrivals = [Arrival(7, prompt, 3) for prompt in (5, 6, 7, 8, 9)]
    fleet = replay_fleet(arrivals, ServerGroup(COSTS, Limits(6, 200, 60, 4, 200), 2))
    assert fleet.record.requests.prompt_tokens.tolist() == [5, 6, 7, 8, 9]
    assert [record.requests.prompt_tokens.tolist() for record in fleet.replicas] == [[5, 7, 9], [6, 8]]


def test_who_is_off_gets_nothing() -> None:
    """Three of three replicas behind a router that takes them in turn, of which one runs and none has to start."""
    rule = ScaleRule(least=1, most=3, scale=1, high=9, low=1, start_up_ps=5, cool_down_ps=10**12)
    limits = replace(Limits(6, 200, 60, 4, 200), techniques=Techniques(scaling=rule))
    fleet = replay_fleet([Arrival(at * 10**6, 9, 9) for at in range(6)], ServerGroup(COSTS, limits, 3))
    assert [record.completed for record in fleet.replicas] == [6, 0, 0]
    assert fleet.scaling is not None
    assert fleet.scaling.on_ps == (fleet.record.end_ps, 0, 0)


def test_a_single_replica_is_the_fleet() -> None:
    """And is not listed beside itself."""
    limits = replace(Limits(6, 200, 60, 4, 200), techniques=Techniques(tier=TIER))
    fleet = replay_fleet([Arrival(5, 9, 9)], ServerGroup(COSTS, limits))
    assert fleet.replicas == ()
    assert fleet.scaling is None
    assert (fleet.record.completed, fleet.record.tier) == (1, TierUse())
    record = fleet.record
    assert (record.observer, record.prefixes, record.draft_tokens, record.tally) == (None, None, None, None)


def test_a_pool_is_summed_as_a_fleet_is(fleet: Fleet) -> None:
    """Servers of a pool leave one record, their prefix caches summed with all else."""
    whole = record_of_pool(fleet.replicas, fleet.record.requests, watched=True)
    for field in fields(whole):
        if field.name not in ("observer", "requests"):
            assert getattr(whole, field.name) == getattr(fleet.record, field.name), field.name
    assert record_of_pool(fleet.replicas, fleet.record.requests).observer is None
