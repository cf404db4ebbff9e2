"""Laws of SRAM: the expected number of distinct banks, streaming at port rate, Little's law."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.facts import CAUSES, Access, Phase
from archsim.dram.sram import Sram, expected_busy_banks, sustain_sram
from archsim.errors import InputError

WIDE = 10**12


def _sram(banks: int, ports: int) -> Sram:
    return Sram("test", banks=banks, ports=ports, word_bytes=32, clock_hz=10**9, access_ps=2000)


def _phase(run_bytes: int, *, window_bytes: int = WIDE) -> Phase:
    return Phase((Access(2**20, run_bytes, write=False),), window_bytes=window_bytes, latency_ps=8000)


@pytest.mark.parametrize(
    ("banks", "runs", "run_words"), [(3, 3, 1), (4, 4, 1), (5, 2, 2), (4, 3, 3), (6, 3, 2), (2, 4, 1)]
)
def test_expected_distinct_banks_equal_their_count_over_all_draws(banks: int, runs: int, run_words: int) -> None:
    """Every run may begin at every bank: the mean over all combinations, counted one by one."""
    touched = [
        len({(start + word) % banks for start in starts for word in range(run_words)})
        for starts in product(range(banks), repeat=runs)
    ]
    counted = Fraction(sum(touched), len(touched))
    assert expected_busy_banks(banks, requests=runs * run_words, run_words=run_words) == counted


def test_a_shorter_last_run_is_counted_as_it_is() -> None:
    """Five words in runs of two on four banks: 4 x (1 - (1/2)^2 x (3/4)) = 13/4."""
    assert expected_busy_banks(4, requests=5, run_words=2) == Fraction(13, 4)


def test_single_words_at_random_follow_the_closed_form() -> None:
    """32 ports on 32 banks: 32 (1 - (31/32)^32) = 20.4 words a clock, .638 of the ports."""
    facts = sustain_sram(_sram(32, 32), _phase(32)).channel
    assert facts.sustained == 1 - Fraction(31, 32) ** 32
    assert facts.causes[CAUSES.index("row")] == facts.total - facts.transfer


def test_streaming_runs_at_port_rate() -> None:
    """A run of at least as many words as ports touches as many banks as ports."""
    facts = sustain_sram(_sram(64, 32), _phase(2**20))
    assert facts.channel.sustained == 1
    assert facts.moved_per_useful == 1


def test_more_ports_than_banks_serve_one_word_per_bank() -> None:
    """Peak is that of the slower side: 8 banks of 32 B at 1 GHz."""
    sram = _sram(8, 32)
    assert sram.peak_bytes_per_s == 8 * 32 * 10**9
    assert sustain_sram(sram, _phase(2**20)).channel.sustained == 1


@settings(deadline=None, derandomize=True, database=None)
@given(banks=st.integers(1, 64), ports=st.integers(1, 64), run_words=st.integers(1, 80))
def test_longer_runs_never_conflict_more(banks: int, ports: int, run_words: int) -> None:
    """Joining two independent runs into one can only spread them: (1 - a)(1 - b) >= 1 - a - b for covered shares.

    So doubling the run length serves at least as many words, up to one per port and one per bank.
    """
    ports *= 2 * run_words
    short = expected_busy_banks(banks, requests=ports, run_words=run_words)
    long = expected_busy_banks(banks, requests=ports, run_words=2 * run_words)
    assert short <= long <= min(ports, banks)


def test_a_shallow_window_is_bounded_by_littles_law() -> None:
    """10 ns from core to word and back: 5,120 B in flight are 512 GB/s, half of 32 ports x 32 B x 1 GHz."""
    facts = sustain_sram(_sram(64, 32), _phase(2**20, window_bytes=5120)).channel
    assert facts.sustained == Fraction(1, 2)
    assert facts.causes[CAUSES.index("latency")] == facts.total - facts.transfer
    assert facts.first_access_ps == 10_000


def test_part_of_a_word_moves_the_word() -> None:
    """Runs of 8 B from words of 32 B move four times what is asked for."""
    assert sustain_sram(_sram(64, 32), _phase(8)).moved_per_useful == 4


def test_mixed_accesses_take_the_sum_of_their_clocks() -> None:
    """Equal bytes at rates a and b sustain their harmonic mean."""
    both = Phase((Access(2**20, 32, write=False), Access(2**20, 2**20, write=True)), window_bytes=WIDE, latency_ps=0)
    alone = 1 - Fraction(31, 32) ** 32
    assert sustain_sram(_sram(32, 32), both).channel.sustained == 2 / (1 / alone + 1)


def test_all_wrong_numbers_are_named_at_once() -> None:
    """Every problem of an SRAM in one error."""
    with pytest.raises(InputError) as caught:
        Sram("test", banks=0, ports=-1, word_bytes=32, clock_hz=0, access_ps=1)
    assert [problem.key for problem in caught.value.problems] == ["banks", "ports", "clock_hz"]


def test_a_phase_without_window_is_refused() -> None:
    """No bytes in flight never end."""
    with pytest.raises(ValueError, match="window"):
        sustain_sram(_sram(8, 8), _phase(32, window_bytes=0))


@pytest.mark.parametrize(("banks", "requests", "run_words"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_asked_of_no_bank_is_refused(banks: int, requests: int, run_words: int) -> None:
    """The expectation needs banks, requests and runs."""
    with pytest.raises(ValueError, match="positive"):
        expected_busy_banks(banks, requests=requests, run_words=run_words)
