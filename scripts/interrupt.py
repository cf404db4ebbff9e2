"""Cut commands off at random moments and print what they left behind: `python scripts/interrupt.py --trials 200`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from interrupting import ACTS, JOBS, OTHER_JOBS, trials


@click.command(context_settings={"show_default": True})
@click.option("--trials", "number", default=200, help="Of each job, over all that may happen to it.")
@click.option("--seed", default=0)
@click.option("--others", is_flag=True, help="Not run, sweep and report, but every other command that writes.")
@click.option("--job", "names", multiple=True, help="Only these.")
def main(*, number: int, seed: int, others: bool, names: tuple[str, ...]) -> None:
    """Try, count, and exit with 1 where anything was wrong."""
    wrong: Counter[str] = Counter()
    codes: Counter[tuple[str, str, int]] = Counter()
    jobs = [job for job in (OTHER_JOBS if others else JOBS) if not names or job.name in names]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for trial in trials(folder, jobs, each=-(-number // len(ACTS)), seed=seed):
            codes[trial.job, trial.act, trial.code] += 1
            if trial.wrong:
                wrong[f"{trial.job}, {trial.act}: {trial.wrong}"] += 1
    for job in jobs:
        click.echo(f"{job.name}: {sum(count for key, count in codes.items() if key[0] == job.name)} trials")
        for (_, act, code), count in sorted((key, count) for key, count in codes.items() if key[0] == job.name):
            click.echo(f"  {act:17} exit code {code:4} {count:4} times")
    for what, count in wrong.items():
        click.echo(f"{count} x {what}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
