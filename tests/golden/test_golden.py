"""Known results of the published systems on a few workloads, one small file each, reviewed and not refreshed.

A golden file holds the metrics, the ledger of the main memory while decoding and the event count: numbers that a change
of the model moves, and a change of the code does not. `pytest tests/golden --update-golden` writes them anew; the
reason for the difference belongs into the commit's message. Metrics are kept to 12 significant digits, shares of a
ledger to 12 decimal places.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.result import Result
from archsim.simulate import evaluate_step, run
from archsim.workload.model import load_model
from archsim.workload.trace import load_trace

HERE = Path(__file__).parent
SYSTEMS = ("a100-sxm8", "b200-sxm8", "h100-sxm8", "h200-sxm8", "m4-max", "mi300x-8", "tpu-v6e-8")


def dense_step(system: SystemSpec) -> Result:
    """Return one decode step of a dense model with 8-bit weights, at a batch between memory and compute."""
    return evaluate_step(system, load_model("llama-3.1-70b"), batch=16, context=2000, precision="w8a16kv16")


def expert_step(system: SystemSpec) -> Result:
    """Return one decode step of a mixture of experts, at a batch that touches most of them."""
    return evaluate_step(system, load_model("mixtral-8x7b"), batch=6, context=5000, precision="w8a16kv8")


def replay(system: SystemSpec) -> Result:
    """Return a short replay with its saturation: prefill, decode, idle time and the search."""
    trace = load_trace("azure-conv", limit=16, seed=1)
    return run(system, load_model("llama-3.1-8b"), trace=trace, seed=1, slo_s=0.05)


WORKLOADS: dict[str, Callable[[SystemSpec], Result]] = {
    "dense-step": dense_step,
    "expert-step": expert_step,
    "replay": replay,
}


def significant(value: Any) -> Any:
    """Return *value* with every float in it rounded to 12 significant digits."""
    if isinstance(value, dict):
        return {key: significant(inner) for key, inner in value.items()}
    return float(f"{value:.12g}") if isinstance(value, float) else value


def essence(result: Result) -> dict[str, Any]:
    """Return what a golden file holds of *result*."""
    content = result.model_dump(by_alias=True)
    kept = ("collectives", "latency_s", "mbu", "mfu", "requests", "saturation", "simulated_s", "throughput", "tokens")
    accounts = result.phases["decode"].ledger[result.system.main_memory].accounts
    return {
        **significant({name: content[name] for name in kept}),
        "decode_ledger": {account: round(share, 12) for account, share in accounts.items()},
        "event_count": result.provenance.event_count,
        "phase_s": significant({phase: part.time_s for phase, part in result.phases.items()}),
    }


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted place, value) of everything in *value* that is no table."""
    if not isinstance(value, dict):
        yield place, value
        return
    for key, inner in value.items():
        yield from leaves(inner, f"{place}.{key}" if place else key)


def differences(golden: dict[str, Any], found: dict[str, Any]) -> str:
    """Return one line for each number that differs: where, what it was, what it is, and by how much."""
    before, after = dict(leaves(golden)), dict(leaves(found))
    lines = []
    for place in sorted(before | after):
        old, new = before.get(place, "absent"), after.get(place, "absent")
        if old != new:
            numbers = isinstance(old, int | float) and isinstance(new, int | float) and old
            lines.append(f"{place}: {old} -> {new}" + (f" ({new / old - 1:+.1e})" if numbers else ""))
    return "\n".join(lines)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_result_is_the_known_one(system: str, workload: str, *, update_golden: bool) -> None:
    """The numbers of a published system on a workload are those that were last reviewed."""
    path = HERE / system / f"{workload}.json"
    found = essence(WORKLOADS[workload](load_system(system)))
    if update_golden:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    changed = differences(json.loads(path.read_text(encoding="utf-8")), found)
    assert not changed, f"{path.relative_to(HERE)} differs:\n{changed}"


def test_every_golden_file_is_compared() -> None:
    """A file that no test reads would be a number that nobody checks."""
    held = {str(path.relative_to(HERE)) for path in HERE.rglob("*.json")}
    assert held == {f"{system}/{workload}.json" for system in SYSTEMS for workload in WORKLOADS}


def test_a_difference_is_told_by_place_and_size() -> None:
    """What differs is shown as a line a number; what is equal is not shown."""
    golden = {"mbu": 0.5, "ledger": {"row": 0.25, "host": 0.125}, "name": "a", "gone": 1}
    found = {"mbu": 0.5, "ledger": {"row": 0.3, "host": 0.125}, "name": "b", "new": None}
    assert differences(golden, found).splitlines() == [
        "gone: 1 -> absent",
        "ledger.row: 0.25 -> 0.3 (+2.0e-01)",
        "name: a -> b",
        "new: absent -> None",
    ]
