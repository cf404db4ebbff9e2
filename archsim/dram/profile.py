"""Controllers by name: what stands between the requests and the device, as data.

`ramulator2` and `dramsim3` act as those simulators' controllers do, and serve to agree with them. `archsim` is the
controller that silicon suggests: see `docs/memory.md` for its reasons and numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["PROFILES", "REFRESHES", "Profile", "profile_named"]

REFRESHES = {"none": 0, "all_bank": 1, "stack_bank": 2, "overlapped_bank": 3, "round_robin_bank": 4}
"""How refreshes are issued, by name; see `kernel_refresh`."""
_OF_BANK_QUEUES = ("none", "all_bank", "round_robin_bank")
"""Those of a controller with a command queue for each bank."""

_OF_IDLE, _OF_ECC = ("idle_close", "idle_adapts"), ("ecc_data", "ecc_buffer")
_MOST_CLOCKS, _MOST_ECC = 1_000_000, 64


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
    idle_close: int = 0
    """Clocks without a use after which an open row that nobody waits for is closed; 0 leaves it open."""
    idle_adapts: bool = False
    """Each bank adapts that time to whether its rows are asked for again; see `kernel_idle`."""
    ecc_data: int = 0
    """Transactions whose check bits fill one transaction of their own in the same row (inline ECC); 0 without."""
    ecc_buffer: int = 16
    """With `ecc_data`: transactions of check bits that the controller holds."""

    @property
    def text(self) -> str:
        """The name with the options that differ from it, as `profile_named` reads them."""
        policy = "adaptive" if self.idle_adapts else "idle"
        rows = f" rows={policy}:{self.idle_close}" if self.idle_close else ""
        return self.name + rows + (f" ecc={self.ecc_data}" if self.ecc_data else "")

    def question(self) -> dict[str, Any]:
        """Return the fields that an answer depends on: an option that is off is not one of them."""
        fields = asdict(self)
        off = [*_OF_IDLE] if not self.idle_close else []
        off += [*_OF_ECC] if not self.ecc_data else []
        return {key: value for key, value in fields.items() if key not in off}


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

    Options may follow the name, `"archsim rows=adaptive:100 ecc=8"`: `rows` is `open`, `idle:CLOCKS` or
    `adaptive:CLOCKS`, `ecc` the transactions that one of check bits protects. Raises `InputError` naming *place* for an
    unknown name, option or refresh, or a queue that holds nothing.
    """
    base, *options = name.split() or [name]
    if base not in PROFILES:
        raise InputError(Problem(place, "profile", name, f"one of {', '.join(PROFILES)}{did_you_mean(base, PROFILES)}"))
    profile = PROFILES[base]
    for option in options:
        profile = _with_option(profile, option, place)
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


def _with_option(profile: Profile, option: str, place: str) -> Profile:
    key, _, value = option.partition("=")
    policy, _, number = value.partition(":")
    if key == "rows" and policy in ("open", "idle", "adaptive"):
        if policy == "open" and not number:
            return replace(profile, idle_close=0, idle_adapts=False)
        if policy != "open" and profile.bank_queues == 0:
            clocks = _number(number, _MOST_CLOCKS, place, option)
            return replace(profile, idle_close=clocks, idle_adapts=policy == "adaptive")
    elif key == "ecc":
        return replace(profile, ecc_data=_number(value, _MOST_ECC, place, option))
    rows = "rows=open, rows=idle:CLOCKS, rows=adaptive:CLOCKS (not with command queues per bank)"
    raise InputError(Problem(place, profile.name, option, f"{rows}, or ecc=TRANSACTIONS"))


def _number(text: str, most: int, place: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise InputError(Problem(place, "profile", option, f"a whole number from 1 to {most:,}"))
    return int(text)
