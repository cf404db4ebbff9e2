"""`archsim search`: the Pareto front of a study, by multi-objective search."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.options import json_option, progress_bar

__all__ = ["command"]


@click.command("search")
@click.argument("study")
@click.option("--trials", type=click.IntRange(1, 1_000_000), default=200, show_default=True, metavar="N",
              help="Points that are tried.")  # fmt: skip
@click.option("--sampler", type=click.Choice(["nsga2", "nsga3", "tpe"]), default="nsga2", show_default=True,
              help="How the next points are chosen.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N",
              help="Of the search.")  # fmt: skip
@click.option("--round", "round_size", type=click.IntRange(2, 10_000), default=32, show_default=True, metavar="N",
              help="Points that are chosen together: a generation.")  # fmt: skip
@click.option("--store", "store_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Keep the rows here; default NAME.SAMPLER.db, and a search goes on where it ended.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes; default all cores.")
@click.option("--cluster", metavar="ADDRESS", help="Run on the workers of this dask scheduler.")
@click.option("--figures", metavar="DIR", type=click.Path(path_type=Path), help="Write figures of the store here.")
@json_option
def command(  # noqa: PLR0913  # one parameter an option
    *,
    study: str,
    trials: int,
    sampler: str,
    seed: int,
    round_size: int,
    store_path: Path | None,
    workers: int | None,
    cluster: str | None,
    figures: Path | None,
    as_json: bool,
) -> None:
    """Search the space of a STUDY for its Pareto front.

    The same seed tries the same points, on any number of workers. Axes without `steps` are searched as continuous ones
    (with a [sample] method other than grid).

    Example: archsim search memory-generations --trials 24 --round 8
    """
    import time

    from archsim.cli.studies import print_summary, write_figures
    from archsim.cli.sweep import executor_of
    from archsim.files import refuse_existing
    from archsim.study.door import load_study
    from archsim.study.reach import check_reach
    from archsim.study.search import Search, search, search_identity
    from archsim.study.store import Store
    from archsim.study.sweep import Tally

    if figures is not None:
        refuse_existing(figures)
    read = load_study(study)
    check_reach(read)
    how = Search(sampler, trials, seed=seed, round_size=round_size)
    start = time.perf_counter()
    with Store.create_or_open(
        store_path or Path(f"{read.spec.name}.{sampler}.db"), search_identity(read, how)
    ) as store:
        with progress_bar(read.spec.name) as progress:
            done = search(read, store, how, executor=executor_of(workers, cluster, round_size),
                          progress=None if progress is None else lambda n: progress("search", n / trials))  # fmt: skip
        tally = Tally(points=trials, before=0, done=done, wall_s=time.perf_counter() - start)
        print_summary(read, store, tally=tally, as_json=as_json)
        if figures is not None:
            write_figures(read, store, figures)
