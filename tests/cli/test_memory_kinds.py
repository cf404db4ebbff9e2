"""`archsim memory` of flash, SRAM, chips and systems: numbers, energy, channels, pictures, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from archsim.cli import main
from archsim.hardware.library import chip_names, load_chip, memory_device_names

Capture = pytest.CaptureFixture[str]


def asked(capsys: Capture, *arguments: str) -> Any:
    """Return the JSON that `archsim memory ARGUMENTS` prints."""
    assert main(["memory", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def page(capsys: Capture, *arguments: str) -> str:
    """Return the text that it prints."""
    assert main(["memory", *arguments]) == 0
    return capsys.readouterr().out


def test_flash_streams_at_its_bus_and_says_how_long_it_lives(capsys: Capture) -> None:
    """1.6 TB/s of 16 channels; 25.6 PB may be written, which 1 GB/s does in 0.81 years."""
    answer = asked(capsys, "hbf-gen1", "--write-rate", "1GB/s")
    assert (answer["kind"], answer["standard"], answer["share_of_peak"]) == ("flash", "HBF", 1.0)
    assert (answer["buffer_bytes"], answer["page_bytes"]) == (40_000_000, 4096)
    assert answer["peak_bytes_per_s"] == 16 * 100e9
    assert answer["endurance"]["writable_bytes"] == 512 * 10**9 * 100_000 // 2
    assert answer["endurance"]["years_to_wear_out"] == pytest.approx(25.6e6 / (365.25 * 86_400))


def test_half_the_buffer_gives_half_the_rate(capsys: Capture) -> None:
    """16 MB hold half of the 32 MB that 20 us at 1.6 TB/s take; the rest is latency."""
    small, whole = asked(capsys, "hbf-gen1", "--sweep", "buffer=16MB,40MB")
    assert small["share_of_peak"] == pytest.approx(0.5, abs=0.005)
    assert small["causes"]["latency"] == pytest.approx(0.5, abs=0.005)
    assert whole["share_of_peak"] == 1


def test_a_read_of_an_eighth_of_a_page_is_mostly_overfetch(capsys: Capture) -> None:
    """Of what the bus moves seven eighths were not asked for."""
    causes = asked(capsys, "hbf-gen1", "--pattern", "chunk:512B")["causes"]
    assert causes["overfetch"] == pytest.approx(7 * causes["transfer"])
    assert sum(causes.values()) == pytest.approx(1, abs=1e-9)


def test_flash_refuses_a_kv_cache_unless_forced_and_then_names_the_days(capsys: Capture) -> None:
    """Exit code 2 and the cycles; with `--force-writes` what is left of its life."""
    assert main(["memory", "hbf-gen1", "--pattern", "kv:16KiB"]) == 2
    assert "wears out after 100000 cycles" in capsys.readouterr().err
    assert "worn out in" in page(capsys, "hbf-gen1", "--pattern", "kv:16KiB", "--force-writes")


def test_sram_loses_random_words_to_its_banks(capsys: Capture) -> None:
    """16 ports on 32 banks reach 32 (1 - (31/32)^16) of 16 words; twice the banks lose less."""
    few, many = asked(capsys, "sram-64b", "--pattern", "rand", "--sweep", "banks=32,64")
    assert few["share_of_peak"] == pytest.approx(32 * (1 - (31 / 32) ** 16) / 16)
    assert few["causes"]["row"] == pytest.approx(1 - few["share_of_peak"])
    assert many["share_of_peak"] > few["share_of_peak"]


@pytest.mark.parametrize(
    ("memory", "own"),
    [
        ("hbf-gen1", {"stacks", "page_bytes", "buffer_bytes", "pages_in_flight", "endurance"}),
        ("sram-64b", {"banks", "ports", "word_bytes", "clock_hz"}),
        ("HBM2 --bytes 1MiB", {"profile", "map", "queue", "refresh", "window_share", "channel_shares", "commands"}),
    ],
)
def test_answers_as_json_have_the_keys_that_scripts_read(capsys: Capture, memory: str, own: set[str]) -> None:
    """All kinds of memory share most keys; each has some of its own."""
    answer = asked(capsys, *memory.split())
    shared = {
        "kind", "standard", "pattern", "channels", "interleave_bytes", "window_bytes", "peak_bytes_per_s",
        "bytes_per_s", "share_of_peak", "read_latency_s", "causes", "energy",
    }  # fmt: skip
    assert set(answer) - own - {"device"} == shared
    assert own <= set(answer)
    assert answer["kind"] in ("flash", "sram", "dram")
    assert sum(answer["causes"].values()) == pytest.approx(1)
    assert answer["causes"]["transfer"] == pytest.approx(answer["share_of_peak"], rel=0.05)
    assert 1e-10 < answer["read_latency_s"] < 1e-3
    assert set(answer.get("endurance", [])) in (set(), {"writable_bytes", "write_bytes_per_s", "years_to_wear_out"})


def test_a_system_is_asked_for_its_chips_main_memory(capsys: Capture) -> None:
    """h100-sxm8 and h100-sxm give the same answer."""
    arguments = ("--pattern", "gather:16KiB", "--bytes", "1MiB")
    assert asked(capsys, "h100-sxm8", *arguments) == asked(capsys, "h100-sxm", *arguments)


@pytest.mark.parametrize("name", [*memory_device_names(), *chip_names()])
def test_every_bundled_memory_answers_or_says_why_not(name: str, capsys: Capture) -> None:
    """Shares sum to 1 and make the bandwidth; a standard without a table, or a stack without numbers, is named."""
    if main(["memory", name, "--pattern", "rand", "--bytes", "64KiB", "--json"]) == 2:
        capsys.readouterr()
        if main(["memory", name, "--pattern", "rand", "--json"]) == 2:
            assert re.search("has no timing table|channel_rate", capsys.readouterr().err)
            return
    answer = json.loads(capsys.readouterr().out)
    assert sum(answer["causes"].values()) == pytest.approx(1, abs=1e-9)
    assert answer["causes"]["transfer"] == pytest.approx(answer["share_of_peak"], rel=1e-6)


def test_a_name_of_a_device_and_a_chip_means_the_chip_where_a_memory_is_named(capsys: Capture) -> None:
    """`dram-3d` is both; only a chip has memories to choose from, and its error lists them."""
    assert main(["memory", "dram-3d", "--memory", "nosuch"]) == 2
    assert f"a memory of dram-3d: {', '.join(load_chip('dram-3d').memory)}" in capsys.readouterr().err


def test_pages_at_a_fine_interleave_load_channels_unevenly(capsys: Capture) -> None:
    """1 MiB of 4 KiB pages at 256 B lies on 16 of 32 channels each: the busiest moves more than the mean."""
    arguments = ("HBM3", "--pattern", "gather:4KiB", "--channels", "32", "--bytes", "1MiB")
    answer = asked(capsys, *arguments, "--interleave", "256B")
    shares = answer["channel_shares"]
    assert len(shares) == 32
    assert max(shares) > 1.02 * sum(shares) / 32
    assert answer["causes"]["imbalance"] > 0.02
    coarse = asked(capsys, *arguments, "--interleave", "4KiB")
    assert coarse["causes"]["imbalance"] > answer["causes"]["imbalance"]
    assert "busiest moves" in page(capsys, *arguments)


def test_energy_of_a_bit_stands_by_part_where_a_source_has_it(capsys: Capture) -> None:
    """HBM2: a random 32 B read opens a row of 1 KiB, 32 x 0.11 pJ/bit; refresh is null, not zero; HBM3 has nothing."""
    parts = asked(capsys, "HBM2", "--pattern", "rand")["energy"]["pj_per_bit"]
    assert parts["activation"] == pytest.approx(32 * 0.11, rel=0.01)
    assert (parts["read"], parts["io"]) == (pytest.approx(0.44 + 1.01 + 1.23), pytest.approx(0.8))
    assert parts["refresh"] is None
    assert set(asked(capsys, "HBM3")["energy"]["pj_per_bit"].values()) == {None}
    assert asked(capsys, "HBM3E")["energy"]["device_average_pj_per_bit"] == 3.9
    assert "no source: refresh" in page(capsys, "HBM2", "--pattern", "rand")
    assert asked(capsys, "hbm3-16gb")["energy"]["device_average_pj_per_bit"] == 3.9
    assert "as hbm3-16gb states" in page(capsys, "hbm3-16gb")


def test_the_largest_loss_is_named_with_what_would_help(capsys: Capture) -> None:
    """One glance: why, and what to change."""
    text = page(capsys, "HBM3", "--profile", "ramulator2", "--map", "co5 pc1 sid1 bg2 ba2 ro15")
    assert "lost most  39.9 % to bank_group" in text
    assert "helps      bank groups below the column bits (--map)" in text


def test_a_window_that_is_all_out_is_what_binds(capsys: Capture) -> None:
    """23 KiB over 650 ns are less than H100's peak: rate x latency = window, and more of it would help."""
    answer = asked(capsys, "h100-sxm", "--window", "23KiB")
    assert answer["window_share"] == pytest.approx(1, abs=0.01)
    assert answer["share_of_peak"] < 0.92
    assert "helps      more bytes in flight (--window)" in page(capsys, "h100-sxm", "--window", "23KiB")
    assert asked(capsys, "h100-sxm", "--window", "64KiB")["share_of_peak"] > 0.95


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (("--pin-rate", "5.2Gb/s"), 5.2 / 6.4),
        (("--pin-rate", "6.4Gb/s"), 1.0),
    ],
)
def test_a_speed_grade_moves_the_peak(arguments: tuple[str, ...], changed: float, capsys: Capture) -> None:
    """Peak is pin rate times width."""
    base, other = asked(capsys, "HBM3"), asked(capsys, "HBM3", *arguments)
    assert other["peak_bytes_per_s"] == pytest.approx(changed * base["peak_bytes_per_s"])


