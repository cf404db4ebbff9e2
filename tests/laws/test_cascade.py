"""Cascades: the replay equals one that takes single iterations, and what both models do is paid once and in full."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.capacity import lent
from archsim.hardware.division_spec import CascadeSpec, LawSpec
from archsim.hardware.pools import design_settings, design_toml, load_design, load_pools
from archsim.hardware.pools_spec import PoolsSpec
from archsim.result import Result
from archsim.serving.cascade import ACCEPTED, ESCALATED, SKIPPED, replay_cascade
from archsim.serving.divide import held_for
from archsim.serving.pools import PoolRecords
from archsim.serving.record import Window
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.simulate import load_trace, run
from archsim.workload.model import load_model

sys.path.append(str(Path(__file__).parents[1]))
import cascade_twin
import replay_toy as toy

LAWS = settings(phases=[Phase.generate], max_examples=60, deadline=None, derandomize=True, database=None)
SMALL = toy.ToyCosts(
    lambda batch, kv: 10**8 + 10**5 * batch + 100 * kv, lambda tokens, pairs: 10**8 + 10**6 * tokens + pairs,
    spacing_bits=10,
)  # fmt: skip
LARGE = toy.ToyCosts(
    lambda batch, kv: 10**9 + 10**6 * batch + 1000 * kv, lambda tokens, pairs: 10**9 + 10**7 * tokens + pairs,
    spacing_bits=10,
)  # fmt: skip
APART, SHARED = load_pools("cascade-8b"), load_pools("cascade-shared")


@st.composite
def traces(draw: st.DrawFn) -> list[Arrival]:
    """Return arrivals, some at one instant, some too long for the limits."""
    rows = draw(st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 60), st.integers(1, 60)), max_size=20))
    return [Arrival(at, prompt, output) for at, prompt, output in sorted(rows)]


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Return a server with little room."""
    return Limits(
        max_batch=draw(st.integers(1, 6)), max_prefill_tokens=draw(st.sampled_from([40, 100])),
        kv_blocks=draw(st.integers(16, 40)), block_tokens=4, context_tokens=draw(st.sampled_from([110, 300])),
    )  # fmt: skip


CASCADES = st.builds(
    CascadeSpec,
    law=st.just("difficulty"),
    first=st.just("small"),
    bounds=st.just((20,)),
    shares=st.sampled_from([("10 %", "90 %"), ("50 %", "50 %"), ("90 %", "10 %"), ("0 %", "0 %")]),
    check=st.just("tokens"),
    check_tokens=st.sampled_from([1, 7, 10**6]),
    check_time=st.sampled_from(["0 s", "1 ps", "3 ms"]),
    reads=st.sampled_from(["prompt", "draft"]),
    chips=st.just("apart"),
)


def replayed(spec: PoolsSpec, law: CascadeSpec, arrivals: list[Arrival], groups: dict[str, ServerGroup]) -> PoolRecords:
    """Return the fast replay of a cascade of toys."""
    return replay_cascade(iter(arrivals), spec.model_copy(update={"cascade": law}), groups, seed=5)


def phases_of(total: Window) -> dict[str, tuple[int, int, dict[int, int]]]:
    """Return phase -> iterations, time, weights of knots."""
    return {name: (use.iterations, use.time_fine, use.weights) for name, use in total.phases.items()}


def twin_phases(side: cascade_twin.Side) -> dict[str, tuple[int, int, dict[int, int]]]:
    """Return the same of a model of the twin."""
    found: dict[str, tuple[int, int, dict[int, int]]] = {}
    for piece in side.twin.pieces:
        count, time, weights = found.setdefault(piece.phase, (0, 0, {}))
        for knot, weight in piece.knots:
            weights[knot] = weights.get(knot, 0) + weight
        found[piece.phase] = (count + 1, time + piece.end - piece.start, weights)
    return found


