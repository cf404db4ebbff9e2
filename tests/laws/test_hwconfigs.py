"""Laws that every bundled hwconfig keeps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from archsim.files import bundled_path, read_toml
from archsim.hardware.library import (
    chip_names,
    load_chip,
    load_memory_device,
    load_runtime,
    load_system,
    load_tier,
    memory_device_names,
    runtime_names,
    system_names,
    tier_names,
)
from archsim.hardware.sources import sources_of_file
from archsim.network.collectives import algorithms_for
from archsim.network.implementations import implementation_names
from archsim.network.topology import build_network
from archsim.units import PS_PER_S

FILES = sorted((bundled_path("hwconfigs")).glob("*/*.toml"))
HARDWARE = [path for path in FILES if path.parent.name in ("systems", "chips", "memories", "runtimes", "tiers")]
MEMORIES = [(chip, name) for chip in chip_names() for name in load_chip(chip).memory]


def _id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_every_number_says_where_it_comes_from(path: Path) -> None:
    """A number without `# source:` or `# assumption:` on its line is refused."""
    assert [row.path for row in sources_of_file(path) if row.kind not in ("source", "assumption")] == []


@pytest.mark.parametrize("path", HARDWARE, ids=_id)
def test_a_reason_says_more_than_a_word(path: Path) -> None:
    """`# source: web` helps nobody."""
    assert [row for row in sources_of_file(path) if len(row.text) < 7] == []


def test_every_file_loads_under_its_own_name() -> None:
    """The name inside is the name outside."""
    loaded = [load_system(name).name for name in system_names()]
    loaded += [load_chip(name).name for name in chip_names()]
    loaded += [load_memory_device(name).name for name in memory_device_names()]
    loaded += [load_runtime(name).name for name in runtime_names()]
    loaded += [load_tier(name).name for name in tier_names()]
    assert loaded == [*system_names(), *chip_names(), *memory_device_names(), *runtime_names(), *tier_names()]


@pytest.mark.parametrize("folder", ["systems", "chips"])
def test_an_alias_means_one_thing(folder: str) -> None:
    """No alias stands in two files or is the name of another."""
    paths = [path for path in HARDWARE if path.parent.name == folder]
    words = [path.stem for path in paths]
    for path in paths:
        words += {alias.casefold() for alias in read_toml(path).get("aliases", [])} - {path.stem}
    assert [word for word, count in Counter(words).items() if count > 1] == []


def test_every_chip_memory_and_runtime_is_used() -> None:
    """A file that nothing names would rot; some runtimes are for `--set runtime=` alone."""
    chosen = {"eager-2023", "lpu-compiled", "vllm-2024", "trtllm-microbench", "sglang-2025", "xla-tpu-2022"}
    systems = [load_system(name) for name in system_names()]
    assert {system.chip.name for system in systems} == set(chip_names())
    used = {memory.device.name for system in systems for memory in system.chip.memory.values()}
    asked_alone = {"hbf-gen2", "hbf-gen3", "sram-64b"}  # no shipped chip has them; `archsim memory` and studies do
    assert used | asked_alone == set(memory_device_names())
    assert {system.runtime.name for system in systems} | chosen == set(runtime_names())


@pytest.mark.parametrize(("chip", "name"), MEMORIES)
def test_the_datasheet_agrees_with_pin_rate_times_width(chip: str, name: str) -> None:
    """Within 2 %, where a datasheet figure stands; the peak is the sum of the channels'."""
    memory = load_chip(chip).memory[name]
    width_bits = memory.stacks * memory.channels_per_stack * memory.channel_bits
    assert memory.peak_bytes_per_s == width_bits * memory.pin_bits_per_s // 8
    if memory.datasheet_bytes_per_s is not None:
        assert memory.peak_bytes_per_s == pytest.approx(memory.datasheet_bytes_per_s, rel=0.02)


@pytest.mark.parametrize(("chip", "name"), MEMORIES)
def test_enough_bytes_are_in_flight_to_stream(chip: str, name: str) -> None:
    """Little's law: the window feeds three quarters of the peak over the whole latency, or more.

    Pages of flash wait in the buffers of its stacks. DMA queues of the NeuronCores feed half of it: that is measured.
    """
    spec = load_chip(chip)
    memory = spec.memory[name]
    latency_ps = memory.round_trip_ps + memory.device.access_latency_ps
    flash = memory.device.flash
    in_flight = memory.stacks * flash.buffer_bytes if flash else spec.bytes_in_flight
    quarters = 2 if chip in {"inferentia2", "trainium1"} else 3
    assert 4 * in_flight * PS_PER_S > quarters * memory.peak_bytes_per_s * latency_ps


@pytest.mark.parametrize("chip", chip_names())
def test_what_is_on_the_chip_is_faster_than_what_is_beside_it(chip: str) -> None:
    """Each cache outruns the main memory, and both engines have the types that kernels ask for."""
    spec = load_chip(chip)
    peak = spec.memory[spec.main_memory].peak_bytes_per_s
    assert all(cache.bytes_per_s > peak for cache in spec.cache.values())
    assert spec.cache or spec.memory[spec.main_memory].device.sram is not None
    assert "bf16" in spec.engine["matrix"].flop_per_s
    assert "fp32" in spec.engine["vector"].flop_per_s


@pytest.mark.parametrize("name", memory_device_names())
def test_refresh_takes_about_a_tenth_of_the_time(name: str) -> None:
    """Of every DRAM device, tRFC / tREFI lies between 5 and 15 %; flash and SRAM refresh nothing."""
    device = load_memory_device(name)
    cycle_ps, interval_ps = device.refresh_cycle_ps, device.refresh_interval_ps
    assert (cycle_ps is None) == (interval_ps is None) == (device.flash is not None or device.sram is not None)
    if cycle_ps is not None and interval_ps is not None:
        assert 0.05 < cycle_ps / interval_ps < 0.15


@pytest.mark.parametrize("name", system_names())
def test_the_network_is_built_and_knows_the_runtime_s_collective(name: str) -> None:
    """Every bundled system can run an all-reduce over its chips."""
    spec = load_system(name)
    if spec.chips == 1:
        assert spec.network.topology == "none"
        return
    network = build_network(
        spec.network.topology,
        spec.chips,
        shape=spec.network.shape,
        link_bytes_per_s=spec.network.link_bytes_per_s,
        link_latency_ps=spec.network.link_latency_ps,
    )
    algorithms = algorithms_for(network, "all_reduce", spec.chips)
    assert spec.runtime.collective in ("auto", *algorithms, *implementation_names())
    assert algorithms


@pytest.mark.parametrize("name", system_names())
def test_every_system_holds_an_8b_model_in_8_bits(name: str) -> None:
    """8.03e9 parameters of llama-3.1-8b at one byte, and a gigabyte for its KV cache."""
    spec = load_system(name)
    assert spec.chips * spec.chip.memory[spec.chip.main_memory].usable_bytes > 8.03e9 + 1e9


def test_the_systems_that_the_readme_names_are_there() -> None:
    """Those of the two commands and of the main job."""
    wanted = {"a100-sxm8", "h100-sxm8", "h200-sxm8", "b200-sxm8", "mi300x-8", "tpu-v6e-8", "m4-max"}
    assert wanted <= set(system_names())
