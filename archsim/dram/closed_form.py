"""Closed forms of a channel's sustained rate: the upper bounds that every simulated pattern must respect.

Not a model of a controller: each form holds for one binding constraint and ignores the others. They serve as laws
in tests, and `sustain_closed_form` as the answer where a device has no timing table.

Formulas: refresh leaves `1 - tRFC / tREFI` of the time; Little's law bounds the rate by bytes in flight over latency.
"""

from __future__ import annotations

from fractions import Fraction

from archsim.dram.facts import CAUSES, ChannelFacts, Phase
from archsim.units import PS_PER_S

__all__ = ["sustain_closed_form"]


def sustain_closed_form(
    *,
    peak_bytes_per_s: Fraction,
    refresh_interval_ps: int,
    refresh_cycle_ps: int,
    access_latency_ps: int,
    phase: Phase,
) -> ChannelFacts:
    """Return the facts of a channel that only refreshes and waits for its window of bytes in flight.

    Outside refresh the channel runs at `min(1, window / (latency * peak))` of its peak, where latency is the
    device's *access_latency_ps* plus the phase's on-chip round trip. The parts are exact integers over a common
    denominator. Raises `ValueError` for a window, rate or interval that is not positive, or a refresh that never ends.
    """
    latency_ps = access_latency_ps + phase.latency_ps
    if peak_bytes_per_s <= 0 or min(refresh_interval_ps, phase.window_bytes, latency_ps) <= 0:
        raise ValueError(f"peak, refresh interval, window and latency must be positive: {peak_bytes_per_s}, {phase}")
    if not 0 <= refresh_cycle_ps < refresh_interval_ps:
        raise ValueError(f"a refresh of {refresh_cycle_ps} ps does not fit its interval of {refresh_interval_ps} ps")
    refresh = Fraction(refresh_cycle_ps, refresh_interval_ps)
    flowing = min(Fraction(1), Fraction(phase.window_bytes * PS_PER_S, latency_ps) / peak_bytes_per_s)
    shares = {"refresh": refresh, "latency": (1 - refresh) * (1 - flowing)}
    transfer = (1 - refresh) * flowing
    unit = transfer.denominator * shares["refresh"].denominator * shares["latency"].denominator
    return ChannelFacts(
        transfer=int(transfer * unit),
        causes=tuple(int(shares.get(cause, Fraction(0)) * unit) for cause in CAUSES),
        first_access_ps=latency_ps,
    )
