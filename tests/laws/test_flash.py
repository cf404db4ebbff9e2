"""Laws of flash: Little's law, the slowest of bus, planes and buffer, overfetch, endurance, refused writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.facts import CAUSES, Access, Phase
from archsim.dram.flash import (
    Flash,
    bytes_in_flight,
    refuse_writes,
    sustain_flash,
    writable_bytes,
    years_to_wear_out,
)
from archsim.dram.pages import Page, PageChannel, serve
from archsim.dram.streams import draws
from archsim.errors import InputError
from archsim.hardware.answers import flash_of, stack_alone
from archsim.hardware.library import load_memory_device


def bundled(name: str) -> Flash:
    """Return one stack of a bundled device, as it is made."""
    device = load_memory_device(name)
    assert device.flash is not None
    return flash_of(device, device.flash, stack_alone(device, place="test"))


GEN1 = bundled("hbf-gen1")
WIDE = 10**9
"""A window of the cores that never binds."""


def _striped(planes: int) -> Iterator[Page]:
    return (Page(i % planes, write=False, core_ps=0) for i in count())


def _reads(run_bytes: int, *, window_bytes: int = WIDE, latency_ps: int = 0) -> Phase:
    return Phase((Access(2**20, run_bytes, write=False),), window_bytes=window_bytes, latency_ps=latency_ps)


def _share(channel: PageChannel, pages: Iterator[Page], window: int) -> Fraction:
    times = serve(channel, pages, window)
    return Fraction(times.transfer_ps, times.transfer_ps + times.planes_ps + times.window_ps)


def test_latency_is_hidden_by_rate_times_latency_in_flight() -> None:
    """Little's law: 1.6 TB/s over 20 us needs 32 MB in flight."""
    assert bytes_in_flight(1_600_000_000_000, 20_000_000) == 32_000_000


