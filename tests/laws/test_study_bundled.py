"""The bundled studies: each is found by name, is what its file says, and runs on a small slice."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.files import bundled_names
from archsim.study.claims import Part
from archsim.study.door import load_study
from archsim.study.execute import in_process
from archsim.study.figures import figures_of
from archsim.study.reach import check_reach
from archsim.study.store import Store
from archsim.study.sweep import sweep

STUDIES = bundled_names("workloads", "studies", (".toml",))


@pytest.mark.parametrize("name", STUDIES)
def test_a_bundled_study_runs(name: str, tmp_path: Path) -> None:
    """Its middle point is done and has its metrics, and its constraints can be met."""
    check_slice(name, tmp_path, points=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_bundled_study_runs_on_a_slice(name: str, tmp_path: Path) -> None:
    """Every n-th point is done or says why not."""
    check_slice(name, tmp_path, points=8)


def check_slice(name: str, tmp_path: Path, *, points: int) -> None:
    """Run *points* points of a study, spread over it."""
    study = load_study(name)
    assert study.spec.name == name
    check_reach(study)
    shards = -(-study.space.points // points)
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        part = Part(study.space.points, first=shards // 2, shards=shards)
        tally = sweep(study, store, executor=in_process, part=part)
        rows = list(store.rows())
    assert tally.done == len(rows) > 0
    for outcome in rows:
        assert outcome.status == "done" or "bytes" in outcome.error, outcome.error
        if outcome.status == "done":
            assert all(outcome.metrics[goal.metric] is not None for goal in study.spec.objective)
    assert any(outcome.status == "done" for outcome in rows)


def test_the_slices_of_a_study_give_figures(tmp_path: Path) -> None:
    """A front, a heat map and a scaling curve, from whatever rows there are."""
    study = load_study("tp-against-pp")
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        sweep(study, store, executor=in_process, part=Part(study.space.points), limit=8)
        assert set(figures_of(study, store)) == {"pareto", "heatmap", "scaling"}


TOY = """
kind = "study"
name = "bounds"
title = "bounds"
systems = ["h100-sxm8", "h200-sxm8"]
model = "llama-3.1-70b"
[[workload]]
name = "step"
batch = 8
context = 1024
[[constraint]]
metric = "{metric}"
{bound}
[[objective]]
metric = "tokens_per_s"
goal = "max"
"""


@pytest.mark.parametrize(
    ("metric", "bound", "words"),
    [
        ("tdp_w", 'at_most = "1 kW"', "tdp_w is 5600"),
        ("memory_bytes", 'at_least = "2 TB"', "memory_bytes is"),
        ("die_mm2", "at_most = 100", "die_mm2"),
        ("mbu", "at_least = 1.5", "mbu is at most 1"),
        ("tpot_s_p50", 'at_most = "1 ms"', "tpot_s_p50 is at least"),
        ("tokens_per_s", "at_least = 100000", "tokens_per_s is at most"),
    ],
)
def test_a_constraint_that_no_point_can_meet_is_said_before_running(
    tmp_path: Path, metric: str, bound: str, words: str
) -> None:
    """What systems state is known, and no token is faster than its weights are read at the peak of all memories."""
    path = tmp_path / "bounds.toml"
    path.write_text(TOY.format(metric=metric, bound=bound), encoding="utf-8")
    with pytest.raises(InputError, match="constraint") as caught:
        check_reach(load_study(str(path)))
    assert words in str(caught.value)


def test_a_bound_is_one_that_results_keep(tmp_path: Path) -> None:
    """The fastest TPOT that the bound allows is faster than every simulated one, yet within a factor of three."""
    path = tmp_path / "bounds.toml"
    text = TOY.format(metric="tpot_s_p50", bound='at_most = "3.4 ms"').replace("batch = 8", "batch = 1")
    path.write_text(text, encoding="utf-8")
    study = load_study(str(path))
    check_reach(study)
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        sweep(study, store, executor=in_process, part=Part(study.space.points))
        times = [outcome.metrics["tpot_s_p50"] or 0.0 for outcome in store.rows()]
    assert all(3.4e-3 < time_s < 3 * 3.4e-3 for time_s in times)


def test_a_design_over_another_is_drawn_where_both_are_known(tmp_path: Path) -> None:
    """Two systems and two further axes give the map of where one pays; without rows of both there is none."""
    study = load_study("tp-against-pp")
    half = study.space.points // 2
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        for first in (0, half):
            sweep(study, store, executor=in_process, part=Part(first + 1, first=first))
        assert "gain" in figures_of(study, store)