def check_against(fast: PoolRecords, sides: list[cascade_twin.Side]) -> None:
    """Compare what became of every request and what every model did."""
    for trial, side in zip(fast.trials, sides, strict=True):
        rows = sorted(side.rows, key=lambda row: row.id)
        order = sorted(range(len(trial.numbers)), key=lambda place: int(trial.numbers[place]))
        assert [int(trial.numbers[place]) for place in order] == [row.id for row in rows]
        for name in ("first_token_ps", "finish_ps"):
            column = getattr(trial.requests, name)
            expected = [-1 if row.rejected else getattr(row, name) for row in rows]
            assert [int(column[place]) for place in order] == expected
        assert [int(trial.requests.preemptions[place]) for place in order] == [row.preemptions for row in rows]
        assert phases_of(trial.total) == twin_phases(side)


@LAWS
@given(arrivals=traces(), small=limits(), large=limits(), law=CASCADES)
def test_two_servers_equal_single_iterations(
    arrivals: list[Arrival], small: Limits, large: Limits, law: CascadeSpec
) -> None:
    """Chips apart: the second model gets what the first one sends on, and each does what a server alone would do."""
    fast = replayed(
        APART, law, arrivals, {"small": ServerGroup(SMALL, small, 1), "large": ServerGroup(LARGE, large, 1)}
    )
    goes_on = held_for(arrivals, law, seed=5).tolist()
    sides = [cascade_twin.Side(SMALL, small), cascade_twin.Side(LARGE, large)]
    cascade_twin.apart(
        arrivals, goes_on, sides, cut=law.check_tokens, check_ps=law.check_ps, draft=law.reads == "draft"
    )
    check_against(fast, sides)


@LAWS
@given(arrivals=traces(), small=limits(), large=limits(), law=CASCADES)
def test_turns_on_shared_chips_equal_single_iterations(
    arrivals: list[Arrival], small: Limits, large: Limits, law: CascadeSpec
) -> None:
    """Chips shared: an iteration of each while both have work; the machine's time is theirs and the idle time."""
    law = law.model_copy(update={"chips": "shared"})
    fast = replayed(
        SHARED, law, arrivals, {"small": ServerGroup(SMALL, small, 1), "large": ServerGroup(LARGE, large, 1)}
    )
    goes_on = held_for(arrivals, law, seed=5).tolist()
    sides = [cascade_twin.Side(SMALL, small), cascade_twin.Side(LARGE, large)]
    pieces = cascade_twin.in_turns(
        arrivals, goes_on, sides, cut=law.check_tokens, check_ps=law.check_ps, draft=law.reads == "draft"
    )
    check_against(fast, sides)
    machine = fast.pools[0][0]
    assert machine.total.end_fine == (pieces[-1].end if pieces else 0)
    assert machine.total.idle_fine == sum(piece.end - piece.start for piece in pieces if not piece.phase)
    busy = sum(use.time_fine for use in machine.total.phases.values())
    assert busy == sum(use.time_fine for trial in fast.trials for use in trial.total.phases.values())
    assert busy + machine.total.idle_fine == machine.total.end_fine


PLENTY = Limits(max_batch=8, max_prefill_tokens=100, kv_blocks=400, block_tokens=4, context_tokens=400)
ANSWERS = CascadeSpec(
    law="share", first="small", share="50 %", check="answer", check_time="5 ms", reads="prompt", chips="apart"
)


@pytest.mark.parametrize("spec", [APART, SHARED], ids=["apart", "shared"])
def test_one_request_pays_both_models(spec: PoolsSpec) -> None:
    """Alone on the chips: prefill and decoding of one model, the check, then those of the other, or none."""
    groups = {"small": ServerGroup(SMALL, PLENTY, 1), "large": ServerGroup(LARGE, PLENTY, 1)}
    chips = "shared" if spec is SHARED else "apart"
    alone = {}
    for name, costs in (("small", SMALL), ("large", LARGE)):
        fine = costs.prefill(1, 30, 465, 30).time_fine + costs.decode(1, 31, 19).time_fine
        alone[name] = fine >> toy.FINE_BITS
    for share, outcome, expected in (
        ("99 %", ESCALATED, alone["small"] + 5 * 10**9 + alone["large"]),
        ("0 %", ACCEPTED, alone["small"] + 5 * 10**9),
    ):
        law = ANSWERS.model_copy(update={"share": Fraction(share[:-2]) / 100, "chips": chips})
        found = replayed(spec, law, [Arrival(7, 30, 20)], groups)
        assert found.outcome is not None
        assert found.outcome.tolist() == [outcome]
        # Each model's end is rounded up to a whole picosecond.
        assert 0 <= int(found.requests.finish_ps[0]) - 7 - expected <= 2
    assert found.requests.first_token_ps.tolist() == found.requests.finish_ps.tolist()


