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


def test_traces_are_converted_sampled_and_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each writes one file in the common schema, says how many requests it has, and overwrites nothing."""
    monkeypatch.chdir(tmp_path)
    assert called(capsys, "trace", "convert", "agents", "a.csv.gz", "--limit", "50", "--rate-scale", "2")[0] == 0
    assert called(capsys, "trace", "sample", "azure-conv", "b.jsonl", "--share", "0.1")[0] == 0
    code, text, _ = called(capsys, "trace", "merge", "a.csv.gz", "b.jsonl", "c.jsonl", "--json")
    facts = json.loads(called(capsys, "trace", "show", "c.jsonl", "--json")[1])
    assert (code, json.loads(text)["requests"]) == (0, facts["requests"])
    assert 50 + 150 < facts["requests"] < 50 + 250
    assert called(capsys, "trace", "convert", "agents", "c.jsonl")[0] == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("--prompt-scale", "0"), ("--output-scale", "x"), ("--retrieve", "512"), ("--retrieve", "0+0"), ("--span", "5"),
     ("--start", "-1 s"), ("--start", "1e99 s"), ("--rate-scale", "nan")],
)  # fmt: skip
def test_an_impossible_change_exits_with_2(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the option and what it was given; nothing is written."""
    code, _, errors = called(capsys, "trace", "convert", "azure-conv", str(tmp_path / "x.csv"), f"{option}={value}")
    assert code == 2
    assert option in errors
    assert list(tmp_path.iterdir()) == []


def test_public_traces_are_listed_and_others_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name what there is, with a wrong one the nearest."""
    assert "mooncake-conversation" in called(capsys, "trace", "download")[1]
    code, _, errors = called(capsys, "trace", "download", "mooncake-conversations")
    assert code == 2
    assert "did you mean 'mooncake-conversation'" in errors


def test_decode_traces_go_with_what_can_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step writes none, a replayed one has no scheduler to serve requests."""
    run = ("run", "h100-sxm8", "--model", "llama-3.1-8b")
    step = ("--batch", "1", "--context", "1")
    for more, words in (
        ((*step, "--decode-trace", str(tmp_path / "d.jsonl")), "--decode-trace writes"),
        (("--decode-only", "x.jsonl", "--trace", "azure-conv"), "does not go with"),
        (("--decode-only", "x.jsonl", "--timeline", str(tmp_path / "t.json.gz")), "--timeline"),
        (("--decode-only", "x.jsonl"), "x.jsonl: expected a readable file"),
    ):
        code, _, errors = called(capsys, *run, *more)
        assert code == 2
        assert words in errors
