"""What a router may know, and how many tokens an iteration with guesses yields next."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archsim.serving.affinity import Holdings
from archsim.serving.requests import Limits
from archsim.serving.router import Offer, least_tokens, prefix_affinity, round_robin, session_affinity
from archsim.serving.speculation import PERIOD, Pace, Pattern
from archsim.serving.techniques import PrefixRule, Techniques


def _holdings(kv_blocks: int, *, replicas: int = 2) -> Holdings:
    """Return what is known of replicas whose blocks have four tokens and whose prefixes go by eight."""
    rule = PrefixRule("lru", 8, imbalance_tokens=100)
    return Holdings(Limits(8, 64, kv_blocks, 4, 999, techniques=Techniques(prefix=rule)), replicas)


def test_a_router_knows_as_many_units_as_the_blocks_hold_and_forgets_the_deepest_of_the_oldest() -> None:
    """Two blocks a unit: of ten blocks five units, of eleven five, of one still one."""
    for kv_blocks, units in ((10, 5), (11, 5), (12, 6), (1, 1)):
        holdings = _holdings(kv_blocks)
        holdings.send(tuple(range(9)), 1)
        assert holdings.tokens(tuple(range(9))) == (0, 8 * units)
    holdings = _holdings(10)
    holdings.send((1, 2, 3), 0)
    holdings.send((4, 5, 6), 0)
    assert [holdings.tokens(prefix)[0] for prefix in ((1, 2, 3), (4, 5, 6), (4, 9, 6), ())] == [16, 24, 8, 0]
    holdings.send((1, 2), 0)
    holdings.send((7,), 0)
    assert [holdings.tokens(prefix)[0] for prefix in ((1, 2), (4, 5, 6), (7,))] == [16, 16, 8]


def test_routers_choose_by_number_by_debt_by_session_or_by_what_is_held() -> None:
    """Of three replicas that owe 30, 10 and 10 tokens."""
    owed = (30, 10, 10)
    offer = Offer(id=7, session=5, tokens=9, held=(8, 0, 0), imbalance_tokens=20)
    assert [route(offer, owed) for route in (round_robin, least_tokens, session_affinity)] == [1, 1, 2]
    assert prefix_affinity(offer, owed) == 0
    assert prefix_affinity(offer._replace(imbalance_tokens=19), owed) == 1
    assert prefix_affinity(offer._replace(held=(8, 8, 16)), owed) == 2
    assert prefix_affinity(offer._replace(held=(8, 8, 8)), (30, 20, 10)) == 2
    assert prefix_affinity(offer._replace(held=(0, 0, 0)), owed) == 1


@pytest.mark.parametrize("shares", [(Fraction(1, 2),), (Fraction(3, 4), Fraction(1, 3)), (Fraction(1), Fraction(0))])
def test_iterations_with_guesses_yield_their_shares_of_a_period(shares: tuple[Fraction, ...]) -> None:
    """One token and those accepted: over 64 iterations the shares' sum to a token, and the next as the pace says."""
    pattern = Pattern(shares)
    assert abs(pattern.period_tokens - PERIOD - sum(shares) * PERIOD) <= Fraction(len(shares), 2)
    assert pattern.tokens(0, 1000) == sum(pattern.tokens(number, 1) for number in range(1000))
    pace = Pace(pattern)
    assert (pace.tokens_next, pace.decode_tokens, pace.drafted) == (pattern.tokens(0, 1), 0, 0)
    for number in range(2 * PERIOD):
        pace.iterations = number
        assert pace.tokens_next == pattern.tokens(number, 1)
        assert 1 <= pace.tokens_next <= 1 + len(shares)
    assert (Pace(None).tokens_next, Pace(None).even, pace.even) == (1, True, False)
