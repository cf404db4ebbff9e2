"""Who of the requests goes where: laws that two pools share requests by, tables `[divide]` and `[cascade]`.

A law looks at each request alone. Its difficulty is a uniform number that the seed draws: at equal seeds a larger share
takes the requests of a smaller one, and more.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import Count, Identifier, Picoseconds, Share

__all__ = ["CascadeSpec", "DivisionSpec", "LawSpec"]

_NEEDS = {
    "prompt": ("most_tokens",),
    "tokens": ("most_tokens",),
    "share": ("share",),
    "difficulty": ("bounds", "shares"),
}


class LawSpec(Spec):
    """A law of requests."""

    law: Literal["prompt", "tokens", "share", "difficulty"]
    """`prompt`, `tokens`: requests of at most so many prompt tokens, or prompt and output tokens.

    `share`: that share of all requests, drawn by the seed. `difficulty`: a share for each class of prompt lengths.
    """
    first: Identifier
    """The pool that the law is about."""
    most_tokens: Count | None = None
    """Bound of the laws `prompt` and `tokens`."""
    share: Share | None = None
    """Of the law `share`."""
    bounds: tuple[Count, ...] = ()
    """Of the law `difficulty`: the longest prompts of all classes but the last, rising."""
    shares: tuple[Share, ...] = ()
    """Of the law `difficulty`: one for each class, one more than `bounds`."""

    @model_validator(mode="after")
    def _check_law(self) -> LawSpec:
        given = {key: getattr(self, key) for key in ("most_tokens", "share", "bounds", "shares")}
        for key, value in given.items():
            wanted = key in _NEEDS[self.law]
            if wanted and value in (None, ()):
                raise refusal(key, "", f'this key, which the law "{self.law}" needs')
            if not wanted and value not in (None, ()):
                raise refusal(key, str(value), f'nothing beside the law "{self.law}"')
        if self.shares and len(self.shares) != len(self.bounds) + 1:
            expected = f"{len(self.bounds) + 1} shares, one for each class that {len(self.bounds)} bounds make"
            raise refusal("shares", str(len(self.shares)), expected)
        if any(low >= high for low, high in pairwise(self.bounds)):
            raise refusal("bounds", str(list(self.bounds)), "lengths that rise")
        return self


class DivisionSpec(LawSpec):
    """Which requests go to which of two pools, table `[divide]`: *first* gets those for whom the law holds."""


class CascadeSpec(LawSpec):
    """Every request begins on the pool *first*, a small model, and some go on to the other, table `[cascade]`.

    With `share` and `difficulty` that share goes on; with `prompt` and `tokens` those that are longer.
    """

    check: Literal["answer", "tokens"]
    """When it is decided who goes on: when the first model's answer is done, or after its first tokens."""
    check_tokens: Count | None = None
    """Tokens of the answer that the check `tokens` looks at."""
    check_ps: Picoseconds = Field(alias="check_time")
    """Time of a check, in which nothing else waits for it."""
    reads: Literal["prompt", "draft"]
    """What the second model reads: the prompt alone, or what the first one wrote behind it."""
    chips: Literal["apart", "shared"]
    """Whether each pool has chips of its own, or both models take turns on the same."""

    @model_validator(mode="after")
    def _check_point(self) -> CascadeSpec:
        if (self.check == "tokens") != (self.check_tokens is not None):
            raise refusal("check_tokens", str(self.check_tokens or ""), 'a number of tokens where check is "tokens"')
        return self
