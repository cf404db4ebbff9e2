"""What a reader sees of results: words, tables, files, figures."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_result import make_rejecting_result, make_result
from matplotlib.figure import Figure
from rich.console import Console

from archsim.errors import InputError
from archsim.metrics.accounts import ACCOUNTS
from archsim.report import figures, style, table, views, writers
from archsim.result import Result


def printed(*things: Any) -> str:
    """Return what rich prints of *things* where there is no terminal."""
    screen = Console(file=io.StringIO(), width=240)
    screen.print(*things, sep="\n")
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def texts(figure: Figure) -> str:
    """Return every text of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))  # type: ignore[attr-defined]


def test_largest_losses_are_ordered_and_never_useful() -> None:
    """The three largest of the hand-made ledger: network .22, then latency and host .10 each, in ledger order."""
    lost = views.largest_losses(views.main_memory_accounts(make_result()), 3)
    assert lost == [("network", 0.22), ("latency", 0.10), ("host", 0.10)]


def test_ranking_follows_tokens_per_second_at_saturation() -> None:
    """The best rate leads; a design that no rate satisfies comes last."""
    results = [make_result("slow", tokens_per_s=1.0), make_result("none", tokens_per_s=None), make_result("fast")]
    assert [result.system.name for result in views.ranked(results)] == ["fast", "slow", "none"]


def test_rows_of_the_first_block_line_up_with_its_header() -> None:
    """Rows are printed one by one; the right edge of every number stands under that of its title."""
    names = ["a", "a-longer-name"]
    header = printed(table.trace_header(names)).rstrip("\n")
    rows = [printed(table.trace_row(make_result(name), names)).rstrip("\n") for name in names]
    edge = header.index("rejected") + len("rejected")
    assert [row[edge - 1] for row in rows] == ["1", "1"]
    assert {row.index("network 22.0 %") for row in rows} == {header.index("largest losses")}


def test_status_of_a_design_is_shown_in_every_block() -> None:
    """Nobody shall take an announced part for a shipped one."""
    result = make_result(status="announced")
    assert "announced" in printed(table.trace_row(result, ["toy"]))
    assert "announced" in printed(table.token_block([result]))
    assert "announced" in printed(table.saturation_block([result]))


def test_waterfall_lists_accounts_above_a_thousandth() -> None:
    """KV read is .125 of 1 TB/s and shown; KV write is .001, not above it, and left out."""
    text = printed(table.waterfall(make_result()))
    assert "KV read       12.5 %  125 GB/s" in text
    assert "KV write" not in text


def test_sampled_trace_is_labelled_in_every_output(tmp_path: Path) -> None:
    """Title, JSON, requests table and each figure say `sampled`; of a recorded trace none does."""
    for sampled in (True, False):
        result = make_result(sampled=sampled)
        writers.write_run(result, tmp_path / str(sampled))
        requests = gzip.decompress((tmp_path / str(sampled) / "requests.csv.gz").read_bytes()).decode()
        assert ("sampled" in table.headline(result)) == sampled
        assert json.loads(result.to_json())["provenance"]["sampled"] == sampled
        assert ("sampled" in requests) == sampled
        for draw in (figures.ledger_bars, figures.bandwidth_over_time, figures.latency_distributions):
            assert ("(sampled)" in texts(draw([result]))) == sampled


