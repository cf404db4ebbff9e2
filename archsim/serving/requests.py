"""Requests at the door: how they arrive, what the server can hold, who is turned away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from archsim.errors import InputError, Problem
from archsim.serving.techniques import PLAIN, Techniques
from archsim.workload.layers import ALL, Reach

if TYPE_CHECKING:
    from archsim.serving.windows import WindowLog

__all__ = ["Arrival", "ArrivalStream", "Arrivals", "Limits", "Sequence", "refusal"]


class Arrival(NamedTuple):
    """One request of a trace."""

    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    """Ids of the whole units that its prompt begins with, where the trace knows them (`archsim.serving.prefix`)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server can hold and how much it takes on at once; all positive."""

    max_batch: int
    """Sequences that may run together."""
    max_prefill_tokens: int
    """Prompt tokens that one prefill iteration takes on; a single longer prompt runs alone."""
    kv_blocks: int
    """Blocks of the paged KV cache."""
    block_tokens: int
    """Tokens in a block."""
    context_tokens: int
    """Longest prompt plus output that the model can attend to."""
    reach: Reach = ALL
    """How far back the model's layers attend: what lies behind every window is read and held no more."""
    techniques: Techniques = PLAIN
    """What the server does beyond batching."""
    log: Callable[[], WindowLog] | None = None
    """Gives a server its log, where that writes down more than a plain one."""
    tallied: bool = False
    """Requests that are done are counted, not kept: there may be any number of them."""
    ahead: int = field(init=False, repr=False, compare=False)
    """Tokens beyond those that a sequence has for which it holds blocks: a whole draft."""

    def __post_init__(self) -> None:
        drafts = self.techniques.drafts
        object.__setattr__(self, "ahead", drafts.tokens if drafts else 0)
        counts = ("max_batch", "max_prefill_tokens", "kv_blocks", "block_tokens", "context_tokens")
        wrong = [name for name in counts if getattr(self, name) < 1]
        if wrong:
            raise InputError(
                *(Problem("limits", name, str(getattr(self, name)), "a positive whole number") for name in wrong)
            )

    def blocks_for(self, tokens: int) -> int:
        """Return the KV blocks that hold *tokens* of one sequence, and a draft beyond them."""
        reach = self.reach
        if not reach.windowed:
            return reach.full * -(-(tokens + self.ahead) // self.block_tokens)
        return reach.blocks(tokens + self.ahead, self.block_tokens)


class Sequence:
    """A request inside the server."""

    __slots__ = (
        "arrival_ps",
        "cached",
        "emitted_fine",
        "finish_step",
        "first_token_ps",
        "generated",
        "id",
        "length_offset",
        "output_tokens",
        "preemptions",
        "prefilled",
        "prefix",
        "prompt_tokens",
        "rank",
        "shared_blocks",
        "shared_units",
        "stored_bytes",
        "window_blocks_full_step",
        "window_full_step",
    )
    KEPT: ClassVar = __slots__

    def __init__(self, number: int, arrival: Arrival) -> None:
        self.id = number
        self.arrival_ps, self.prompt_tokens, self.output_tokens, self.prefix = arrival
        self.cached = 0
        """Tokens of its prefill that it finds in the prefix cache and need not compute."""
        self.shared_units = self.shared_blocks = 0
        """Units of its prompt that it uses in the prefix cache, and the blocks of them, which are not its own."""
        self.generated = 0
        """Output tokens it has; kept up to date except while it decodes."""
        self.preemptions = 0
        self.prefilled = 0
        """Tokens that chunks of its prefill have processed; 0 when no prefill is under way."""
        self.first_token_ps = -1
        self.stored_bytes = 0
        """Of its KV cache, where that lies in a tier and not in blocks."""
        self.rank = 0
        """Its class: 0 is the most urgent."""
        self.emitted_fine: int | None = None
        """When it emitted last before it was preempted, where that is watched."""
        self.length_offset = 0
        """While it decodes: its tokens, prompt and generated, less the batch's step counter."""
        self.finish_step = 0
        """While it decodes: the step counter at which its last token is there."""
        self.window_full_step = self.window_blocks_full_step = 0
        """While it decodes: the step counters at which it fills the window, and the blocks of the window."""

    def elsewhere(self) -> Sequence:
        """Return the same request as another server gets it, with the tokens that it has."""
        other = Sequence(self.id, Arrival(self.arrival_ps, self.prompt_tokens, self.output_tokens))
        other.generated, other.preemptions, other.first_token_ps = self.generated, self.preemptions, self.first_token_ps
        other.emitted_fine = self.emitted_fine
        return other

    @property
    def length(self) -> int:
        """Tokens it has while it does not decode: the prompt and what it has generated."""
        return self.prompt_tokens + self.generated

    @property
    def new_tokens(self) -> int:
        """Tokens that its prefill computes."""
        return self.prompt_tokens + self.generated - self.cached

    def own_blocks(self, limits: Limits) -> int:
        """Return the blocks that it takes with the next token, beside those that are shared.

        One that comes back from a tier must be able to decode at once, as many tokens as an iteration may yield.
        """
        further = 1 + limits.ahead if self.stored_bytes else 1
        return limits.blocks_for(self.prompt_tokens + self.generated + further) - self.shared_blocks


class Arrivals(Protocol):
    """Where a server gets its requests."""

    @property
    def next_ps(self) -> int | None:
        """When the next one arrives, or the earliest time at which one can; None after the last."""

    def take(self) -> Sequence:
        """Return the next one, which has arrived."""


class ArrivalStream:
    """Arrivals in order of time, one of them looked ahead.

    The replay asks of its source no more than `next_ps` and `take`: a source whose next arrival depends on a
    completion (a closed loop) can offer the same two.
    """

    def __init__(self, arrivals: Iterable[Arrival], taken: int = 0) -> None:
        self._arrivals = iter(arrivals)
        self.taken = taken
        """Requests that have arrived; those that *taken* counts are passed over."""
        self.next_ps: int | None = 0
        """When the next request arrives; None after the last."""
        next(islice(self._arrivals, taken, taken), None)
        self._look_ahead()

    def take(self) -> Sequence:
        """Return the next request, numbered from 0 in order of arrival."""
        if self.next_ps is None:
            raise IndexError("no request is left")
        sequence = Sequence(self.taken, self._next)
        self.taken += 1
        self._look_ahead()
        return sequence

    def _look_ahead(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is None:
            self.next_ps = None
            return
        arrival_ps, prompt_tokens, output_tokens = arrival[:3]
        if self.next_ps is None or arrival_ps < self.next_ps or prompt_tokens < 1 or output_tokens < 1:
            expected = f"an arrival at {self.next_ps} ps or later with at least one prompt and one output token"
            raise InputError(Problem("arrivals", f"request {self.taken}", str(tuple(arrival)), expected))
        self._next = arrival
        self.next_ps = arrival_ps


def refusal(sequence: Sequence, limits: Limits) -> str:
    """Return why *sequence* can never be served (A29), or an empty string."""
    tokens = sequence.prompt_tokens + sequence.output_tokens
    if tokens > limits.context_tokens:
        return f"prompt and output are {tokens} tokens, the model's context {limits.context_tokens}"
    # An iteration may yield a draft's tokens beyond the last, too.
    if limits.blocks_for(tokens + limits.ahead) > limits.kv_blocks:
        held = limits.kv_blocks // limits.reach.parts * limits.block_tokens
        return f"prompt and output are {tokens} tokens, the KV memory holds {held}"
    return ""
