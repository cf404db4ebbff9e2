"""What a result says of replicas that start and stop: how many ran when, and what they draw while they are off."""

from __future__ import annotations

from archsim.hardware.energy import joules_per_second
from archsim.metrics.energy import Use
from archsim.metrics.techniques import ScalingFacts, ServingFacts
from archsim.result import Result
from archsim.serving.record import Record
from archsim.summary.facts import Design, Served
from archsim.summary.phases import seconds
from archsim.units import seconds_of

__all__ = ["off_seconds", "standby_uses", "with_scaling"]


def off_seconds(served: Served) -> tuple[float, ...]:
    """Return the time in which each replica was off; nothing where all always run."""
    if served.scaling is None:
        return ()
    return tuple(
        max(_whole(record) - seconds_of(on_ps), 0.0)
        for record, on_ps in zip(served.replicas, served.scaling.on_ps, strict=True)
    )


def _whole(record: Record) -> float:
    return seconds(record.total.end_fine - record.total.start_fine)


def standby_uses(design: Design, served: Served) -> tuple[Use, ...]:
    """Return what chips draw while their replicas are off, for the bill; nothing where that is not stated."""
    setting = design.spec.serving.scaling if design.spec.serving else None
    if setting is None or setting.standby_watts is None or served.scaling is None:
        return ()
    chips = len(design.spec.working_chips) // len(served.replicas)
    return (Use("chip.standby", chips * sum(off_seconds(served)), joules_per_second(setting.standby_watts)),)


def with_scaling(result: Result, served: Served) -> Result:
    """Return *result* with when its replicas ran; as it is where all always did."""
    log = served.scaling
    if log is None:
        return result
    total = sum(log.on_ps)
    end_ps = served.record.end_ps
    facts = ScalingFacts(
        replicas=len(served.replicas),
        replica_seconds=seconds_of(total),
        mean_replicas=total / end_ps if end_ps else 0.0,
        starts=log.starts,
        stops=log.stops,
        changes=[(seconds_of(at_ps), count) for at_ps, count in log.changes],
    )
    told = (result.serving or ServingFacts()).model_copy(update={"scaling": facts})
    return result.model_copy(update={"serving": told})
