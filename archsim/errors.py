"""Every error a user of archsim can cause or meet.

A message names the file, the key, the value and what was expected. One `InputError` carries all problems of a
file, so that a user mends them in one go. The command line maps `exit_code` to the process status.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ArchsimError", "CapacityError", "InputError", "Problem", "SimulationError", "did_you_mean", "printable"]

_LONGEST_VALUE = 80
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What would steer a terminal or turn the direction of text, and halves of characters, which no stream can print."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input."""

    file: str
    """File, command-line option or other place where the value stands; may be empty."""
    key: str
    """Dotted key, column or line (`line 17`) inside *file*; may be empty."""
    value: str
    """The offending value as the user wrote it; empty where there is none (a missing key)."""
    expected: str
    """What would have been accepted."""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.key) if part)
        shown = self.value if len(self.value) <= _LONGEST_VALUE else self.value[: _LONGEST_VALUE - 3] + "..."
        text = f"got {shown!r}; expected {self.expected}" if shown else f"expected {self.expected}"
        return printable(f"{place}: {text}" if place else text)


class ArchsimError(Exception):
    """Anything that archsim refuses or cannot do; the message is meant for the user."""

    exit_code = 1


class SimulationError(ArchsimError):
    """A simulation or a check of its result failed: not the user's input, but the run."""


class InputError(ArchsimError):
    """The input is wrong. Holds every *problem* found, in the order they were found."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        self.problems: tuple[Problem, ...] = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class CapacityError(InputError):
    """The model, its KV cache or a tensor does not fit the memory it is placed in."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the nearest of *known*, or an empty string."""
    nearest = difflib.get_close_matches(word[:200], sorted(known), n=1, cutoff=0.6)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def printable(text: str) -> str:
    """Return *text* with control characters spelled out as escape sequences; tabs and ends of lines stay."""
    return text if text.isprintable() else _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
