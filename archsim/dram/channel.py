"""One channel simulated: a device, a map, a controller and a stream in; clocks and their causes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.dram.address import AddressMap
from archsim.dram.device import CLASSES, COMMANDS, Device
from archsim.dram.ecc import with_check_bits
from archsim.dram.kernel_state import DEEPEST_QUEUE, blank_state
from archsim.dram.profile import REFRESHES, Profile
from archsim.dram.streams import Stream
from archsim.errors import InputError, Problem, SimulationError

__all__ = ["ChannelRun", "simulate"]

_NEVER = 1 << 60
_PROTECTIONS = {"none": 0, "older_hit": 1, "any_hit": 2}


@dataclass(frozen=True, slots=True)
class ChannelRun:
    """What a channel did, in ticks."""

    device: Device
    ticks: int
    """To the last completion."""
    steady_ticks: int
    """Between the completions of 10 % and 90 % of the requests."""
    requests: int
    causes: tuple[int, ...]
    """Ticks of all data buses by class, aligned with `CLASSES`; they sum to `ticks * lanes`."""
    steady_causes: tuple[int, ...]
    """The same between the first and the last tenth of the column commands; in proportion, not in sum."""
    commands: tuple[int, ...]
    """Commands issued, aligned with `COMMANDS`."""
    read_latency_ticks: Fraction | None
    """Mean from acceptance to last data of the reads that reached the device; `None` without one."""
    trace: npt.NDArray[np.int64]
    """The first commands as rows (tick, command, bank), where asked for."""
    done: npt.NDArray[np.int64]
    """Completion tick of every request."""
    ecc_requests: int = 0
    """Transactions of check bits. Their bursts are no `transfer` but `command_bus`: another request went first."""

    @property
    def utilisation(self) -> Fraction:
        """Share of peak sustained between 10 % and 90 % of the requests."""
        return Fraction(4 * self.requests * self.device.burst_ticks, 5 * self.steady_ticks * self.device.lanes)

    def cause(self, name: str) -> int:
        """Ticks that went to *name*."""
        return self.causes[CLASSES.index(name)]


def simulate(
    device: Device,
    address_map: AddressMap,
    profile: Profile,
    stream: Stream,
    *,
    window: int = 0,
    return_ticks: int = 0,
    traced: int = 0,
) -> ChannelRun:
    """Serve *stream* and return what every tick of the data buses went to.

    With *window* > 0 at most that many requests are in flight, each for *return_ticks* beyond its data. Raises
    `InputError` for a queue the kernel cannot hold and `SimulationError` if the controller can make no progress.
    """
    for depth in (profile.read_queue, profile.write_queue):
        if not 1 <= depth <= DEEPEST_QUEUE:
            raise InputError(Problem(profile.name, "queue", str(depth), f"1 to {DEEPEST_QUEUE} requests"))
    checked = None
    if profile.ecc_data:
        checked = with_check_bits(stream, address_map, width=profile.ecc_data, entries=profile.ecc_buffer)
    states = blank_state(device, unused=_unused(profile))
    _configure(states[0], device, profile, window, return_ticks)
    bank, row = address_map.decode(stream.index, device)
    if checked is not None:
        stream, bank, row = checked.stream, bank[checked.of], row[checked.of]
    ident, buffered = _identities(stream, reads_merge=profile.bank_queues > 0)
    count = stream.index.size
    states[0]["measure_from"], states[0]["measure_to"] = count // 10, count - 1 - count // 10
    times, trace = np.zeros((2, count), np.int64), np.zeros((traced, 3), np.int64)
    run = _kernel(profile)
    if not run(states[0], bank, row, stream.write, ident, buffered, times, trace):
        raise SimulationError(
            f"{device.name}: the {profile.name} controller stopped after {states[0]['completed']} requests"
        )
    if checked is None:
        return _result(device, states[0], times[0], trace)
    return _without_check_bits(_result(device, states[0], times[0][checked.data], trace), count - checked.data.size)


def _unused(profile: Profile) -> frozenset[str]:
    """Return the commands that *profile* never sends: their constraints cost time and change nothing."""
    unused = set() if profile.cap or profile.closed_page else {"RDA", "WRA"}
    if profile.refresh == "none":
        unused |= {"REFA", "REFB", "PREA"}
    elif profile.refresh == "all_bank":
        unused.add("REFB")
    else:
        unused |= {"REFA", "PREA"}
    return frozenset(unused)


def _kernel(profile: Profile) -> Any:
    if profile.bank_queues:
        from archsim.dram.kernel_banks import run as run_banks  # noqa: PLC0415  # Numba loads with the first channel

        return run_banks
    from archsim.dram.kernel_channel import run  # noqa: PLC0415  # Numba loads with the first channel

    return run


def _identities(stream: Stream, *, reads_merge: bool) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Number the distinct addresses where two requests may meet, with a mark per address for writes and for reads."""
    ascending = bool(np.all(stream.index[1:] > stream.index[:-1]))
    if ascending or not (reads_merge or stream.write.any()):
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    distinct, ident = np.unique(stream.index, return_inverse=True)
    return ident.astype(np.int32), np.zeros(2 * distinct.size, np.int32)


