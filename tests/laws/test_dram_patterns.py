"""Patterns as users write them: which addresses a KV gather, an append and runs on one channel ask for."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.facts import Access
from archsim.dram.patterns import PATTERNS, on_one_channel, parse_pattern, plain_accesses
from archsim.dram.streams import Domain, Stream, make_stream
from archsim.errors import InputError

DOMAIN = Domain(transactions=1 << 20, transaction_bytes=32, row_bit=10)


def stream(text: str, count: int = 8192, domain: Domain = DOMAIN) -> Stream:
    """Return the requests of a pattern."""
    return parse_pattern(text).make(count, domain)


@pytest.mark.parametrize("heads", [1, 3, 8])
def test_a_gather_reads_whole_pages_of_every_head_in_turn(heads: int) -> None:
    """Request i is head i mod heads; each head walks pages of 128 transactions in order, at page boundaries."""
    index = stream(f"gather:4KiB:{heads}").index
    for head in range(heads):
        mine = index[head::heads]
        whole = mine[: mine.size // 128 * 128].reshape(-1, 128)
        assert np.all(whole[:, 0] % 128 == 0)
        assert np.all(np.diff(whole, axis=1) == 1)


def test_heads_gather_from_pages_of_their_own() -> None:
    """Of 2^13 pages two heads rarely share one: their pages differ."""
    index = stream("gather:4KiB:8").index
    assert len({int(index[head] // 128) for head in range(8)}) == 8


def test_a_kv_cache_appends_once_for_every_63_reads_to_the_upper_half() -> None:
    """Every 64th request writes, in order."""
    made = stream("kv:4KiB:2")
    written = made.index[made.write == 1]
    assert np.all(np.flatnonzero(made.write) % 64 == 63)
    assert np.array_equal(written, (1 << 19) + np.arange(written.size))
    assert np.array_equal(made.index[made.write == 0], stream("gather:4KiB:2").index[made.write == 0])


def test_a_decode_step_appends_to_a_page_of_every_sequence() -> None:
    """256 B are 8 writes in order; a sequence's next token follows its last one, until its page of 16 KiB is full."""
    made = stream("append:256B:4", count=4 * 8 * 64)
    assert np.all(made.write == 1)
    tokens = made.index.reshape(64, 4, 8)
    assert np.all(np.diff(tokens, axis=2) == 1)
    assert np.all(np.diff(tokens[:, :, 0], axis=0) == 8)
    assert np.all(tokens[0, :, 0] % 512 == 0)


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(
    text=st.sampled_from(
        ["seq", "write", "rand", "chunk:1KiB", "stride:256B", "streams:5", "mix:2:1", "randmix:1:3", "copy:512B",
         "kv:2KiB:3", "gather:4KiB", "append:64B:7", "conflict"]
    ),
    bits=st.integers(12, 18),
    count=st.integers(1, 700),
)  # fmt: skip
def test_no_pattern_leaves_the_memory(text: str, bits: int, count: int) -> None:
    """Every index lies in the domain, and as many are made as were asked for."""
    made = stream(text, count, Domain(1 << bits, 32, bits - 4))
    assert made.index.size == made.write.size == count
    assert made.index.min() >= 0
    assert made.index.max() < 1 << bits


def test_every_pattern_of_the_help_page_is_known() -> None:
    """The first word of each is parsed; all but stride and conflict can be asked of a memory without rows."""
    examples = {"chunk": "4KiB", "stride": "1KiB", "streams": "8", "mix": "2:1", "randmix": "2:1", "copy": "4KiB",
                "kv": "4KiB:8", "gather": "4KiB", "append": "256B:8"}  # fmt: skip
    without_rows = set()
    for listed in PATTERNS:
        word = listed.partition(":")[0]
        pattern = parse_pattern(f"{word}:{examples[word]}" if word in examples else word)
        if pattern.accesses is not None:
            without_rows.add(word)
    assert without_rows == {listed.partition(":")[0] for listed in PATTERNS} - {"stride", "conflict"}


def test_a_run_shorter_than_a_round_of_channels_lies_on_few_of_them() -> None:
    """Pages of 4 KiB over 16 channels: 16 KiB put one page on a channel, 1 MiB sixteen; half a page stays half used."""
    runs = {16 * 1024: 4096, 1 << 20: 1 << 16, 2048: 2048, 6 * 1024: 3072}
    for run, local in runs.items():
        (access,) = on_one_channel((Access(1, run, write=False),), unit_bytes=4096, channels=16, granule_bytes=4096)
        assert access.run_bytes == local


