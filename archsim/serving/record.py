"""What a replay leaves: flat rows and integers, no live object.

Times of a request are whole picoseconds; times of windows and phases are fine (2**-32 ps), so that they add up exactly:

    sum over windows of (end - start)  =  end of the run
    end - start  =  idle + sum over phases of their time
    time of a phase  =  sum of weight * knot time
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from archsim.result import RequestColumns
from archsim.serving.costs import ps_from_fine
from archsim.serving.observe import Observer
from archsim.serving.prefix import PrefixUse
from archsim.serving.tally import Tally
from archsim.serving.tier import TierUse

__all__ = ["PHASES", "PhaseUse", "Record", "Window"]

PHASES = ("decode", "prefill", "prefill_recompute", "mixed", "moving")
"""What an iteration can be: `prefill_recompute` rebuilds the KV cache of preempted sequences, `mixed` serves both. In
`moving` none runs: caches move to a tier or back."""


@dataclass(slots=True)
class PhaseUse:
    """The iterations of one phase, in a window or in the whole run."""

    KEPT: ClassVar = ("iterations", "time_fine", "weights")

    iterations: int = 0
    time_fine: int = 0
    weights: dict[int, int] = field(default_factory=dict)
    """Knot of the cost model -> weight in units of 2**-32 iteration."""

    def add(self, other: PhaseUse) -> None:
        """Book the iterations of *other* too."""
        self.iterations += other.iterations
        self.time_fine += other.time_fine
        for knot, weight in other.weights.items():
            self.weights[knot] = self.weights.get(knot, 0) + weight


@dataclass(slots=True)
class Window:
    """A stretch of the run: whole iterations and the idle time between them."""

    KEPT: ClassVar = ("start_fine", "end_fine", "idle_fine", "output_tokens", "phases")

    start_fine: int
    end_fine: int
    idle_fine: int = 0
    """Time without a request to serve."""
    output_tokens: int = 0
    """Tokens that its iterations yield."""
    phases: dict[str, PhaseUse] = field(default_factory=dict)
    """Only phases that occur."""

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Window:
        """Return *windows*, which follow each other from 0 on, as one."""
        whole = cls(0, 0)
        for window in windows:
            whole.add(window)
        return whole

    def add(self, other: Window) -> None:
        """Append *other*, which starts where this window ends."""
        self.end_fine = other.end_fine
        self.idle_fine += other.idle_fine
        self.output_tokens += other.output_tokens
        for phase, use in other.phases.items():
            self.phases.setdefault(phase, PhaseUse()).add(use)


@dataclass(frozen=True, slots=True)
class Record:
    """A whole replay."""

    requests: RequestColumns
    """One row a request, in order of arrival; none where they are counted."""
    windows: tuple[Window, ...]
    """Consecutive from 0 to the end of the run."""
    total: Window
    """All windows as one."""
    completed: int
    rejected: int
    preemptions: int
    decode_tokens: int
    """Batch times iterations of those that decode, summed: their tokens, where nothing is drafted."""
    peak_kv_blocks: int
    event_count: int
    """Events of the simulation kernel."""
    answered: int = 0
    """Requests whose answer was in the cache of answers."""
    observer: Observer | None = None
    """What was seen between tokens and over time; None where nobody asked."""
    draft_tokens: int | None = None
    """Tokens that decode iterations yield with guesses, those beyond a last one too; None where none are made."""
    prefixes: PrefixUse | None = None
    """What the prefix cache was good for; None without one."""
    tier: TierUse | None = None
    """What moved to a tier and back; None without one."""
    tally: Tally | None = None
    """Requests where they are counted, not kept."""

    @property
    def offered(self) -> int:
        """Requests in all."""
        return self.completed + self.rejected

    @property
    def end_ps(self) -> int:
        """The end of the run."""
        return ps_from_fine(self.total.end_fine)

    @property
    def mean_batch(self) -> float | None:
        """Sequences that decode in an iteration in which any does, on average; None without any."""
        phases = self.total.phases
        iterations = sum(phases[phase].iterations for phase in ("decode", "mixed") if phase in phases)
        return self.decode_tokens / iterations if iterations else None
