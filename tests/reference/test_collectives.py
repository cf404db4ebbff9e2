"""Collectives against silicon: floors, and mean errors by library."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.validation.collectives import Measurement, predict_us, suite

LIBRARIES = (
    "nccl-2.27",
    "trtllm",
    "vLLM_custom_graph",
    "vLLM_custom_eager",
    "MSCCL++",
    "DeepEP",
    "LLMCompass",
    "older",
    "vidur",
)


def _predicted(system: str, implementation: str, ranks: int, size: int, collective: str = "all_reduce") -> float:
    predicted, reason = predict_us(Measurement(system, "NVLink", collective, implementation, ranks, size, 1.0))
    assert reason is None
    assert predicted is not None
    return predicted


def test_the_floors_on_eight_h100_are_within_ten_percent() -> None:
    """NCCL needs 15.5 us for 512 B, TensorRT-LLM's one-shot kernel 3.2 us for 256 B."""
    assert _predicted("H100-SXM5-80GB", "nccl-2.27.3 nccl-tests", 8, 512) == pytest.approx(15.5, rel=0.1)
    assert _predicted("H100-SXM5-80GB", "trtllm custom allreduce TRTLLM", 8, 256) == pytest.approx(3.2, rel=0.1)


def test_the_published_figures_hold() -> None:
    """The suite's own figures: each within 20 %, 10 % in the mean."""
    errors = [abs(row["error"]) for row in suite(None)]
    assert max(errors) <= 0.2
    assert sum(errors) / len(errors) <= 0.1


def test_nvls_gains_at_eight_ranks_of_a_large_message() -> None:
    """H100: SHARP in the switch beats the ring for 128 MiB, and only for large messages."""
    system = "H100-SXM5-80GB"
    auto, nvls = (_predicted(system, name, 8, 2**27) for name in ("nccl-2.27.3", "nccl-2.27.3 NVLS"))
    assert auto == nvls
    assert _predicted(system, "nccl-2.27.3", 8, 2**16) < _predicted(system, "nccl-2.27.3 NVLS", 8, 2**16)


@pytest.mark.parametrize("system", ["H200-SXM", "B200-SXM", "GB200", "MI300X", "NVIDIA B300"])
def test_systems_without_measurements_fall_back(system: str) -> None:
    """A floor between one-shot's and ten times NCCL's, and a bandwidth below the links'."""
    assert 3 < _predicted(system, "nccl-2.27.3 nccl-tests", 8, 1024) < 160
    assert _predicted(system, "nccl-2.27.3 nccl-tests", 8, 2**27) > 2**27 / 900e3


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (Measurement("Cray-1", "x", "all_reduce", "nccl", 8, 1024, 1.0), "no fabric for Cray-1"),
        (Measurement("H100", "x", "gossip", "nccl", 8, 1024, 1.0), "no model of gossip"),
        (Measurement("H100", "x", "all_reduce", "Gloo", 8, 1024, 1.0), "no model of the implementation Gloo"),
        (Measurement("H100", "x", "all_reduce", "NCCL via vidur", 8, 1024, 1.0), "noisy below 1 MB"),
        (Measurement("H100", "x", "all_reduce", "nccl", 1, 1024, 1.0), "no message"),
    ],
)
def test_what_cannot_be_modelled_is_skipped_with_its_reason(measured: Measurement, reason: str) -> None:
    """No prediction, and words."""
    predicted, why = predict_us(measured)
    assert predicted is None
    assert why is not None
    assert reason in why


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """The message names the missing columns."""
    path = tmp_path / "rows.csv"
    path.write_text("system,latency\nx,1\n")
    with pytest.raises(InputError, match="message_size_bytes"):
        suite(path)


def test_the_measured_rows_are_met(shared: Path) -> None:
    """1 KiB to 128 MiB: the mean error of every library is at most 15 %."""
    errors = defaultdict(list)
    for row in suite(shared / "reference/measured/collectives.csv"):
        size = int(row["id"].split(" B latency_us")[0].rpartition(" ")[2])
        if row["error"] is not None and 1024 <= size <= 2**27:
            library = next(name for name in LIBRARIES if name in row["id"])
            errors[library].append(abs(row["error"]))
    assert set(errors) == set(LIBRARIES)
    assert {name: sum(each) / len(each) for name, each in errors.items() if sum(each) / len(each) > 0.15} == {}
