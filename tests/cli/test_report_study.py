"""`archsim report STUDY.db`: one HTML file of a store, offline, escaped, bounded, the same bytes each time."""

from __future__ import annotations

import html
import itertools
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from archsim.cli import main
from archsim.report.html_frame import MOST_BYTES
from archsim.report.study_charts import front_chart
from archsim.report.study_figures import FrontPoint, Measure
from archsim.study.cases import Outcome
from archsim.study.definition import study_of
from archsim.study.door import load_study
from archsim.study.fronts import ranked
from archsim.study.moves import moves_of
from archsim.study.page import page_of
from archsim.study.seen import plane_front, seen_of
from archsim.study.store import Store
from archsim.study.study import Study

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
STUDY = """kind = "study"
name = "made"
title = "Made for a test"
systems = ["m4-max", "rtx-3090"]
model = "qwen3-8b"
precision = "w8a16kv16"

[[axis]]
key = "context"
values = [64, 128, 256]

[[axis]]
key = "batch"
from = 1
to = {most}
steps = {most}

[[constraint]]
metric = "tpot_s_p50"
at_most = "90 ms"

[[objective]]
metric = "tokens_per_s"
goal = "max"

[[objective]]
metric = "tpot_s_p50"
goal = "min"
"""


def made(folder: Path, most: int) -> tuple[Study, Path]:
    """Return a study of 6 * *most* points and its store, filled with closed forms in place of simulations.

    A step takes 5 ms, 1 ms a sequence and 10 us a token of context, half of that on the first system.
    """
    (folder / "made.toml").write_text(STUDY.format(most=most), encoding="utf-8")
    study = load_study(str(folder / "made.toml"))
    store = folder / "made.study.db"
    with Store.create_or_open(store, study.identity) as opened:
        opened.take(outcome(study, point) for point in range(study.space.points))
    return study, store


def outcome(study: Study, point: int) -> Outcome:
    """Return what is known of a point; every fiftieth failed."""
    case = study.case(point)
    if point % 50 == 49:
        return Outcome(point, case.inputs, "failed", {}, f"no room: {HOSTILE}", {}, 0.1)
    batch, context = int(str(case.inputs["batch"])), int(str(case.inputs["context"]))
    time_s = (5e-3 + 1e-3 * batch + 1e-5 * context) * (1 if case.inputs["system"] == "m4-max" else 2)
    rate = batch / time_s
    metrics = {
        "tokens_per_s": rate, "tokens_per_s_low": 0.9 * rate, "tokens_per_s_high": 1.1 * rate, "tpot_s_mean": time_s,
        "tpot_s_mean_low": time_s / 1.1, "tpot_s_mean_high": time_s / 0.9, "tpot_s_p50": time_s,
        "extrapolated": int(context == 64), "mbu": 0.5,
    }  # fmt: skip
    return Outcome(point, case.inputs, "done", metrics, "", {"command": f"archsim run {HOSTILE} {point}"}, 0.1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, str]:
    """A study of 60 points, its store and its report."""
    folder = tmp_path_factory.mktemp("study")
    study, store = made(folder, 10)
    assert main(["report", str(store), "--out", str(folder / "report.html")]) == 0
    return study, store, (folder / "report.html").read_text(encoding="utf-8")


