"""Laws of the whole chain on machines, models and traffic that nobody chose: what is valid obeys them all.

Books balance; bytes, FLOPs, tokens and requests are those of closed forms; nothing is faster than physics; and what is
a theorem of monotonicity holds. Twins and invariances are in test_random_twins.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archsim.mapping.parallelism import Parallelism
from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.placed import Placed
from archsim.result import Result
from archsim.simulate import evaluate_step, load_system, run
from archsim.step.record import StepRecord
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.operator import SOFTMAX

sys.path.append(str(Path(__file__).parents[1]))
from random_systems import CHAINED, Case, Made, cases, made

LAWS = settings(deadline=None, derandomize=True, database=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
FEW, MANY = settings(LAWS, max_examples=6), settings(LAWS, max_examples=300)
INTERFACES = (".phy", ".link")
"""What arrays behind an interface serve passes it, and is booked on both."""


def books_balance(result: Result) -> None:
    """Every scope's shares of its peak sum to one, and none is negative."""
    ledgers = [result.ledger, *(phase.ledger for phase in result.phases.values())]
    for scope, ledger in ((scope, ledger) for book in ledgers for scope, ledger in book.items()):
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1, abs=1e-9), scope
        assert min(ledger.accounts.values()) >= -1e-9, scope
        assert set(ledger.accounts) <= set(ACCOUNTS)
        useful = math.fsum(ledger.accounts.get(account, 0.0) for account in USEFUL)
        assert useful <= 1 + 1e-9, scope


def phases_make_up_the_time(step: Result, replay: Result) -> None:
    """Of a replay exactly; a step's time is that of its slowest replica, its phases are the mean of all."""
    times = [math.fsum(phase.time_s for phase in result.phases.values()) for result in (step, replay)]
    assert times[1] == pytest.approx(replay.simulated_s, rel=1e-12)
    assert times[0] <= step.simulated_s * (1 + 1e-12)
    assert times[0] == pytest.approx(step.simulated_s, rel=1e-12) or step.parallelism.dp > 1


def tokens_are_conserved(result: Result, case: Case, model: Model) -> None:
    """Requests are completed or rejected; the completed have all their tokens, in the order of time."""
    assert result.tables is not None
    rows = result.tables.requests
    assert rows is not None
    assert result.requests.offered == len(case.requests) == len(rows.arrival_ps)
    assert result.requests.completed + result.requests.rejected == len(case.requests)
    done = rows.rejection == 0
    assert result.requests.completed == int(done.sum())
    assert result.requests.preempted == int(rows.preemptions.sum())
    assert sorted(zip(rows.prompt_tokens.tolist(), rows.output_tokens.tolist(), strict=True)) == sorted(
        (prompt, output) for _, prompt, output in case.requests
    )
    assert result.tokens.prompt == int(rows.prompt_tokens[done].sum())
    assert result.tokens.output == int(rows.output_tokens[done].sum())
    assert ((rows.prompt_tokens + rows.output_tokens)[done] <= model.max_context).all()
    assert (rows.first_token_ps[done] > rows.arrival_ps[done]).all()
    answered = result.serving is not None and "answer_cache" in str(case.settings)
    later = done & (rows.output_tokens > 1)
    assert answered or (rows.finish_ps[later] > rows.first_token_ps[later]).all()
    assert (rows.finish_ps[done] <= math.ceil(result.simulated_s * PS_PER_S * (1 + 1e-12)) + 1).all() or answered


def layer_weights(model: Model) -> int:
    """Return the elements of all matrices of the layers that a token passes, for attention over plain heads."""
    attention = model.hidden * (2 * model.query_width + 2 * model.kv_width)
    matrices = 3 if model.gated else 2
    if not model.experts:
        return model.layers * (attention + matrices * model.hidden * model.intermediate)
    chosen = model.experts_per_token * model.intermediate + model.shared_intermediate
    return model.layers * (attention + matrices * model.hidden * chosen + model.hidden * model.experts)


def latent_weights(model: Model) -> int:
    """Return the same for latent attention with absorbed matrices."""
    latent = model.latent
    assert latent is not None
    query = model.heads * latent.query
    into = model.hidden * latent.query_rank + latent.query_rank * query if latent.query_rank else model.hidden * query
    expand = latent.kv_rank * model.heads * (latent.nope + latent.value)
    attention = into + model.hidden * latent.cached + expand + model.query_width * model.hidden
    chosen = model.experts_per_token * model.intermediate + model.shared_intermediate
    mixed = 3 * model.hidden * chosen + model.hidden * model.experts
    dense = model.dense_layers * 3 * model.hidden * model.dense_intermediate
    return model.layers * attention + dense + model.expert_layers * mixed


