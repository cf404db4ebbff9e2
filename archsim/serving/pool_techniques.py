"""Which techniques a server may have in a pool: all that look at its own queue and batch, where these are its own.

Pools that serve whole requests have whole servers. Where prompts are processed in one pool and decoded in another, a
bound on the first token is the prompts' pool's, one on further tokens the decoding pool's; classes order the queue of
the one and the list of caches that the other takes on, and nobody is preempted for a cache that is still elsewhere.
"""

from __future__ import annotations

from archsim.errors import InputError, Problem
from archsim.hardware.pools_spec import PoolSpec, PoolsSpec

__all__ = ["check_techniques"]


def check_techniques(spec: PoolsSpec) -> None:
    """Raise `InputError` for techniques that have no meaning in their pool, all of them at once."""
    problems = [
        Problem(pool.system.name, f"pool {name}: serving.{key}", value, expected)
        for name, pool in spec.pools.items()
        for key, value, expected in _problems(pool)
    ]
    watched = [pool.system.serving is not None and pool.system.serving.metrics is not None
               for pool in spec.pools.values()]  # fmt: skip
    if any(watched) and not all(watched):
        name = next(name for name, seen in zip(spec.pools, watched, strict=True) if not seen)
        problems.append(Problem(spec.name, f"pool {name}: serving.metrics", "", "metrics of all pools or of none"))
    if problems:
        raise InputError(*problems)


def _problems(pool: PoolSpec) -> list[tuple[str, str, str]]:
    """Return (key below serving, value, what was expected) of what has no meaning in *pool*."""
    serving = pool.system.serving
    if serving is None:
        return []
    found = []
    if serving.answer_cache:
        found.append(("answer_cache", "", "no answers of a pool: whole designs have them"))
    if serving.tier:
        found.append(("tier", "", "no tier of a pool: its copies are booked as one, without ports of their own"))
    if serving.scaling:
        found.append(("scaling", "", "no scaling of a pool: its copies always run"))
    if pool.serves == "all":
        return found
    if serving.priority and serving.priority.preempt != "never":
        expected = "never: a cache that comes from another pool waits until there is room"
        found.append(("priority.preempt", serving.priority.preempt, expected))
    if serving.admission:
        wrong = "tpot" if pool.serves == "prefill" else "ttft"
        if getattr(serving.admission, f"{wrong}_ps") is not None:
            expected = "a bound on the first token of the pool of prompts, or on further ones of the pool that decodes"
            found.append((f"admission.{wrong}", "", expected))
    return found
