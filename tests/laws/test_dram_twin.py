"""The event-driven kernel equals its cycle-stepped twin, command for command and clock for clock."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.address import AddressMap
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import ChannelRun, simulate
from archsim.dram.device import CLASSES, COMMANDS, Device
from archsim.dram.profile import PROFILES, Profile
from archsim.dram.streams import Stream
from archsim.errors import InputError, SimulationError

sys.path.insert(0, str(Path(__file__).parents[1]))
from dram_twin import Twin
from dram_twin_banks import BanksTwin

SMALL = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def _small(name: str, lanes: int, stacks: int, *, split: bool) -> Device:
    """Return a device of *name* with four rows a bank and refresh intervals that a short run meets."""
    device = build_device(name, DeviceOptions(lanes=lanes, stack_ids=stacks, split_activate=split))
    banks = device.banks // device.lanes
    constraints = tuple(replace(c, ticks=min(c.ticks, 200)) if c.preceding == "REFA" else c for c in device.constraints)
    return replace(
        device,
        rows=4,
        row_transactions=4,
        constraints=constraints,
        refresh_ticks=700,
        refresh_bank_interval_ticks=max(4000 // banks, 150),
    )


def _map(device: Device) -> AddressMap:
    fields = [(level, size.bit_length() - 1) for level, size in zip(device.levels, device.sizes, strict=True)]
    return AddressMap((*((f, b) for f, b in fields if b), ("co", 2), ("ro", 2)))


def _booked(run: ChannelRun) -> dict[str, int]:
    """Return the ticks of each cause that has some."""
    return {name: ticks for name, ticks in zip(CLASSES, run.causes, strict=True) if ticks}


def _places(draw: st.DrawFn, device: Device, count: int) -> list[int]:
    """Return transactions all over the device, or all rows and columns of a few of its banks."""
    most = draw(st.sampled_from([1, 2, 5, device.banks]))
    places = draw(st.lists(st.integers(0, 16 * most - 1), min_size=count, max_size=count))
    return [place % most + device.banks * (place // most) for place in places]


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Device, Profile, Stream, int, int]:
    name = draw(st.sampled_from(["HBM2", "HBM3", "HBM4", "DDR5", "GDDR6", "LPDDR5", "GDDR7"]))
    lanes = draw(st.sampled_from([1, 2])) if name.startswith("HBM") else 1
    split = name.startswith("LPDDR") and draw(st.booleans())
    device = _small(name, lanes, draw(st.sampled_from([1, 2])), split=split)
    refreshes = ["none", "all_bank", "stack_bank", "round_robin_bank"] + ["overlapped_bank"] * (not split)
    profile = replace(
        PROFILES[draw(st.sampled_from(["ramulator2", "archsim"]))],
        read_queue=draw(st.integers(1, 8)),
        write_queue=draw(st.integers(1, 8)),
        refresh=draw(st.sampled_from(refreshes)),
        cap=draw(st.sampled_from([0, 0, 1, 3])),
        protect=draw(st.sampled_from(["none", "older_hit", "any_hit"])),
        rotate=draw(st.booleans()),
        owed_refreshes=draw(st.integers(1, 3)),
        idle_close=draw(st.sampled_from([0, 0, 1, 10, 40])),
        idle_adapts=draw(st.booleans()),
    )
    count = draw(st.integers(10, 60))
    index = _places(draw, device, count)
    write = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    window = draw(st.sampled_from([0, 0, 1, 3, 16]))
    stream = Stream(np.array(index, np.int64), np.array(write, np.uint8))
    return device, profile, stream, window, draw(st.integers(0, 60))


@SMALL
@given(_cases())
def test_the_kernel_agrees_with_the_twin_clock_for_clock(case: tuple[Device, Profile, Stream, int, int]) -> None:
    """Same commands to the same banks at the same ticks, same completions, same causes, which sum to the run."""
    device, profile, stream, window, back = case
    twin = Twin(device, profile, window=window, return_ticks=back)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=window, return_ticks=back, traced=5000)
    kernel_log = [(int(tick), COMMANDS[int(command)], int(bank)) for tick, command, bank in run.trace]
    assert kernel_log[: len(twin.log)] == twin.log[: len(kernel_log)]
    assert abs(len(kernel_log) - len(twin.log)) == 0
    assert {i: int(at) for i, at in enumerate(run.done)} == twin.done
    assert _booked(run) == twin.books.close(max(twin.done.values()))
    assert sum(run.causes) == run.ticks * device.lanes
    served = sum(1 for _, command, _ in twin.log if command in ("RD", "WR", "RDA", "WRA"))
    assert run.cause("transfer") == served * device.burst_ticks


def test_a_full_row_stays_open_for_the_request_that_opened_it() -> None:
    """A read opens a row and two writes use it within its tRCDRD: at a cap of one, the second must not close it."""
    device = _small("GDDR6", 1, 1, split=False)
    profile = replace(PROFILES["ramulator2"], cap=1, refresh="none")
    column = device.banks
    stream = Stream(np.array([0, column, 2 * column], np.int64), np.array([0, 1, 1], np.uint8))
    twin = Twin(device, profile)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, traced=100)
    commands = [command for _, command, _ in twin.log]
    assert commands[:3] == ["ACT", "WR", "WR"]
    assert commands.count("ACT") == 1
    assert commands[3] in ("RD", "RDA")
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log


@st.composite
def _queued_cases(draw: st.DrawFn) -> tuple[Device, Profile, Stream, int]:
    """Return a device, a controller with command queues and a stream, most addresses of which repeat."""
    device = _small(draw(st.sampled_from(["HBM2", "DDR5", "GDDR6", "LPDDR5"])), 1, 1, split=False)
    profile = replace(
        PROFILES["dramsim3"],
        read_queue=draw(st.integers(1, 8)),
        write_queue=draw(st.integers(1, 10)),
        bank_queues=draw(st.integers(1, 4)),
        queue_per_bank=draw(st.booleans()),
        closed_page=draw(st.booleans()),
        drain_above=draw(st.sampled_from([1, 8])),
        refresh=draw(st.sampled_from(["none", "all_bank", "round_robin_bank"])),
    )
    count = draw(st.integers(10, 60))
    index = _places(draw, device, count)
    write = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return device, profile, Stream(np.array(index, np.int64), np.array(write, np.uint8)), draw(st.sampled_from([0, 3]))


@SMALL
@given(_queued_cases())
def test_the_kernel_with_command_queues_agrees_with_its_twin(case: tuple[Device, Profile, Stream, int]) -> None:
    """Same commands to the same banks at the same clocks, same completions, same causes, which sum to the run."""
    device, profile, stream, window = case
    twin = BanksTwin(device, profile, window=window, return_ticks=20)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=window, return_ticks=20, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    assert {i: int(at) for i, at in enumerate(run.done)} == twin.done
    assert _booked(run) == twin.books.close(max(twin.done.values()))
    assert sum(run.causes) == run.ticks * device.lanes


def test_a_full_write_queue_lets_the_read_pass_that_its_write_waits_for() -> None:
    """A read, and a write to its address that fills the queue: draining must not begin again before the read moved."""
    device = _small("GDDR6", 1, 1, split=False)
    profile = replace(PROFILES["dramsim3"], write_queue=1, refresh="none")
    stream = Stream(np.array([5, 5], np.int64), np.array([0, 1], np.uint8))
    twin = BanksTwin(device, profile)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, traced=100)
    assert [command for _, command, _ in twin.log][:2] == ["ACT", "RD"]
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log[: len(run.trace)]
    assert len(run.done) == len(twin.done) == stream.index.size


@pytest.mark.slow
@settings(SMALL, max_examples=600)
@given(_cases())
def test_the_kernel_agrees_with_the_twin_on_many_more_cases(case: tuple[Device, Profile, Stream, int, int]) -> None:
    """The same law over more random devices, policies and streams."""
    device, profile, stream, window, back = case
    twin = Twin(device, profile, window=window, return_ticks=back)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=window, return_ticks=back, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    assert {i: int(at) for i, at in enumerate(run.done)} == twin.done
    assert _booked(run) == twin.books.close(max(twin.done.values()))


@pytest.mark.parametrize("refresh", ["all_bank", "round_robin_bank"])
@pytest.mark.parametrize("per_bank", [False, True])
def test_refreshes_come_round_to_every_bank_and_rank_in_the_order_of_the_twin(refresh: str, *, per_bank: bool) -> None:
    """DDR5 with two ranks and reads that open another row each: refreshes fall due all the time, in turn."""
    device = replace(
        _small("DDR5", 1, 1, split=False),
        sizes=(1, 2, 8, 4),
        refresh_ticks=500,
        refresh_bank_interval_ticks=300,
        refresh_bank_ticks=120,
    )
    profile = replace(PROFILES["dramsim3"], refresh=refresh, queue_per_bank=per_bank, read_queue=4)
    count = 90
    index = np.arange(count, dtype=np.int64) * 37 % (1 << _map(device).bits)
    stream = Stream(index, np.zeros(count, np.uint8))
    twin = BanksTwin(device, profile, window=2, return_ticks=60)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=2, return_ticks=60, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    refreshed = [where for _, command, where in twin.log if command in ("REFA", "REFB")]
    groups_first = [(turn % 8) * 4 + turn // 8 for turn in range(32)]
    in_turn = [0, 32] * 16 if refresh == "all_bank" else [*groups_first, *(32 + bank for bank in groups_first)]
    assert refreshed == in_turn[: len(refreshed)]
    assert len(refreshed) >= 10


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("owed", [1, 3])
def test_refreshes_wait_for_hits_of_their_bank_until_too_many_are_owed(owed: int, *, rotate: bool) -> None:
    """Few requests in flight, two rows a bank in use, and a bank to refresh every 25 ticks: as the twin decides."""
    device = replace(_small("HBM2", 1, 1, split=False), refresh_bank_interval_ticks=25, refresh_bank_ticks=40)
    profile = replace(
        PROFILES["archsim"], read_queue=6, write_queue=6, rotate=rotate, owed_refreshes=owed, idle_close=0
    )
    count = 120
    place = np.arange(count, dtype=np.int64)
    index = (place // 4 * 5 % device.banks) + device.banks * (place % 4 + 4 * (place // 9 % 2))
    stream = Stream(index, (place % 5 == 0).astype(np.uint8))
    twin = Twin(device, profile, window=6, return_ticks=30)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=6, return_ticks=30, traced=5000)
    kernel_log = [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace]
    assert kernel_log == twin.log[: len(kernel_log)]
    assert sum(command == "REFB" for _, command, _ in kernel_log) >= 10


@pytest.mark.parametrize(("refresh", "lanes"), [("overlapped_bank", 2), ("all_bank", 1), ("round_robin_bank", 2)])
def test_half_clocks_carry_a_precharge_beside_the_row_command_before_it_as_in_the_twin(
    refresh: str, lanes: int
) -> None:
    """Rows that are left at once, asked for again and refreshed all the time: each kind of PRE on a falling edge."""
    device = replace(
        _small("HBM3", lanes, 1, split=False),
        refresh_bank_interval_ticks=240,
        refresh_bank_ticks=80,
    )
    profile = replace(PROFILES["archsim"], refresh=refresh, idle_close=2, read_queue=8, write_queue=4, cap=2)
    place = np.arange(110, dtype=np.int64)
    index = place * 7 % 11 + device.banks * (place * 5 % 13)
    stream = Stream(index, (place % 7 == 3).astype(np.uint8))
    twin = Twin(device, profile, window=6, return_ticks=8)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=6, return_ticks=8, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    assert _booked(run) == twin.books.close(max(twin.done.values()))
    falling = [command for tick, command, _ in twin.log if tick % 2 == 0]
    assert set(falling) <= {"PRE", "PREA"}
    assert len(falling) >= 10


@pytest.mark.parametrize("refresh", ["none", "all_bank", "round_robin_bank"])
def test_a_split_activation_among_conflicts_and_refreshes_is_as_in_the_twin(refresh: str) -> None:
    """Rows closed for others, and at a cap, while another row opens and the data clock starts and stops."""
    device = replace(_small("LPDDR5", 1, 1, split=True), refresh_bank_interval_ticks=400, refresh_bank_ticks=60)
    profile = replace(PROFILES["ramulator2"], refresh=refresh, read_queue=6, write_queue=4, cap=3, protect="older_hit")
    place = np.arange(110, dtype=np.int64)
    index = place * 5 % 3 + device.banks * (place * 7 % 16)
    stream = Stream(index, (place % 6 == 1).astype(np.uint8))
    twin = Twin(device, profile, window=8, return_ticks=5)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=8, return_ticks=5, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    assert _booked(run) == twin.books.close(max(twin.done.values()))
    assert {"ACT2", "CASR", "CASW", "PRE"} <= {command for _, command, _ in twin.log}


@pytest.mark.parametrize("refresh", ["none", "all_bank", "overlapped_bank", "round_robin_bank"])
def test_refreshes_and_idle_rows_are_not_missed_while_nothing_is_asked(refresh: str) -> None:
    """One or two requests in flight that are long on their way: most ticks are skipped, none at which a timer ends."""
    device = _small("HBM3", 2, 1, split=False)
    profile = replace(PROFILES["archsim"], refresh=refresh, idle_close=40, idle_adapts=True)
    place = np.arange(30, dtype=np.int64)
    stream = Stream(place * 7 % 5 + device.banks * (place * 3 % 8), (place % 9 == 4).astype(np.uint8))
    twin = Twin(device, profile, window=2, return_ticks=333)
    twin.run(stream, _map(device))
    run = simulate(device, _map(device), profile, stream, window=2, return_ticks=333, traced=5000)
    assert [(int(t), COMMANDS[int(c)], int(b)) for t, c, b in run.trace] == twin.log
    assert _booked(run) == twin.books.close(max(twin.done.values()))


def test_refreshes_that_fall_due_faster_than_they_can_be_sent_are_an_error() -> None:
    """The queue of refreshes overflows: the controller says so instead of dropping one."""
    device = replace(_small("HBM2", 1, 1, split=False), refresh_bank_interval_ticks=1)
    stream = Stream(np.arange(300, dtype=np.int64), np.zeros(300, np.uint8))
    with pytest.raises(SimulationError, match="stopped after"):
        simulate(device, _map(device), replace(PROFILES["ramulator2"], refresh="round_robin_bank"), stream)


@pytest.mark.parametrize("profile", ["ramulator2", "dramsim3"])
def test_the_latency_of_reads_is_the_mean_from_the_door_to_the_last_data(profile: str) -> None:
    """All reads come before the first clock, so that the mean is that of their completions."""
    device = _small("HBM2", 1, 1, split=False)
    count = 12
    stream = Stream(np.arange(count, dtype=np.int64) * 5, np.zeros(count, np.uint8))
    controller = replace(PROFILES[profile], inject=count, read_queue=count, refresh="none")
    run = simulate(device, _map(device), controller, stream)
    assert run.read_latency_ticks == Fraction(int(run.done.sum()), count)


def test_a_source_of_one_request_at_a_time_books_its_way_back_as_latency() -> None:
    """With a window of one and 500 ticks on the way, each but the last read keeps the channel waiting that long."""
    device = _small("HBM2", 1, 1, split=False)
    stream = Stream(np.arange(8, dtype=np.int64), np.zeros(8, np.uint8))
    for name in ("ramulator2", "dramsim3"):
        profile = replace(PROFILES[name], refresh="none")
        run = simulate(device, _map(device), profile, stream, window=1, return_ticks=500)
        assert 7 * 500 <= run.cause("latency") <= run.ticks - 8 * device.burst_ticks
        assert run.cause("queue") == run.cause("idle") == 0


def test_a_refresh_without_an_interval_is_refused() -> None:
    """A device whose table states none cannot be refreshed; unrefreshed it runs."""
    device = replace(_small("HBM2", 1, 1, split=False), refresh_ticks=0)
    stream = Stream(np.arange(8, dtype=np.int64), np.zeros(8, np.uint8))
    with pytest.raises(InputError, match="interval"):
        simulate(device, _map(device), replace(PROFILES["ramulator2"], refresh="all_bank"), stream)
    assert simulate(device, _map(device), replace(PROFILES["ramulator2"], refresh="none"), stream).requests == 8
