"""Bounds of the suites: what they are over, and what a broken one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archsim.cli.validate import command
from archsim.validation import summary as suites
from archsim.validation.bounds import BOUNDS
from archsim.validation.network import row


def test_every_bound_is_of_a_suite_and_says_what_it_is_over() -> None:
    """A bound without a suite could never be broken."""
    assert {bound.suite for bound in BOUNDS} <= set(suites.SUITES)
    assert len({(bound.suite, bound.name) for bound in BOUNDS}) == len(BOUNDS)


@pytest.mark.parametrize(
    ("implementation", "bound"),
    [
        ("nccl-2.27.3 nccl-tests", "NCCL"),
        ("NCCL via vidur profiler (3 samples)", "NCCL"),
        ("nccl-tests (older NCCL)", "NCCL"),
        ("nccl-2.27.3 NVLS", "NVLS"),
        ("NVLS", "NVLS"),
        ("trtllm-1.0.0 custom allreduce TRTLLM", "TensorRT-LLM one- and two-shot"),
        ("vllm-0.14.0 custom allreduce vLLM_custom_graph", "vLLM custom"),
        ("sglang custom", "vLLM custom"),
        ("MSCCL++ kernel 6 LL packet", "MSCCL++"),
        ("DeepEP V1 low-latency", "DeepEP"),
    ],
)
def test_a_collective_falls_under_one_bound_on_its_mean(implementation: str, bound: str) -> None:
    """Each implementation has its own, from 1 KiB to 128 MiB; only the smallest messages of H100 have a floor too."""
    name = f"H100-SXM5-80GB NVLink/NVSwitch intra-node {implementation} all_reduce 8 ranks {{}} B latency_us"
    for size, expected in ((1024, [bound]), (2**27, [bound]), (2**28, [])):
        one = row(name.format(size), "all_reduce", 1.0, 1.1)
        held = [each.name for each in BOUNDS if each.suite == "collectives" and each.holds_for(one)]
        assert held == [f"{each}, 1 KiB to 128 MiB" for each in expected]


@pytest.mark.parametrize(("predicted", "code", "word"), [(1.07, 0, "held"), (1.2, 1, "BROKEN")])
def test_a_broken_bound_is_told_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, predicted: float, code: int, word: str
) -> None:
    """Rows 7 % off keep the bound of 8 % on products of bf16, rows 20 % off break it; more rows of M do not count."""
    name = "H100-SXM5-80GB gemm bfloat16 {} 4096 4096  latency_us"
    rows = [row(name.format(16), "gemm bfloat16", 1.0, predicted), row(name.format(65), "gemm bfloat16", 1.0, 9.0)]
    monkeypatch.setattr("archsim.validation.kernels.suite", lambda _reference: rows)
    result = CliRunner().invoke(command, ["kernels"], standalone_mode=False)
    assert result.return_value == code
    assert (
        f"bound {word}: GEMM bf16, M to 64 (1 rows): mean |e| {100 * (predicted - 1):.3g} % of at most 8 %"
        in result.output
    )


def test_out_takes_the_rows_and_the_parity_plot(tmp_path: Path) -> None:
    """The rows are those of --json, the picture stands beside them, and nothing is overwritten."""
    folder = tmp_path / "found"
    printed = CliRunner().invoke(command, ["network", "--json", "--out", str(folder)], standalone_mode=False)
    (suite,) = json.loads(printed.output)
    assert json.loads((folder / "network.json").read_text("utf-8")) == suite
    assert "<svg" in (folder / "parity.svg").read_text("utf-8")
    again = CliRunner().invoke(command, ["network", "--out", str(folder)], standalone_mode=False)
    assert "does not exist yet" in str(again.exception)


def test_the_worst_rows_come_first() -> None:
    """By the size of the error, whatever its sign; rows without one are left out."""
    rows = [row("a", "g", 1.0, 1.1), row("b", "g", 1.0, 0.5), row("c", "g", None, 1.0), row("d", "g", 1.0, 1.3)]
    assert [found["id"] for found in suites.worst_rows(rows)] == ["b", "d", "a"]
