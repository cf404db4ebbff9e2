"""Who waits and in which order: the queue's own rules, at their borders."""

from __future__ import annotations

from fractions import Fraction

from archsim.serving.costs import fine_from_ps
from archsim.serving.queue import Queue
from archsim.serving.requests import Arrival, Sequence
from archsim.serving.techniques import AnswerRule, Techniques


def _queue(techniques: Techniques, *arrivals_ps: int) -> Queue:
    queue = Queue(techniques)
    for number, arrival_ps in enumerate(arrivals_ps):
        queue.append(Sequence(number, Arrival(arrival_ps, 8, 2)))
    return queue


def test_who_has_waited_just_as_long_as_allowed_is_not_late() -> None:
    """Bound 100 ps: who came at 7 is late from the first instant after 107 on, and that is when to look again."""
    queue = _queue(Techniques(ttft_ps=100), 7, 20)
    assert queue.next_late_ps == 108
    assert queue.late(fine_from_ps(107)) == []
    assert [sequence.id for sequence in queue.late(fine_from_ps(107) + 1)] == [0]
    assert [sequence.id for sequence in queue] == [1]


def test_who_has_a_token_or_no_bound_is_never_late() -> None:
    """A preempted sequence keeps its place, and without a bound nobody is looked at."""
    queue = _queue(Techniques(ttft_ps=100), 7, 20)
    for sequence in queue:
        sequence.first_token_ps = 50
    assert queue.next_late_ps is None
    assert queue.late(fine_from_ps(10**9)) == []
    free = _queue(Techniques(), 7)
    assert free.next_late_ps is None
    assert free.late(fine_from_ps(10**9)) == []


def test_classes_stand_by_urgency_and_in_each_by_arrival_but_the_preempted_first() -> None:
    """Appended behind its class, pushed back before it."""
    queue = _queue(Techniques(classes=(50, 50)), *range(12))
    ranks = [sequence.rank for sequence in queue]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1}
    for rank in (0, 1):
        of_class = [sequence.id for sequence in queue if sequence.rank == rank]
        assert of_class == sorted(of_class)
    gone = queue[-1]
    assert gone.rank == 1
    queue.appendleft(gone)
    first_of_class = next(place for place, sequence in enumerate(queue) if sequence.rank == 1)
    assert queue[first_of_class] is gone
    assert queue.popleft().rank == 0


def test_those_whose_cache_lies_in_a_tier_begin_alone() -> None:
    """The first alone where it is such a one, else all before the next such."""
    queue = _queue(Techniques(), 0, 1, 2)
    assert [sequence.id for sequence in queue.alike] == [0, 1, 2]
    queue[1].stored_bytes = 64
    assert [sequence.id for sequence in queue.alike] == [0]
    queue.popleft()
    assert [sequence.id for sequence in queue.alike] == [1]
    queue.popleft()
    queue.popleft()
    assert list(queue.alike) == []


def test_a_cache_of_answers_answers_its_share_after_its_time() -> None:
    """A third of 3,000 requests, give or take one, each 5 ps after it came; of share none or all, none or all."""
    for share, least, most in ((Fraction(1, 3), 999, 1001), (Fraction(0), 0, 0), (Fraction(1), 3000, 3000)):
        queue = Queue(Techniques(answers=AnswerRule(share, 5)))
        answered = [queue.answered_ps(Sequence(number, Arrival(number, 8, 2))) for number in range(3000)]
        assert all(at is None or at == number + 5 for number, at in enumerate(answered))
        assert least <= sum(at is not None for at in answered) <= most
    assert Queue(Techniques()).answered_ps(Sequence(0, Arrival(0, 8, 2))) is None
