"""Cut commands off at random moments and print what they left behind: `python scripts/interrupt.py --trials 200`."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from interrupting import ACTS, JOBS, prepared, trial_of, uncut


@click.command(context_settings={"show_default": True})
@click.option("--trials", default=200, help="Of each job, over all that may happen to it.")
@click.option("--seed", default=0)
def main(trials: int, seed: int) -> None:
    """Try, count, and exit with 1 where anything was wrong."""
    draw = random.Random(seed)
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        prepared(folder)
        for job in JOBS:
            good, seconds = uncut(job, folder)
            codes: Counter[tuple[str, int]] = Counter()
            for number in range(trials):
                act = list(ACTS)[number % len(ACTS)]
                trial = trial_of(job, act, good, draw.uniform(0, 1.1 * seconds), folder)
                codes[act, trial.code] += 1
                wrong[f"{job.name}, {act}: {trial.wrong}"] += bool(trial.wrong)
            for (act, code), count in sorted(codes.items()):
                print(f"{job.name:7} {act:15} exit code {code:4} {count:4} times", flush=True)
    for what, count in wrong.items():
        if count:
            print(f"{count} x {what}")
    sys.exit(1 if wrong.total() else 0)


if __name__ == "__main__":
    main()
