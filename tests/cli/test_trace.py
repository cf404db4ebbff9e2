"""`archsim trace`: what it prints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsim.cli import main


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return (exit code, standard output, standard error) of one command line."""
    code = main(arguments)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_inspect_says_what_a_sampled_trace_is_like(capsys: pytest.CaptureFixture[str]) -> None:
    """A sampled trace is labelled so; rows, rate and quantiles follow."""
    code, page, _ = called(capsys, "trace", "inspect", "azure-conv")
    assert code == 0
    for word in ("sampled", "2,000", "requests/s", "inter-arrival CV", "busiest minute", "p99.9", "prompt tokens"):
        assert word in page


def test_inspect_prints_only_json_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """The same facts as one object; what is undefined is null."""
    code, text, errors = called(capsys, "trace", "inspect", "azure-conv", "--limit", "1", "--json")
    facts = json.loads(text)
    assert (code, errors) == (0, "")
    assert (facts["name"], facts["sampled"], facts["requests"], facts["correlation"]) == ("azure-conv", True, 1, None)
    assert facts["prompt_tokens"]["smallest"] == facts["prompt_tokens"]["quantiles"]["50"]


def test_inspect_scales_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the rate is half the span."""
    spans = [
        json.loads(called(capsys, "trace", "inspect", "azure-conv", "--json", *more)[1])["span_s"]
        for more in ([], ["--rate-scale", "2"])
    ]
    assert spans[0] == pytest.approx(2 * spans[1], rel=1e-12)


@pytest.mark.parametrize(
    ("row", "words"), [("1,x,1", "line 3"), ("0.1,1,1", "sort the trace"), ("1,0,1", "at least 1 token")]
)
def test_a_bad_trace_exits_with_2_and_names_file_and_line(
    row: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed on standard output."""
    path = tmp_path / "bad.csv"
    path.write_text(f"arrival_s,prompt_tokens,output_tokens\n0.5,1,1\n{row}\n")
    code, page, errors = called(capsys, "trace", "inspect", str(path))
    assert (code, page) == (2, "")
    assert words in errors
    assert "bad.csv: line 3" in errors


def test_an_unknown_trace_exits_with_2_and_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """As for every name."""
    code, _, errors = called(capsys, "trace", "inspect", "azure-cov")
    assert code == 2
    assert "did you mean 'azure-conv'" in errors
