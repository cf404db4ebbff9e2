"""A server's part of a tier by itself: what it holds, what it gives up for whom, and how long bytes pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from archsim.serving.costs import fine_from_ps
from archsim.serving.requests import Arrival, Limits, Sequence
from archsim.serving.tally import ROW, Tally
from archsim.serving.techniques import DraftRule, Techniques, TierRule
from archsim.serving.tier import Tier

LIMITS = Limits(4, 20, 100, 4, 10**6)


class _Costs:
    @staticmethod
    def moved(wait_fine: int, out_fine: int, in_fine: int) -> tuple[int, int, int]:
        return wait_fine, out_fine, in_fine


COSTS: Any = _Costs()


def _tier(capacity_bytes: int, *, units: int = 0) -> Tier:
    """Return a tier that holds *units* of three bytes, and gives one up whenever it is asked to."""
    tier = Tier(TierRule(capacity_bytes, 10**12, 10**11, 7, 8, swaps=True), LIMITS)
    tier.hold_units(3 * units)

    def give_up() -> bool:
        if units_left:
            units_left.pop()
            tier.hold_units(-3)
            return True
        return False

    units_left = [None] * units
    tier.yields = give_up
    return tier


def _sequence(tokens: int) -> Sequence:
    """Return one that is preempted with *tokens*, the last of which has no cache yet."""
    return Sequence(0, Arrival(0, tokens, 9))


def test_prefixes_give_up_no_more_than_a_sequence_needs() -> None:
    """Eleven bytes beside three units of three: twenty hold both, nineteen two units, sixteen one, eleven none."""
    for capacity_bytes, left in ((20, 3), (19, 2), (17, 2), (16, 1), (11, 0)):
        tier = _tier(capacity_bytes, units=3)
        sequence = _sequence(12)
        assert tier.put(sequence, COSTS) == (fine_from_ps(7), fine_from_ps(11), 0)
        assert (sequence.stored_bytes, tier.room_bytes) == (11, capacity_bytes - 11)
        assert tier.use.peak_bytes == max(11 + 3 * left, 9)
        assert (tier.use.swapped_out, tier.use.turned_away) == (1, 0)


def test_who_finds_no_room_is_turned_away_and_room_comes_back() -> None:
    """Two of eleven bytes in twenty-one: the second is turned away, twice; in twenty-two both are there."""
    tier, first, second = _tier(21, units=1), _sequence(12), _sequence(12)
    assert tier.put(first, COSTS) is not None
    assert tier.put(second, COSTS) is tier.put(second, COSTS) is None
    assert (tier.use.turned_away, second.stored_bytes) == (2, 0)
    assert tier.take(first, COSTS) == (fine_from_ps(7), 0, fine_from_ps(110))
    assert (first.stored_bytes, tier.room_bytes, tier.use.swapped_in) == (0, 21, 1)
    assert tier.put(second, COSTS) is not None
    roomy = _tier(22)
    assert all(roomy.put(_sequence(12), COSTS) for _ in range(2))
    assert roomy.use.out_bytes == roomy.use.peak_bytes == 22
    assert roomy.use.out_fine == fine_from_ps(22)
    assert roomy.use.out_wait_fine == fine_from_ps(14)


def test_who_comes_back_from_a_tier_takes_blocks_for_what_the_next_iteration_yields() -> None:
    """Seven tokens in blocks of four: the eighth is in the second block, with a guess of two a third one is taken."""
    drafting = Limits(4, 20, 100, 4, 10**6, techniques=Techniques(drafts=DraftRule((), 2)))
    for tokens, stored, blocks, with_guesses in ((7, 5, 2, 3), (8, 5, 3, 4), (7, 0, 2, 3), (5, 0, 2, 2), (5, 5, 2, 3)):
        sequence = _sequence(tokens)
        sequence.stored_bytes = stored
        assert (sequence.own_blocks(LIMITS), sequence.own_blocks(drafting)) == (blocks, with_guesses)
    sequence.shared_blocks = 1
    assert sequence.own_blocks(LIMITS) == 1


def test_a_request_of_two_tokens_has_a_time_per_token_and_one_of_one_has_none() -> None:
    """Counted, not kept: who was rejected has no time at all, who has but a first token has the time to it."""
    columns = {
        "arrival_ps": [0, 0, 0, 0], "first_token_ps": [10, 20, 40, -1], "finish_ps": [10, 27, -1, -1],
        "prompt_tokens": [5, 6, 7, 8], "output_tokens": [1, 2, 9, 2],
    }  # fmt: skip
    rows = np.array([columns.get(name, [0] * 4) for name in ROW], dtype=np.int64).T
    tally = Tally()
    tally.take(rows)
    assert (tally.prompt_tokens, tally.output_tokens) == (11, 3)
    counted = [(bins.count, bins.total_fine) for bins in (tally.ttft, tally.tpot, tally.e2e)]
    assert counted == [(3, fine_from_ps(70)), (1, fine_from_ps(7)), (2, fine_from_ps(37))]
    again = Tally()
    for part in (rows[:1], rows[1:]):
        again.take(part)
    assert (again.prompt_tokens, again.output_tokens, again.e2e.total_fine) == (11, 3, fine_from_ps(37))
    twice = tally.with_others([tally])
    assert (twice.prompt_tokens, twice.output_tokens) == (22, 6)
    assert [(bins.count, bins.total_fine) for bins in (twice.ttft, twice.tpot, twice.e2e)] == [
        (2 * count, 2 * total) for count, total in counted
    ]