def test_density_and_height_move_refresh_and_banks(capsys: Capture) -> None:
    """A denser channel refreshes longer (260 to 550 ns of 3.9 us); 16 dies have twice the stack ids of 8."""
    sweep = asked(capsys, "HBM3", "--profile", "ramulator2", "--sweep", "density=4Gb,8Gb,16Gb,32Gb")
    refresh = [answer["causes"]["refresh"] for answer in sweep]
    assert refresh == sorted(refresh)
    assert refresh[-1] > 1.5 * refresh[0]
    maps = [answer["map"] for answer in asked(capsys, "HBM3", "--sweep", "dies=4,8,16")]
    assert ["sid" in maps[0], "sid1" in maps[1], "sid2" in maps[2]] == [False, True, True]


def test_named_sets_and_single_timings_move_random_access(capsys: Capture) -> None:
    """Public numbers of tFAW differ: 48 clocks (AttAcc) halve what 24 (Ramulator 2.1) sustain; so does 30 ns."""
    random = ("HBM3", "--pattern", "rand")
    ours, attacc = asked(capsys, *random, "--sweep", "timings=ramulator2.1,attacc")
    assert attacc["share_of_peak"] == pytest.approx(ours["share_of_peak"] / 2, rel=0.03)
    (slow,) = asked(capsys, *random, "--sweep", "timing=tFAW=30ns")
    assert slow["share_of_peak"] == pytest.approx(attacc["share_of_peak"], rel=0.03)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hbf-gen1", "--pattern", "chunk:6KiB"),
        ("sram-64b", "--pattern", "rand"),
        ("HBM3", "--pattern", "kv:4KiB:4", "--channels", "8", "--bytes", "1MiB"),
        ("DDR5", "--pattern", "copy:4KiB", "--sweep", "queue=8,32"),
    ],
)
def test_every_kind_has_a_picture(arguments: tuple[str, ...], tmp_path: Path, capsys: Capture) -> None:
    """PNG and SVG; each is drawn from the answer alone."""
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"picture{suffix}"
        page(capsys, *arguments, "--out", str(path))
        assert path.read_bytes().startswith(magic)


