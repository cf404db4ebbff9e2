"""All that `--parallel` says: ways, and by name how experts, replicas and stages are to behave.

The names are those of the floors that know them (`experts` of the workload, `pipeline` of the step floor, `router` of
the replay) and are judged there; an empty one asks for their default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archsim.mapping.parallelism import Parallelism

__all__ = ["WORDS", "Spread"]

WORDS = ("experts", "pipeline", "router")


@dataclass(frozen=True, slots=True)
class Spread:
    """How a model is spread over a system."""

    parallelism: Parallelism
    experts: str = ""
    """Which experts tokens go to: `zipf:1`."""
    pipeline: str = ""
    """When stages work: `continuous`."""
    router: str = ""
    """Which replica gets a request: `least_tokens`."""

    @classmethod
    def parse(cls, text: str | None, default: Callable[[], str]) -> Spread:
        """Return what `tp=2,dp=4,ep=8,experts=zipf:1` says; without sizes, those of *default* and its words."""
        words, named = _taken_apart(text or "")
        if text is None or (named and not words):
            words, own = _taken_apart(default())
            named = own | named
        return cls(Parallelism.parse(",".join(words)), **named)

    @property
    def options(self) -> str:
        """The names, as they are written behind the sizes, each with its comma."""
        return "".join(f",{name}={getattr(self, name)}" for name in WORDS if getattr(self, name))


def _taken_apart(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the sizes of *text* as they are written, and the values of `WORDS` in it by name."""
    words = text.split(",") if text else []
    named: dict[str, str] = {}
    for word in list(words):
        name, _, value = (part.strip() for part in word.partition("="))
        if name in WORDS and value and name not in named:
            named[name] = value
            words.remove(word)
    return words, named
