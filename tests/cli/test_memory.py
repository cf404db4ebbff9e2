"""`archsim memory`, `archsim validate` and `archsim cache`: what they print and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archsim.cli.cache import command as cache_command
from archsim.cli.memory import command as memory_command
from archsim.cli.validate import command as validate_command
from archsim.errors import InputError
from archsim.files import bundled_path


def _memory(*arguments: str) -> Result:
    return CliRunner().invoke(memory_command, list(arguments), catch_exceptions=False)


def test_one_glance_says_why_a_bad_map_halves_streaming() -> None:
    """Ramulator's own map keeps a stream in one bank: tCCD_L takes the largest share."""
    page = _memory("HBM3", "--profile", "ramulator2", "--map", "co5 pc1 sid1 bg2 ba2 ro15").stdout
    causes = [line.split()[0] for line in page.splitlines() if line.startswith("    ")]
    assert causes[:2] == ["transfer", "bank_group"]
    assert "tCCD_L" in page


def test_a_sweep_tabulates_deeper_queues() -> None:
    """More requests in the queue never sustain less of a 4 KiB chunk stream here."""
    result = _memory("HBM3", "--pattern", "chunk:4KiB", "--profile", "ramulator2", "--sweep", "queue=8,32,64", "--json")
    shares = [answer["share_of_peak"] for answer in json.loads(result.stdout)]
    assert shares == sorted(shares)
    assert len(shares) == 3


def test_json_is_all_that_is_printed_and_its_causes_sum_to_one() -> None:
    """SI numbers, causes as shares of the run."""
    answer = json.loads(_memory("hbm3e-24gb", "--pattern", "mix:2:1", "--json").stdout)
    assert sum(answer["causes"].values()) == pytest.approx(1, abs=1e-9)
    assert answer["share_of_peak"] == pytest.approx(answer["bytes_per_s"] / answer["peak_bytes_per_s"])


def test_pages_at_a_fine_interleave_behave_like_random_access() -> None:
    """4 KiB pages over 16 channels at 256 B leave .29 of peak, in one channel .7 and more."""
    fine = json.loads(_memory("HBM3", "--pattern", "chunk:4KiB", "--profile", "ramulator2", "--channels", "16",
                              "--interleave", "256B", "--json").stdout)  # fmt: skip
    whole = json.loads(_memory("HBM3", "--pattern", "chunk:4KiB", "--profile", "ramulator2", "--json").stdout)
    assert fine["share_of_peak"] < 0.35 < 0.65 < whole["share_of_peak"]


def test_what_helps_against_check_bits_is_fewer_of_them() -> None:
    """Bursts of check bits are `command_bus`; a deeper queue would not help."""
    text = _memory("HBM3", "--ecc", "8").stdout
    assert "to command_bus" in text
    assert "check bits for more data each (--ecc)" in text


def test_where_all_bytes_in_flight_are_out_more_of_them_help() -> None:
    """A stream loses single gaps to rows, but where all of its window waits for data Little's law decides."""
    assert "helps      more bytes in flight" in _memory("h100-sxm8", "--pattern", "seq", "--window", "23KiB").stdout


@pytest.mark.parametrize("chip", ["h100-sxm", "h200-sxm"])
@pytest.mark.parametrize("pattern", ["seq", "streams:8", "kv:64KiB", "kv:64KiB:8"])
def test_streams_and_large_kv_reads_reach_what_silicon_reaches(chip: str, pattern: str) -> None:
    """.93 and more of the peak, but for a point or two where eight heads or eight streams meet in the banks."""
    answer = json.loads(_memory(chip, "--pattern", pattern, "--json").stdout)
    assert answer["share_of_peak"] >= (0.93 if ":8" not in pattern else 0.91)


def test_a_chip_brings_its_window_and_round_trip() -> None:
    """The reads of H100 wait at least its 600 ns round trip."""
    answer = json.loads(_memory("h100-sxm", "--json").stdout)
    assert answer["read_latency_s"] > 600e-9
    assert answer["window_bytes"] > 0


def test_a_memory_with_outstanding_bytes_of_its_own_has_that_window(tmp_path: Path) -> None:
    """`outstanding` of a memory stands for the chip's bytes in flight, as in a step."""
    chip = (bundled_path("hwconfigs") / "chips/h100-sxm.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(
        chip.replace('interleave = "4 KiB"', 'outstanding = "160 KiB"\ninterleave = "4 KiB"', 1), encoding="utf-8"
    )
    answer = json.loads(_memory(str(own), "--json").stdout)
    assert answer["window_bytes"] == 160 * 1024 // 80


