"""Controllers by name: what stands between the requests and the device, as data.

`ramulator2` and `dramsim3` act as those simulators' controllers do, and serve to agree with them. `archsim` is the
controller that silicon suggests: see `docs/memory.md` for its reasons and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["PROFILES", "REFRESHES", "Profile", "profile_named"]

REFRESHES = {"none": 0, "all_bank": 1, "stack_bank": 2, "overlapped_bank": 3, "round_robin_bank": 4}
"""How refreshes are issued, by name; see `kernel_refresh`."""
_OF_BANK_QUEUES = ("none", "all_bank", "round_robin_bank")
"""Those of a controller with a command queue for each bank."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A memory controller's policy."""

    name: str
    read_queue: int
    """Reads that may wait per channel, beside those whose row is already opening."""
    write_queue: int
    """Writes that may wait per channel."""
    refresh: str
    """A key of `REFRESHES`."""
    protect: str = "none"
    """What keeps a row from being closed: `none`, `older_hit` (an older request for the open row), `any_hit`."""
    cap: int = 0
    """Column commands to a row before it is closed; 0 leaves rows open."""
    write_high: float = 0.8
    """Share of the write queue above which writes are drained."""
    write_low: float = 0.2
    """Share below which reads go first again."""
    inject: int = 4
    """Requests that the source may hand over per tick."""
    owed_refreshes: int = 1
    """Refreshes a lane may owe before one displaces waiting row hits (`overlapped_bank`)."""
    rotate: bool = False
    """Refresh the banks of a lane in fixed order (`overlapped_bank`), not an idle one first."""
    posted_writes: bool = True
    """A write is done when it is issued (or accepted), not when its data has moved."""
    bank_queues: int = 0
    """Commands waiting per queue behind the two queues above; 0 schedules from those queues directly."""
    queue_per_bank: bool = True
    """With `bank_queues`: one queue a bank, else one a rank."""
    closed_page: bool = False
    """With `bank_queues`: every column command closes its row."""
    drain_above: int = 8
    """With `bank_queues`: writes that start a drain while no command waits."""


PROFILES: dict[str, Profile] = {
    "ramulator2": Profile("ramulator2", read_queue=32, write_queue=32, refresh="all_bank"),
    "dramsim3": Profile("dramsim3", read_queue=32, write_queue=32, refresh="all_bank", bank_queues=8),
    "archsim": Profile(
        "archsim",
        read_queue=128,
        write_queue=128,
        refresh="overlapped_bank",
        protect="any_hit",
        owed_refreshes=4,
        rotate=True,
        posted_writes=False,
    ),
}


def profile_named(
    name: str, *, place: str = "--profile", queue: int | None = None, refresh: str | None = None
) -> Profile:
    """Return the profile *name*, with another queue depth or refresh where given.

    Raises `InputError` naming *place* for an unknown name or refresh, or a queue that holds nothing.
    """
    if name not in PROFILES:
        raise InputError(Problem(place, "profile", name, f"one of {', '.join(PROFILES)}{did_you_mean(name, PROFILES)}"))
    profile = PROFILES[name]
    if queue is not None:
        if queue < 1:
            raise InputError(Problem("--queue", "queue", str(queue), "a queue of at least 1 request"))
        profile = replace(profile, read_queue=queue, write_queue=queue)
    if refresh is not None:
        if refresh not in REFRESHES:
            known = ", ".join(REFRESHES)
            raise InputError(
                Problem("--refresh", "refresh", refresh, f"one of {known}{did_you_mean(refresh, REFRESHES)}")
            )
        if profile.bank_queues and refresh not in _OF_BANK_QUEUES:
            expected = f"a refresh that {name} has: {', '.join(_OF_BANK_QUEUES)}"
            raise InputError(Problem("--refresh", "refresh", refresh, expected))
        profile = replace(profile, refresh=refresh)
    return profile
