"""What connects a server to others, whose KV caches or chips it shares: a protocol, so that a server knows no pools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from archsim.serving.batch import Batch
from archsim.serving.requests import Sequence

__all__ = ["Connector"]


class Connector(Protocol):
    """What a server asks and tells others: of pools that hand over (`handover`), or on its chips (`shared_chips`)."""

    rank: int
    """Order in which servers act at one instant."""
    wakes_ps: int | None
    """When the server acts next; None when it never does again."""
    own_ps: int | None
    """When it does whatever others do: an iteration ends, or a request arrives or has waited too long."""
    rests: bool
    """Whether it waits for something: no iteration is under way."""

    def refusal(self, sequence: Sequence) -> str:
        """Return why *sequence* can never be served, or an empty string."""

    def update(self, batch: Batch, now_ps: int, *, admitting: bool) -> Iterable[Sequence]:
        """Do what is due between two iterations; sequences are taken on only while *admitting*.

        Return those who decode from now on.
        """

    def send(self, sequence: Sequence, now_ps: int) -> bool:
        """Pass *sequence*, whose prompt is done, on to another server; return whether it goes."""

    def next_ps(self, now_ps: int, *, waiting: bool) -> int | None:
        """Return when `update` may next do something, None: not before something else does; *waiting*: others do."""
