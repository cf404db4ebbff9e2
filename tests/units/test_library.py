"""The library: names, files that name files, overrides, resolved files, and sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.files import bundled_path
from archsim.hardware.library import (
    files_of,
    load_chip,
    load_runtime,
    load_system,
    resolved_toml,
    setting_paths,
    system_names,
)
from archsim.hardware.sources import sources, sources_of_file

SYSTEM = """
kind = "system"
name = "mine"
title = "Mine"
status = "hypothetical"
chip = "chips/mine.toml"
chips = 4  # assumption: four
runtime = "trtllm-2025"

[network]
topology = "switch"
link_bandwidth = "450 GB/s"  # source: nowhere
link_latency = "1 us"
"""


def _mine(folder: Path, text: str = SYSTEM, **replaced: str) -> str:
    """Write a system of two own files, its chip a copy of the bundled H100 with *replaced* values."""
    chip = (bundled_path("hwconfigs") / "chips" / "h100-sxm.toml").read_text()
    for old, new in replaced.items():
        assert old in chip
        chip = chip.replace(old, new)
    (folder / "chips").mkdir()
    (folder / "chips" / "mine.toml").write_text(chip)
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def _problems(name: str, overrides: list[str]) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_system(name, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_names_are_sorted_and_each_loads_as_itself() -> None:
    """What is listed can be loaded."""
    names = system_names()
    assert names == sorted(names)
    assert [load_system(name).name for name in names] == names


def test_an_alias_means_the_same_system() -> None:
    """Names that references use resolve, whatever their case."""
    for alias in ("h100", "H100_SXM", "H100-SXM5-80GB"):
        assert load_system(alias) == load_system("h100-sxm8")
    assert load_chip("H100 SXM").name == "h100-sxm"


def test_an_unknown_system_is_refused_with_the_nearest() -> None:
    """Neither a name nor an alias nor a file."""
    with pytest.raises(InputError, match="did you mean 'h100-sxm8'"):
        load_system("h100-sxm9")


def test_a_path_inside_a_file_starts_at_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of files can be moved and loaded from anywhere."""
    name = _mine(tmp_path)
    monkeypatch.chdir("/")
    spec = load_system(name)
    assert (spec.name, spec.chips) == ("mine", 4)
    assert spec.chip == load_chip("h100-sxm")
    assert spec.runtime == load_runtime("trtllm-2025")


def test_problems_of_all_files_come_together_each_with_its_file(tmp_path: Path) -> None:
    """One message for the system file, the chip it names, and the runtime that is not there."""
    name = _mine(
        tmp_path,
        SYSTEM.replace('"1 us"', '"1 um"').replace("trtllm-2025", "trtlm-2025"),
        **{"stacks = 5": "stacks = 0"},
    )
    problems = _problems(name, [])
    assert len(problems) == 3
    assert f"{name}: runtime: got 'trtlm-2025'" in problems[0]
    assert any(problem.startswith(f"{name}: network.link_latency: got '1 um'") for problem in problems)
    chip = str(tmp_path / "chips" / "mine.toml")
    assert any(problem.startswith(f"{chip}: memory.hbm.stacks: got '0'") for problem in problems)


@pytest.mark.parametrize("missing", ["chips/none.toml", "../../../etc/none.toml", "none", "a\\u0000b"])
def test_a_file_that_a_file_names_must_exist(missing: str, tmp_path: Path) -> None:
    """The problem stands at the key that names it."""
    problems = _problems(_mine(tmp_path, SYSTEM.replace("chips/mine.toml", missing)), [])
    assert len(problems) == 1
    assert "chip" in problems[0]


def test_a_chip_may_stand_in_place_as_a_table(tmp_path: Path) -> None:
    """What another file would hold can be written into the system's own."""
    chip = (bundled_path("hwconfigs") / "chips" / "h100-sxm.toml").read_text()
    inline = "[chip]\n" + chip.replace("\n[", "\n[chip.")
    path = tmp_path / "inline.toml"
    path.write_text(SYSTEM.replace('chip = "chips/mine.toml"\n', "") + inline)
    assert load_system(str(path)).chip == load_chip("h100-sxm")


