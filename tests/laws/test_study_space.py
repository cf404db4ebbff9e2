"""Which points a study has: grids, draws and hypercubes, and what stands at a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.study.axes import Axis, AxisSpec
from archsim.study.door import load_study
from archsim.study.sampling import Space

STUDY = """
kind = "study"
name = "small"
title = "a small one"
systems = ["h100-sxm8", "h200-sxm8"]
model = "llama-3.1-8b"
[sample]
method = "grid"
[[axis]]
key = "batch"
from = 1
to = 64
steps = 4
scale = "log"
[[axis]]
key = "runtime.launch_gap"
values = ["1 us", "2 us"]
[[axis]]
key = "context"
values = [1024]
[[objective]]
metric = "tokens_per_s"
goal = "max"
"""


def written(folder: Path, text: str = STUDY) -> str:
    """Return the path of a study of this *text*."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def levels(count: int, key: str = "k") -> Axis:
    """Return an axis of whole numbers."""
    return Axis((key,), tuple((value,) for value in range(count)))


def test_a_grid_runs_through_every_combination_once_with_workloads_fastest(tmp_path: Path) -> None:
    """2 systems x 2 gaps x 1 context x 4 batches: the batch changes from point to point, the system once."""
    study = load_study(written(tmp_path))
    points = [study.case(point).inputs for point in range(study.space.points)]
    assert study.space.points == 16
    assert [inputs["batch"] for inputs in points[:4]] == [1, 4, 16, 64]
    assert [inputs["system"] for inputs in points] == ["h100-sxm8"] * 8 + ["h200-sxm8"] * 8
    assert len({tuple(inputs.items()) for inputs in points}) == 16


def test_a_case_sets_hardware_keys_and_hands_workload_keys_to_the_step(tmp_path: Path) -> None:
    """Keys of the configuration become overrides; batch and context do not."""
    case = load_study(written(tmp_path)).case(5)
    assert (case.overrides, case.work.batch, case.work.context) == (("runtime.launch_gap=2 us",), 4, 1024)


@pytest.mark.parametrize("points", [1, 2, 7, 64, 100])
def test_a_hypercube_visits_every_part_of_every_axis_once(points: int) -> None:
    """Of n points and n parts of each axis: the i-th part of a range of n whole numbers is the number i."""
    space = Space((levels(points, "a"), levels(points, "b")), "lhs", points, seed=3)
    for key in ("a", "b"):
        assert sorted(int(str(space.settings(point)[key])) for point in range(points)) == list(range(points))


def test_the_axes_of_a_hypercube_are_in_orders_of_their_own() -> None:
    """Otherwise all points would lie on a diagonal."""
    space = Space((levels(50, "a"), levels(50, "b")), "lhs", 50)
    settings = [space.settings(point) for point in range(50)]
    assert sum(found["a"] == found["b"] for found in settings) < 10


def test_draws_depend_on_the_seed_and_the_number_alone() -> None:
    """The same seed gives the same points in any order; another seed gives others."""
    one = Space((levels(1000),), "random", 40, seed=1)
    again = [one.settings(point) for point in reversed(range(40))][::-1]
    assert again == [one.settings(point) for point in range(40)]
    assert again != [Space((levels(1000),), "random", 40, seed=2).settings(point) for point in range(40)]


def test_draws_cover_an_axis_evenly() -> None:
    """Of 4,000 draws from 4 values each comes 1,000 times, give or take five standard deviations of 27."""
    space = Space((levels(4),), "random", 4000)
    counts = [0] * 4
    for point in range(4000):
        counts[int(str(space.settings(point)["k"]))] += 1
    assert all(abs(count - 1000) < 137 for count in counts)


def test_a_range_has_both_ends_and_even_steps() -> None:
    """2 to 8 TB/s in 4 values: even in the value every 2 TB/s, even in the logarithm by a factor of 4^(1/3)."""
    spec = {"key": "k", "from": "2 TB/s", "to": "8 TB/s", "steps": 4}
    assert [v for (v,) in AxisSpec(**spec).made().levels] == ["2 TB/s", "4 TB/s", "6 TB/s", "8 TB/s"]
    log = [v for (v,) in AxisSpec(**spec, scale="log").made().levels]
    assert log == ["2 TB/s", "3.1748 TB/s", "5.03968 TB/s", "8 TB/s"]


def test_a_range_of_whole_numbers_names_none_twice() -> None:
    """1 to 4 in ten steps are four numbers."""
    axis = AxisSpec(**{"key": "batch", "from": 1, "to": 4, "steps": 10}).made()
    assert [v for (v,) in axis.levels] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (('key = "runtime.launch_gap"', 'key = "runtime.lunch_gap"'), "axis.1", "did you mean"),
        (('values = ["1 us", "2 us"]', "values = []"), "axis.1", "at least one value"),
        (('values = ["1 us", "2 us"]', 'values = ["1 us", "2 flops"]'), "axis.1", "unit"),
        (("to = 64", "to = 1"), "axis.0", "this range is empty"),
        (("steps = 4", ""), "axis.0.steps", "continuous"),
        (('"h200-sxm8"', '"h2000"'), "systems.1", "did you mean"),
        (('"llama-3.1-8b"', '"llama-9"'), "model", "bundled names"),
        (('"tokens_per_s"', '"tokens_per_h"'), "objective.0.metric", "did you mean 'tokens_per_s'"),
        (('method = "grid"', 'method = "lhs"'), "sample.points", "number of points"),
        (("values = [1024]", "values = [1024, 1024]"), "axis.2", "differ"),
        (('key = "context"', 'key = "batch"'), "axis", "differ"),
    ],
)
def test_a_wrong_study_is_refused_by_name(tmp_path: Path, change: tuple[str, str], key: str, words: str) -> None:
    """The problem names the file, the key and what was expected."""
    with pytest.raises(InputError) as caught:
        load_study(written(tmp_path, STUDY.replace(*change)))
    problem = caught.value.problems[0]
    assert problem.key.startswith(key)
    assert words in str(caught.value)
    assert "small.toml" in problem.file


def test_all_problems_of_a_study_are_said_at_once(tmp_path: Path) -> None:
    """Three wrong names and a missing context, four problems."""
    text = STUDY.replace("launch_gap", "lunch_gap").replace("h200-sxm8", "h2000").replace("llama-3.1-8b", "llama-9")
    text = text.replace('key = "context"', 'key = "chips"').replace("[1024]", "[8]")
    with pytest.raises(InputError) as caught:
        load_study(written(tmp_path, text))
    assert {problem.key for problem in caught.value.problems} == {"systems.1", "axis.1", "model", "workload"}
