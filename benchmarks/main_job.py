"""The main job as a user meets it: a whole trace replayed, one decode step, start-up, peak memory.

    python benchmarks/main_job.py ../shared/traces/azure_llm_2023_conv.csv.gz [--system S] [--model M]

Each figure comes from processes of their own, and the best of several is printed: noise only adds. The replay is
`archsim run`, with start-up, reading the trace and simulating the steps; its peak memory is what the kernel reports of
the child. The decode step is simulated anew each time, after imports. Printed, not asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SOURCE = str(Path(__file__).parents[1])
MAIN = "import sys; from archsim.cli import main; sys.exit(main())"
STEP = """
import sys, time
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.sharding import plan_iteration
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

spec, model = load_system(sys.argv[1]), load_model(sys.argv[2])
parts, ways, bits, walls = System(spec), Parallelism.default(spec), Precision.of_model(model), []
for context in range(1000, 1040):
    batch, started = Batch.of_decode(32, context), time.perf_counter()
    simulate_step(plan_iteration(model, bits, ways, spec, batch), parts)
    walls.append(time.perf_counter() - started)
print(walls[0], sorted(walls)[len(walls) // 2])
"""


def process(code: str, *arguments: str) -> tuple[float, float, str]:
    """Return (wall seconds, peak MiB, standard output) of a fresh interpreter that runs *code*."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": SOURCE}
    )
    assert child.stdout is not None
    printed = child.stdout.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(child.returncode)
    return time.perf_counter() - started, usage.ru_maxrss / 1024, printed


def best(times: int, code: str, *arguments: str) -> tuple[float, float, str]:
    """Return the shortest of several runs."""
    return min(process(code, *arguments) for _ in range(times))


def line(title: str, *figures: str) -> None:
    """Print one measurement."""
    print(f"{title:<44}{''.join(f'{figure:>24}' for figure in figures)}")


def whole_trace(trace: str, system: str, model: str) -> None:
    """Print the rates and the peak memory of `archsim run` on the whole of *trace*."""
    wall_s, peak_mib, printed = best(3, MAIN, "run", system, "--model", model, "--trace", trace, "--json")
    result = json.loads(printed)
    line(f"archsim run {system}, whole trace", f"{wall_s:.2f} s", f"{peak_mib:.0f} MiB peak")
    done, tokens = result["requests"]["offered"], result["tokens"]["output"]
    events = result["provenance"]["event_count"]
    rates = ((done, "requests"), (tokens, "output tokens"), (events, "events"))
    line("  a second, start-up included", *(f"{count / wall_s:,.0f} {unit}" for count, unit in rates))


def one_step(system: str, model: str) -> None:
    """Print the time of one decode step after start-up: of the first in a process, and the median of forty."""
    first_s, median_s = min(tuple(map(float, process(STEP, system, model)[2].split())) for _ in range(3))
    line(f"decode step, {model} on {system}"[:43], f"{1000 * first_s:.1f} ms first", f"{1000 * median_s:.1f} ms median")


def start_up() -> None:
    """Print the time of `archsim --help` and that of a bare `import click`."""
    help_s = best(10, MAIN, "--help")[0]
    click_s = best(10, "import click")[0]
    line("archsim --help", f"{1000 * help_s:.0f} ms", f"{help_s / click_s:.2f} x import click")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", help="a recorded trace, or the name of a bundled one")
    parser.add_argument("--system", default="h100-sxm8")
    parser.add_argument("--model", default="llama-3.1-70b")
    options = parser.parse_args(arguments)
    start_up()
    one_step(options.system, options.model)
    whole_trace(options.trace, options.system, options.model)


if __name__ == "__main__":
    main()