@pytest.mark.parametrize("name", system_names())
def test_a_resolved_system_loads_back_equal_and_resolves_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    """One file holds everything: a run can be repeated without the bundled ones."""
    spec = load_system(name)
    text = resolved_toml(spec)
    path = tmp_path / "resolved.toml"
    path.write_text(text)
    assert load_system(str(path)) == spec
    assert resolved_toml(load_system(str(path))) == text
    assert files_of(str(path)) == [path]


def test_overrides_survive_resolving(tmp_path: Path) -> None:
    """The resolved file of a changed system holds the change."""
    spec = load_system("tpu-v6e-8", ["chips=16", "network.shape=[4, 4]", "hbm.stacks=3", "runtime=eager-2023"])
    path = tmp_path / "resolved.toml"
    path.write_text(resolved_toml(spec))
    assert load_system(str(path)) == spec
    assert (spec.chips, spec.network.shape, spec.runtime.name) == (16, (4, 4), "eager-2023")


def test_every_setting_can_be_set_to_what_it_is() -> None:
    """`--set` takes each path and value as `show` prints them; only a datasheet figure may be dropped."""
    spec = load_system("h100-sxm8")
    without_datasheet = load_system("h100-sxm8", ["hbm.stacks=5"])
    for path, value in setting_paths(spec).items():
        if value:
            assert load_system("h100-sxm8", [f"{path}={value}"]) in (spec, without_datasheet), path


def test_a_setting_is_found_by_a_suffix_that_is_unique() -> None:
    """`hbm.stacks` is enough; `bandwidth` is not."""
    assert load_system("h100-sxm8", ["hbm.stacks=8"]).chip.memory["hbm"].stacks == 8
    assert load_system("h100-sxm8", ["stacks=8"]) == load_system("h100-sxm8", ["chip.memory.hbm.stacks=8"])
    assert (
        "this means chip.memory.hbm.bandwidth, chip.cache.l2.bandwidth"
        in _problems("h100-sxm8", ["bandwidth=1 TB/s"])[0]
    )


def test_a_whole_path_wins_over_a_longer_one_that_ends_in_it() -> None:
    """`chips` is a setting itself, and `name` the system's own."""
    assert load_system("h100-sxm8", ["name=other"]).name == "other"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("hbm.stack=8", "did you mean 'hbm.stacks'"),
        ("chip.memory.hbm.bandwith=3 TB/s", "did you mean 'chip.memory.hbm.bandwidth'"),
        ("chip.memory.hbm2.stacks=8", "did you mean 'chip.memory.hbm.stacks'"),
        ("nonsense=1", "as `archsim show` prints it"),
        ("hbm.stacks", "PATH=VALUE"),
        ("=8", "PATH=VALUE"),
        ("hbm.stacks=", "PATH=VALUE"),
        ("hbm.stacks=eight", "a whole number"),
        ("hbm.stacks=" + "9" * 5000, "a whole number"),
        ("hbm.bandwidth=4", "a quoted string"),
        ("hbm.bandwidth=4 TB", "unit 'TB' is not one of"),
        ("hbm.bandwidth=-4 TB/s", "such as"),
        ("network.shape=[2, 4", "a list"),
        ("network.shape=[2, nan]", "a whole number"),
        ("chip=h101", "one of the bundled names"),
        ("device=hbm9", "one of the bundled names"),
        ("chip.memory.hbm=3", "as `archsim show` prints it"),
    ],
)
def test_an_override_that_cannot_be_is_refused(override: str, expected: str) -> None:
    """The problem names the option, the path and what was expected."""
    problems = _problems("h100-sxm8", [override])
    assert len(problems) == 1
    assert problems[0].startswith("--set: ")
    assert expected in problems[0]


def test_all_problems_of_all_overrides_are_told_at_once() -> None:
    """Unknown paths and wrong values together."""
    assert len(_problems("h100-sxm8", ["hbm.stack=8", "chips=0", "tdp=NaN W"])) == 3


def test_another_bandwidth_moves_the_pin_rate() -> None:
    """Peak is pin rate x width: twice the bandwidth over the same pins is twice the rate."""
    before = load_system("h200-sxm8").chip.memory["hbm"]
    after = load_system("h200-sxm8", ["hbm.bandwidth=9.6 TB/s"]).chip.memory["hbm"]
    assert after.pin_bits_per_s == 2 * before.pin_bits_per_s
    assert after.peak_bytes_per_s == after.datasheet_bytes_per_s == 9_600_000_000_000


