"""Measuring: what a device with known times leaves, and what is said where there is none."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from archsim import cli
from archsim.hardware.library import load_system
from archsim.validation import measure, torch_device
from archsim.validation.device import Attention, DeviceInfo
from archsim.validation.kernel_tasks import bench, matmul

GAP_S, RAMP_S, WINDOW_BYTES, LAUNCH_S = 1.5e-6, 3e-6, 1_700_000, 4e-6
INFO = DeviceInfo("Toy GPU", "555.42", "torch 2.9, CUDA 12.6", "2026-02-03", 50 * 2**20, 80 * 2**30)


class ToyDevice:
    """An H100 of another gap, ramp and window than the bundled one's."""

    def __init__(self) -> None:
        settings = (
            "runtime.launch_gap=1500000 ps",
            "runtime.ramp=3000000 ps",
            f"chip.bytes_in_flight={WINDOW_BYTES} B",
            "chip.engine.matrix.sustained.bf16=700 TFLOP/s",
        )
        self._bench = bench("h100-sxm8", "trtllm-microbench", settings)

    def info(self) -> DeviceInfo:
        """Return what it is."""
        return INFO

    def stream_s(self, size: int) -> float:
        """Return the time at 3 TB/s."""
        return GAP_S + size / 3e12

    def product_s(self, rows: int, columns: int, inner: int) -> float:
        """Return what the model says with the known settings."""
        return matmul(self._bench, (rows, columns, inner), weight_bits=Fraction(16), bits=16)

    def attention_s(self, shape: Attention) -> float:
        """Return the time of reading the cache three times."""
        return 3 * shape.kv_bytes / 3e12

    def chain_s(self, kernels: int, *, graph: bool) -> float:
        """Return the time of so many gaps."""
        return kernels * (GAP_S + (0.0 if graph else LAUNCH_S))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for the toy."""
    out = tmp_path_factory.mktemp("measure") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "WEIGHTS", ((4096, 4096), (8192, 8192), (16384, 16384)))
        patch.setattr(measure, "ROWS", (1, 64))
        patch.setattr(torch_device, "open_device", ToyDevice)
        assert cli.main(["measure", "h100-sxm8", "--out", str(out)]) == 0
    return out


def test_the_calibrated_system_is_the_device(folder: Path) -> None:
    """Gap, ramp, window and sustained rate come back from the times that were made with them."""
    system = load_system(str(folder / "system.toml"))
    assert system.runtime.launch_gap_ps == pytest.approx(GAP_S * 1e12, rel=1e-3)
    assert system.runtime.ramp_ps == pytest.approx(RAMP_S * 1e12, rel=0.03)
    assert system.chip.bytes_in_flight == pytest.approx(WINDOW_BYTES, rel=0.02)
    assert float(system.chip.engine["matrix"].sustained_flop_per_s["bf16"]) == pytest.approx(700e12, rel=0.05)


def test_every_written_number_says_where_it_is_from(folder: Path) -> None:
    """Device, driver and date stand behind each measured number and before the table of products."""
    text = (folder / "system.toml").read_text(encoding="utf-8")
    sourced = [line for line in text.splitlines() if "# source: archsim measure" in line]
    assert {line.partition(" = ")[0] for line in sourced} == {"launch_gap", "ramp", "bytes_in_flight", "bf16"}
    assert all("Toy GPU, driver 555.42" in line and "2026-02-03" in line for line in sourced)
    assert "driver 555.42" in (folder / "kernels.csv").read_text(encoding="utf-8").splitlines()[0]


def test_all_figures_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """measured.json has every kind of figure; the table of products is one that `validate kernels` reads."""
    kept = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    assert {timing["what"] for timing in kept["timings"]} == {"stream", "product", "attention", "graph", "launched"}
    assert kept["device"]["driver"] == "555.42"
    cli.main(["validate", "kernels", "--reference", str(folder / "kernels.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["n"] == 7


@pytest.mark.parametrize("present", [False, True])
def test_off_a_gpu_it_says_so(
    present: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without PyTorch, and with one that sees no GPU: one line on standard error, exit code 2, nothing written."""
    made = ModuleType("torch")
    vars(made).update(cuda=SimpleNamespace(is_available=lambda: False), version=SimpleNamespace(cuda=None))
    monkeypatch.setitem(sys.modules, "torch", made if present else None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["measure", "h200-sxm8"]) == 2
    assert ("no NVIDIA GPU here" if present else "pip install 'archsim[measure]'") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
