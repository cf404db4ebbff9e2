"""Who waits, and in which order: by class, then by arrival; a sequence that was preempted is first of its class.

S6: classes are dealt to requests by their number in shares that a system states, through the multiples of the golden
ratio: as evenly mixed as can be, without a seed. S7: where a bound on the time to the first token is stated, a request
that has waited longer is turned away between two iterations, or at once where none is under way; one that has waited
for just the bound may begin, and one that has a token is never turned away. S10: a cache of answers gives a stated
share of requests theirs whole, a stated time after they arrive; others lose nothing by asking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import accumulate, takewhile
from typing import ClassVar

from archsim.serving.costs import fine_from_ps
from archsim.serving.requests import Sequence
from archsim.serving.techniques import Techniques

__all__ = ["LATE", "Queue", "class_of"]

LATE = "it waited longer than serving.admission.ttft allows"
"""Why a request is turned away."""
_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio."""


def class_of(number: int, shares: tuple[int, ...]) -> int:
    """Return the class of request *number* where classes have *shares* in percent, the first the most urgent."""
    place = (number * _GOLDEN + (_GOLDEN >> 1)) % 2**64 * 100
    return next((rank for rank, upto in enumerate(accumulate(shares)) if place < upto << 64), len(shares) - 1)


_BESIDE = 2**20


class Queue:
    """Sequences that wait."""

    KEPT: ClassVar = ("_waiting",)

    def __init__(self, techniques: Techniques) -> None:
        self._answers = techniques.answers
        self._classes = techniques.classes
        self._ttft_ps = techniques.ttft_ps
        self._waiting: deque[Sequence] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._waiting)

    def __getitem__(self, place: int) -> Sequence:
        return self._waiting[place]

    @property
    def alike(self) -> Iterator[Sequence]:
        """Who may begin together: the first alone where its cache lies in a tier, else those before the next such."""
        if self._waiting and self._waiting[0].stored_bytes:
            return iter((self._waiting[0],))
        return takewhile(lambda sequence: not sequence.stored_bytes, self._waiting)

    def popleft(self) -> Sequence:
        """Take out who is first."""
        return self._waiting.popleft()

    def answered_ps(self, sequence: Sequence) -> int | None:
        """Return when *sequence*, which has just arrived, has its answer from the cache; None where it has not."""
        rule = self._answers
        # Another stretch of the same sequence of fractions than that of classes.
        if rule is None or (sequence.id + _BESIDE) * _GOLDEN % 2**64 * rule.share.denominator >= (
            rule.share.numerator << 64
        ):
            return None
        return sequence.arrival_ps + rule.latency_ps

    def append(self, sequence: Sequence) -> None:
        """Let *sequence* wait behind all of its class."""
        if not self._classes:
            self._waiting.append(sequence)
            return
        sequence.rank = class_of(sequence.id, self._classes)
        place = len(self._waiting)
        while place and self._waiting[place - 1].rank > sequence.rank:
            place -= 1
        self._waiting.insert(place, sequence)

    def appendleft(self, sequence: Sequence) -> None:
        """Let *sequence*, which was preempted, wait before all of its class."""
        place = 0
        while place < len(self._waiting) and self._waiting[place].rank < sequence.rank:
            place += 1
        self._waiting.insert(place, sequence)

    @property
    def next_late_ps(self) -> int | None:
        """When the next of them will have waited too long; None where none can."""
        if self._ttft_ps is None:
            return None
        arrivals = [sequence.arrival_ps for sequence in self._waiting if sequence.first_token_ps < 0]
        return min(arrivals) + self._ttft_ps + 1 if arrivals else None

    def late(self, now_fine: int) -> list[Sequence]:
        """Take out those who have waited too long for their first token."""
        if self._ttft_ps is None or not self._waiting:
            return []
        bound = now_fine - fine_from_ps(self._ttft_ps)
        late = [s for s in self._waiting if s.first_token_ps < 0 and fine_from_ps(s.arrival_ps) < bound]
        if late:
            gone = {sequence.id for sequence in late}
            self._waiting = deque(sequence for sequence in self._waiting if sequence.id not in gone)
        return late