def _configure(state: Any, device: Device, profile: Profile, window: int, return_ticks: int) -> None:
    high, low = np.float32(profile.write_high), np.float32(profile.write_low)
    writes = np.float32(profile.write_queue)
    state["enter_at"] = int(np.floor(high * writes)) + 1
    state["leave_at"] = int(np.ceil(low * writes)) - 1
    state["depth"] = profile.read_queue, profile.write_queue
    state["protect"], state["cap"] = _PROTECTIONS[profile.protect], profile.cap
    refresh = REFRESHES[profile.refresh]
    state["refresh"], state["owed_limit"] = refresh, profile.owed_refreshes
    state["rotate"] = profile.rotate
    interval = device.refresh_ticks if refresh == 1 else device.refresh_bank_interval_ticks
    state["refresh_ticks"] = state["refresh_at"] = interval
    state["refresh_bank_ticks"] = device.refresh_bank_ticks
    if refresh > 0 and interval <= 0:
        raise InputError(
            Problem(device.name, "refresh", profile.refresh, "a refresh that the standard has an interval for")
        )
    state["window"], state["return_ticks"], state["inject"] = window, return_ticks, profile.inject
    state["source"], state["owed_lane"] = CLASSES.index("latency"), device.lanes
    if profile.posted_writes:
        state["write_ticks"] = 0
    _configure_queues(state, device, profile)
    state["idle_close"], state["idle_adapts"] = profile.idle_close * device.ticks_per_clock, profile.idle_adapts
    state["idle_limit"][:], state["idle_wake"] = state["idle_close"], _NEVER
    slots = profile.read_queue + profile.write_queue + device.banks * (1 + profile.bank_queues)
    state["free"][:slots] = np.arange(slots)[::-1]
    state["free_count"] = slots


def _configure_queues(state: Any, device: Device, profile: Profile) -> None:
    ranks = device.sizes[device.levels.index("ra")] if "ra" in device.levels else 1
    state["queue_banks"] = 1 if profile.queue_per_bank else device.banks // ranks
    state["queues"] = device.banks if profile.queue_per_bank else ranks
    state["queue_limit"], state["closed_page"] = profile.bank_queues, profile.closed_page
    state["drain_above"] = profile.drain_above


def _result(device: Device, state: Any, done: npt.NDArray[np.int64], trace: npt.NDArray[np.int64]) -> ChannelRun:
    causes = [int(ticks) for ticks in state["causes"]]
    ends = [int(end) for end in state["lane_end"][: device.lanes]]
    last = max(int(done.max()), *ends)
    causes[CLASSES.index("queue")] += sum(max(ends) - end for end in ends)
    causes[CLASSES.index("latency")] += device.lanes * (last - max(ends))
    tenth = max(1, done.size // 10)
    first, final = tenth - 1, done.size - tenth - 1
    ordered = np.partition(done, sorted({first, final}))
    return ChannelRun(
        device=device,
        ticks=last,
        steady_ticks=max(1, int(ordered[final] - ordered[first])),
        requests=done.size,
        causes=tuple(causes),
        steady_causes=tuple(int(part) for part in state["measured"][1] - state["measured"][0]),
        commands=tuple(int(n) for n in state["commands"][: len(COMMANDS)]),
        read_latency_ticks=Fraction(int(state["read_latency"]), int(state["reads"])) if state["reads"] else None,
        trace=trace[: int(state["traced"])],
        done=done,
    )


def _without_check_bits(run: ChannelRun, ecc_requests: int) -> ChannelRun:
    """Book the bursts of check bits where requests wait for another one: in proportion, should requests have met."""
    share = Fraction(ecc_requests, run.requests + ecc_requests)
    return replace(
        run,
        causes=_moved(run.causes, share),
        steady_causes=_moved(run.steady_causes, share),
        ecc_requests=ecc_requests,
    )


def _moved(causes: tuple[int, ...], share: Fraction) -> tuple[int, ...]:
    transfer, waiting = CLASSES.index("transfer"), CLASSES.index("command_bus")
    check_bits = int(causes[transfer] * share)
    found = list(causes)
    found[transfer] -= check_bits
    found[waiting] += check_bits
    return tuple(found)
