"""`archsim show`: what it prints, what it draws, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archsim.cli.show import command
from archsim.errors import InputError
from archsim.hardware.library import load_system, setting_paths, system_names
from archsim.report.system_text import network_lines, system_lines


def _show(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_the_page_draws_stacks_channels_and_links() -> None:
    """Five stacks of sixteen channels below the engines, and eight chips around a switch."""
    page = _show("h100-sxm8").stdout
    assert page.count("▮" * 16) == 5
    assert "5 x 16 channels x 64 bits x 5.234375 Gb/s = 3.35 TB/s" in page
    assert all(f"chip{index}" in page for index in range(8))
    assert "network: switch, 450 GB/s each way" in page


def test_the_page_lists_every_setting_as_set_takes_it() -> None:
    """A path that can be copied behind `--set`."""
    page = _show("h100-sxm8").stdout
    for path, value in setting_paths(load_system("h100-sxm8")).items():
        assert not value or any(line.split()[:1] == [path] and value in line for line in page.splitlines()), path


def test_an_override_shows() -> None:
    """Drawing, parts and sources follow what is set."""
    page = _show("h100-sxm8", "--set", "hbm.stacks=6", "--sources").stdout
    assert "6 x 16 channels" in page
    assert "96 GiB" in page
    assert any(line.split()[:3] == ["--set", "hbm.stacks", "6"] for line in page.splitlines())


def test_sources_are_listed_on_request() -> None:
    """Each number with its kind and reason."""
    assert "NVIDIA H100 datasheet" not in _show("h100-sxm8").stdout
    page = _show("h100-sxm8", "--sources").stdout
    assert "NVIDIA H100 datasheet" in page
    assert "assumption" in page


def test_json_holds_the_same_and_nothing_else() -> None:
    """Numbers in SI units; what is not asked for is null."""
    page = json.loads(_show("h100-sxm8", "--json").stdout)
    memory = load_system("h100-sxm8").chip.memory["hbm"]
    assert (page["name"], page["kind"], page["chips"]) == ("h100-sxm8", "system", 8)
    assert page["peak_bytes_per_s"] == memory.peak_bytes_per_s
    assert page["sources"] is None
    assert page["settings"]["chip.memory.hbm.stacks"] == "5"
    hbm = next(part for part in page["parts"] if part["scope"] == "chip.hbm")
    assert (hbm["channels"], hbm["capacity_bytes"]) == (80, 80 * 2**30)
    assert json.loads(_show("h100-sxm8", "--json", "--sources").stdout)["sources"]


@pytest.mark.parametrize("name", system_names())
def test_every_system_has_a_page(name: str) -> None:
    """No line of a drawing runs out of its frame."""
    lines = system_lines(load_system(name))
    assert max(len(line) for line in lines) <= 110
    frame = [line for line in lines if line[:1] in "┌│├└" and line]
    assert {len(line) for line in frame} == {96}
    assert _show(name).exit_code == 0


@pytest.mark.parametrize(
    ("overrides", "rows"),
    [
        (["network.topology=ring"], 4),
        (["network.topology=torus", "network.shape=[2, 4]"], 9),
        (["network.topology=mesh", "network.shape=[4, 2]"], 4),
        (["network.topology=torus", "network.shape=[2, 2, 2]"], 9),
        (["network.topology=full_mesh"], 10),
        (["network.topology=two_level", "network.shape=[4]"], 1),
        (["chips=64"], 2),
    ],
)
def test_every_topology_is_drawn_or_named(overrides: list[str], rows: int) -> None:
    """Rings, grids, meshes and stars are drawn up to sixteen chips; the others are named."""
    spec = load_system("h100-sxm8", overrides)
    lines = network_lines(spec)
    assert len(lines) == rows
    assert rows <= 2 or all(sum(line.count(f"chip{index}") for line in lines) == 1 for index in range(8))


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_picture_has_the_same_bytes_each_time(suffix: str, tmp_path: Path) -> None:
    """No date and no random id stand in it."""
    for name in ("a", "b"):
        assert _show("tpu-v6e-8", "--out", str(tmp_path / f"{name}.{suffix}"), "--json").exit_code == 0
    first, second = (tmp_path / f"{name}.{suffix}" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 5000


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    """Drawings of all kinds of networks are made."""
    for name in ("h100-sxm8", "mi300x-8", "tpu-v5p-8", "inferentia2-12", "m4-max", "rtx-pro-6000"):
        assert _show(name, "--out", str(tmp_path / f"{name}.svg"), "--json").exit_code == 0
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["h100-sxm9"], "did you mean 'h100-sxm8'"),
        (["../h100-sxm8"], "there is none"),
        (["h100-sxm8", "--set", "hbm.stack=8"], "did you mean 'hbm.stacks'"),
        (["h100-sxm8", "--out", "picture.gif"], "ends in .svg, .png, .pdf"),
        (["h100-sxm8", "--out", "none/picture.svg"], "a folder that exists"),
    ],
)
def test_wrong_input_is_refused(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        _show(*arguments)
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_requests_that_are_divided_reach_every_pool_from_the_users() -> None:
    """One line leaves the users and has a branch for each pool: above it, nothing but that line."""
    lines = _show("phone-cloud").stdout.splitlines()
    start = lines.index("users")
    branches = [number for number, line in enumerate(lines) if line[2:].startswith(("├──▶", "└──▶"))]
    assert [lines[number][2] for number in branches] == ["├", "└"]
    assert {line[2] for line in lines[start + 1 : branches[-1]]} == {"│", "├"}
    assert "at most 512 tokens" in lines[branches[0]]
    assert "more than 512 tokens" in lines[branches[1]]
