"""Options of a memory controller: idle rows closed, inline ECC, hot refresh, slower writes; against closed forms."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from archsim.dram.address import AddressMap, default_map
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import ChannelRun, simulate
from archsim.dram.device import COMMANDS, Device
from archsim.dram.ecc import with_check_bits
from archsim.dram.profile import PROFILES, Profile, profile_named
from archsim.dram.streams import Domain, Stream, make_stream
from archsim.errors import InputError

NO_REFRESH = replace(PROFILES["archsim"], refresh="none")


def _run(device: Device, profile: Profile, pattern: str, requests: int = 20_000, window: int = 0) -> ChannelRun:
    address_map = default_map(device)
    domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
    stream = make_stream(pattern, 0, requests=requests, domain=domain, place="test")
    return simulate(device, address_map, profile, stream, window=window)


def _commands(run: ChannelRun, name: str) -> int:
    return run.commands[COMMANDS.index(name)]


@pytest.mark.parametrize("hot", [False, True])
def test_refresh_of_all_banks_takes_its_share_once_or_hot_twice(hot: bool) -> None:
    """Streaming loses at least nRFC / nREFI to refresh and at most a row's reopening more; hot halves nREFI."""
    device = build_device("HBM3", DeviceOptions(hot=hot))
    profile = replace(PROFILES["archsim"], refresh="all_bank")
    plain, ideal = _run(device, profile, "seq", 100_000), _run(device, NO_REFRESH, "seq", 100_000)
    cold = build_device("HBM3")
    closed = max(c.ticks for c in device.constraints if (c.preceding, c.following) == ("REFA", "ACT"))
    factor = 1 - Fraction(closed * (2 if hot else 1), cold.refresh_ticks)
    assert float(plain.utilisation / ideal.utilisation) == pytest.approx(float(factor), abs=0.02 * (2 if hot else 1))
    assert plain.utilisation / ideal.utilisation <= factor + Fraction(1, 200)


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(2, 3)])
def test_writes_stream_at_their_share_of_the_peak_and_reads_at_all_of_it(share: Fraction) -> None:
    """A write burst every BL / share ticks, rounded up to a tick; reads are untouched."""
    device = build_device("HBM3", DeviceOptions(write_share=share))
    wide = -int(-device.burst_ticks // share)
    writes = _run(device, NO_REFRESH, "seqw").utilisation
    assert float(writes) == pytest.approx(device.burst_ticks / wide, rel=0.01)
    assert _run(device, NO_REFRESH, "seq").utilisation == _run(build_device("HBM3"), NO_REFRESH, "seq").utilisation


def _ecc(index: list[int], write: list[int], width: int = 4, entries: int = 2) -> list[tuple[int, int]]:
    stream = Stream(np.array(index, np.int64), np.array(write, np.uint8))
    made = with_check_bits(stream, AddressMap((("co", 4), ("ro", 4))), width=width, entries=entries)
    assert made.stream.index[made.data].tolist() == index
    rows = [(at - 256) // 4 if at >= 256 else at // 16 for at in made.stream.index]
    assert (stream.index[made.of] // 16).tolist() == rows
    names = [1000 + width * (at - 256) if at >= 256 else at for at in made.stream.index.tolist()]
    return list(zip(names, made.stream.write.tolist(), strict=True))


def test_check_bits_are_read_once_for_a_block_that_is_read_in_a_run() -> None:
    """One read of check bits before the first of four transactions, one before the next four."""
    assert _ecc([0, 1, 2, 3, 4], [0] * 5) == [(1000, 0), (0, 0), (1, 0), (2, 0), (3, 0), (1004, 0), (4, 0)]


def test_check_bits_of_a_whole_block_are_written_unread_and_those_of_a_part_are_read_first() -> None:
    """Four writes of a block: one write of check bits; one write of another block: a read and a write."""
    assert _ecc([0, 1, 2, 3], [1] * 4) == [(0, 1), (1, 1), (2, 1), (3, 1), (1000, 1)]
    assert _ecc([5], [1]) == [(5, 1), (1004, 0), (1004, 1)]


def test_the_least_recently_used_check_bits_leave_a_full_buffer() -> None:
    """With room for two, the third block drives out the first, which is read again; a block read knows its bits."""
    assert _ecc([0, 4, 8, 1], [0] * 4) == [(1000, 0), (0, 0), (1004, 0), (4, 0), (1008, 0), (8, 0), (1000, 0), (1, 0)]
    assert _ecc([0, 1], [0, 1]) == [(1000, 0), (0, 0), (1, 1), (1000, 1)]
    assert _ecc([1, 1, 0], [1, 0, 0]) == [(1, 1), (1, 0), (1000, 0), (0, 0), (1000, 1)]


@pytest.mark.parametrize("width", [4, 8])
def test_inline_ecc_costs_a_stream_one_burst_in_each_block(width: int) -> None:
    """Sequential reads: data are width / (width + 1) of all bursts, exactly; the rest is booked, and all sums."""
    device = build_device("GDDR6")
    run = _run(device, replace(NO_REFRESH, ecc_data=width), "seq", 8000)
    plain = _run(device, NO_REFRESH, "seq", 8000)
    assert run.requests == 8000
    assert run.ecc_requests == 8000 // width
    assert _commands(run, "RD") == 8000 + 8000 // width
    assert run.cause("transfer") == 8000 * device.burst_ticks
    assert sum(run.causes) == run.ticks * device.lanes
    assert float(run.utilisation / plain.utilisation) == pytest.approx(width / (width + 1), rel=0.01)


def test_inline_ecc_doubles_the_bursts_of_random_reads_but_not_their_rows() -> None:
    """Each random read brings its check bits along, from the row that it opens anyway."""
    device = build_device("HBM3")
    run, plain = _run(device, replace(NO_REFRESH, ecc_data=8), "rand"), _run(device, NO_REFRESH, "rand")
    assert run.ecc_requests == pytest.approx(20_000, rel=0.001)
    assert _commands(run, "ACT") <= 1.02 * _commands(plain, "ACT")


def test_a_row_unused_for_the_stated_clocks_is_closed_and_not_before() -> None:
    """One read at a time, rows of a bank in turn: the PRE follows it by the limit, or by tRTP where that is longer."""
    device = build_device("DDR5")
    waits = {}
    for clocks in (1, 300):
        profile = replace(NO_REFRESH, idle_close=clocks)
        far = 1 << default_map(device).lowest_row_bit()
        stream = Stream(np.arange(3, dtype=np.int64) * far, np.zeros(3, np.uint8))
        run = simulate(device, default_map(device), profile, stream, window=1, return_ticks=2000, traced=20)
        log = [(COMMANDS[int(c)], int(tick)) for tick, c, _ in run.trace]
        waits[clocks] = log[2][1] - log[1][1]
        assert [name for name, _ in log[:4]] == ["ACT", "RD", "PRE", "ACT"]
    assert waits[300] == 300
    assert waits[1] < 300


def test_an_adaptive_limit_learns_to_keep_rows_that_are_asked_for_again() -> None:
    """Reads of one row further apart than the limit: fixed, each reopens it; adaptive, after doublings it stays."""
    device = build_device("DDR5")
    stream = Stream(np.zeros(40, np.int64), np.zeros(40, np.uint8))
    opened = {}
    for adapts in (False, True):
        profile = replace(NO_REFRESH, idle_close=100, idle_adapts=adapts)
        run = simulate(device, default_map(device), profile, stream, window=1, return_ticks=300)
        opened[adapts] = _commands(run, "ACT")
    assert opened == {False: 40, True: 3}


def test_options_are_read_behind_the_name_of_a_profile() -> None:
    """`rows` and `ecc` set their fields, `text` writes them back, and an unset option is no part of a question."""
    profile = profile_named("archsim rows=adaptive:100 ecc=8")
    assert (profile.idle_close, profile.idle_adapts, profile.ecc_data) == (100, True, 8)
    assert profile_named(profile.text) == profile
    assert set(profile.question()) - set(PROFILES["archsim"].question()) == {
        "idle_close", "idle_adapts", "ecc_data", "ecc_buffer",
    }  # fmt: skip
    assert profile_named("archsim rows=open") == PROFILES["archsim"]


@pytest.mark.parametrize(
    "text", ["archsim rows=idle", "archsim rows=idle:0", "archsim ecc=x", "archsim pages=3", "dramsim3 rows=idle:5", ""]
)
def test_an_option_that_is_none_is_refused_by_name(text: str) -> None:
    """The message names the option and what it may be."""
    with pytest.raises(InputError):
        profile_named(text)