class Words(HTMLParser):
    """The elements of a page, and the text under each id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_and_escapes_what_a_store_holds(small: tuple[Study, Path, str]) -> None:
    """One script, no address that leads out, no attribute that runs; every link of the page leads to a section."""
    page = Words(small[2])
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "&lt;script&gt;alert(1)" in small[2]
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), tag
    assert not re.search(r"url\(|@import", small[2])
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    sections = {"headline", "best", "front", "scaling", "heat", "moves", "points", "axes", "failed", "sources", "again"}
    assert sections <= set(ids)
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.tags if tag == "a"} == {f"#{name}" for name in sections}


def test_equal_stores_are_equal_bytes_wherever_they_lie(small: tuple[Study, Path, str], tmp_path: Path) -> None:
    """A copy under another name, in another folder, makes the same page."""
    shutil.copy(small[1], tmp_path / "copy.db")
    assert main(["report", str(tmp_path / "copy.db"), "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == small[2]


def test_the_study_on_the_page_is_the_study_of_the_store(small: tuple[Study, Path, str], tmp_path: Path) -> None:
    """Saved as a file it has the same digest, so the command on the page goes on in the same store."""
    found = re.search(r'<code id="definition">(.*?)</code>', small[2], flags=re.DOTALL)
    assert found is not None
    (tmp_path / "again.toml").write_text(html.unescape(found[1]), encoding="utf-8")
    assert load_study(str(tmp_path / "again.toml")).identity == small[0].identity
    assert "archsim sweep STUDY.toml" in small[2]


def test_the_front_and_the_best_are_those_of_the_ranking(small: tuple[Study, Path, str]) -> None:
    """Points in little room give what whole rows give; the front of two objectives is that of all two."""
    study, path, _ = small
    with Store(path) as store:
        ranking = ranked(store.rows(status="done"), study.spec.objective, study.limits, most=10)
        seen, page = seen_of(study_of(store), store), page_of(store)
    assert seen.front == {each.point for each in ranking.front}
    assert {point.point for point in plane_front(seen.points, 0, 1)} == seen.front
    assert [row[0].value for row in page.best[0].table.rows] == [each.point for each in ranking.best]
    assert sum(point.kept for point in seen.points) == ranking.feasible
    assert seen.counts == {"done": 59, "failed": 1}
    fastest = min((outcome(study, p) for p in range(60)), key=lambda o: o.metrics.get("tpot_s_p50") or math.inf)
    assert page.best[1].table.rows[0][0].value == fastest.point


def test_what_an_axis_moves_is_what_changes_beside_the_best_point(small: tuple[Study, Path, str]) -> None:
    """Best: batch 10, context 64 on the first system. Ends follow from the closed form of a step's time."""
    study, path, _ = small
    with Store(path) as store:
        best, moves = moves_of(study, seen_of(study, store).points)
    assert best is not None
    assert dict(zip(study.columns, best.inputs, strict=True))["batch"] == 10
    found = {move.axis.name: (move.low, move.high) for move in moves}
    whole = 10 / (5e-3 + 10e-3 + 64e-5)
    assert found["batch"] == pytest.approx((1 / (6e-3 + 64e-5) / whole - 1, 0.0))
    assert found["context"] == pytest.approx((10 / (15e-3 + 256e-5) / whole - 1, 0.0))
    assert found["system"] == pytest.approx((-0.5, 0.0))
    shares = [move.share for move in moves if move.share is not None]
    assert len(shares) == 3
    assert all(0 <= share <= 1 for share in shares)


def test_a_large_store_makes_a_page_of_bounded_size(tmp_path: Path) -> None:
    """3,000 points: below the limit, and what is left out is counted on the page."""
    study, path = made(tmp_path, 500)
    with Store(path) as store:
        page = page_of(store)
    done = study.space.points - study.space.points // 50
    listed = len(page.table.rows)
    assert listed < done
    assert any(words.startswith(f"{done - listed:,} points in the table") for words in page.left_out)
    shown = {row[0].value for row in page.table.rows}
    assert {row[0].value for best in page.best for row in best.table.rows} <= shown
    assert main(["report", str(path), "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").stat().st_size < MOST_BYTES
    assert "of 2,940 points that have every objective" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_faint_points_that_lie_on_each_other_are_drawn_once() -> None:
    """A thousand points in one place are one dot; the chart says how many it stands for."""
    points = [FrontPoint(1.0, 1.0, "dominated")] * 1000 + [FrontPoint(2.0, 2.0, "front", "a", x_ends=(1.9, 2.2))]
    shown = front_chart(points, (Measure("x", "s"), Measure("y", "")), title="t")
    assert (shown.dots, shown.others, shown.marks, shown.front) == (1, 1000, 1, 1)
    assert "80 % interval of a" in shown.drawing.svg
    assert "1.9 s to 2.2 s" in shown.drawing.svg


def test_stores_that_are_none_or_empty(
    small: tuple[Study, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no store, a store beside a run, one that is gone: exit code 2; without points there is a page."""
    (tmp_path / "text.db").write_text("no store", encoding="utf-8")
    for words, named in (
        ([str(tmp_path / "text.db")], "archsim sweep"),
        ([str(tmp_path / "gone.db")], "there is none"),
        ([str(small[1]), str(small[1])], "one store"),
    ):
        assert main(["report", *words, "--out", str(tmp_path / "r.html")]) == 2
        assert named in capsys.readouterr().err
        assert not (tmp_path / "r.html").exists()
    empty = replace(small[0].identity, study="other")
    Store.create_or_open(tmp_path / "empty", empty).close()
    assert main(["report", str(tmp_path / "empty"), "--out", str(tmp_path / "r.html")]) == 0
    assert "nothing yet" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_definition_that_is_no_study_is_refused(
    small: tuple[Study, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a damaged or foreign store holds in place of a study is named."""
    for number, (definition, named) in enumerate((("[1]", "definition"), ("{", "JSON"), ('{"kind": "study"}', "name"))):
        path = tmp_path / f"{number}.db"
        Store.create_or_open(path, replace(small[0].identity, definition=definition)).close()
        assert main(["report", str(path), "--out", str(tmp_path / "r.html")]) == 2
        assert named in capsys.readouterr().err


def test_bundled_studies_come_back_from_their_definition(tmp_path: Path) -> None:
    """Every kind of axis, sample, workload and constraint that the bundled studies use survives the way."""
    names = ("pnm-crossover", "quantization-ladder", "small-chips")
    for name, number in zip(names, itertools.count()):
        study = load_study(name)
        with Store.create_or_open(tmp_path / f"{number}.db", study.identity) as store:
            read = study_of(store)
        assert read.spec == study.spec
        assert read.axes == study.axes
