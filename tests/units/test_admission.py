"""Conditions on who is let in, on a made-up server whose iteration takes 10 ps a sequence and 1 ps a token."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from archsim.serving.admission import make_room, within_tpot
from archsim.serving.costs import fine_from_ps
from archsim.serving.requests import Arrival, Limits, Sequence
from archsim.serving.techniques import Techniques

LIMITS = Limits(8, 64, 100, 4, 10**6, techniques=Techniques(tpot_ps=100))


def _decode(size: int, tokens: int, steps: int) -> SimpleNamespace:
    assert steps == 1
    return SimpleNamespace(time_fine=fine_from_ps(10 * size + tokens))


def _waiting(*lengths: int) -> list[Sequence]:
    return [Sequence(number, Arrival(0, length, 9)) for number, length in enumerate(lengths)]


def _let_in(
    *lengths: int, running: int = 0, kv_tokens: int = 0, under_way: tuple[int, ...] = (), limits: Limits = LIMITS
) -> int:
    costs: Any = SimpleNamespace(decode=_decode)

    class Running(SimpleNamespace):
        def __len__(self) -> int:
            return running

    batch: Any = Running(kv_tokens=kv_tokens)
    queues = _waiting(*under_way), _waiting(*lengths)
    return within_tpot(costs, batch, queues, len(lengths), limits=limits)


def test_nobody_joins_who_would_make_the_next_token_late() -> None:
    """Two run on 30 tokens: 20 + 30 ps. A prompt of 39 joins for 10 + 40, exactly 100 ps; one of 40 is late."""
    assert _let_in(38, running=2, kv_tokens=30) == 1
    assert _let_in(39, running=2, kv_tokens=30) == 1
    assert _let_in(40, running=2, kv_tokens=30) == 0
    assert _let_in(14, 14, 1, running=2, kv_tokens=30) == 2


def test_prompts_under_way_will_join_in_any_case() -> None:
    """One of 19 tokens under way takes 10 + 20 ps of the 50 that are left: a prompt of 9 fits, one of 10 does not."""
    assert _let_in(9, running=2, kv_tokens=30, under_way=(19,)) == 1
    assert _let_in(10, running=2, kv_tokens=30, under_way=(19,)) == 0
    assert _let_in(500, under_way=(19,)) == 0


def test_an_empty_server_lets_one_in_however_slow() -> None:
    """Somebody has to be served; a second one is not."""
    assert _let_in(500) == 1
    assert _let_in(500, 500) == 1


def test_without_a_bound_everybody_may_join() -> None:
    """The count that was asked for, and no more than that."""
    assert _let_in(500, 500, limits=replace(LIMITS, techniques=Techniques())) == 2


@pytest.mark.parametrize(
    ("ranks", "head", "preempted"), [((0, 1, 2), 0, 2), ((0, 1), 1, 0), ((), 0, 0), ((2, 2), 1, 2)]
)
def test_only_less_urgent_sequences_make_room(ranks: tuple[int, ...], head: int, preempted: int) -> None:
    """The least urgent goes first; those as urgent as the head of the queue stay, and so do all once it is let in."""
    running = sorted(ranks)
    waiting: Any = [SimpleNamespace(rank=head)]

    class Batch:
        @property
        def least_urgent(self) -> SimpleNamespace | None:
            return SimpleNamespace(rank=running[-1]) if running else None

    batch: Any = Batch()
    gone: list[int] = []
    make_room(waiting, batch, lambda: 0, lambda: gone.append(running.pop()))
    assert len(gone) == preempted
    gone.clear()
    make_room(waiting, batch, lambda: 1, lambda: gone.append(running.pop()))
    assert gone == []
