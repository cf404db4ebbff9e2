"""Specs: what a hwconfig may say, and the words in which everything else is refused."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from archsim.errors import InputError
from archsim.hardware.library import load_chip, load_memory_device, load_runtime, load_system

CHIP = """
name = "toy"
title = "Toy chip"
vendor = "nobody"
status = "hypothetical"
main_memory = "hbm"
bytes_in_flight = "1 MiB"
staging = "1 MiB"

[memory.hbm]
device = "hbm3-16gb"
stacks = 2
channels_per_stack = 16
channel_bits = 64
pin_rate = "6.4 Gb/s"
bandwidth = "1638 GB/s"
stack_capacity = "16 GiB"
reserved = "1 GiB"
framework_share = "10 %"
interleave = "4 KiB"
round_trip = "500 ns"

[cache.l2]
capacity = "8 MiB"
bandwidth = "4 TB/s"

[engine.matrix]
row_tile = 8
[engine.matrix.rate]
bf16 = "100 TFLOP/s"

[engine.vector]
row_tile = 1
[engine.vector.rate]
fp32 = "1 TFLOP/s"
"""


def _chip(folder: Path, text: str = CHIP) -> str:
    path = folder / "toy.toml"
    path.write_text(text)
    return str(path)


def _changed(old: str, new: str) -> str:
    assert CHIP.count(old) == 1, old
    return CHIP.replace(old, new)


def _problems(folder: Path, text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(InputError) as caught:
        load_chip(_chip(folder, text))
    assert all(problem.file == str(folder / "toy.toml") for problem in caught.value.problems)
    return [(problem.key, problem.value, problem.expected) for problem in caught.value.problems]


def test_a_memory_is_pin_rate_times_width(tmp_path: Path) -> None:
    """2 stacks x 16 channels x 64 bits x 6.4 Gb/s / 8; one channel has its share, exactly."""
    memory = load_chip(_chip(tmp_path)).memory["hbm"]
    assert memory.channels == 32
    assert memory.peak_bytes_per_s == 2 * 16 * 64 * 6_400_000_000 // 8 == 1_638_400_000_000
    assert memory.channel_peak_bytes_per_s == Fraction(64 * 6_400_000_000, 8)
    assert memory.channel_peak_bytes_per_s * memory.channels == memory.peak_bytes_per_s


def test_usable_memory_is_what_the_framework_and_the_reserve_leave(tmp_path: Path) -> None:
    """32 GiB less 10 % less 1 GiB, rounded down."""
    memory = load_chip(_chip(tmp_path)).memory["hbm"]
    assert memory.capacity_bytes == 32 * 2**30
    assert memory.usable_bytes == 32 * 2**30 * 9 // 10 - 2**30


def test_values_are_held_in_the_units_of_their_names(tmp_path: Path) -> None:
    """Bytes, bytes/s and FLOP/s as integers, times as integer picoseconds."""
    chip = load_chip(_chip(tmp_path))
    assert chip.staging_bytes == 2**20
    assert chip.cache["l2"].bytes_per_s == 4 * 10**12
    assert chip.engine["matrix"].flop_per_s == {"bf16": 100 * 10**12}
    assert chip.memory["hbm"].round_trip_ps == 500_000
    assert chip.memory["hbm"].device.refresh_interval_ps == 3_900_000
    assert chip.tdp_watts is None


def test_a_spec_cannot_be_changed(tmp_path: Path) -> None:
    """A spec is data; what differs is another spec."""
    chip = load_chip(_chip(tmp_path))
    with pytest.raises(ValidationError, match="frozen"):
        chip.staging_bytes = 1


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ('"6.4 Gb/s"', "6.4", "memory.hbm.pin_rate", "a quoted string"),
        ('"6.4 Gb/s"', '"6.4"', "memory.hbm.pin_rate", 'such as "3.5 Gb/s"'),
        ('"6.4 Gb/s"', '"6.4 GB/s"', "memory.hbm.pin_rate", "unit 'GB/s' is not one of"),
        ('"6.4 Gb/s"', '"6.4 Gb/s fast"', "memory.hbm.pin_rate", 'such as "3.5 Gb/s"'),
        ('"6.4 Gb/s"', '"0 Gb/s"', "memory.hbm.pin_rate", "above zero"),
        ('"6.4 Gb/s"', '"-6.4 Gb/s"', "memory.hbm.pin_rate", 'such as "3.5 Gb/s"'),
        ('"6.4 Gb/s"', '"NaN Gb/s"', "memory.hbm.pin_rate", 'such as "3.5 Gb/s"'),
        ('"6.4 Gb/s"', '"0.3 b/s"', "memory.hbm.pin_rate", "a whole number"),
        ('"6.4 Gb/s"', '"1e80 Gb/s"', "memory.hbm.pin_rate", "18 digits"),
        ("stacks = 2", "stacks = 0", "memory.hbm.stacks", "from 1"),
        ("stacks = 2", "stacks = -2", "memory.hbm.stacks", "from 1"),
        ("stacks = 2", "stacks = 2.0", "memory.hbm.stacks", "whole number"),
        ("stacks = 2", 'stacks = "2"', "memory.hbm.stacks", "whole number"),
        ("stacks = 2", "stacks = true", "memory.hbm.stacks", "whole number"),
        ("stacks = 2", "stacks = 9999999999999", "memory.hbm.stacks", "up to"),
        ('"10 %"', '"100 %"', "memory.hbm.framework_share", "less than 1"),
        ('"10 %"', "0.1", "memory.hbm.framework_share", "a quoted string"),
        ('"500 ns"', '"0 ns"', "memory.hbm.round_trip", "above zero"),
        ('reserved = "1 GiB"', 'reserved = "40 GiB"', "memory.hbm.reserved", "less than the capacity, 32 GiB"),
        ('"4 KiB"', '"48 B"', "memory.hbm.interleave", "multiple of the device's burst, 32 B"),
        ('"1638 GB/s"', '"1700 GB/s"', "memory.hbm.bandwidth", "within 2 %"),
        ('"hbm3-16gb"', '"hbm3-17gb"', "memory.hbm.device", "did you mean 'hbm3-16gb'"),
        ('"hbm3-16gb"', "3", "memory.hbm.device", "a table"),
        ('main_memory = "hbm"', 'main_memory = "hbm2"', "main_memory", "one of the chip's memories: hbm"),
        ('status = "hypothetical"', 'status = "shiped"', "status", "did you mean 'shipped'"),
        ('bf16 = "100', 'bfl6 = "100', "engine.matrix.rate.bfl6", "did you mean 'bf16'"),
        ("[cache.l2]", '[cache."L2.x"]', "cache.L2.x", "lower-case letters"),
        ("[cache.l2]", "[cashe.l2]", "cashe", "did you mean 'cache'"),
        ('title = "Toy chip"', 'title = "Toy\\u001bchip"', "title", "control characters"),
        ('title = "Toy chip"', "title = 3", "title", "text in quotes"),
        ('title = "Toy chip"', 'title = ""', "title", "at least 1 character"),
        ("[engine.vector]\nrow_tile = 1\n[engine.vector.rate]\n", "[engine.vecor]\nrow_tile = 1\n[engine.vecor.rate]\n",
         "engine.vecor", "did you mean 'vector'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_at_its_key(old: str, new: str, key: str, expected: str, tmp_path: Path) -> None:
    """File, dotted key and what was expected stand in the message."""
    problems = _problems(tmp_path, _changed(old, new))
    assert key in [problem[0] for problem in problems]
    assert any(expected in problem[2] for problem in problems if problem[0] == key), problems


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('bandwith = "1638 GB/s"', "did you mean 'bandwidth'"),
        ('pin_bits_per_s = "6.4 Gb/s"', "known here: device, stacks"),
    ],
)
def test_an_unknown_key_is_refused_with_a_hint(line: str, hint: str, tmp_path: Path) -> None:
    """A misspelt key would be a plausible number; a key far from any known one gets the list."""
    problems = _problems(tmp_path, _changed("stacks = 2", f"stacks = 2\n{line}"))
    assert [(problem[0], hint in problem[2]) for problem in problems] == [
        (f"memory.hbm.{line.partition(' ')[0]}", True)
    ]


def test_every_key_that_physics_needs_must_be_there(tmp_path: Path) -> None:
    """There are no silent defaults: each line left out is a missing key."""
    optional = ("bandwidth", "title")
    for line in re.findall(r"^\w+ = .*$", CHIP, flags=re.MULTILINE):
        name = line.partition(" ")[0]
        if name in optional or CHIP.count(line) > 1 or name in ("bf16", "fp32"):
            continue
        problems = _problems(tmp_path, CHIP.replace(line, "", 1))
        assert any(problem[0].endswith(name) and "missing" in problem[2] for problem in problems), line


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    """Five mistakes, five lines."""
    text = CHIP
    for old, new in (
        ("stacks = 2", "stacks = 0"),
        ('"6.4 Gb/s"', '"6.4"'),
        ('"500 ns"', '"500 nm"'),
        ('capacity = "8 MiB"', 'capasity = "8 MiB"'),
    ):
        text = text.replace(old, new)
    assert {problem[0] for problem in _problems(tmp_path, text)} == {
        "memory.hbm.stacks",
        "memory.hbm.pin_rate",
        "memory.hbm.round_trip",
        "cache.l2.capasity",
        "cache.l2.capacity",
    }


DEVICE = """
name = "toy"
standard = "HBM3"
burst = "32 B"
refresh_interval = "3.9 us"
refresh_cycle = "350 ns"
page = "1 KiB"
access_latency = "30 ns"
"""


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"1 KiB"', '"1000 B"', "page"),
        ('"350 ns"', '"3.9 us"', "refresh_cycle"),
        ('"350 ns"', '"350 bananas"', "refresh_cycle"),
        ('"30 ns"', '"0.1 ps"', "access_latency"),
    ],
)
def test_a_device_must_make_sense(old: str, new: str, key: str, tmp_path: Path) -> None:
    """A page holds whole bursts, and a refresh ends before the next is due."""
    path = tmp_path / "toy.toml"
    path.write_text(DEVICE)
    assert load_memory_device(str(path)).pj_per_bit is None
    path.write_text(DEVICE.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_memory_device(str(path))
    assert [problem.key for problem in caught.value.problems] == [key]


def test_a_runtime_may_cost_no_time_but_must_say_so(tmp_path: Path) -> None:
    """Zero times are allowed where they can be meant, and a prefetch is one of two."""
    text = """
    name = "ideal"
    title = "no software at all"
    launch_gap = "0 s"
    ramp = "0 s"
    host_step = "0 s"
    pipeline_stages = 2
    prefetch = "stream"
    collective = "auto"
    collective_software = "0 s"
    kv_block_tokens = 16
    max_batch = 8
    max_prefill_tokens = 512
    """
    path = tmp_path / "ideal.toml"
    path.write_text(text)
    assert load_runtime(str(path)).launch_gap_ps == 0
    path.write_text(text.replace('"stream"', '"streem"'))
    with pytest.raises(
        InputError, match=r"prefetch: got 'streem'; expected 'kernel' or 'stream' .*did you mean 'stream'"
    ):
        load_runtime(str(path))


@pytest.mark.parametrize(
    ("overrides", "key", "expected"),
    [
        (["network.topology=swich"], "network.topology", "did you mean 'switch'"),
        (["network.topology=none"], "network.topology", "no link_bandwidth"),
        (["network.topology=torus"], "network.shape", "whose product is 8 chips"),
        (["network.topology=torus", "network.shape=[2, 3]"], "network.shape", "whose product is 8 chips"),
        (["network.shape=[8]"], "network.shape", "no shape"),
        (["network.link_latency=0 s"], "network.link_latency", "above zero"),
        (["chips=0"], "chips", "from 1"),
    ],
)
def test_a_network_must_fit_its_chips(overrides: list[str], key: str, expected: str) -> None:
    """Names of layouts are known, and a grid's extents multiply to the chips."""
    with pytest.raises(InputError) as caught:
        load_system("h100-sxm8", overrides)
    assert [(problem.key, expected in problem.expected) for problem in caught.value.problems] == [(key, True)]


