"""A run directory of the real chain: the same bytes from another process, nothing after an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import archsim

START = [sys.executable, "-c", "import sys; from archsim.cli import main; sys.exit(main())"]
SOURCE = str(Path(archsim.__file__).parents[1])
REPLAY = ["--model", "llama-3.1-8b", "--trace", "azure-conv", "--limit", "20"]


def environment(hash_seed: str) -> dict[str, str]:
    """Return the environment of a process with *hash_seed*."""
    return os.environ | {"PYTHONPATH": SOURCE, "PYTHONHASHSEED": hash_seed}


def test_resolved_configuration_runs_again_to_the_same_bytes(tmp_path: Path) -> None:
    """Every file of the second run, from config.resolved.toml under another hash seed, equals that of the first."""
    first, second = tmp_path / "first", tmp_path / "second"
    changed = ["--set", "chip.memory.hbm.stacks=4"]
    for start, seed in (
        (["h100-sxm8", "--out", str(first), *changed], "1"),
        ([str(first / "config.resolved.toml"), "--out", str(second)], "2"),
    ):
        subprocess.run([*START, "run", *start, *REPLAY], check=True, capture_output=True, env=environment(seed))
    names = {path.name for path in first.iterdir()}
    assert {"result.json", "config.resolved.toml", "ledger.csv.gz", "requests.csv.gz"} < names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_interrupt_of_a_running_replay_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the midst of a long run: exit code 130, one line, no traceback, no file."""
    systems = ["h100-sxm8", "h200-sxm8", "b200-sxm8", "mi300x-8"]
    command = [*START, "compare", *systems, "--model", "llama-3.1-70b", "--out", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment("0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=600)
    assert process.returncode == 130
    assert complaints.strip() == "archsim: interrupted"
    assert list(tmp_path.iterdir()) == []
