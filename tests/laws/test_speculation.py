"""Speculative decoding: how many guesses are right, what verifying them moves, and what wrong ones waste."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archsim.errors import InputError
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.sharding import plan_iteration
from archsim.mapping.waste import without
from archsim.result import Result
from archsim.serving.speculation import PERIOD, Pattern
from archsim.simulate import evaluate_step, load_model, load_system, run
from archsim.workload.acceptance import acceptance_of, acceptance_tables, profile_of
from archsim.workload.batch import Batch
from archsim.workload.drafter import drafter_of
from archsim.workload.operators import iteration_operators
from archsim.workload.precision import Precision
from archsim.workload.tensors import parameter_count
from archsim.workload.trace import load_trace

MODEL = "llama-3.1-8b"
EAGLE = ("method=eagle", "depth=3", "acceptance=eagle3-llama-3.1-8b")


def _system(*settings: str) -> tuple[str, ...]:
    return tuple(f"serving.speculation.{setting}" for setting in settings)


def _step(*settings: str, batch: int = 4) -> Result:
    return evaluate_step(load_system("gh200", _system(*settings)), load_model(MODEL), batch=batch, context=1000)


@pytest.fixture(scope="module")
def plain() -> Result:
    """A step that yields one token a sequence."""
    return _step()


@pytest.fixture(scope="module")
def eagle() -> Result:
    """The same with an EAGLE head."""
    return _step(*EAGLE)


@pytest.mark.parametrize("name", sorted(acceptance_tables()))
def test_every_position_is_accepted_in_its_share_of_a_period(name: str) -> None:
    """Steps that yield more than i tokens are the share of position i of 64, rounded; starts shift nothing."""
    depth = len(acceptance_tables()[name].get("positions", "12345"))
    shares = acceptance_of(name, depth, key="")
    pattern = Pattern(shares)
    steps = [pattern.tokens(place, 1) for place in range(PERIOD)]
    for position, share in enumerate(shares, 1):
        assert abs(sum(step > position for step in steps) - PERIOD * share) <= Fraction(1, 2)
    assert pattern.tokens(7, 3 * PERIOD) == 3 * sum(steps) == 3 * pattern.period_tokens


def test_a_mean_alone_is_met_by_powers_of_one_rate() -> None:
    """Spec-Bench states 2.28 tokens a step: 1 + r + r^2 + r^3 of the shares, to a millionth."""
    shares = acceptance_of("draft-vicuna-7b", 3, key="")
    assert abs(1 + sum(shares) - Fraction("2.28")) < Fraction(1, 10**5)
    assert shares[1] == shares[0] ** 2


def test_the_share_of_long_steps_is_spread_over_the_period() -> None:
    """Half of the guesses right: steps of two tokens and of one alternate."""
    pattern = Pattern((Fraction(1, 2),))
    assert [pattern.tokens(place, 1) for place in range(6)] == [2, 1, 2, 1, 2, 1]


def test_verifying_reads_weights_and_context_once_for_all_positions() -> None:
    """FLOPs and KV writes of 1 + 3 positions are four times one's; weights are read once, as is the context."""
    model = load_model(MODEL)
    one, four = (
        iteration_operators(model, Batch(decode=8, kv_tokens=8000, drafted=drafted)).layer for drafted in (0, 3)
    )
    for single, many in zip(one, four, strict=True):
        assert many.weights == single.weights
        assert many.kv_append_decode == 4 * single.kv_append_decode
        if not single.reads_kv:
            assert [a.value for a in many.matrix_flops] == [4 * a.value for a in single.matrix_flops]
        else:
            # Each guess attends to one position more, and its own keys are read back with the rest.
            assert many.kv_read == single.kv_read * (8000 + 8 * 3) // 8000
            assert many.matrix_flops[0].value * 8000 == single.matrix_flops[0].value * (4 * 8000 + 8 * 6)


def test_experts_that_wrong_guesses_alone_touch_are_moved_and_not_needed() -> None:
    """What all positions touch is read; what the right ones touch is needed."""
    model = load_model("mixtral-8x7b")
    batch = Batch(decode=1, kv_tokens=1000, drafted=3, rejected=2)
    by_name = {operator.name: operator for operator in iteration_operators(model, batch).layer}
    needed = {operator.name: operator for operator in iteration_operators(model, Batch.of_decode(2, 500)).layer}
    up = by_name["experts_gate_up"]
    assert up.weights == needed["experts_gate_up"].weights
    read = iteration_operators(model, Batch(decode=1, kv_tokens=1000, drafted=3)).layer
    whole = next(operator for operator in read if operator.name == "experts_gate_up")
    assert up.weights[0].value + up.reread_weights[0].value == whole.weights[0].value


