"""Times of iterations as the server asks for them, and its clock at its borders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from archsim.errors import SimulationError
from archsim.serving.costs import check_clock, decode_alike_fine, fine_from_ps, ps_from_fine, whole_prompts
from archsim.serving.requests import Arrival, Sequence
from archsim.workload.layers import ALL, Reach

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

COSTS = toy.LoopCosts(lambda b, kv: 10**4 * b + 3 * kv, lambda tokens, pairs: 10**6 * tokens + pairs, spacing_bits=0)


@pytest.mark.parametrize("reach", [ALL, Reach(1, 2, 16), Reach(0, 3, 16), Reach(2, 1, 1)])
@pytest.mark.parametrize("context", [1, 10, 15, 16, 17, 40])
@pytest.mark.parametrize("steps", [1, 5, 6, 7, 30])
def test_equal_sequences_decode_as_long_as_their_iterations_one_by_one(reach: Reach, context: int, steps: int) -> None:
    """Three of them, before, across and behind the end of a window."""
    one_by_one = sum(10**4 * 3 + 3 * 3 * reach.attended(context + step) for step in range(steps))
    assert decode_alike_fine(COSTS, reach, sequences=3, context=context, steps=steps) == fine_from_ps(one_by_one)


def test_prompts_are_computed_whole_but_for_what_is_cached() -> None:
    """Three tokens alone and with five; with two of the five cached, the other three attend to 3, 4 and 5."""
    short, long = Sequence(0, Arrival(0, 3, 1)), Sequence(1, Arrival(0, 5, 1))
    assert whole_prompts(COSTS, [short], ALL).time_fine == fine_from_ps(3 * 10**6 + 6)
    assert whole_prompts(COSTS, [short, long], ALL).time_fine == fine_from_ps(8 * 10**6 + 6 + 15)
    long.cached = 2
    assert whole_prompts(COSTS, [long], ALL).time_fine == fine_from_ps(3 * 10**6 + 12 + 5)
    assert whole_prompts(COSTS, [short, long], ALL).time_fine == fine_from_ps(6 * 10**6 + 6 + 12 + 3 + 5)


def test_fine_time_is_rounded_up_to_picoseconds_once() -> None:
    """A whole one stays, a unit more is the next."""
    assert [ps_from_fine(fine_from_ps(7) + more) for more in (-1, 0, 1)] == [7, 7, 8]
    assert ps_from_fine(0) == 0


def test_a_clock_holds_as_long_as_a_column_of_times() -> None:
    """Signed picoseconds of 64 bits: 106 days."""
    check_clock(2**63 - 1)
    with pytest.raises(SimulationError, match="beyond 106 days"):
        check_clock(2**63)
