"""A closed loop as traffic: a fixed number of users, each of whom sends its next request when the one before is done.

What a benchmark at a stated concurrency does. Users who start together with equal requests stay in step: every wave's
prompts are processed one after the other, then all decode. Users who start apart stay apart: the first request of user
i of n asks for (i + 1) / n of the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from archsim.errors import InputError, Problem
from archsim.files import digest_of

__all__ = ["ClosedLoop"]

_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Users and what each asks for. Raises `InputError` for anything below 1 or beyond what memory holds."""

    users: int
    prompt_tokens: int
    output_tokens: int
    rounds: int
    """Requests of each user after its first."""
    together: bool = False
    """All users start with whole requests, in step."""

    sampled: ClassVar[bool] = False
    closed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = {
            "users": self.users, "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens,
            "rounds": self.rounds,
        }  # fmt: skip
        expected = f"a number from 1 to {_MOST:,}"
        problems = [Problem("closed loop", k, str(n), expected) for k, n in given.items() if not 1 <= n <= _MOST]
        if not problems and self.count > _MOST:
            problems = [Problem("closed loop", "users", str(self.users), f"at most {_MOST:,} requests in all")]
        if problems:
            raise InputError(*problems)

    @property
    def name(self) -> str:
        """What results call it."""
        return f"closed loop of {self.users} x {self.prompt_tokens}/{self.output_tokens}"

    @property
    def options(self) -> str:
        """Command-line options that ask for it."""
        tail = " --together" if self.together else ""
        return (
            f"--concurrency {self.users} --prompt {self.prompt_tokens} --output {self.output_tokens} "
            f"--rounds {self.rounds}{tail}"
        )

    @property
    def digest(self) -> str:
        """Digest of all that defines it."""
        return digest_of(self.options.encode())

    @property
    def count(self) -> int:
        """Number of requests."""
        return self.users * (1 + self.rounds)

    def first_output(self, user: int) -> int:
        """Return the output tokens of the first request of *user*."""
        return self.output_tokens if self.together else max(-(-self.output_tokens * (user + 1) // self.users), 1)