def test_what_the_first_model_cannot_hold_goes_to_the_second_at_once() -> None:
    """Sixty tokens of prompt do not fit ten blocks of four; the second model answers as if it were alone."""
    tiny = replace(PLENTY, kv_blocks=10)
    law = ANSWERS.model_copy(update={"share": Fraction(0)})
    groups = {"small": ServerGroup(SMALL, tiny, 1), "large": ServerGroup(LARGE, PLENTY, 1)}
    found = replayed(APART, law, [Arrival(0, 60, 5)], groups)
    assert found.outcome is not None
    assert found.outcome.tolist() == [SKIPPED]
    fine = LARGE.prefill(1, 60, 1830, 60).time_fine + LARGE.decode(1, 61, 4).time_fine
    assert found.requests.finish_ps.tolist() == [-(-fine >> toy.FINE_BITS)]


def test_a_larger_share_takes_the_requests_of_a_smaller_one() -> None:
    """The seed draws a difficulty for each request: shares nest, and a class of lengths has its own."""
    requests = [Arrival(number, 10 + number, 5) for number in range(2000)]
    laws = [LawSpec(law="share", first="a", share=f"{share} %") for share in (10, 30, 80)]
    small, middle, large = (held_for(requests, law, seed=3) for law in laws)
    assert (small <= middle).all()
    assert (middle <= large).all()
    # Three standard deviations of 2,000 draws.
    assert abs(middle.mean() - 0.3) < 3 * math.sqrt(0.3 * 0.7 / 2000)
    classes = LawSpec(law="difficulty", first="a", bounds=(1009,), shares=("10 %", "80 %"))
    held = held_for(requests, classes, seed=3)
    assert held[:1000].tolist() == small[:1000].tolist()
    assert held[1000:].tolist() == large[1000:].tolist()


@pytest.fixture(scope="module", params=["cascade-8b", "cascade-shared"])
def cascaded(request: pytest.FixtureRequest) -> Result:
    """Twenty-five requests on a bundled cascade, with a 32 B model in the place of the large one."""
    return run(load_pools(request.param), load_model("qwen3-32b"), trace=load_trace("azure-conv", limit=25))


def test_books_balance_and_classes_carry_everything(cascaded: Result) -> None:
    """Shares of every scope sum to one; classes have all requests, all time, all joules and all dollars."""
    for ledger in (cascaded.ledger, *(phase.ledger for phase in cascaded.phases.values())):
        for scope, book in ledger.items():
            assert math.fsum(book.accounts.values()) == pytest.approx(1.0, rel=1e-9), scope
    assert cascaded.cascade is not None
    assert cascaded.energy is not None
    assert cascaded.cost is not None
    classes = list(cascaded.cascade.classes.values())
    assert sum(one.requests for one in classes) == cascaded.requests.completed == 25
    assert sum(one.output_tokens for one in classes) == cascaded.tokens.output
    for pool in cascaded.pools or {}:
        assert math.fsum(one.time_shares[pool] for one in classes) == pytest.approx(1.0, rel=1e-9)
    joules = math.fsum((one.joules_per_request or 0) * one.requests for one in classes)
    assert joules == pytest.approx(cascaded.energy.joules, rel=1e-9)
    usd = math.fsum((one.usd_per_request or 0) * one.requests for one in classes)
    whole = cascaded.cost.usd_per_million_output_tokens * cascaded.tokens.output / 1e6
    assert usd == pytest.approx(whole, rel=1e-9)