def test_another_width_drops_the_datasheet_and_keeps_the_pin_rate() -> None:
    """Eight stacks instead of five are 8/5 of the bandwidth and of the capacity."""
    before = load_system("h100-sxm8").chip.memory["hbm"]
    after = load_system("h100-sxm8", ["hbm.stacks=8"]).chip.memory["hbm"]
    assert after.datasheet_bytes_per_s is None
    assert after.peak_bytes_per_s * 5 == before.peak_bytes_per_s * 8
    assert after.capacity_bytes * 5 == before.capacity_bytes * 8


def test_bandwidth_and_width_together_spread_the_bandwidth_over_the_new_width() -> None:
    """3.2 TB/s over 8 stacks of 1,024 pins is 3.125 Gb/s a pin."""
    memory = load_system("h100-sxm8", ["hbm.bandwidth=3.2 TB/s", "hbm.stacks=8"]).chip.memory["hbm"]
    assert memory.pin_bits_per_s == 3_125_000_000


def test_bandwidth_and_pin_rate_together_are_cross_checked() -> None:
    """Who gives both must give two that agree."""
    assert load_system("h100-sxm8", ["hbm.bandwidth=3.2 TB/s", "hbm.pin_rate=5 Gb/s"]).chip.memory["hbm"]
    assert "within 2 %" in _problems("h100-sxm8", ["hbm.bandwidth=3.2 TB/s", "hbm.pin_rate=6 Gb/s"])[0]


def test_any_bandwidth_is_met_to_the_width_of_the_memory() -> None:
    """A rate that no whole pin rate gives is off by less than a byte a second and pin."""
    memory = load_system("h100-sxm8", ["hbm.bandwidth=3333333333333 B/s"]).chip.memory["hbm"]
    assert abs(memory.peak_bytes_per_s - 3_333_333_333_333) <= 5 * 1024


def test_parts_can_be_exchanged_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chip`, `runtime` and a memory's `device` take a bundled name, an alias or a path from where one stands."""
    spec = load_system("h100-sxm8", ["chip=h200-sxm", "runtime=eager-2023", "hbm.device=hbm3-24gb", "hbm.stacks=4"])
    assert spec.chip.name == "h200-sxm"
    assert spec.runtime == load_runtime("eager-2023")
    assert (spec.chip.memory["hbm"].device.name, spec.chip.memory["hbm"].stacks) == ("hbm3-24gb", 4)
    _mine(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_system("h100-sxm8", ["chip=chips/mine.toml"]).chip == load_chip("h100-sxm")


def test_the_last_of_two_overrides_holds() -> None:
    """As on every command line."""
    assert load_system("h100-sxm8", ["chips=2", "chips=4"]).chips == 4


def test_sources_list_every_number_with_its_origin(tmp_path: Path) -> None:
    """Numbers are integers, unit strings and lists; titles that begin with a digit are not."""
    name = _mine(tmp_path, SYSTEM.replace('"Mine"', '"8 x Mine"'))
    own = [row for row in sources(name, ["chips=2"]) if row.file in (name, "--set")]
    assert [(row.path, row.value, row.kind, row.text) for row in own] == [
        ("chips", "4", "assumption", "four"),
        ("network.link_bandwidth", "450 GB/s", "source", "nowhere"),
        ("network.link_latency", "1 us", "", ""),
        ("chips", "2", "override", ""),
    ]


def test_sources_cover_the_files_that_a_system_names() -> None:
    """System, chip, memory device and runtime, in this order."""
    assert [path.parent.name for path in files_of("h100-sxm8")] == ["systems", "chips", "memories", "runtimes"]
    assert {Path(row.file).parent.name for row in sources("h100-sxm8")} == {"systems", "chips", "memories", "runtimes"}


def test_sources_of_a_file_that_is_no_toml_are_refused(tmp_path: Path) -> None:
    """As it is when the file is loaded."""
    path = tmp_path / "x.toml"
    path.write_text("x = ")
    with pytest.raises(InputError, match="valid TOML"):
        sources_of_file(path)
