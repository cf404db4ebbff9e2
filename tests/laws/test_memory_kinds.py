"""Memories that are not DRAM as parts of a chip: flash and SRAM answer by their own mechanisms, with named errors."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from archsim.dram.facts import CAUSES, Access
from archsim.dram.flash import years_to_wear_out
from archsim.errors import InputError
from archsim.hardware.answers import fidelity_of, flash_of, stack_of
from archsim.hardware.level import Level, levels_of
from archsim.hardware.library import load_chip
from archsim.hardware.spec import ChipSpec

CHIP = """
name = "toy"
title = "Toy"
vendor = "nobody"
status = "hypothetical"
main_memory = "store"
bytes_in_flight = "64 MB"
staging = "32 MiB"

[memory.store]
device = "{device}"
stacks = {stacks}
channels_per_stack = 16
channel_bits = 64
pin_rate = "12.5 Gb/s"
stack_capacity = "512 GB"
reserved = "0 B"
framework_share = "0 %"
interleave = "{interleave}"
round_trip = "500 ns"

[engine.matrix]
row_tile = 8
[engine.matrix.rate]
bf16 = "100 TFLOP/s"

[engine.vector]
row_tile = 1
[engine.vector.rate]
fp32 = "1 TFLOP/s"
"""


def chip(folder: Path, device: str, *, stacks: int = 1, interleave: str = "4 KiB") -> ChipSpec:
    """Return a chip whose memory is *stacks* of *device*, 16 channels of 100 GB/s each."""
    path = folder / "toy.toml"
    path.write_text(CHIP.format(device=device, stacks=stacks, interleave=interleave))
    return load_chip(str(path))


def store(spec: ChipSpec) -> Level:
    """Return the only memory level of *spec*."""
    return levels_of(spec)["store"]


def test_flash_streams_at_its_bus_when_planes_and_buffer_suffice(tmp_path: Path) -> None:
    """16 dies x 512 planes x 4 KiB / 20 us outrun the bus, and 40 MB hide 20 us at 1.6 TB/s."""
    level = store(chip(tmp_path, "hbf-gen1"))
    facts = level.sustain((Access(1, 64 * 2**20, write=False),))
    assert level.peak_bytes_per_s == Fraction(1_600_000_000_000)
    assert facts.sustained > Fraction(9, 10)
    assert facts.first_access_ps > 20_000_000


def test_short_reads_of_flash_move_whole_pages(tmp_path: Path) -> None:
    """Of a page read for 512 bytes, seven eighths are overfetch: eight times the bytes move."""
    level = store(chip(tmp_path, "hbf-gen1"))
    assert level.moved_bytes(512 * 1000, 512) == 8 * 512 * 1000
    assert level.moved_bytes(4096 * 1000, 4096 * 1000) == 4096 * 1000


def test_flash_refuses_writes_unless_forced_and_says_how_soon_it_would_wear_out(tmp_path: Path) -> None:
    """A KV cache in flash is an error that names the memory; its years follow from capacity x cycles / rate."""
    spec = chip(tmp_path, "hbf-gen1")
    with pytest.raises(InputError, match=r"toy: memory\.store"):
        store(spec).sustain((Access(1, 4096, write=True),))
    memory = spec.memory["store"]
    assert memory.device.flash is not None
    flash = flash_of(memory.device, memory.device.flash, stack_of(memory))
    years = 512e9 * 100_000 / (2 * 1e9) / (365.25 * 86400)
    assert years_to_wear_out(flash, write_bytes_per_s=10**9) == pytest.approx(years)


def test_sram_streams_at_its_ports_and_loses_random_words_to_banks(tmp_path: Path) -> None:
    """Runs over all banks never conflict; single words do (cause `row`)."""
    level = store(chip(tmp_path, "sram-64b", interleave="64 B"))
    streamed = level.sustain((Access(1, 2**20, write=False),))
    scattered = level.sustain((Access(1, 64, write=False),))
    assert streamed.sustained == 1
    assert scattered.sustained < 1
    assert scattered.causes[CAUSES.index("row")] > 0


def test_each_kind_says_how_it_was_answered(tmp_path: Path) -> None:
    """The fidelity of a result names the mechanism."""
    words = {
        device: fidelity_of(chip(tmp_path, device, interleave=granule).memory["store"])
        for device, granule in (("hbf-gen1", "4 KiB"), ("sram-64b", "64 B"), ("hbm3-16gb", "4 KiB"))
    }
    assert words["hbf-gen1"].startswith("pages of HBF")
    assert words["sram-64b"].startswith("banks")
    assert words["hbm3-16gb"].startswith("commands of a HBM3 channel")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('refresh_interval = "3.9 us"', "no refresh"),
        ("[sram]\nbanks = 4\nports = 2", "one of the tables"),
    ],
)
def test_contradictory_kinds_are_refused(line: str, expected: str, tmp_path: Path) -> None:
    """Flash has no refresh, and a device is of one kind."""
    from archsim.files import bundled_path  # noqa: PLC0415 - only here
    from archsim.hardware.library import load_memory_device  # noqa: PLC0415 - only here

    text = (bundled_path("hwconfigs") / "memories" / "hbf-gen1.toml").read_text()
    path = tmp_path / "odd.toml"
    path.write_text(text.replace("[flash]", line + "\n[flash]"))
    with pytest.raises(InputError, match=expected):
        load_memory_device(str(path))
