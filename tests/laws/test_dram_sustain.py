"""What is asked of a simulated channel and what is kept of the answer: turns of streams, windows, questions."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from archsim.dram import sustain as module
from archsim.dram.address import default_map
from archsim.dram.build import DeviceOptions, build_device, standard_named
from archsim.dram.device import CLASSES
from archsim.dram.facts import CAUSES, Access, Phase
from archsim.dram.profile import PROFILES
from archsim.dram.sustain import (
    MemoryChannel,
    answer_of,
    canonical_phase,
    geometry_of,
    local_run,
    phase_stream,
    question_of,
    run_phase,
    sustain,
)
from archsim.errors import InputError

UNIT = 32
"""Bytes of a transaction of HBM2."""
READ, WRITE = Access(1, 2**30, write=False), Access(1, 2**30, write=True)


def channel(channels: int = 4, interleave_bytes: int = UNIT) -> MemoryChannel:
    """Return a channel of HBM2 of one lane."""
    device = build_device("HBM2", DeviceOptions(lanes=1))
    return MemoryChannel(device, default_map(device), channels, interleave_bytes)


@pytest.mark.parametrize(("reads", "writes"), [(31, 1), (3, 5), (1, 1), (2, 30)])
def test_every_prefix_of_a_mixture_is_as_near_to_its_shares_as_can_be(reads: int, writes: int) -> None:
    """After n granules a stream has had its share of them, give or take one."""
    accesses = Access(reads, 2**30, write=False), Access(writes, 2**30, write=True)
    stream = phase_stream(channel(), accesses, 500)
    assert stream.index.size == stream.write.size == 500
    written = np.cumsum(stream.write)
    due = np.arange(1, 501) * writes / (reads + writes)
    assert np.all(np.abs(written - due) <= 1)


def test_streams_take_turns_by_granules_and_each_walks_runs_of_its_own() -> None:
    """Four transactions of a granule come together; runs of 128 B are whole and begin at multiples of themselves."""
    accesses = Access(1, 128, write=False), Access(1, 128, write=True)
    stream = phase_stream(channel(interleave_bytes=4 * UNIT), accesses, 400)
    granules = stream.index.reshape(-1, 4)
    assert np.all(stream.write.reshape(-1, 4) == stream.write[::4, None])
    assert np.all(granules[:, 0] % 4 == 0)
    assert np.all(np.diff(granules, axis=1) == 1)
    assert stream.write[::4].sum() == 50


def test_eight_walkers_take_turns_and_stay_on_the_device() -> None:
    """A long run's second granule follows after eight of eight runs (model.md); no index lies beyond the map."""
    asked = channel(interleave_bytes=4 * UNIT)
    index = phase_stream(asked, (Access(1, 2**16, write=False),), 4096).index
    begun = index.reshape(-1, 4)[:, 0]
    assert np.array_equal(begun[8:16], begun[:8] + 4)
    assert len(set(begun[:8].tolist())) == 8
    assert 0 <= index.min() <= index.max() < 1 << asked.address_map.bits


