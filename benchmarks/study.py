"""What a study costs: points a second, the store's and executor's share, growth, two workers against one.

    python benchmarks/study.py [--points 10000] [--largest 100000] [--workers 2]

Points are single decode steps of Llama 3.1 70B on 8 x H100, over batch and context. The share of store and executor is
measured on points whose system breaks a constraint, which are rows without a simulation; growth too, with the peak
memory of the process. Every figure is of a process of its own. Printed, not asserted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from archsim.study.claims import Part
from archsim.study.door import load_study
from archsim.study.execute import in_process, on_processes
from archsim.study.store import Store
from archsim.study.study import Study
from archsim.study.sweep import Tally, sweep

STUDY = """
kind = "study"
name = "bench"
title = "bench"
systems = ["h100-sxm8"]
model = "llama-3.1-70b"
{axes}
[[constraint]]
metric = "tdp_w"
at_most = "{watts} W"
[[objective]]
metric = "tokens_per_s"
goal = "max"
"""
AXIS = """
[[axis]]
key = "{key}"
values = {values}
"""
MEMORY = """
[[axis]]
key = "chip.memory.hbm.bandwidth"
from = "3 TB/s"
to = "4 TB/s"
steps = {steps}
"""


def steps_study(folder: Path, points: int, *, simulated: bool, memory: bool = False) -> Study:
    """Return a study of *points* steps; those that are not *simulated* break a constraint on power."""
    if memory:
        axes = MEMORY.format(steps=points) + AXIS.format(key="batch", values=[8])
        axes += AXIS.format(key="context", values=[2048])
    else:
        wide = min(points, 100)
        axes = AXIS.format(key="batch", values=list(range(1, wide + 1)))
        axes += AXIS.format(key="context", values=[512 + 8 * place for place in range(-(-points // wide))])
    path = folder / "bench.toml"
    path.write_text(STUDY.format(axes=axes, watts=6000 if simulated else 1), encoding="utf-8")
    return load_study(str(path))


def swept(points: int, *, workers: int, simulated: bool, memory: bool = False) -> Tally:
    """Sweep such a study into a fresh store."""
    with tempfile.TemporaryDirectory() as name:
        study = steps_study(Path(name), points, simulated=simulated, memory=memory)
        executor = in_process if workers == 0 else partial(on_processes, workers=workers)
        with Store.create_or_open(Path(name) / "bench.db", study.identity) as store:
            return sweep(study, store, executor=executor, part=Part(study.space.points))


def measured(*arguments: object) -> list[float]:
    """Return what a child prints: points, seconds, CPU seconds of it and its workers, MB of peak memory."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    source = str(Path(__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": source})
    return [float(word) for word in done.stdout.split()]


def child(points: int, workers: int, kind: str) -> None:
    """Sweep once and print what it cost."""
    tally = swept(points, workers=workers, simulated=kind != "empty", memory=kind == "memory")
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = sum(use.ru_utime + use.ru_stime for use in (own, others))
    print(tally.done, tally.wall_s, cpu_s, own.ru_maxrss / 1000)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        child(int(options.child[0]), int(options.child[1]), options.child[2])
        return
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for workers in (0, options.workers):
        place = f"{workers} processes" if workers else "in process"
        done, wall_s, cpu_s, _ = measured(options.points, workers, "empty")
        print(f"store and executor, {place}: {1e3 * wall_s / done:.2f} ms a point ({1e3 * cpu_s / done:.2f} ms CPU)")
    done, wall_s, cpu_s, _ = measured(100, 0, "memory")
    print(f"memory axis: {1e3 * wall_s / done:.1f} ms a point ({1e3 * cpu_s / done:.1f} ms CPU), each a new channel")
    for workers in (1, options.workers):
        done, wall_s, cpu_s, _ = measured(options.points // 10, workers, "steps")
        print(f"{workers} workers: {done / wall_s:.0f} points/s ({1e3 * cpu_s / done:.1f} ms CPU a point)")
    done, wall_s, cpu_s, _ = measured(options.points, options.workers, "steps")
    print(f"{done:,.0f} points on {options.workers} workers: {wall_s:.1f} s ({1e3 * cpu_s / done:.1f} ms CPU a point)")
    points = 100
    while points <= options.largest:
        done, wall_s, _, peak_mb = measured(points, 0, "empty")
        print(f"growth, {points:,} points: {1e3 * wall_s / done:.3f} ms a point, peak {peak_mb:.0f} MB")
        points *= 10


if __name__ == "__main__":
    main()