def test_run_directory_holds_everything_and_the_same_bytes_twice(tmp_path: Path) -> None:
    """The files of DESIGN's run directory, equal to the byte when written again."""
    for folder in ("first", "second"):
        writers.write_run(make_result(), tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == [
        "bandwidth.svg", "config.resolved.toml", "latency.svg", "ledger.csv.gz", "ledger.svg",
        "operators.csv.gz", "requests.csv.gz", "result.json",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_run_directory_is_never_overwritten(tmp_path: Path) -> None:
    """A directory that exists is refused, even an empty one."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="does not exist yet"):
        writers.write_run(make_result(), tmp_path / "taken")


def test_failure_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt in the midst of writing leaves no part of a directory."""

    def interrupted(results: list[Result]) -> Figure:
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "latency_distributions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writers.write_run(make_result(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_run_that_served_nothing_is_shown_and_written(tmp_path: Path) -> None:
    """Where every request was rejected there are dashes, empty panels and null, and no exception."""
    result = make_rejecting_result()
    row = printed(table.trace_row(result, ["toy"]))
    assert row.split()[:4] == ["toy", "shipped", "0", "3"]
    assert set(row.split()[4:]) == {"-"}
    writers.write_comparison([result, make_result("other")], tmp_path / "both")
    assert json.loads((tmp_path / "both" / "toy" / "result.json").read_text())["latency_s"]["ttft"]["p50"] is None


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a gzipped CSV."""
    return list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))


def test_requests_table_is_exact_and_guards_formulas(tmp_path: Path) -> None:
    """Seconds hold every picosecond; a rejected request has no times and a reason that no spreadsheet executes."""
    writers.write_run(make_result(), tmp_path / "run")
    rows = rows_of(tmp_path / "run" / "requests.csv.gz")
    assert [row["arrival_s"] for row in rows] == ["0", "0.5", "1"]
    assert (rows[1]["first_token_s"], rows[1]["finish_s"], rows[1]["status"]) == ("0.6", "1.2", "completed")
    assert (rows[2]["first_token_s"], rows[2]["finish_s"], rows[2]["status"]) == ("", "", "rejected")
    assert rows[2]["reason"] == "'=longer than the context of 4,096 tokens"


def test_ledger_table_books_the_peak_of_every_window(tmp_path: Path) -> None:
    """In each of four windows of a second the amounts of a scope add up to peak x time."""
    writers.write_run(make_result(), tmp_path / "run")
    rows = rows_of(tmp_path / "run" / "ledger.csv.gz")
    for start in ("0", "1", "2", "3"):
        booked = sum(float(row["amount"]) for row in rows if row["start_s"] == start)
        assert booked == pytest.approx(float(rows[0]["peak_per_s"]), rel=1e-9)
    assert {row["account"] for row in rows} <= set(ACCOUNTS)


def test_comparison_holds_one_folder_a_design_and_the_ranked_results(tmp_path: Path) -> None:
    """comparison.json is the array of result.json, best at saturation first."""
    results = [make_result("slow", tokens_per_s=1.0), make_result("fast")]
    writers.write_comparison(results, tmp_path / "both")
    listed = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert [entry["system"]["name"] for entry in listed] == ["fast", "slow"]
    assert listed[0] == json.loads((tmp_path / "both" / "fast" / "result.json").read_text())


@pytest.mark.parametrize("names", [["twin", "twin"], ["../up"], [".hidden"], [""]])
def test_names_that_cannot_be_folders_are_refused(names: list[str]) -> None:
    """Two systems of one name would share a folder; a name with a path in it would leave the run directory."""
    with pytest.raises(InputError, match="names of folders"):
        writers.check_folder_names(names)


def test_free_place_counts_up_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first N that nothing has: 1 and 2 are taken, by a folder and by a dangling link."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stem-1").mkdir()
    (tmp_path / "stem-2").symlink_to("nowhere")
    assert writers.free_place("stem") == Path("stem-3")


def test_bars_of_the_ledger_fill_the_whole_axis() -> None:
    """The drawn segments of a design add up to its peak: nothing is hidden, nothing drawn twice."""
    axes = figures.ledger_bars([make_result("a"), make_result("b")]).axes[0]
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    assert sum(widths) == pytest.approx(2.0, rel=1e-9)


def test_bandwidth_figure_draws_useful_over_peak() -> None:
    """Three windows decode at the useful share of the hand-made ledger, .503, the last is idle."""
    steps = figures.bandwidth_over_time([make_result()]).axes[0].patches[0]
    assert np.allclose(steps.get_data().values, [0.503, 0.503, 0.503, 0.0])  # type: ignore[attr-defined]


def test_figures_have_no_date_and_no_random_id() -> None:
    """The same figure drawn twice is the same SVG."""
    first, second = (style.svg_bytes(figures.latency_distributions([make_result()])) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


def test_every_account_has_a_colour_of_its_own_within_its_bar() -> None:
    """No two accounts of one memory share a colour (plain `useful` stands alone: engines and links)."""
    colours = [colour for account, colour in style.ACCOUNT_COLOURS.items() if account != "useful"]
    assert len(set(colours)) == len(ACCOUNTS) - 1