def test_what_is_sustained_is_read_off_the_answer_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfer is its own part, and the causes are those of the facts."""
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "recall", lambda _key, _question: None)
    monkeypatch.setattr(module, "remember", lambda _key, _question, answer: kept.append(answer))
    short = partial(run_phase, requests=200)
    monkeypatch.setattr(module, "run_phase", short)
    asked, phase = channel(channels=2), Phase((READ, WRITE), 1000, 12_345)
    found = sustain(asked, PROFILES["archsim"], phase)
    run = short(asked, PROFILES["archsim"], canonical_phase(asked, phase))
    assert found.transfer == run.steady_causes[CLASSES.index("transfer")] > 0
    assert found.causes == tuple(run.steady_causes[CLASSES.index(cause)] for cause in CAUSES)
    assert found.first_access_ps > 12_345
    assert kept == [answer_of(run, phase)]


@pytest.mark.parametrize(
    ("standard", "channel_bits", "expected"),
    [
        ("LPDDR5", 32, (1, 8, 4)), ("HBM2", 128, (2, 4, 8)), ("HBM2", 64, (1, 4, 8)), ("HBM3", 64, (2, 4, 8)),
        ("HBM3", 96, (1, 12, 2)),
    ],
)  # fmt: skip
def test_a_wide_channel_is_several_in_lockstep_or_a_pair_of_lanes(
    standard: str, channel_bits: int, expected: tuple[int, int, int]
) -> None:
    """Pseudochannels come in pairs where the width allows; other standards have one lane a channel. All hold 1 GiB."""
    table = standard_named(standard, place="test")
    assert geometry_of(table, channel_bits=channel_bits, channels=4, channel_bytes=2**30) == expected


def test_a_window_of_one_transaction_waits_for_each_to_come_back() -> None:
    """A read takes the device's read time and the way back, before the next is offered."""
    asked = channel()
    device = asked.device
    back = 250 * int(device.tick_ps)
    run = run_phase(asked, PROFILES["archsim"], Phase((READ,), UNIT, back), requests=30)
    assert run.ticks >= 30 * device.read_ticks + 29 * 250
    free = run_phase(asked, PROFILES["archsim"], Phase((READ,), 30 * UNIT, back), requests=30)
    assert free.ticks < 30 * device.read_ticks + 250


def test_an_answer_is_the_steady_causes_and_the_first_access_with_the_way_there() -> None:
    """The first read of an idle channel: ACT, tRCD, the read's time, and the latency on the chip."""
    asked = channel()
    phase = Phase((READ,), 8 * UNIT, 100_000)
    run = run_phase(asked, PROFILES["archsim"], phase, requests=60)
    opened = max(c.ticks for c in asked.device.constraints if (c.preceding, c.following) == ("ACT", "RD"))
    first_ps = (1 + opened + asked.device.read_ticks) * int(asked.device.tick_ps) + 100_000
    assert answer_of(run, phase) == {"parts": list(run.steady_causes), "first_access_ps": first_ps}


def test_a_question_is_the_same_after_it_was_written_and_read() -> None:
    """What is recalled is compared with what is asked: fractions are text, and nothing is a tuple."""
    question = question_of(channel(), PROFILES["archsim"], Phase((READ,), 1024, 100))
    written = json.loads(json.dumps({**question, "phase": None, "profile": None}))
    assert written == {**question, "phase": None, "profile": None}
    assert question["device"]["name"] == "HBM2"
    asked = {"device", "map", "channels", "interleave_bytes", "profile", "phase", "requests", "runs"}
    assert set(question) == asked


def test_a_phase_is_asked_in_32nds_and_powers_of_two() -> None:
    """Runs are those on one channel; what is less than a 64th is left out, and equal runs are one stream."""
    accesses = (
        Access(6200, 2**30, write=False),
        Access(3400, 100, write=True),
        Access(300, 64, write=True),
        Access(100, 2**20, write=True),
    )
    found = canonical_phase(channel(interleave_bytes=256), Phase(accesses, 1024, 100))
    assert found.accesses == (Access(12, 64, write=True), Access(20, 2**16, write=False))
    assert (found.window_bytes, found.latency_ps) == (1024, 100)
    for empty in (Phase((), 1024, 100), Phase((READ,), 0, 100)):
        with pytest.raises(InputError, match="at least one byte and a window"):
            canonical_phase(channel(), empty)


def test_a_run_shorter_than_a_round_of_granules_lies_on_a_few_channels_whole() -> None:
    """Four channels of 256 B: a run of 1 KiB is a granule on each, a longer one a quarter, at most 64 KiB together."""
    asked = channel(interleave_bytes=256)
    runs = {1: UNIT, 100: 100, 256: 256, 512: 256, 1023: 256, 1024: 256, 4096: 1024, 2**18: 2**16, 2**30: 2**16}
    assert {run: local_run(asked, run) for run in runs} == runs