def decode_flops(model: Model, sequences: int, context: int) -> int:
    """Return the matrix FLOPs of an iteration: two a weight and token, and those of queries, keys and values."""
    seen = sum(min(context, kind.window or context) for kind in model.kinds)
    if model.latent is None:
        products = layer_weights(model), 4 * model.query_width * seen
    else:
        products = latent_weights(model), 2 * model.heads * (2 * model.latent.kv_rank + model.latent.rope) * seen
    return sequences * (2 * products[0] + 2 * model.hidden * model.vocabulary + products[1])


def amounts(record: StepRecord, kind: str, account: str) -> float:
    """Return what *record* books to *account* of scopes of that kind, vector engines and interfaces left out."""
    names = [scope.name for scope in record.scopes if scope.kind == kind]
    return math.fsum(record.books[name].get(account, 0.0) for name in names
                     if not name.endswith((".vector", *INTERFACES)))  # fmt: skip


def does_the_arithmetic(flops: float, expected: int, parts: Made, *, contexts: int) -> None:
    """FLOPs are those expected, and beside a memory at most those of the softmax, which such units compute, too."""
    beside = SOFTMAX * parts.model.heads * parts.model.layers * contexts if parts.spec.chip.near_memory else 0
    assert expected * (1 - 1e-9) <= flops <= (expected + beside) * (1 + 1e-9)


def an_iteration_does_its_work(parts: Made) -> None:
    """FLOPs and cache of a decode iteration are those of closed forms, however many chips share them."""
    placed, model = parts.placed, parts.model
    sequences, context = 3, 200
    if placed.drafting is not None or "x" in str(placed.precision).replace("mxfp", ""):
        return
    record = placed.simulate(Batch.of_decode(sequences, context))
    does_the_arithmetic(amounts(record, "engine", "useful"), decode_flops(model, sequences, context), parts,
                        contexts=sequences * context)  # fmt: skip
    if not any(kind.window for kind in model.kinds):
        size = model.kv_elements_per_token * placed.precision.kv.stored_bits / 8
        assert amounts(record, "memory", "useful_kv_read") == pytest.approx(sequences * context * size, rel=2e-3)
        assert amounts(record, "memory", "useful_kv_write") == pytest.approx(sequences * size, rel=2e-2)


def an_iteration_keeps_to_physics(parts: Made) -> None:
    """It takes at least its closed-form FLOPs at the peak of all engines, and a hop for each exchange in a row."""
    placed, model = parts.placed, parts.model
    if placed.drafting is not None:
        return
    record = placed.simulate(Batch.of_decode(3, 200))
    for scope in record.scopes:
        held = record.books[scope.name]
        carried = math.fsum(held.get(account, 0.0) for account in (*USEFUL, "overfetch", "moved"))
        assert carried <= scope.peak_per_s * record.time_ps / PS_PER_S * (1 + 1e-9), scope.name
    sizes = placed.spread.parallelism
    if sizes == Parallelism(sizes.tp) and sizes.tp > 1:
        exchanges = 1 if model.parallel_block else 2
        assert record.time_ps >= model.layers * exchanges * parts.spec.network.link_latency_ps


def decoded(result: Result, account: str, *, unit: str) -> float:
    """Return what is booked to *account* while decoding, in scopes of that unit; parts must sum to the whole."""
    assert result.tables is not None
    table = result.tables.ledger
    rows = (table.phase == table.phases.index("decode")) & (table.account == ACCOUNTS.index(account))
    sums = {
        name: math.fsum(table.amount[rows & (table.scope == place)].tolist())
        for place, name in enumerate(table.scopes)
        if table.units[place] == unit and not name.startswith("link") and ".ch" not in name
    }
    sums = {name: amount for name, amount in sums.items() if not name.endswith((".vector", *INTERFACES))}
    whole = result.system.main_memory.partition(".")[0] + "."
    together, apart = (
        math.fsum(amount for name, amount in sums.items() if name.startswith(whole) == of_all)
        for of_all in (True, False)
    )
    # Replicas and stages have scopes of their own beside those of the machine.
    assert together == pytest.approx(apart, rel=1e-9) or not apart
    return together


def a_replay_does_its_work(result: Result, parts: Made) -> None:
    """Interpolated iterations book the FLOPs and cache bytes of every token that was decoded, as a line through knots.

    Of dense models whose layers attend to everything: there both are linear in sequences and contexts, and a mixture
    of knots keeps what is linear.
    """
    model, placed = parts.model, parts.placed
    assert result.tables is not None
    rows = result.tables.requests
    if rows is None or result.requests.preempted or "x" in str(placed.precision) or "mixed" in result.phases:
        return
    done = rows.rejection == 0
    pairs = list(zip(rows.prompt_tokens[done].tolist(), rows.output_tokens[done].tolist(), strict=True))
    tokens = sum(output - 1 for _, output in pairs)
    contexts = sum(sum(range(prompt + 1, prompt + output)) for prompt, output in pairs)
    if not tokens:
        return
    linear = 2 * layer_weights(model) + 2 * model.hidden * model.vocabulary
    flops = decoded(result, "useful", unit="FLOP/s")
    expected = tokens * linear + 4 * model.query_width * model.layers * contexts
    does_the_arithmetic(flops, expected, parts, contexts=contexts)
    size = float(model.kv_elements_per_token * placed.precision.kv.stored_bits / 8)
    assert decoded(result, "useful_kv_read", unit="B/s") == pytest.approx(contexts * size, rel=2e-3)
    assert decoded(result, "useful_kv_write", unit="B/s") == pytest.approx(tokens * size, rel=2e-2)


