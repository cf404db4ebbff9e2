"""Rows of a result about machines: what they are, what they drew, what pools of them did.

As in `archsim.result`, which gathers them: SI units, absent is None, nothing computes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from archsim.metrics.row import Count, NonNegative, Row

__all__ = [
    "Energy",
    "ParallelismFacts",
    "PhaseName",
    "PhasePower",
    "PoolFacts",
    "PoolPhase",
    "SystemFacts",
    "TransferFacts",
]

PhaseName = Literal["decode", "prefill", "mixed", "moving", "none"]


class SystemFacts(Row):
    """The system, in SI units, all chips together unless a name says otherwise."""

    name: str
    title: str
    status: Literal["shipped", "announced", "claimed", "hypothetical"]
    chip: str
    chips: Count
    topology: str
    main_memory: str
    """Ledger scope of the main memory of all chips: the one that the headline MBU is read off."""
    memory_bytes_per_s: FiniteFloat
    memory_bytes: Count
    flop_per_s: dict[str, FiniteFloat]
    """Matrix engine peak by dtype."""


class ParallelismFacts(Row):
    """Ways of tensor, pipeline, data, expert and context parallelism."""

    tp: Count
    pp: Count
    dp: Count
    ep: Count
    cp: Count


class PhasePower(Row):
    """Energy of the chips and links in the part of a run in which iterations were of one kind."""

    joules: FiniteFloat
    chip_watts: FiniteFloat
    """Average power of one chip with its memories and its share of the links."""
    by_part: dict[str, FiniteFloat]
    """Part -> joules."""


class Energy(Row):
    """Energy of the whole run; low and high are the ends of what sources state, else equal to the figure between."""

    joules: FiniteFloat
    joules_low: FiniteFloat
    joules_high: FiniteFloat
    joules_per_output_token: FiniteFloat | None
    """Of all chips, links and hosts over the tokens of the completed requests; None without any."""
    joules_per_output_token_low: FiniteFloat | None
    joules_per_output_token_high: FiniteFloat | None
    average_watts: FiniteFloat
    """Of the whole system."""
    by_part: dict[str, FiniteFloat]
    """Part -> joules, of the parts whose energy is known."""
    absent: list[str]
    """Parts that worked at a cost that no source states: sums are lower bounds while one stands here."""
    phases: dict[PhaseName, PhasePower]
    """Those that occurred."""
    tdp_watts: FiniteFloat | None
    """Thermal design power of one chip."""
    over_tdp: list[PhaseName]
    """Phases in which a chip's average power exceeds it: a machine would throttle, or the figures are too high."""


class PoolPhase(Row):
    """What the servers of one pool did while their iterations were of one kind."""

    time_share: NonNegative
    """Of all servers' time."""
    mbu: NonNegative | None
    mfu: NonNegative | None


class TransferFacts(Row):
    """KV caches that passed from one pool to the other."""

    count: Count
    bytes: Count
    wait_s: FiniteFloat | None
    """Mean, from the end of a prompt until its cache moves: for room at the receiver, for ports; None without any."""
    time_s: FiniteFloat | None
    """Mean, from the end of a prompt until an iteration can use its cache."""


class PoolFacts(Row):
    """One pool of a design of several systems."""

    serves: Literal["prefill", "decode", "all"]
    replicas: Count
    """Copies of the system."""
    system: SystemFacts
    """All copies together."""
    model: str
    parallelism: ParallelismFacts
    """Of one copy."""
    completed: Count
    """Requests that ended here."""
    phases: dict[PhaseName, PoolPhase]
    """Those that occurred."""
    energy: Energy | None
    """Of its chips, links and hosts; per output token of the whole design."""