HOSTILE = [
    ("HBM9", "", "DEVICE"),
    ("/nonexistent.toml", "", "readable file"),
    ("rtx-3090", "", "GDDR6X has no timing table"),
    ("h100-sxm", "--memory nosuch", "a memory of h100-sxm"),
    ("HBM3", "--memory hbm", "only they have several"),
    ("HBM3", "--map ''", "ro15"),
    ("HBM3", "--map 'pc1 bg2 co5 ba2 sid1 ro99'", "ro15"),
    ("HBM3", "--map 'pc1 bg2 co5 ba2 sid1 ro15 xx3'", "only fields of HBM3"),
    ("HBM3", "--map 'pc1 bg2 co5 ba2 sid1 ro15 bg^bg'", "can be undone"),
    ("HBM3", "--map 'pc1 bg2 co5 ba2 sid1 ro15 bg^ro>>99'", "changes bits"),
    ("HBM3", "--queue 0", "--queue"),
    ("HBM3", "--queue 5000", "1 to 2048"),
    ("HBM3", "--queue 1e3", "whole number"),
    ("HBM3", "--pattern chunk:100B", "one transaction"),
    ("HBM3", "--pattern chunk:1PiB", "the device ends"),
    ("HBM3", "--pattern streams:1000000", "the device ends"),
    ("HBM3", "--pattern kv:4KiB:1000000", "the device ends"),
    ("HBM3", "--pattern append:256B:1000000", "the device ends"),
    ("HBM3", "--pattern mix:0:0", "from 1"),
    ("HBM3", "--pattern kv:4KiB:8:9", "kv:PAGE[:HEADS]"),
    ("HBM3", "--sweep queue=8,,16", "KEY=V,V"),
    ("HBM3", "--sweep qeue=8", "did you mean 'queue'"),
    ("HBM3", "--pin-rate '1 b/s'", "1.6 Gb/s to 25.6 Gb/s"),
    ("HBM3", "--density 1000Gb", "at most 64 Gb"),
    ("HBM3", "--dies 7", "4, 8, 12, 16"),
    ("DDR5", "--dies 8", "stack ids"),
    ("HBM3", "--channels all", "a chip or a system"),
    ("HBM3", "--channels 4 --interleave 1TiB", "the channel ends"),
    ("HBM3", "--window 1B", "smallest access"),
    ("HBM3", "--latency 1s", "at most 1 ms"),
    ("HBM3", "--bytes 32B", "to judge by"),
    ("HBM3", "--bytes 1EB", "536870912"),
    ("HBM3", "--write-peak 1e-300", "0.01 to 1"),
    ("HBM3", "--timing tRC=30ns", "tRAS + tRP <= tRC"),
    ("HBM3", "--timing tREFI=300ns", "tRFC < tREFI"),
    ("HBM3", "--timing tCCDL=1", "tCCDS <= tCCDL"),
    ("HBM3", "--timing tFOO=3ns", "tFAW"),
    ("HBM3", "--profile dramsim3 --refresh overlapped_bank", "round_robin_bank"),
    ("HBM3", "--force-writes", "DRAM has no such setting"),
    ("hbf-gen1", "--queue 3", "flash has no such setting"),
    ("hbf-gen1", "--pattern conflict", "needs no rows"),
    ("hbf-gen1", "--pattern chunk:1PB", "the memory ends"),
    ("hbf-gen1", "--buffer 1B", "pages of 4096 B"),
    ("hbf-gen1", "--interleave 5KiB", "multiple of 4096"),
    ("sram-64b", "--banks 0", "from 1"),
    ("sram-64b", "--buffer 1MB", "SRAM has no such setting"),
    ("HBM3", "--out x.pdf", ".svg, .png"),
    ("HBM3", "--out /nonexistent/x.png", "a folder that exists"),
]


@pytest.mark.parametrize(("device", "options", "word"), HOSTILE)
def test_what_cannot_be_is_refused_with_the_option_named(device: str, options: str, word: str, capsys: Capture) -> None:
    """Exit code 2, nothing on standard output, and a message that says what was expected."""
    import shlex  # noqa: PLC0415  # only here

    assert main(["memory", device, *shlex.split(options)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert word in printed.err
    assert "Traceback" not in printed.err


def test_flash_without_a_stack_of_its_own_needs_a_chip(tmp_path: Path, capsys: Capture) -> None:
    """Channels, rate and capacity are not guessed."""
    from archsim.files import bundled_path  # noqa: PLC0415  # only here

    text = (bundled_path("hwconfigs") / "memories" / "hbf-gen1.toml").read_text().partition("[stack]")[0]
    path = tmp_path / "bare.toml"
    path.write_text(text)
    assert main(["memory", str(path)]) == 2
    assert "channel_rate" in capsys.readouterr().err