def test_the_buses_of_all_channels_make_a_stacks_peak() -> None:
    """Half the channels, half the rate; the rate of the planes is unchanged."""
    half = replace(GEN1, channels=GEN1.channels // 2)
    assert GEN1.peak_bytes_per_s == 2 * half.peak_bytes_per_s == GEN1.channels * GEN1.channel_bytes_per_s
    assert half.array_bytes_per_s == GEN1.array_bytes_per_s


@pytest.mark.parametrize("name", ["hbf-gen1", "hbf-gen2", "hbf-gen3"])
def test_bundled_stacks_stream_at_the_rate_of_their_bus(name: str) -> None:
    """Their planes and their buffer are enough for weights announced ahead, so nothing stands still."""
    flash = bundled(name)
    assert flash.array_bytes_per_s >= flash.peak_bytes_per_s
    assert flash.buffer_bytes >= bytes_in_flight(flash.peak_bytes_per_s, flash.read_ps)
    facts = sustain_flash(flash, _reads(2**30), ahead=True, force_writes=False, place="test")
    assert facts.useful == 1


def test_half_the_buffer_that_latency_needs_gives_the_rate_of_littles_law() -> None:
    """16 MB hold 244 pages of a channel; each comes back after tR plus its own transfer of 40.96 ns: 244 / 489.3."""
    flash = replace(GEN1, buffer_bytes=16_000_000)
    facts = sustain_flash(flash, _reads(2**30), ahead=True, force_writes=False, place="test")
    assert facts.pages_in_flight == 16_000_000 // 16 // 4096 == 244
    assert facts.channel.sustained == Fraction(244 * 40_960, 20_000_000 + 40_960)
    assert facts.channel.causes[CAUSES.index("latency")] == facts.channel.total - facts.channel.transfer


def test_first_page_takes_the_read_its_transfer_and_the_way_to_the_core() -> None:
    """20 us + 4,096 B at 100 GB/s (40.96 ns) + the on-chip latency."""
    facts = sustain_flash(GEN1, _reads(2**30, latency_ps=700_000), ahead=True, force_writes=False, place="test")
    assert facts.channel.first_access_ps == 20_000_000 + 40_960 + 700_000


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(
    page_ps=st.integers(1, 50), read_ps=st.integers(0, 500), planes=st.integers(1, 40), window=st.integers(1, 60),
    return_ps=st.integers(0, 100),
)  # fmt: skip
def test_striped_reads_run_at_the_slowest_of_bus_planes_and_window(
    page_ps: int, read_ps: int, planes: int, window: int, return_ps: int
) -> None:
    """Share of the bus = min(1, planes x page / tR, window x page / (tR + page + return)), to a round's granularity."""
    channel = PageChannel(page_ps, read_ps, program_ps=1, planes=planes, return_ps=return_ps)
    bound = min(
        Fraction(1),
        Fraction(planes * page_ps, max(read_ps, 1)),
        Fraction(window * page_ps, read_ps + page_ps + return_ps),
    )
    assert float(_share(channel, _striped(planes), window)) == pytest.approx(float(bound), rel=0.02)


@settings(deadline=None, derandomize=True, database=None, max_examples=30)
@given(
    page_ps=st.integers(1, 50), read_ps=st.integers(1, 500), planes=st.integers(1, 40), window=st.integers(1, 60),
    seed=st.integers(1, 1000),
)  # fmt: skip
def test_no_order_of_pages_beats_the_bus_or_the_window(
    page_ps: int, read_ps: int, planes: int, window: int, seed: int
) -> None:
    """Pages on random planes wait for each other, and never exceed what the bus and the window allow.

    At least 4,096 pages are counted, so one filling of the window at the edge is at most window / 4,096 of them.
    """
    channel = PageChannel(page_ps, read_ps, program_ps=1, planes=planes, return_ps=0)
    chosen = [int(draw) % planes for draw in draws(1024, seed)]
    pages = (Page(chosen[i % 1024], write=False, core_ps=0) for i in count())
    bound = min(Fraction(1), Fraction(window * page_ps, read_ps + page_ps) * (1 + Fraction(window, 4096)))
    assert _share(channel, pages, window) <= bound


def test_one_plane_serves_one_page_per_read() -> None:
    """Eight slots and one plane: a page of 40 ps per 100 ps, and all waiting is for the plane."""
    times = serve(PageChannel(40, 100, program_ps=1, planes=1, return_ps=0), _striped(1), 8)
    assert times.transfer_ps * 100 == (times.transfer_ps + times.planes_ps) * 40
    assert times.window_ps == 0


def test_cores_that_drain_slowly_bound_the_rate() -> None:
    """A page that the cores need 80 ps for leaves a bus of 40 ps half idle, however deep the buffer."""
    pages = (Page(i % 64, write=False, core_ps=80) for i in count())
    times = serve(PageChannel(40, 100, program_ps=1, planes=64, return_ps=0), pages, 32)
    assert Fraction(times.transfer_ps, times.transfer_ps + times.window_ps) == Fraction(1, 2)


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(run_bytes=st.integers(1, 5 * 4096))
def test_a_read_moves_whole_pages(run_bytes: int) -> None:
    """Moved per useful byte = ceil(run / page) x page / run: 8 for 512 B of a 4,096 B page, 1 for whole pages."""
    flash = replace(GEN1, buffer_bytes=16 * 4096 * 4, planes=8)
    facts = sustain_flash(flash, _reads(run_bytes), ahead=True, force_writes=False, place="test")
    pages = -(-run_bytes // 4096)
    assert facts.moved_per_useful == Fraction(pages * 4096, run_bytes) >= 1
    assert facts.useful == facts.channel.sustained / facts.moved_per_useful


def test_small_reads_lose_bandwidth() -> None:
    """512 B of every page is at most an eighth of the peak, and planes hit at random leave the bus idle besides."""
    facts = sustain_flash(GEN1, _reads(512), ahead=True, force_writes=False, place="test")
    assert facts.moved_per_useful == 8
    assert facts.useful < Fraction(1, 8)
    assert facts.channel.causes[CAUSES.index("row")] > 0


def test_reads_not_announced_have_the_cores_window_in_flight() -> None:
    """A window of 200,000 B is 48 pages of 4,096 B; behind 500 ns of chip they sustain 48 x 40.96 ns / 20.54 us."""
    phase = _reads(2**30, window_bytes=200_000, latency_ps=500_000)
    facts = sustain_flash(GEN1, phase, ahead=False, force_writes=False, place="test")
    assert facts.pages_in_flight == 200_000 // 4096 == 48
    by_littles_law = 48 * 40_960 / (20_000_000 + 40_960 + 500_000)
    assert float(facts.channel.sustained) == pytest.approx(by_littles_law, rel=1e-4)


def test_same_phase_gives_the_same_facts() -> None:
    """Planes of random runs come from a fixed generator."""
    first, second = (sustain_flash(GEN1, _reads(4096), ahead=True, force_writes=False, place="test") for _ in range(2))
    assert first == second


def test_writes_are_refused_unless_forced() -> None:
    """A stream of KV writes names the place, the stack and its cycles; forced, it pays the program time."""
    phase = Phase((Access(2**20, 2**30, write=True),), window_bytes=WIDE, latency_ps=0)
    with pytest.raises(InputError, match=r"--kv: hbf-gen1.*100000 cycles"):
        sustain_flash(GEN1, phase, ahead=True, force_writes=False, place="--kv")
    facts = sustain_flash(GEN1, phase, ahead=True, force_writes=True, place="--kv")
    most = Fraction(512 * 40_960, 2 * 200_000_000)
    assert facts.channel.sustained == most


def test_kv_placement_is_refused_unless_forced() -> None:
    """The check that placement asks is the same one."""
    with pytest.raises(InputError, match="KV cache"):
        refuse_writes(GEN1, what="KV cache", forced=False, place="chip.memory.hbf")
    refuse_writes(GEN1, what="KV cache", forced=True, place="chip.memory.hbf")


def test_years_to_wear_out_follow_from_capacity_cycles_and_rate() -> None:
    """512 GB x 100,000 cycles / (1 GB/s x 2) = 25.6e6 s = 0.811 years; half the rate, twice the years."""
    assert writable_bytes(GEN1) == 512 * 10**9 * 100_000 // 2
    assert years_to_wear_out(GEN1, write_bytes_per_s=10**9) == pytest.approx(25.6e6 / (365.25 * 86_400))
    twice = years_to_wear_out(GEN1, write_bytes_per_s=5 * 10**8)
    assert twice == pytest.approx(2 * 25.6e6 / (365.25 * 86_400))
    assert years_to_wear_out(GEN1, write_bytes_per_s=0) is None
    with pytest.raises(ValueError, match="negative"):
        years_to_wear_out(GEN1, write_bytes_per_s=-1)


def test_all_wrong_numbers_of_a_stack_are_named_at_once() -> None:
    """Every problem of a stack in one error."""
    with pytest.raises(InputError) as caught:
        replace(GEN1, planes=0, page_bytes=-1, write_amplification=Fraction(1, 2))
    assert [problem.key for problem in caught.value.problems] == ["planes", "page_bytes", "write_amplification"]


@pytest.mark.parametrize(("key", "value"), [("buffer_bytes", 16 * 4096 - 1), ("dies", 17)])
def test_a_buffer_below_a_page_and_dies_without_a_channel_are_refused(key: str, value: int) -> None:
    """A channel needs one page in flight, and as many dies as every other channel."""
    with pytest.raises(InputError, match=key):
        _changed(key, value)


def _changed(key: str, value: int) -> Flash:
    return replace(GEN1, buffer_bytes=value) if key == "buffer_bytes" else replace(GEN1, dies=value)


def test_a_phase_without_window_is_refused() -> None:
    """No bytes in flight never end."""
    with pytest.raises(ValueError, match="window"):
        sustain_flash(GEN1, _reads(4096, window_bytes=0), ahead=True, force_writes=False, place="test")
