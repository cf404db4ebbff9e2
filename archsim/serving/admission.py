"""Further conditions on who is let in: a bound on the time of a token, and urgent requests that take others' places.

S8: where a bound on the time of each further token is stated, nobody joins whose joining would make the next iteration
of the running sequences longer than that, unless nothing runs. S9: with preemption by class, a request at the head of
the queue that has no place or no blocks takes those of the sequence that joined last among the least urgent, as long as
that one is less urgent than itself; what it loses is recomputed (A27).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archsim.serving.batch import Batch
from archsim.serving.costs import Costs, fine_from_ps
from archsim.serving.queue import Queue
from archsim.serving.requests import Limits, Sequence

__all__ = ["make_room", "within_tpot"]


def within_tpot(
    costs: Costs, batch: Batch, queues: tuple[Iterable[Sequence], Iterable[Sequence]], count: int, *, limits: Limits
) -> int:
    """Return how many of the first *count* that wait may join *batch* within the bound on a token's time.

    *queues* are those whose prompts are under way, who will join in any case, and those who wait.
    """
    bound_ps = limits.techniques.tpot_ps
    if bound_ps is None:
        return count
    under_way, waiting = queues
    size, tokens, joined = len(batch), batch.kv_tokens, 0
    for sequence in under_way:
        size, tokens = size + 1, tokens + limits.reach.attended(sequence.length + 1)
    for sequence in waiting:
        if joined == count:
            break
        tokens += limits.reach.attended(sequence.length + 1)
        slow = costs.decode(size + joined + 1, tokens, 1).time_fine > fine_from_ps(bound_ps)
        if slow and (size or joined):
            break
        joined += 1
    return joined


def make_room(waiting: Queue, batch: Batch, admits: Callable[[], int], preempt: Callable[[], None]) -> None:
    """Preempt less urgent sequences of *batch* until *admits* lets the head of *waiting* in, or none is left."""
    while waiting and not admits():
        worst = batch.least_urgent
        if worst is None or worst.rank <= waiting[0].rank:
            return
        preempt()
