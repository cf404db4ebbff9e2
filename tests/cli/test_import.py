"""`archsim import`: other simulators' files become ours, and what cannot be read is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsim.cli import main
from archsim.errors import InputError
from archsim.hardware.importers.convert import imported
from archsim.hardware.library import load_memory_device, load_system
from archsim.hardware.sources import sources_of_file
from archsim.simulate import evaluate_step
from archsim.workload.model import load_model

INPUTS = Path(__file__).parent / "inputs"
FILES = {
    "llmcompass": "llmcompass.json", "calculon": "calculon.json", "aiconfigurator": "aiconfigurator.yaml",
    "dramsim3": "dramsim3.ini", "ramulator": "ramulator.yaml",
}  # fmt: skip
SYSTEMS = ("llmcompass", "calculon", "aiconfigurator")


def written(name: str, folder: Path) -> Path:
    """Return the imported file of format *name*."""
    out = folder / f"{name}.toml"
    assert main(["import", str(INPUTS / FILES[name]), "-o", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", FILES)
def test_the_format_is_found_by_content_and_every_number_has_an_origin(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file names its source, lists what was lost, and each number is a key of the file or an assumption."""
    out = written(name, tmp_path)
    text, told = out.read_text(encoding="utf-8"), capsys.readouterr()
    assert f"a system from {name}" in told.out or f"a memory device from {name}" in told.out
    assert text.startswith(f"# Imported from {FILES[name]}")
    lost = [line.removeprefix("not mapped: ") for line in told.err.splitlines()]
    assert lost
    assert all(f"#   {line}" in text for line in lost)
    rows = sources_of_file(out)
    assert rows
    assert all(row.kind in ("source", "assumption") for row in rows)
    assert any(FILES[name] in row.text for row in rows)


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_imported_system_runs(name: str, tmp_path: Path) -> None:
    """One decode step of a small model, at no more than the peak of its memory."""
    result = evaluate_step(load_system(str(written(name, tmp_path))), load_model("llama-3.1-8b"), batch=2, context=100)
    assert result.mbu is not None
    assert 0 < result.mbu < 1


