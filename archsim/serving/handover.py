"""Prefill here, decode there: how a request and its KV cache pass from one server to another.

A sender is the side of a server that processes prompts. When a prompt is done its first token is there, a receiver is
chosen by the router, and the cache stays in the sender's blocks until it has been sent. A receiver takes a request on
between two of its iterations, in the order in which prompts were done, when it has a place and blocks for it; then the
transfer takes both servers' ports, first come, first served:

    start  = max(now, both ports free)            end = start + bytes / rate            lands at end + latency

P12: where layers go ahead, layer l of L leaves as soon as it is computed, l / L into the last iteration of the prompt,
if the receiver takes the request on as soon as it hears of it:

    start  = max(began + (ready - began) / L, both ports free)
    end    = max(start + bytes / rate, ready + bytes / L / rate)

A request that has to wait for room is sent whole. What is preempted at the receiver recomputes there. A receiver with
classes takes on the most urgent first, one with a bound on the time of a token nobody whose joining would make an
iteration of those who decode and those on their way longer than that.

At one instant senders act before receivers, each in the order of their numbers (`rank`), so that a result does not
depend on how many iterations a jump spans.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from archsim.serving.batch import Batch
from archsim.serving.costs import Costs, fine_from_ps
from archsim.serving.queue import class_of
from archsim.serving.requests import Limits, refusal
from archsim.serving.requests import Sequence as Served
from archsim.units import PS_PER_S

__all__ = ["Port", "Receiver", "Sender", "TransferLaw", "Transfers"]


@dataclass(frozen=True, slots=True)
class TransferLaw:
    """How KV caches travel."""

    bytes_per_s: int
    """Of one server's port, each way."""
    latency_ps: int
    kv_bits: int
    """Of one token in one of the parts that layers attend in (`Reach.parts`)."""
    layers: int
    """Pieces that leave as they are computed; 1: the whole, once the prompt is done."""

    def bytes_of(self, attended: int) -> int:
        """Return the bytes of a cache of *attended* tokens, counted as `Reach.attended` does."""
        return -(-attended * self.kv_bits // 8)

    def time_ps(self, size: int) -> int:
        """Return the time in which a port passes *size* bytes."""
        return -(-size * PS_PER_S // self.bytes_per_s)


@dataclass(slots=True)
class Port:
    """One end of a transfer: serves one at a time, in the order in which they were begun."""

    free_ps: int = 0
    sent_bytes: int = 0
    sending_ps: int = 0
    """Time in which bytes passed."""
    held_ps: int = 0
    """Time in which a transfer waited for the next layer to be computed."""
    idle_ps: int = 0
    """Time before and between transfers."""

    def take(self, start_ps: int, end_ps: int, *, size: int, whole_ps: int) -> None:
        """Pass *size* bytes, which take *whole_ps*, between two instants."""
        self.idle_ps += start_ps - self.free_ps
        self.free_ps = end_ps
        self.sent_bytes += size
        self.sending_ps += whole_ps
        self.held_ps += end_ps - start_ps - whole_ps

    def idle_until(self, end_ps: int) -> int:
        """Return the time until *end_ps* in which no transfer had it."""
        return self.idle_ps + max(0, end_ps - self.free_ps)


@dataclass(slots=True)
class Transfers:
    """What all transfers came to."""

    count: int = 0
    sent_bytes: int = 0
    waited_ps: int = 0
    """For room and for ports, from the end of the prompt on, summed."""
    took_ps: int = 0
    """From the end of the prompt to the landing, summed."""


class Handed(NamedTuple):
    """A request between two servers."""

    sequence: Served
    sender: Sender
    began_ps: int
    """When the iteration that ended its prompt began."""
    ready_ps: int
    """When it ended."""
    ahead: bool
    """Whether nobody waits before it."""


class Sender:
    """The side of a server whose sequences leave when their prompt is done."""

    def __init__(
        self, *, rank: int, limits: Limits, beyond: Limits, choose: Callable[[Served], Receiver], port: Port
    ) -> None:
        self.rank = rank
        self.wakes_ps: int | None = 0
        self.own_ps: int | None = 0
        self.rests = False
        self.receivers: Sequence[Receiver] = ()
        self.port = port
        self.limits = limits
        self._beyond = beyond
        self._choose = choose
        self._began_ps = 0
        self._blocked = False
        self._leaving: list[tuple[int, int, Served]] = []
        """(When a cache has left, whose it was)."""

    def refusal(self, sequence: Served) -> str:
        """Return why *sequence* can never be served: its prompt here, all of it at the receiver."""
        limits = self.limits
        if limits.blocks_for(sequence.prompt_tokens + 1) > limits.kv_blocks:
            held = limits.kv_blocks // limits.reach.parts * limits.block_tokens
            return f"the prompt is {sequence.prompt_tokens} tokens, the KV memory of its pool holds {held}"
        return refusal(sequence, self._beyond)

    def update(self, batch: Batch, now_ps: int, *, admitting: bool) -> Sequence[Served]:  # noqa: ARG002 - a receiver's
        """Free the blocks of caches that have left."""
        self._began_ps = now_ps
        while self._leaving and self._leaving[0][0] <= now_ps:
            batch.release(heappop(self._leaving)[2])
        return ()

    def send(self, sequence: Served, now_ps: int) -> bool:
        """Hand *sequence* over."""
        self._choose(sequence).hear(sequence, self, self._began_ps, now_ps)
        return True

    def leave(self, at_ps: int, sequence: Served) -> None:
        """Take note that the cache of *sequence* will have left at *at_ps*."""
        heappush(self._leaving, (at_ps, sequence.id, sequence))

    @property
    def timer_ps(self) -> int | None:
        """When the next cache will have left."""
        return self._leaving[0][0] if self._leaving else None

    @property
    def sure_ps(self) -> int | None:
        """When it next does something that does not follow from what another server does before."""
        return _earliest(self.own_ps, self.timer_ps if self.rests and self._blocked else None)

    def next_ps(self, now_ps: int, *, waiting: bool) -> int | None:
        """Return when blocks come free that somebody waits for, or when more may be known of that."""
        self._blocked = waiting
        if not waiting:
            return None
        known = [self._leaving[0][0]] if self._leaving else []
        asked = (receiver.wakes_ps for receiver in self.receivers if receiver.lists_someone)
        known += [max(at_ps, now_ps + 1) for at_ps in asked if at_ps is not None]
        return min(known, default=None)


class Receiver:
    """The side of a server whose sequences come with their KV cache."""

    def __init__(
        self, *, rank: int, limits: Limits, costs: Costs, law: TransferLaw, port: Port, sums: Transfers
    ) -> None:
        self.rank = rank
        self.wakes_ps: int | None = 0
        self.own_ps: int | None = 0
        self.rests = False
        self.senders: Sequence[Sender] = ()
        self.port = port
        self._limits = limits
        self._costs = costs
        self._law = law
        self._sums = sums
        self._listed: deque[Handed] = deque()
        self._coming: list[tuple[int, int, Served]] = []

    @property
    def timer_ps(self) -> int | None:
        """When the next cache lands."""
        return self._coming[0][0] if self._coming else None

    @property
    def sure_ps(self) -> int | None:
        """When it next does something that does not follow from what another server does before."""
        return _earliest(self.own_ps, self.timer_ps if self.rests else None)

    @property
    def lists_someone(self) -> bool:
        """Whether a request waits to be taken on."""
        return bool(self._listed)

    def hear(self, sequence: Served, sender: Sender, began_ps: int, ready_ps: int) -> None:
        """Put a request on the list, behind all of its class."""
        ahead = all(handed.ready_ps == ready_ps for handed in self._listed)
        place, classes = len(self._listed), self._limits.techniques.classes
        sequence.rank = class_of(sequence.id, classes) if classes else 0
        while place and self._listed[place - 1].sequence.rank > sequence.rank:
            place -= 1
        self._listed.insert(place, Handed(sequence, sender, began_ps, ready_ps, ahead))

    def refusal(self, sequence: Served) -> str:
        """Return nothing: what arrives has been looked at by its sender."""
        raise AssertionError(f"request {sequence.id} arrived at a server that decodes alone")

    def update(self, batch: Batch, now_ps: int, *, admitting: bool) -> Sequence[Served]:
        """Let those decode that have landed, and take on those for whom there is room, in order."""
        landed = self._land(batch, now_ps)
        while admitting and self._listed:
            head = self._listed[0].sequence
            if not batch.has_room(head) or self._slows(head, batch):
                break
            self._fetch(self._listed.popleft(), batch, now_ps)
        self._listed = deque(handed._replace(ahead=False) for handed in self._listed)
        return landed + self._land(batch, now_ps)

    def _land(self, batch: Batch, now_ps: int) -> list[Served]:
        landed = []
        while self._coming and self._coming[0][0] <= now_ps:
            landed.append(heappop(self._coming)[2])
            batch.land(landed[-1])
        return landed

    def _slows(self, head: Served, batch: Batch) -> bool:
        """Return whether an iteration with *head* and all that are on their way would exceed the bound (S8)."""
        bound_ps = self._limits.techniques.tpot_ps
        others = len(batch) + len(self._coming)
        if bound_ps is None or not others:
            return False
        attended = self._limits.reach.attended
        tokens = batch.kv_tokens + attended(head.length) + sum(attended(other.length) for _, _, other in self._coming)
        return self._costs.decode(others + 1, tokens, 1).time_fine > fine_from_ps(bound_ps)

    def send(self, sequence: Served, now_ps: int) -> bool:  # noqa: ARG002 - as a sender's
        """Keep *sequence*, which has recomputed its cache here."""
        return False

    def next_ps(self, now_ps: int, *, waiting: bool) -> int | None:  # noqa: ARG002 - as a sender's
        """Return when a cache lands, or when it may hear of a request at the soonest; not while one is listed."""
        known = [self.timer_ps]
        if not self._listed:
            known += [sender.wakes_ps for sender in self.senders]
        elif self._limits.techniques.classes:
            # A more urgent request may find room where the first on the list does not. A sender may wait for this list
            # to shrink: to ask when it wakes would be to ask when this server does, a picosecond at a time.
            known += [other.sure_ps for other in self._others()]
        at_ps = _earliest(*known)
        return None if at_ps is None else max(at_ps, now_ps + 1)

    def _others(self) -> Iterator[Sender | Receiver]:
        yield from self.senders
        yield from (other for other in self.senders[0].receivers if other is not self)

    def _fetch(self, handed: Handed, batch: Batch, now_ps: int) -> None:
        sequence, sender, law = handed.sequence, handed.sender, self._law
        size = law.bytes_of(self._limits.reach.attended(sequence.prompt_tokens))
        whole_ps = law.time_ps(size)
        if handed.ahead and law.layers > 1:
            ready_ps = handed.began_ps + (handed.ready_ps - handed.began_ps) // law.layers
            earliest_ps = handed.ready_ps + law.time_ps(-(-size // law.layers))
        else:
            ready_ps, earliest_ps = now_ps, now_ps
        start_ps = max(ready_ps, sender.port.free_ps, self.port.free_ps)
        end_ps = max(start_ps + whole_ps, earliest_ps)
        for port in (sender.port, self.port):
            port.take(start_ps, end_ps, size=size, whole_ps=whole_ps)
        expected = sequence.elsewhere()
        expected.rank = sequence.rank
        batch.expect(expected)
        heappush(self._coming, (end_ps + law.latency_ps, sequence.id, expected))
        sender.leave(end_ps, sequence)
        sums = self._sums
        sums.count += 1
        sums.sent_bytes += size
        sums.waited_ps += max(0, start_ps - handed.ready_ps)
        sums.took_ps += max(0, end_ps + law.latency_ps - handed.ready_ps)


def _earliest(*instants_ps: int | None) -> int | None:
    """Return the first of those instants that will be."""
    return min((at_ps for at_ps in instants_ps if at_ps is not None), default=None)
