"""The running batch: who decodes, how long they are, which KV blocks they hold and when each is done.

All running sequences advance by one token an iteration, so nothing is kept per token. A step counter counts decode
iterations; a sequence of length L at counter s keeps L - s, and finishes when the counter reaches the value that it
was given when it joined. Blocks follow from a histogram: at counter s exactly those sequences need a new block whose
length is a multiple of the block size, that is whose s - L is congruent to s.

A26: a sequence holds the blocks of every token that an iteration leaves behind, the one just sampled included: going
from length L to L + 1 it holds ceil((L + 1) / block_tokens) blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import ClassVar

from archsim.serving.prefix import PrefixCache
from archsim.serving.requests import Limits, Sequence
from archsim.serving.sliding_windows import SlidingWindows

__all__ = ["Batch"]


class Batch:
    """The sequences that decode together."""

    KEPT: ClassVar = (
        "_members",
        "_finishes",
        "_offsets",
        "_windows",
        "_crossings",
        "prefixes",
        "step",
        "used_blocks",
        "peak_blocks",
        "coming",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._members: dict[int, Sequence] = {}
        self._finishes: list[tuple[int, int]] = []
        self._offsets = 0
        self._windows = SlidingWindows(limits) if limits.reach.windowed else None
        self._crossings = [0] * (2 * limits.block_tokens)
        rule = limits.techniques.prefix
        self.prefixes = PrefixCache(rule, limits) if rule else None
        self.step = 0
        """Tokens that a sequence has decoded which was there from the start: iterations, where each yields one."""
        self.used_blocks = 0
        """Blocks held by running sequences, and by those whose prefill is under way."""
        self.peak_blocks = 0
        self.coming = 0
        """Sequences that have a place and blocks, and whose KV cache is on its way."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def kv_tokens(self) -> int:
        """Tokens of context that the next decode iteration reads, counted as `Reach.attended` does."""
        tokens = self._offsets + self.step * len(self._members)
        if self._windows is None:
            return tokens
        return self._limits.reach.full * tokens + self._windows.kv_tokens(self.step, len(self._members))

    @property
    def growth(self) -> int:
        """Tokens that each further token of every sequence makes an iteration read more."""
        if self._windows is None:
            return len(self._members)
        return self._limits.reach.full * len(self._members) + self._windows.growth

    @property
    def free_blocks(self) -> int:
        """Blocks that no running sequence holds."""
        return self._limits.kv_blocks - self.used_blocks

    @property
    def free_places(self) -> int:
        """Sequences that may still join."""
        return self._limits.max_batch - len(self._members) - self.coming

    def offered(self, waiting: Iterable[Sequence]) -> Iterable[Sequence]:
        """Return *waiting*, each with what it would find in the prefix cache now."""
        return waiting if self.prefixes is None else self.prefixes.offered(waiting)

    def members(self) -> Iterator[tuple[int, int]]:
        """Yield number and length of every sequence, in the order in which they joined."""
        return ((number, sequence.length_offset + self.step) for number, sequence in self._members.items())

    def reserve(self, sequence: Sequence) -> None:
        """Take the blocks for *sequence* and the token that its prefill yields, beside those that it finds."""
        if self.prefixes is not None:
            self._take(self.prefixes.share(sequence))
        self._take(sequence.own_blocks(self._limits))

    def keep(self, sequence: Sequence) -> None:
        """Keep the prompt of *sequence*, whose prefill is done, for those that begin alike."""
        if self.prefixes is not None:
            self.used_blocks -= self.prefixes.keep(sequence)

    def release(self, sequence: Sequence) -> None:
        """Give back the blocks of *sequence*, which does not decode."""
        self.used_blocks -= self._limits.blocks_for(sequence.length) - sequence.shared_blocks
        if self.prefixes is not None:
            self.used_blocks -= self.prefixes.leave(sequence)

    def has_room(self, sequence: Sequence) -> bool:
        """Return whether there are a place and blocks for *sequence*, whose KV cache is elsewhere."""
        return self.free_places > 0 and self._limits.blocks_for(sequence.length) <= self.free_blocks

    def expect(self, sequence: Sequence) -> None:
        """Take a place and the blocks for *sequence*, whose KV cache comes from elsewhere."""
        self.coming += 1
        self._take(self._limits.blocks_for(sequence.length))

    def land(self, sequence: Sequence) -> None:
        """Let *sequence*, which was expected, decode from the next iteration on."""
        self.coming -= 1
        self.join(sequence)

    def take_back(self, sequence: Sequence) -> None:
        """Let *sequence*, whose KV cache comes back from a tier, decode from the next iteration on."""
        self._take(self._limits.blocks_for(sequence.length))
        self.join(sequence)

    def join(self, sequence: Sequence) -> None:
        """Let *sequence*, whose blocks are taken, decode from the next iteration on."""
        sequence.length_offset = sequence.length - self.step
        sequence.finish_step = self.step + sequence.output_tokens - sequence.generated
        self._members[sequence.id] = sequence
        self._offsets += sequence.length_offset
        if self._windows is not None:
            self._windows.join(sequence, self.step)
        self._count(sequence, self._weight(sequence))
        heappush(self._finishes, (sequence.finish_step, sequence.id))

    @property
    def least_urgent(self) -> Sequence | None:
        """The sequence that joined last among those of the least urgent class; None of nobody."""
        if not self._limits.techniques.classes:
            return next(reversed(self._members.values()), None)
        return max(reversed(self._members.values()), key=lambda sequence: sequence.rank, default=None)

    def preempt(self) -> Sequence:
        """Take the least urgent sequence out of the batch, without its blocks."""
        sequence = self.least_urgent
        if sequence is None:
            raise AssertionError("nobody is there to be preempted")
        self._leave(sequence)
        sequence.preemptions += 1
        return sequence

    @property
    def some_done(self) -> bool:
        """Whether the last token of somebody may be there."""
        return bool(self._finishes) and self._finishes[0][0] <= self.step

    def pop_finished(self) -> list[Sequence]:
        """Take those out whose last token is there, those who have had it longest first, then by number."""
        if not self._finishes or self._finishes[0][0] > self.step:
            return []
        done: dict[int, Sequence] = {}
        while self._finishes and self._finishes[0][0] <= self.step:
            sequence = self._members.get(heappop(self._finishes)[1])
            if sequence is not None and sequence.finish_step <= self.step:
                done[sequence.id] = sequence
        finished = [*done.values()]
        if len(finished) > 1:
            finished.sort(key=lambda sequence: (sequence.finish_step, sequence.id))
        for sequence in finished:
            self._leave(sequence)
            sequence.generated = sequence.output_tokens
        return finished

    @property
    def surplus(self) -> int:
        """Tokens that the last iteration yielded beyond the last ones of sequences that are done."""
        late = {number for step, number in self._finishes if step < self.step} & self._members.keys()
        return sum(max(self.step - self._members[number].finish_step, 0) for number in late)

    def steps_to_change(self) -> int:
        """Return tokens, at least one, before which no sequence of a non-empty batch is done.

        None of them fills its window early either. The entries of a preempted sequence stay behind: they may make the
        answer shorter than it need be, never longer.
        """
        ahead = self._finishes[0][0] - self.step
        return ahead if self._windows is None else min(ahead, self._windows.steps_to_change(self.step, ahead))

    def demand(self, steps: int) -> int:
        """Return the blocks that the next *steps* tokens of every sequence need beyond those held."""
        if self._windows is not None and self._limits.ahead:
            # An iteration of many tokens may pass the end of a window, up to which alone the demand is even.
            return sum(self._rise(sequence, steps) for sequence in self._members.values())
        rounds, rest = divmod(steps, self._limits.block_tokens)
        first = self.step % self._limits.block_tokens
        return rounds * self._round + sum(self._crossings[first : first + rest])

    def holds_more(self, steps: int) -> bool:
        """Return whether the free blocks hold the next *steps* tokens of every sequence."""
        free = self._limits.kv_blocks - self.used_blocks
        # A bound that takes no sum: in a round of tokens every sequence fills a block.
        if self._windows is None and len(self._members) * -(-steps // self._limits.block_tokens) <= free:
            return True
        return self.demand(steps) <= free

    def _rise(self, sequence: Sequence, steps: int) -> int:
        length = sequence.length_offset + self.step
        return self._limits.blocks_for(length + steps) - self._limits.blocks_for(length)

    @property
    def _round(self) -> int:
        """Blocks that as many iterations as a block has tokens need."""
        if self._windows is None:
            return len(self._members)
        return self._limits.reach.full * len(self._members) + self._windows.round_blocks

    def steps_within_blocks(self, most: int) -> int:
        """Return how many iterations of one token, at most *most*, the free blocks allow."""
        if self.holds_more(most):
            return most
        block_tokens = self._limits.block_tokens
        rounds, free = divmod(self.free_blocks, self._round)
        steps = rounds * block_tokens
        for crossing in self._crossings[self.step % block_tokens :]:
            free -= crossing
            if free < 0:
                break
            steps += 1
        return steps

    def advance(self, steps: int) -> None:
        """Let every sequence decode *steps* tokens."""
        self._take(self.demand(steps))
        self.step += steps
        if self._windows is not None:
            for sequence in self._windows.pass_to(self.step):
                self._count(sequence, -self._limits.reach.windowed)

    def _take(self, blocks: int) -> None:
        self.used_blocks += blocks
        self.peak_blocks = max(self.peak_blocks, self.used_blocks)
        if self.prefixes is not None:
            self.prefixes.shrink_to(self.free_blocks)

    def _leave(self, sequence: Sequence) -> None:
        del self._members[sequence.id]
        self._offsets -= sequence.length_offset
        self._count(sequence, -self._weight(sequence))
        if self._windows is not None:
            self._windows.leave(sequence, self.step)
        sequence.generated = sequence.output_tokens - (sequence.finish_step - self.step)
        self.release(sequence)

    def _weight(self, sequence: Sequence) -> int:
        """Return the blocks that *sequence* takes when it fills those that it has."""
        reach = self._limits.reach
        return reach.full + (reach.windowed if reach.windowed and sequence.window_blocks_full_step > self.step else 0)

    def _count(self, sequence: Sequence, change: int) -> None:
        # Written twice, one block size apart: any run of up to block_tokens steps is then one slice.
        block_tokens = self._limits.block_tokens
        residue = -(sequence.length_offset + self._limits.ahead) % block_tokens
        self._crossings[residue] += change
        self._crossings[residue + block_tokens] += change
