"""All that `--parallel` says: ways, and by name how experts, replicas and stages are to behave.

The names are those of the floors that know them (`experts` of the workload, `pipeline` of the step floor, `router` of
the replay) and are judged there; an empty one asks for their default.
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.hardware.spec import SystemSpec
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
    def parse(cls, text: str | None, system: SystemSpec) -> Spread:
        """Return what `tp=2,dp=4,ep=8,experts=zipf:1` says; without sizes, tensor parallelism over all chips."""
        words = text.split(",") if text is not None else []
        named: dict[str, str] = {}
        for word in list(words):
            name, _, value = (part.strip() for part in word.partition("="))
            if name in WORDS and value and name not in named:
                named[name] = value
                words.remove(word)
        default = text is None or (named and not words)
        return cls(Parallelism.default(system) if default else Parallelism.parse(",".join(words)), **named)

    @property
    def options(self) -> str:
        """The names, as they are written behind the sizes, each with its comma."""
        return "".join(f",{name}={getattr(self, name)}" for name in WORDS if getattr(self, name))
