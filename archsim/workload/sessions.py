"""Sessions as a law: conversations and agents whose every prompt repeats the one before and goes on.

A session starts at an arrival of the sampler. Its first prompt begins with the tokens that all sessions share (system
prompt, tools) and is drawn whole; each further prompt is the one before plus a growth, which holds what is kept of the
answer and what the user or the tool adds. It is sent a wait after the answer before it is done: a closed loop. The
session ends after its turns, or where the next prompt would exceed the longest.

Block i of a prompt has the identity i where all sessions share it, else (session + 1) * 2**24 + i; a last block that is
not full has an identity of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from numpy.random import PCG64

from archsim.units import PS_PER_S
from archsim.workload.draws import Quantiles
from archsim.workload.request import NONE, Row

__all__ = ["SessionLaw", "session_rows"]

_SESSION = 2**24
"""Identities of one session: below half full blocks, above it part filled ones by turn."""
_PS_PER_MS = PS_PER_S // 1000


@dataclass(frozen=True, slots=True)
class SessionLaw:
    """What sessions are like; tokens unless the name says otherwise."""

    shared_tokens: int
    """First tokens of every prompt, equal in all sessions."""
    block_tokens: int
    most_tokens: int
    """Longest prompt."""
    turns: Quantiles
    growth_tokens: Quantiles
    """By which each prompt is longer than the one before."""
    wait_ms: Quantiles
    """From an answer to the next prompt."""

    def blocks(self, session: int, turn: int, prompt: int) -> tuple[int, ...]:
        """Return the identities of the blocks of a *prompt* of that many tokens."""
        own = (session + 1) * _SESSION
        full, rest = divmod(prompt, self.block_tokens)
        shared = min(full, self.shared_tokens // self.block_tokens)
        last = (own + _SESSION // 2 + turn,) if rest else ()
        return (*range(shared), *range(own + shared, own + full), *last)


@dataclass(frozen=True, slots=True, order=True)
class _Turn:
    """The next prompt of a running session, ordered by its earliest arrival."""

    arrival_ps: int
    session: int
    number: int
    prompt: int
    output: int
    wait_ps: int
    words: tuple[int, ...]
    """Raw words of the turns that follow, three each."""


def session_rows(
    starts_ps: Iterator[int], law: SessionLaw, *, first_prompt: Quantiles, output: Quantiles, seed: int
) -> Iterator[Row]:
    """Yield the requests of sessions that start at *starts_ps*, in order of their earliest arrival."""
    bits = PCG64(seed).jumped()
    running: list[_Turn] = []
    for session, start_ps in enumerate(starts_ps):
        while running and running[0].arrival_ps <= start_ps:
            yield _next_row(running, law, output)
        turns, prompt, answer = bits.random_raw(3).tolist()
        words = tuple(bits.random_raw(3 * (law.turns.at(turns) - 1)).tolist())
        tokens = max(first_prompt.at(prompt), law.shared_tokens)
        heapq.heappush(running, _Turn(start_ps, session, 0, tokens, output.at(answer), NONE, words))
    while running:
        yield _next_row(running, law, output)


def _next_row(running: list[_Turn], law: SessionLaw, output: Quantiles) -> Row:
    turn = heapq.heappop(running)
    if turn.words:
        growth, wait, answer = turn.words[:3]
        wait_ps = law.wait_ms.at(wait) * _PS_PER_MS
        prompt = turn.prompt + law.growth_tokens.at(growth)
        if prompt <= law.most_tokens:
            later = _Turn(turn.arrival_ps + wait_ps, turn.session, turn.number + 1, prompt, output.at(answer), wait_ps,
                          turn.words[3:])  # fmt: skip
            heapq.heappush(running, later)
    blocks = law.blocks(turn.session, turn.number, turn.prompt)
    return turn.arrival_ps, turn.prompt, turn.output, turn.session, turn.wait_ps, blocks