def test_who_goes_on_is_dearer_and_the_first_model_wrote_for_nothing(cascaded: Result) -> None:
    """Both models work for an escalated request; what the first one wrote of it is counted as discarded."""
    assert cascaded.cascade is not None
    accepted, escalated = (cascaded.cascade.classes[name] for name in ("accepted", "escalated"))
    assert accepted.discarded_tokens == 0 < escalated.discarded_tokens
    assert (accepted.joules_per_request or 0) < (escalated.joules_per_request or 0)
    assert (accepted.usd_per_request or 0) < (escalated.usd_per_request or 0)


def test_a_cascade_that_sends_nobody_on_is_its_first_pool(tmp_path: Path) -> None:
    """With a share of zero the small model's requests have the times of a run on its system alone, plus the check."""
    spec = load_pools("cascade-8b", ["cascade.share=0 %", "cascade.check_time=0 s", "small.replicas=1"])
    trace = load_trace("azure-conv", limit=15)
    small = load_model("llama-3.1-8b")
    alone = run(spec.pools["small"].system, small, trace=trace)
    found = run(spec, small, trace=trace)
    assert found.tables is not None
    assert alone.tables is not None
    assert found.tables.requests is not None
    assert alone.tables.requests is not None
    assert found.tables.requests.finish_ps.tolist() == alone.tables.requests.finish_ps.tolist()
    path = tmp_path / "resolved.toml"
    path.write_text(design_toml(spec))
    assert load_design(str(path)) == spec


def test_a_share_of_a_memory_leaves_that_share_of_its_room() -> None:
    """What placement may use is the share of what a model alone may use, rounded down; nothing else changes."""
    spec = SHARED.pools["small"].system
    part = lent(spec, Fraction(15, 100))
    whole = spec.chip.memory["hbm"].usable_bytes
    assert part.chip.memory["hbm"].usable_bytes == whole * 15 // 100
    assert part.chip.memory["hbm"].peak_bytes_per_s == spec.chip.memory["hbm"].peak_bytes_per_s


@pytest.mark.parametrize(
    ("design", "overrides", "expected"),
    [
        ("cascade-8b", ["cascade.first=middle"], "one of small, large"),
        ("cascade-8b", ["cascade.law=prompt"], 'this key, which the law "prompt" needs'),
        ("cascade-8b", ["cascade.check=tokens"], 'a number of tokens where check is "tokens"'),
        ("cascade-8b", ["cascade.chips=shared"], "equal systems and replicas"),
        ("cascade-8b", ["small.memory_share=20 %"], 'nothing where no cascade has chips = "shared"'),
        ("cascade-shared", ["small.memory_share=20 %"], "at most 100 % together"),
        ("cascade-shared", ['cascade.shares=["10 %"]'], "3 shares, one for each class that 2 bounds make"),
        ("cascade-shared", ["cascade.bounds=[500, 500]"], "lengths that rise"),
        ("cascade-shared", ["small.replicas=2"], "equal systems and replicas"),
    ],
)
def test_a_wrong_cascade_is_refused_by_key(design: str, overrides: list[str], expected: str) -> None:
    """Each problem names what was expected."""
    with pytest.raises(InputError, match=re.escape(expected)):
        load_pools(design, overrides)


def test_models_that_share_chips_use_them_alike() -> None:
    """Books are of scopes: eight ranks of one model and four of the other, twice, have no common ones."""
    spec = load_pools("cascade-shared", ["small.parallel=tp=4,dp=2"])
    with pytest.raises(InputError, match="pool small: parallel"):
        run(spec, load_model("llama-2-13b"), trace=load_trace("azure-conv", limit=2))


def test_a_model_that_its_share_cannot_hold_is_named() -> None:
    """Llama-3.1-70B in 16 bits has no room in a tenth of eight H100."""
    spec = load_pools("cascade-shared", ["large.memory_share=10 %"])
    with pytest.raises(InputError, match="pool large: hbm of each of 8 chips"):
        run(spec, load_model("llama-3.1-70b"), trace=load_trace("azure-conv", limit=2))


def test_settings_of_a_cascade_are_listed() -> None:
    """`show` prints what `--set` takes: the law and the shares with their units."""
    found = design_settings(SHARED)
    assert found["cascade.check_time"] == "1 ms"
    assert found["cascade.shares"] == "['15 %', '30 %', '45 %']"