def test_the_picture_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    """SVG without dates or random ids."""
    for name in ("a.svg", "b.svg"):
        _memory("DDR5", "--pattern", "rand", "--out", str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("HBM9",), "HBM9"),
        (("HBM3", "--pattern", "zigzag"), "zigzag"),
        (("HBM3", "--pattern", "chunk:4"), "4"),
        (("HBM3", "--pattern", "chunk:1PiB"), "the device ends"),
        (("HBM3", "--queue", "0"), "queue"),
        (("HBM3", "--map", "pc1 bg2"), "ro15"),
        (("HBM3", "--refresh", "sometimes"), "sometimes"),
        (("HBM3", "--timings", "jedec"), "jedec"),
        (("HBM3", "--sweep", "colour=red"), "colour"),
        (("HBM3", "--interleave", "100B"), "transaction"),
        (("HBM3", "--write-peak", "2"), "2"),
    ],
)
def test_bad_input_is_named(arguments: tuple[str, ...], word: str) -> None:
    """Each message holds the offending value or key."""
    with pytest.raises(InputError) as caught:
        _memory(*arguments)
    assert word in str(caught.value)


def test_validate_prints_an_array_of_suites() -> None:
    """One object a suite, its rows with signed relative errors."""
    result = CliRunner().invoke(validate_command, ["dram", "--json"], catch_exceptions=False)
    (suite,) = json.loads(result.stdout)
    assert suite["suite"] == "dram"
    assert suite["n"] == len(suite["rows"])
    assert suite["p95_abs_error"] < 0.03


def test_validate_refuses_a_reference_of_another_schema(tmp_path: Path) -> None:
    """The missing columns are named."""
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="config_id"):
        CliRunner().invoke(validate_command, ["dram", "--reference", str(table)], catch_exceptions=False)


def test_validate_refuses_a_cell_that_no_table_has(tmp_path: Path) -> None:
    """A cell of 200,000 characters is no CSV to Python's reader: the line is named."""
    table = tmp_path / "table.csv"
    columns = "simulator,config_id,pattern,param,n_requests,tx_bytes,util_steady"
    table.write_text(f"{columns}\nramulator2,{'x' * 200_000},seq,0,1000,32,0.9\n")
    with pytest.raises(InputError, match="line 2"):
        CliRunner().invoke(validate_command, ["dram", "--reference", str(table)], catch_exceptions=False)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_validate_refuses_a_reference_whose_parameters_cannot_be_read(content: str | None, tmp_path: Path) -> None:
    """Absent, broken or no object: the file is named, no row is silently skipped."""
    table, params = tmp_path / "table.csv", tmp_path / "params.json"
    columns = "simulator,config_id,pattern,param,n_requests,tx_bytes,util_steady"
    table.write_text(f"{columns}\nramulator2,HBM3,seq,0,1000,32,0.9\n")
    if content is not None:
        params.write_text(content)
    arguments = ["dram", "--reference", str(table), *(["--params", str(params)] if content else [])]
    with pytest.raises(InputError, match="params"):
        CliRunner().invoke(validate_command, arguments, catch_exceptions=False)


@pytest.mark.parametrize("rows", [1, 3])
def test_validate_states_as_many_rows_as_the_reference_has(rows: int, tmp_path: Path) -> None:
    """A row that cannot be rerun is skipped by name, never dropped: none is lost between reading and running."""
    table = tmp_path / "table.csv"
    lines = ["simulator,config_id,pattern,param,n_requests,tx_bytes,util_steady"]
    lines += [f"elsewhere,config{k},seq,0,1000,32,0.9" for k in range(rows)]
    table.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(validate_command, ["dram", "--reference", str(table), "--json"], catch_exceptions=False)
    (suite,) = json.loads(result.stdout)
    assert [row["id"].split()[0] for row in suite["rows"]] == [f"config{k}" for k in range(rows)]
    assert all("elsewhere" in row["skipped"] for row in suite["rows"])


def test_validate_refuses_parameters_without_a_reference(tmp_path: Path) -> None:
    """They would be read for nothing."""
    params = tmp_path / "params.json"
    params.write_text("{}")
    with pytest.raises(InputError, match="--reference"):
        CliRunner().invoke(validate_command, ["dram", "--params", str(params)], catch_exceptions=False)


def test_the_cache_says_where_it_is_and_empties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache where` names the folder, `cache clear` counts what it deleted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runner = CliRunner()
    assert str(tmp_path) in runner.invoke(cache_command, ["where"]).stdout
    (tmp_path / "archsim" / "x.json").write_text("{}")
    assert "1 files deleted" in runner.invoke(cache_command, ["clear"]).stdout