def check(case: Case, folder: Path) -> bool:
    """Assert the laws of conservation and the bounds on *case*; return whether it was valid."""
    parts = made(case, folder)
    if parts is None:
        return False
    words = {"precision": case.precision, "parallelism": parts.parallelism}
    replay = run(parts.spec, parts.model, trace=parts.trace, **words)
    books_balance(replay)
    tokens_are_conserved(replay, case, parts.model)
    an_iteration_does_its_work(parts)
    an_iteration_keeps_to_physics(parts)
    room = replace(parts.placed.limits).kv_blocks * parts.placed.limits.block_tokens // parts.model.reach.parts
    batch, context = len(case.requests), min(case.requests[0][1], parts.model.max_context)
    if batch * (context + parts.placed.limits.block_tokens) < room:
        step = evaluate_step(parts.spec, parts.model, batch=batch, context=context, **words)
        books_balance(step)
        phases_make_up_the_time(step, replay)
    return True


@FEW
@given(case=cases())
def test_random_machines_obey_the_laws(case: Case, tmp_path: Path) -> None:
    """Books balance, nothing is lost or made, and nothing is faster than physics."""
    check(case, tmp_path)


@pytest.mark.slow
@MANY
@given(case=cases(large=True))
def test_many_random_machines_obey_the_laws(case: Case, tmp_path: Path) -> None:
    """The same on three hundred of them."""
    check(case, tmp_path)


def check_work(case: Case, folder: Path) -> None:
    """Assert that a replay of a dense model does the work of its tokens."""
    parts = made(case, folder)
    if parts is not None:
        words = {"precision": case.precision, "parallelism": parts.parallelism}
        a_replay_does_its_work(run(parts.spec, parts.model, trace=parts.trace, **words), parts)


@settings(FEW, max_examples=6)
@given(case=cases(plain=True))
def test_a_replay_does_the_work_of_its_tokens(case: Case, tmp_path: Path) -> None:
    """FLOPs and bytes of the decode phase, summed over scopes, are closed forms of prompts and outputs."""
    check_work(case, tmp_path)


@pytest.mark.slow
@settings(MANY, max_examples=150)
@given(case=cases(plain=True, large=True))
def test_many_replays_do_the_work_of_their_tokens(case: Case, tmp_path: Path) -> None:
    """The same on a hundred and fifty machines."""
    check_work(case, tmp_path)


def chained(parts: Made, key: str, value: str) -> int:
    """Return the time of a decode iteration with *key* at *value*, where kernels follow one another."""
    fixed = ("runtime.prefetch=kernel", "runtime.collective=ring", "network.topology=ring")
    spec = load_system(parts.spec.name, (*fixed, f"{key}={value}"))
    sizes = str(parts.placed.spread.parallelism)
    return Placed.of(spec, parts.model, None, sizes).simulate(Batch.of_decode(3, 200)).time_ps


@pytest.mark.parametrize(("key", "values"), CHAINED)
@settings(FEW, max_examples=3)
@given(case=cases(plain=True), system=st.sampled_from(["h100-sxm8", "mi300x-8"]))
def test_a_faster_part_slows_no_chain(
    key: str, values: tuple[str, ...], case: Case, system: str, tmp_path: Path
) -> None:
    """Theorem: where no kernel runs ahead, an iteration is the longest path through durations in a fixed order.

    Such a path is a maximum of sums and rises with each of them. Where kernels are prefetched, or an algorithm is
    chosen by size, the order itself depends on durations, and Graham's anomalies are possible: no law there.
    """
    parts = made(case._replace(system=system, settings=(), precision=None, ways=None), tmp_path)
    if parts is not None:
        times = [chained(parts, key, value) for value in values]
        assert times == sorted(times, reverse=True)


def test_most_random_machines_are_valid(tmp_path: Path) -> None:
    """The unchanged machine with a plain model is, so laws are not shown on nothing."""
    plain = {
        "model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1000, "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    assert check(Case("h100-sxm8", (), plain, ((0.0, 100, 5), (0.1, 9000, 1))), tmp_path)