def test_a_single_chip_has_no_links() -> None:
    """The topology `none` holds zeros and takes one chip only."""
    network = load_system("m4-max").network
    assert (network.topology, network.link_bytes_per_s, network.link_latency_ps) == ("none", 0, 0)
    with pytest.raises(InputError, match="a topology that connects 2 chips"):
        load_system("m4-max", ["chips=2"])


def test_a_topology_with_links_must_say_their_rate(tmp_path: Path) -> None:
    """A ring without a rate is refused, with an example."""
    path = tmp_path / "s.toml"
    path.write_text(
        'kind = "system"\nname = "s"\ntitle = "s"\nstatus = "hypothetical"\nchip = "h100-sxm"\nchips = 2\n'
        'runtime = "trtllm-2025"\n[network]\ntopology = "ring"\n'
    )
    with pytest.raises(InputError, match=r'network.link_bandwidth: expected the rate of a link, such as "450 GB/s"'):
        load_system(str(path))


def test_a_value_of_the_wrong_kind_says_what_kind_it_should_be(tmp_path: Path) -> None:
    """A table where a value belongs, and the other way round."""
    cases: dict[str, Any] = {"memory = 3": ("memory", "a table"), "cache = []": ("cache", "a table")}
    for line, (key, expected) in cases.items():
        section = line.partition(" ")[0]
        kept = re.sub(rf"\[{section}\..*?(?=\n\[engine\.matrix\]|\n\[cache)", "", CHIP, flags=re.DOTALL)
        problems = _problems(tmp_path, line + "\n" + kept)
        assert (key, expected) in [(problem[0], problem[2]) for problem in problems]
