"""`archsim sweep`: the points of a study, into a store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.options import json_option

if TYPE_CHECKING:
    from archsim.study.execute import Executor
    from archsim.study.study import Study
    from archsim.study.sweep import Progress, Tally

__all__ = ["command", "executor_of"]

_INTERRUPTED = 130
_DONE, _FAILED = 0, 1


@click.command("sweep")
@click.argument("study")
@click.option("--store", "store_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Keep the rows here; default NAME.study.db, and what is there is not run again.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Run at most N points.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes; default all cores.")
@click.option("--shard", metavar="I/N", help="Only every N-th point, beginning with the I-th: for job arrays.")
@click.option("--cluster", metavar="ADDRESS", help="Run on the workers of this dask scheduler.")
@click.option("--figures", metavar="DIR", type=click.Path(path_type=Path), help="Write figures of the store here.")
@json_option
def command(  # one parameter an option
    *,
    study: str,
    store_path: Path | None,
    limit: int | None,
    workers: int | None,
    shard: str | None,
    cluster: str | None,
    figures: Path | None,
    as_json: bool,
) -> int:
    """Sweep the points of a STUDY (a bundled name or a TOML file).

    Points that the store already has are not run again, so the same command goes on after an interruption. Prints what
    became of them and the best ones.

    Example: archsim sweep pnm-crossover --limit 10
    """
    from archsim.cli.studies import print_summary, write_figures
    from archsim.files import refuse_existing
    from archsim.study.claims import Part
    from archsim.study.door import load_study
    from archsim.study.reach import check_reach
    from archsim.study.store import Store
    from archsim.study.sweep import sweep

    if workers is not None and cluster is not None:
        raise click.UsageError("--workers are processes of this machine, --cluster has its own")
    if figures is not None:
        refuse_existing(figures)
    place, shards = _shard(shard)
    read = load_study(study)
    check_reach(read)
    path = store_path or Path(f"{read.spec.name}.study.db")
    part = Part(read.space.points, first=place - 1, shards=shards)
    with Store.create_or_open(path, read.identity) as store:
        with _progress(read) as progress:
            executor = executor_of(workers, cluster, limit or len(part))
            tally = sweep(read, store, executor=executor, part=part, limit=limit, progress=progress)
        print_summary(read, store, tally=tally, as_json=as_json)
        if figures is not None and not tally.interrupted:
            write_figures(read, store, figures)
    if tally.interrupted:
        click.echo(f"archsim: interrupted; {path} holds what was finished, and the same command goes on", err=True)
        return _INTERRUPTED
    return _FAILED if tally.done and tally.failed == tally.done else _DONE


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise click.UsageError(f"--shard {text[:40]!r}: I/N with I from 1 to N is expected, such as 3/8")
    return int(match[1]), int(match[2])


def executor_of(workers: int | None, cluster: str | None, points: int) -> Executor:
    """Return where points run; processes that would find nothing to do are not started."""
    from functools import partial

    from archsim.study.execute import all_cores, in_process, on_processes

    if cluster is not None:
        from archsim.study.cluster import on_cluster

        return partial(on_cluster, address=cluster)
    count = min(workers or all_cores(), points)
    return in_process if count == 1 else partial(on_processes, workers=count)


@contextmanager
def _progress(study: Study) -> Iterator[Progress | None]:
    """Give a function that draws points done, their rate and the time left, or None where there is no terminal."""
    from rich.console import Console

    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn(compact=True, elapsed_when_finished=True))  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task(study.spec.name, total=study.space.points, rate="")

        def show(tally: Tally) -> None:
            rate = f"{tally.done / tally.wall_s:,.1f} points/s" if tally.wall_s else ""
            failed = f", {tally.failed} failed" if tally.failed else ""
            bars.update(task, completed=tally.before + tally.done, total=tally.points, rate=rate + failed)

        yield show
