"""A result in a notebook: HTML with escaped text, figures by name, columns as they stand in the run directory."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from made_result import make_result

from archsim.errors import InputError
from archsim.report.shown import FIGURES, VIEW
from archsim.report.writers import write_run
from archsim.result import Result
from archsim.simulate import evaluate_step, load_model, load_system, load_trace, run


@pytest.fixture(scope="module")
def replayed() -> Result:
    """A few requests on one chip."""
    return run(load_system("m4-max"), load_model("llama-2-7b"), trace=load_trace("azure-conv", limit=3))


def test_a_result_shows_headline_and_ledger(replayed: Result) -> None:
    """As the terminal does: the main memory, its useful bytes and a loss."""
    html = replayed._repr_html_()
    assert html is not None
    for word in (["m4", "max"][0], "TTFT", "decode MBU", "KV read", "refresh"):
        assert word.lower() in html.lower()


def test_text_of_a_user_is_escaped() -> None:
    """A system named like a tag is text."""
    result = make_result("toy")
    hostile = result.system.model_copy(update={"title": "<script>alert(1)</script>"})
    named = result.model_copy(update={"system": hostile})
    html = VIEW.html(named)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("what", ["ledger", "bandwidth", "latency"])
def test_a_figure_is_drawn_by_name(what: str, replayed: Result, tmp_path: Path) -> None:
    """A figure with axes that hold something, shown as SVG and saved as PDF."""
    assert "<svg" in replayed.plot(what)._repr_svg_()
    replayed.plot(what).savefig(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert any(axes.has_data() for axes in replayed.plot(what).figure.axes)


def test_every_figure_that_does_not_exist_is_refused_in_words(replayed: Result) -> None:
    """An unknown name, latencies of a step, and a result without tables."""
    step = evaluate_step(load_system("m4-max"), load_model("llama-2-7b"), batch=1, context=64)
    for result, what, word in (
        (replayed, "legder", "ledger"),
        (step, "latency", "a replay"),
        (Result.from_json(replayed.to_json()), "ledger", "read back from JSON"),
    ):
        with pytest.raises(InputError, match=word):
            result.plot(what)
    assert set(FIGURES) == {"ledger", "bandwidth", "latency", "cost"}
    assert Result.from_json(replayed.to_json())._repr_html_() is None


@pytest.mark.parametrize("name", ["ledger", "requests"])
def test_columns_are_those_of_the_run_directory(name: str, replayed: Result, tmp_path: Path) -> None:
    """Row by row, to the last digit of a float."""
    write_run(replayed, tmp_path / "run")
    text = gzip.decompress((tmp_path / "run" / f"{name}.csv.gz").read_bytes()).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = replayed.columns(name)
    for key, column in columns.items():
        written = [row[key] for row in rows]
        if column.dtype.kind == "U":
            assert column.tolist() == written
        else:
            np.testing.assert_array_equal(column, np.array(written, dtype=float))


def test_a_step_has_no_requests() -> None:
    """The message says which table there is."""
    step = evaluate_step(load_system("m4-max"), load_model("llama-2-7b"), batch=1, context=64)
    with pytest.raises(InputError, match="a single step has none"):
        step.columns("requests")


def test_a_frame_holds_the_columns(replayed: Result) -> None:
    """Polars, where the extra is installed."""
    pytest.importorskip("polars", reason="the extra `notebook` is not installed")
    frame = replayed.frame("requests")
    assert frame.columns == list(replayed.columns("requests"))
    assert frame.height == 3
