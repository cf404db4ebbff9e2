"""What a router knows of the prefixes that replicas hold: those of the requests that it has sent there.

P13: a router does not see caches. It keeps the units (`prefix`) of the prompts that it has sent to each replica, as
many as the replica's KV memory holds, and forgets what it sent longest ago, of one prompt the deepest first. What a
replica has not yet computed, or has given up, it counts as there.
"""

from __future__ import annotations

from archsim.errors import InputError, Problem
from archsim.serving.requests import Limits

__all__ = ["AFFINITY", "Holdings"]

AFFINITY = "prefix_affinity"
"""The router that asks."""


class Holdings:
    """Units by replica, those that were sent last at the end."""

    def __init__(self, limits: Limits, replicas: int) -> None:
        """Raise `InputError` where nothing is cached, or no imbalance is stated."""
        rule = limits.techniques.prefix
        if rule is None or rule.imbalance_tokens is None:
            expected = "serving.prefix_cache with its key imbalance beside this router: it goes by what caches hold"
            raise InputError(Problem("", "--parallel router", AFFINITY, expected))
        self.imbalance_tokens = rule.imbalance_tokens
        self._unit_tokens = rule.unit_tokens
        unit_blocks = limits.reach.full * (rule.unit_tokens // limits.block_tokens)
        self._most = max(limits.kv_blocks // max(unit_blocks, 1), 1)
        self._sent: list[dict[int, None]] = [{} for _ in range(replicas)]

    def tokens(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many tokens of a prompt that begins with *prefix* each replica holds."""
        return tuple(self._unit_tokens * _beginning(prefix, units) for units in self._sent)

    def send(self, prefix: tuple[int, ...], replica: int) -> None:
        """Take note that a prompt which begins with *prefix* goes to *replica*."""
        units = self._sent[replica]
        for unit in reversed(prefix):
            units.pop(unit, None)
            units[unit] = None
        while len(units) > self._most:
            del units[next(iter(units))]


def _beginning(prefix: tuple[int, ...], units: dict[int, None]) -> int:
    return next((depth for depth, unit in enumerate(prefix) if unit not in units), len(prefix))