@pytest.mark.parametrize("text", ["seq", "write", "mix:2:1", "randmix:1:3", "copy:4KiB", "kv:4KiB:2", "append:2KiB:4"])
def test_a_memory_without_rows_is_asked_for_as_many_writes_as_one_with_rows(text: str) -> None:
    """The share of the bytes that are written is that of the stream's requests."""
    accesses = plain_accesses(parse_pattern(text), 32, 1 << 40)
    written = sum(access.bytes for access in accesses if access.write) / sum(access.bytes for access in accesses)
    assert stream(text, 64 * 3 * 32).write.mean() == pytest.approx(written, abs=1e-3)


def test_an_unknown_pattern_is_refused_with_all_that_there_are() -> None:
    """The message lists them, and a page that leaves the device names its end."""
    with pytest.raises(InputError, match=re.escape(", ".join(PATTERNS))):
        parse_pattern("zigzag")
    with pytest.raises(InputError, match="at most 2048 B: the device ends there"):
        stream("gather:4KiB", 10, Domain(64, 32, 4))


@pytest.mark.parametrize("text", ["streams:x", "streams:0", "streams:1000001", "streams:12345678", "streams:²",
                                  "chunk:0B", "chunk:0.5B", "chunk:2PiB"])  # fmt: skip
def test_counts_and_sizes_that_are_none_are_refused(text: str) -> None:
    """A count is 1 to a million in digits, a size whole bytes up to a pebibyte."""
    with pytest.raises(InputError):
        parse_pattern(text)
    assert parse_pattern("chunk:1PiB").text == "chunk:1PiB"
    assert parse_pattern("streams:1000000").text == "streams:1000000"


def test_a_copy_reads_the_lower_half_and_writes_the_upper_in_turn() -> None:
    """Transaction by transaction, or block by block."""
    made = make_stream("copy", 0, requests=8, domain=Domain(64, 32, 4), place="test")
    assert made.index.tolist() == [0, 32, 1, 33, 2, 34, 3, 35]
    assert made.write.tolist() == [0, 1] * 4
    blocks = stream("copy:64B", 8, Domain(64, 32, 4))
    assert blocks.index.tolist() == [0, 1, 32, 33, 2, 3, 34, 35]
    assert blocks.write.tolist() == [0, 0, 1, 1] * 2


def test_coarse_streams_take_256_bytes_each_in_turn() -> None:
    """Two streams of transactions of 32 B: eight of the one, eight of the other, then the next eight of the first."""
    index = make_stream("streamsr256", 2, requests=32, domain=DOMAIN, place="test").index.tolist()
    assert index[:8] == list(range(index[0], index[0] + 8))
    assert index[8:16] == list(range(index[8], index[8] + 8))
    assert index[16:] == [at + 8 for at in index[:16]]


def test_a_stride_goes_on_one_further_each_time_it_has_passed_the_end() -> None:
    """Every fourth transaction, then every fourth from the second on."""
    made = stream("stride:128B", 48, Domain(64, 32, 4)).index.tolist()
    assert made[:16] == list(range(0, 64, 4))
    assert made[16:32] == list(range(1, 64, 4))
    assert made[32:] == list(range(2, 64, 4))


@pytest.mark.parametrize("text", ["stride:4KiB", "conflict"])
def test_patterns_of_rows_are_refused_where_there_are_none(text: str) -> None:
    """Flash and SRAM have no rows to conflict in."""
    with pytest.raises(InputError, match="needs no rows"):
        plain_accesses(parse_pattern(text), 4096, 1 << 40)


@pytest.mark.parametrize(
    "text",
    ["seq", "write", "rand", "chunk:4KiB", "stride:4KiB", "streams:8", "mix:2:1", "randmix:2:1", "copy:4KiB",
     "kv:16KiB:8", "gather:16KiB:8", "append:2KiB:8", "conflict"],
)  # fmt: skip
def test_addresses_are_whole_transactions_within_the_memory(text: str) -> None:
    """Whatever the pattern, an address is an integer below the size."""
    domain = Domain(2**20, 32, 10)
    stream = parse_pattern(text).make(500, domain)
    assert stream.index.dtype.kind == "i"
    assert stream.index.size == stream.write.size == 500
    assert 0 <= stream.index.min() <= stream.index.max() < 2**20


def test_a_stream_is_a_run_of_a_gibibyte_where_there_are_no_rows() -> None:
    """Longer than any page and any window."""
    accesses = parse_pattern("seq").accesses
    assert accesses is not None
    assert [access.run_bytes for access in accesses(32)] == [2**30]
