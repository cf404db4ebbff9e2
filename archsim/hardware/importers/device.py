"""A memory device as an imported file states it."""

from __future__ import annotations

from dataclasses import dataclass

from archsim.dram.standards import STANDARDS
from archsim.errors import InputError, Problem
from archsim.hardware.importers.draft import Draft, Stated, plain_name

__all__ = ["Figures", "add_device"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a memory device needs."""

    standard: str
    burst: Stated
    page: Stated
    refresh_interval: Stated
    refresh_cycle: Stated
    latency: Stated


def add_device(draft: Draft, name: str, figures: Figures) -> None:
    """Add the device called *name*. A page that is no multiple of the burst is rounded down, and noted."""
    draft.text("", name=plain_name(name), standard=figures.standard)
    if figures.standard not in STANDARDS:
        draft.note(
            f"standard: archsim has no timing table of {figures.standard}, which is modelled in closed form (A33)"
        )
    burst, page = figures.burst[0], figures.page[0]
    if burst < 1 or page < 1:
        raise InputError(Problem(name, "burst, page", f"{burst}, {page}", "whole bytes, at least one"))
    if page % burst:
        draft.note("page: rounded to whole bursts")
        page = max(burst, page // burst * burst)
    draft.quantity("", "burst", burst, "bytes", figures.burst[1])
    draft.quantity("", "page", page, "bytes", figures.page[1])
    draft.quantity("", "refresh_interval", figures.refresh_interval[0], "s", figures.refresh_interval[1])
    draft.quantity("", "refresh_cycle", figures.refresh_cycle[0], "s", figures.refresh_cycle[1])
    draft.quantity("", "access_latency", figures.latency[0], "s", figures.latency[1])
