"""Every machine and runtime that references name resolves by a bundled file or its aliases."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system

MEASURED = "reference/measured"
COLUMNS = ("system", "gpu_system", "gpu", "hardware")
NO_MACHINE = {"Fireworks GPU", "OctoAI GPU", "dgx", "dgx-attacc", "dgx-cpu"}
"""Unnamed chips of a service, and what the tables of a simulator call its variants."""
ONLY_COLLECTIVES = "collectives.csv"
"""Says links and numbers of cards in its names; its suite reads those."""
UNSEEN = ("A100-40GB", "L40S", "B200", "GB200", "H20", "MI300X", "h200_sxm", "GH200", "RTX PRO 6000", "h100-pcap")
RUNTIMES = (
    "trtllm-microbench", "eager-2023", "gpt-fast", "trtllm-2025", "vllm-v1", "sglang", "xla-tpu", "neuron",
    "llama.cpp-metal", "static-dataflow",
)  # fmt: skip


def named(folder: Path) -> set[str]:
    """Return every machine that a table of *folder* names."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.csv")):
        if path.name == ONLY_COLLECTIVES:
            continue
        with path.open(encoding="utf-8") as lines:
            for row in csv.DictReader(line for line in lines if not line.startswith("#")):
                found |= {row[column] for column in COLUMNS if row.get(column)}
    return found


def test_machines_of_the_shared_tables_resolve(shared: Path) -> None:
    """All but those that are no machine."""
    unknown = set()
    for name in named(shared / MEASURED) - NO_MACHINE:
        try:
            load_system(name)
        except InputError:
            unknown.add(name)
    assert unknown == set()


@pytest.mark.parametrize("name", UNSEEN)
def test_machines_that_others_measure_resolve(name: str) -> None:
    """Each is a system with a runtime of its own."""
    assert load_system(name).runtime.name


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtimes_resolve_by_the_names_people_use(name: str) -> None:
    """On any system, instead of its own."""
    assert load_system("h100-sxm8", [f"runtime={name}"]).runtime.name.startswith(name.partition("-v1")[0])