def test_llmcompass_peaks_follow_its_own_arithmetic(tmp_path: Path) -> None:
    """64 cores x 4 x 16 x 16 multiply-adds at 1.5 GHz; 4 stacks x 1,024 pins x 3.2 Gb/s; 6 links over 3 neighbours."""
    spec = load_system(str(written("llmcompass", tmp_path)))
    assert spec.chip.engine["matrix"].flop_per_s["fp16"] == 2 * 64 * 4 * 256 * 1_500_000_000
    assert spec.chip.memory["mem"].peak_bytes_per_s == 4 * 1024 * 3_200_000_000 // 8
    assert (spec.chips, spec.network.topology, spec.network.link_bytes_per_s) == (4, "full_mesh", 6 * 30 * 10**9 // 3)


@pytest.mark.parametrize(("name", "bytes_per_s", "chips"), [("calculon", 2500e9, 8), ("aiconfigurator", 4e12, 4)])
def test_bandwidth_survives_the_choice_of_stacks(name: str, bytes_per_s: float, chips: int, tmp_path: Path) -> None:
    """Pin rate x width of the stacks that stand in is the bandwidth of the file."""
    spec = load_system(str(written(name, tmp_path)))
    assert spec.chip.memory["mem"].peak_bytes_per_s == pytest.approx(bytes_per_s, rel=1e-6)
    assert spec.chips == chips


def test_dram_timings_become_times(tmp_path: Path) -> None:
    """DRAMsim3: 3,900 and 260 clocks of 1 ns; 14 + 14 + 4 / 2 to the last beat. Ramulator: 560 clocks of 625 ps."""
    device = load_memory_device(str(written("dramsim3", tmp_path)))
    assert (device.standard, device.refresh_interval_ps, device.refresh_cycle_ps) == ("HBM2", 3_900_000, 260_000)
    assert (device.access_latency_ps, device.burst_bytes) == (30_000, 32)
    other = load_memory_device(str(written("ramulator", tmp_path)))
    assert (other.standard, other.refresh_cycle_ps, other.access_latency_ps) == ("HBM3", 350_000, 53 * 625)


def test_json_holds_the_file_and_what_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but JSON on stdout."""
    assert main(["import", str(INPUTS / FILES["calculon"]), "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert (page["format"], page["kind"]) == ("calculon", "system")
    assert any(line.startswith("mem2.GBps") for line in page["unmapped"])


BOMB = "a: &a [1, 1]\nb: &b [*a, *a]\nMemorySystem: *b\n"
MALFORMED = {
    "empty.json": "",
    "list.json": "[1, 2]",
    "broken.json": '{"matrix": ',
    "other.json": '{"hello": 1}',
    "nan.json": '{"matrix": {"tflops": NaN}, "vector": {}, "mem1": {}, "networks": []}',
    "deep.json": '{"device":' * 5000,
    "negative.json": '{"matrix": {"tflops": -1}, "vector": {"tflops": 1}, "mem1": {"GiB": 1, "GBps": 1}, '
    '"networks": [{"size": 1}]}',
    "text.json": '{"matrix": {"tflops": "fast"}, "vector": {"tflops": 1}, "mem1": {"GiB": 1, "GBps": 1}, '
    '"networks": [{"size": 1}]}',
    "huge.json": '{"matrix": {"tflops": 1}, "vector": {"tflops": 1}, "mem1": {"GiB": 1, "GBps": 1e300}, '
    '"networks": [{"size": 1}]}',
    "chips.json": '{"matrix": {"tflops": 1}, "vector": {"tflops": 1}, "mem1": {"GiB": 1, "GBps": 1}, '
    '"networks": [{"size": 1e9, "bandwidth": 1, "latency": 1e-6}]}',
    "bomb.yaml": BOMB,
    "tag.yaml": "MemorySystem: !!python/object/apply:os.system ['echo no']\n",
    "broken.yaml": "gpu: [1,\n",
    "missing.yaml": "gpu: {mem_bw: 1000000000}\nnode: {num_gpus_per_node: 1}\n",
    "word.yaml": "MemorySystem: {DRAM: {impl: SDRAM}}\n",
    "half.ini": "[dram_structure]\nprotocol = HBM\n[timing]\ntCK = 1\n",
    "twice.ini": "[dram_structure]\na = 1\na = 2\n[timing]\n",
    "zero.ini": "[dram_structure]\nprotocol = HBM\nBL = 0\n[timing]\ntCK = 0\n[system]\n",
}
"""Name of a file -> what it holds, none of which is a machine."""


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_machine_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the file named, no traceback, nothing written."""
    path, out = tmp_path / name, tmp_path / "out.toml"
    path.write_text(MALFORMED[name], encoding="utf-8")
    assert main(["import", str(path), "-o", str(out)]) == 2
    told = capsys.readouterr().err
    assert str(path) in told or name in told
    assert "Traceback" not in told
    assert "internal error" not in told
    assert len(told.splitlines()) <= 3
    assert not out.exists()


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both name the file."""
    path = tmp_path / "noise.json"
    path.write_bytes(bytes(range(256)) * 4)
    assert main(["import", str(path)]) == 2
    assert main(["import", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("archsim: ") == 2


def test_a_forced_format_and_an_existing_file_are_respected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--format takes the file as it says; an unknown one and an existing output are refused."""
    with pytest.raises(InputError, match="device_count"):
        imported(INPUTS / FILES["calculon"], wanted="llmcompass")
    assert main(["import", str(INPUTS / FILES["calculon"]), "--format", "calcullon"]) == 2
    assert "did you mean" in capsys.readouterr().err
    out = tmp_path / "there.toml"
    out.write_text("mine", encoding="utf-8")
    assert main(["import", str(INPUTS / FILES["calculon"]), "-o", str(out)]) == 2
    assert out.read_text(encoding="utf-8") == "mine"