def test_a_step_yields_its_tokens_and_pays_for_all_positions(plain: Result, eagle: Result) -> None:
    """64 steps of 4 sequences yield 4 x (64 + accepted); each takes longer than a plain one, but not as much more."""
    tokens = Pattern(acceptance_of("eagle3-llama-3.1-8b", 3, key="")).period_tokens
    assert eagle.tokens.output == 4 * tokens
    tpot, before = eagle.latency_s.tpot.mean, plain.latency_s.tpot.mean
    assert tpot is not None
    assert before is not None
    assert 1 / 2.61 < tpot / before < 1
    assert abs(eagle.simulated_s - tpot * tokens) < 1e-12 * tokens


def test_what_wrong_guesses_read_and_compute_is_overfetch(plain: Result, eagle: Result) -> None:
    """Of a draft pass what its wrong share reads; of verified positions what the rejected compute: 4 - 2.6 of 4."""
    memory = plain.system.main_memory
    before, now = (result.phases["decode"].ledger[memory].accounts for result in (plain, eagle))
    assert now["overfetch"] > before.get("overfetch", 0) + 0.005
    matrix = next(scope for scope in eagle.phases["decode"].ledger if scope.endswith(".matrix"))
    engine = eagle.phases["decode"].ledger[matrix].accounts
    wrong = 1 - 2.6049 / 4
    # Rows are padded to the engine's tile in any case: at least what is rejected is computed for nothing.
    assert engine["overfetch"] > engine["useful"] * wrong / (1 - wrong) * 0.9


def test_guesses_from_the_context_cost_nothing_but_their_verification(eagle: Result) -> None:
    """The same shares without a head: no pass, so less time."""
    ngram = _step("method=ngram", *EAGLE[1:])
    assert ngram.simulated_s < eagle.simulated_s


def test_on_other_chips_the_system_waits_for_guesses_and_keeps_its_memory() -> None:
    """The wait is `bubble`; on the same chips there is none, and the draft model takes blocks from the KV cache."""
    trace = load_trace("azure-conv", limit=2)
    draft = ("method=draft", "model=llama-3.1-8b", *EAGLE[1:])
    here, there = (
        run(load_system("gh200", _system(*settings)), load_model(MODEL), trace=trace)
        for settings in (draft, (*draft, "system=gh200", "hop=5 us"))
    )
    memory = here.system.main_memory
    assert "bubble" not in here.phases["decode"].ledger[memory].accounts
    assert there.phases["decode"].ledger[memory].accounts["bubble"] > 0.2
    assert here.serving is not None
    assert there.serving is not None
    assert here.serving.speculation is not None
    assert there.serving.speculation is not None
    assert here.serving.speculation.kv_blocks < there.serving.speculation.kv_blocks / 2


def test_without_a_share_of_a_plan_moves_as_much_and_needs_less() -> None:
    """A quarter in vain: three quarters of the useful bytes and FLOPs are left, the bytes moved are the same."""
    model, system = load_model(MODEL), load_system("gh200")
    plan = plan_iteration(model, Precision.of_model(model), Parallelism(1), system, Batch.of_decode(4, 1000))
    less = without(plan, Fraction(1, 4))
    for task, other in zip(plan.segments[1].tasks, less.segments[1].tasks, strict=True):
        assert sum(t.bytes for t in task.transfers) == sum(t.bytes for t in other.transfers)
        for transfer, second in zip(task.transfers, other.transfers, strict=True):
            assert abs(second.useful_bytes - transfer.useful_bytes * 3 / 4) <= 1
        assert other.matrix_flops == task.matrix_flops


def test_heads_are_a_layer_of_their_model() -> None:
    """An EAGLE head on a mixture is dense; an MTP module keeps the experts."""
    model = load_model("deepseek-v3")
    eagle, mtp = (drafter_of(method, model, None) for method in ("eagle", "mtp"))
    assert eagle is not None
    assert mtp is not None
    assert (eagle.layers, eagle.experts, mtp.layers, mtp.experts) == (1, 0, 1, 256)
    tables = 2 * model.vocabulary * model.hidden
    # DeepSeek-V3's report: 11.5 B parameters of the module beside what it shares.
    assert 11.2e9 < parameter_count(mtp) - tables < 11.7e9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((*EAGLE[:1], "depth=4", EAGLE[2]), "all 4 positions of a draft; there are 3"),
        ((*EAGLE[:2], "acceptance=mtp-gsm8k-2"), "did you mean"),
        ((*EAGLE[:2], 'profile=["50 %", "60 %", "10 %"]'), "none above the one before"),
        ((*EAGLE, 'profile=["50 %"]'), "and not both"),
        (("method=guess", *EAGLE[1:]), "draft, eagle, mtp, ngram"),
        (("method=draft", *EAGLE[1:]), "the model that guesses"),
        ((*EAGLE, "system=gh200"), "hop"),
        ((*EAGLE, "branch=2"), "how many of a tree's guesses"),
        ((*EAGLE, "tokens=2"), "from 3"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: tuple[str, ...], message: str) -> None:
    """By key, with what would do."""
    with pytest.raises(InputError, match=message):
        _step(*settings)


def test_a_profile_is_read_as_it_is_written() -> None:
    """Percentages, exactly."""
    assert profile_of(["80 %", "50.5 %"], 2, key="") == (Fraction(4, 5), Fraction(101, 200))
