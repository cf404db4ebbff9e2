"""Searching a study: the same trials whoever evaluates them, and a front that is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.study.cases import Case, Outcome
from archsim.study.door import load_study
from archsim.study.execute import on_processes
from archsim.study.export import export
from archsim.study.fronts import ranked
from archsim.study.search import SAMPLERS, Search, search, search_identity
from archsim.study.store import Store
from archsim.study.study import Study

pytest.importorskip("optuna")
STUDY = """
kind = "study"
name = "front"
title = "a front"
systems = ["h100-sxm8"]
model = "llama-3.1-8b"
[sample]
method = "lhs"
points = 10
[[axis]]
key = "batch"
from = 1
to = 1000
[[axis]]
key = "context"
values = [1024, 2048, 4096]
[[constraint]]
metric = "mbu"
at_most = 0.8
[[objective]]
metric = "tokens_per_s"
goal = "max"
[[objective]]
metric = "tpot_s_p50"
goal = "min"
"""


def studied(folder: Path) -> Study:
    """Return the study."""
    (folder / "front.toml").write_text(STUDY, encoding="utf-8")
    return load_study(str(folder / "front.toml"))


def toy(cases: Iterator[Case | None]) -> Generator[Outcome, None, None]:
    """Evaluate without a simulation: rate = batch^0.5, TPOT = batch x context; MBU is too high from batch 800 on."""
    for case in filter(None, cases):
        batch, context = case.work.batch or 0, case.work.context or 0
        metrics = {"tokens_per_s": math.sqrt(batch), "tpot_s_p50": float(batch * context), "mbu": batch / 1000}
        yield Outcome(case.point, case.inputs, "done", metrics, "", {}, 0.0)


def found(study: Study, path: Path, how: Search) -> bytes:
    """Search with the toy and return the store as CSV."""
    with Store.create_or_open(path, search_identity(study, how)) as store:
        search(study, store, how, executor=toy)
        out = path.with_suffix(f".{how.trials}.csv")
        export(store, out)
    return out.read_bytes()


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_search_finds_the_known_front(tmp_path: Path, sampler: str) -> None:
    """On the front the context is the smallest one, and no point of it breaks the constraint."""
    study, how = studied(tmp_path), Search(sampler, 192, seed=1, round_size=16)
    found(study, tmp_path / "s.db", how)
    with Store(tmp_path / "s.db") as store:
        ranking = ranked(store.rows(), study.spec.objective, study.limits, most=3)
    # NSGA keeps what it found; points of larger contexts survive only where none of the smallest is near.
    smallest = sum(outcome.inputs["context"] == 1024 for outcome in ranking.front)
    assert smallest >= 0.9 * len(ranking.front)
    assert all((outcome.metrics["mbu"] or 1) <= 0.8 for outcome in ranking.front)
    assert (ranking.best[0].metrics["mbu"] or 0) > 0.7


def test_the_same_seed_tries_the_same_points(tmp_path: Path) -> None:
    """Twice the same bytes; another seed, other points."""
    study = studied(tmp_path)
    one = found(study, tmp_path / "a.db", Search("nsga2", 40, seed=3, round_size=8))
    assert one == found(study, tmp_path / "b.db", Search("nsga2", 40, seed=3, round_size=8))
    assert one != found(study, tmp_path / "c.db", Search("nsga2", 40, seed=4, round_size=8))


def test_a_search_that_goes_on_is_the_longer_search(tmp_path: Path) -> None:
    """20 trials and then 40 are the 40 of one go, also where a round was cut."""
    study = studied(tmp_path)
    whole = found(study, tmp_path / "whole.db", Search("nsga2", 40, round_size=8))
    found(study, tmp_path / "parts.db", Search("nsga2", 16, round_size=8))
    assert found(study, tmp_path / "parts.db", Search("nsga2", 40, round_size=8)) == whole


@pytest.mark.slow
def test_a_search_is_the_same_on_two_processes(tmp_path: Path) -> None:
    """Rounds are told in the order of their numbers, whoever was first."""
    study = studied(tmp_path)
    how = Search("tpe", 12, round_size=6)
    names = ("one", "two")
    for name, executor in zip(names, (partial(on_processes, workers=1), partial(on_processes, workers=2)), strict=True):
        with Store.create_or_open(tmp_path / f"{name}.db", search_identity(study, how)) as store:
            assert search(study, store, how, executor=executor) <= 12
            export(store, tmp_path / f"{name}.csv")
    one, two = ((tmp_path / f"{name}.csv").read_bytes() for name in names)
    assert one == two


def test_a_store_of_another_search_is_refused(tmp_path: Path) -> None:
    """Another seed asks other questions."""
    study = studied(tmp_path)
    found(study, tmp_path / "a.db", Search("nsga2", 8, round_size=8))
    with pytest.raises(InputError, match="a store of the study"):
        found(study, tmp_path / "a.db", Search("nsga2", 8, seed=1, round_size=8))
