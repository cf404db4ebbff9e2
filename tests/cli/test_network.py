"""`archsim network`: what it prints, draws and refuses."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from archsim import cli
from archsim.cli.network import command
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.network.curves import message_curve, sizes_between
from archsim.report.network_figure import busy_shares, node_positions


def page(*arguments: str) -> dict[str, object]:
    """Run the command with `--json` and return what it prints."""
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    content: dict[str, object] = json.loads(done.stdout)
    return content


def test_sizes_double_from_low_to_high() -> None:
    """Both ends are there, and every size between is twice the one before."""
    assert sizes_between(1024, 5000) == (1024, 2048, 4096, 5000)
    assert sizes_between(7, 7) == (7,)


def test_the_json_page_holds_curve_crossings_and_links() -> None:
    """One point a size, the fastest algorithm first in all of them, the crossing between its two sizes."""
    made = page("h100-sxm8", "--bytes", "64KiB:1MiB")
    points = made["points"]
    assert isinstance(points, list)
    assert [point["bytes"] for point in points] == [2**16, 2**17, 2**18, 2**19, 2**20]
    for point in points:
        assert point["duration_s"] == pytest.approx(min(point["algorithms_s"].values()), abs=1e-12)
        assert set(point["libraries"]) >= {"nccl", "trtllm", "vllm"}
    changes = [(a["algorithm"], b["algorithm"]) for a, b in pairwise(points) if a["algorithm"] != b["algorithm"]]
    crossings = made["crossings"]
    assert isinstance(crossings, list)
    assert [(each["before"], each["after"]) for each in crossings] == changes
    links = made["links"]
    assert isinstance(links, list)
    assert len(links) == 16
    assert all(0 <= link["busy"] <= 1 for link in links)


def test_a_crossing_is_the_first_size_of_the_new_algorithm() -> None:
    """One byte below it the old one is at least as fast."""
    network = System(load_system("h100-sxm8")).network
    curve = message_curve(
        network, kind="all_reduce", ranks=8, sizes=(2**17, 2**18), software_ps=1_500_000, chip="h100-sxm"
    )
    (crossing,) = curve.crossings
    below, at = (
        message_curve(network, kind="all_reduce", ranks=8, sizes=(size,), software_ps=1_500_000, chip="h100-sxm")
        for size in (crossing.bytes - 1, crossing.bytes)
    )
    assert below.points[0].fastest.algorithm == crossing.before
    assert at.points[0].fastest.algorithm == crossing.after


def test_the_table_names_the_crossing() -> None:
    """For people: one line a size and one a crossing."""
    done = CliRunner().invoke(command, ["h100-sxm8", "--bytes", "64KiB:1MiB"], catch_exceptions=False)
    assert "two shot is faster than one shot" in done.stdout


def test_what_sends_too_many_messages_is_left_out_and_named() -> None:
    """Among 128 chips one shot has 128 x 127 messages; so have the libraries that take it."""
    made = page("h100-sxm8x16", "--bytes", "4MiB:4MiB")
    left_out = {each["algorithm"]: each["messages"] for each in made["left_out"]}  # type: ignore[attr-defined]
    assert left_out["one_shot"] == left_out["trtllm"] == 128 * 127
    (point,) = made["points"]  # type: ignore[misc]
    assert not set(left_out) & {*point["algorithms_s"], *point["libraries"]}
    assert "nccl" in point["libraries"]


def test_a_spare_takes_the_place_of_a_failed_chip() -> None:
    """Ranks are the working chips: the failed one moves nothing, and the spare at the end moves what others move."""
    made = page(
        "h100-sxm8", "--bytes", "1MiB:1MiB", "--set", "chips=9", "--set", "spares=1",
        "--set", 'network.failed=["chip3"]',
    )  # fmt: skip
    moved = {link["name"]: link["bytes"] for link in made["links"]}  # type: ignore[attr-defined]
    assert made["ranks"] == 8
    assert moved["link.chip3-switch0"] == 0
    assert moved["link.chip8-switch0"] == moved["link.chip0-switch0"] > 0


def test_an_idle_link_is_drawn_and_has_no_share() -> None:
    """Among two of eight chips only their four links move bytes."""
    network = System(load_system("h100-sxm8")).network
    curve = message_curve(network, kind="all_reduce", ranks=2, sizes=(2**20,), software_ps=0, chip="h100-sxm")
    shares = busy_shares(network, curve.points[0])
    assert sum(share > 0 for share in shares.values()) == 4
    assert set(node_positions(network)) == set(network.graph.nodes)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_figure_is_written_twice_to_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """A figure's bytes depend on its content alone."""
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for path in (first, second):
        done = CliRunner().invoke(
            command, ["tpu-v5e-8", "--bytes", "1KiB:4KiB", "--out", str(path)], catch_exceptions=False
        )
        assert done.exit_code == 0
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m1"], "at least 2 chips; m1 has one"),
        (["h100-sxm8", "--ranks", "9"], "2 to 8 ranks: h100-sxm8 has 8 chips"),
        (["h100-sxm8", "--bytes", "3"], "LOW:HIGH"),
        (["h100-sxm8", "--set", 'network.routes=["a"]'], "network.routes.0: got 'a'"),
        (["h100-sxm8", "--bytes", "2KiB:1KiB"], "not smaller"),
        (["h100-sxm8", "--collective", "all-reduc"], "did you mean 'all_reduce'"),
        (["h100-sxm8", "--out", "x.gif", "--bytes", "1KiB:1KiB"], ".svg or .png"),
    ],
)
def test_wrong_input_ends_with_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what was expected, with the numbers."""
    assert cli.main(["network", *arguments]) == 2
    assert words in capsys.readouterr().err
