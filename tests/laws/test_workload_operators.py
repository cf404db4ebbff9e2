"""Operators: bytes and FLOPs against closed forms, linear where they must be."""

from __future__ import annotations

import dataclasses
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.workload.batch import Batch
from archsim.workload.layers import runs, window_pairs
from archsim.workload.model import Model, bundled_models, load_model
from archsim.workload.operators import Operator, distinct_experts, iteration_operators
from archsim.workload.tensors import embedding_table, parameter_count

LAWS = settings(deadline=None, derandomize=True, database=None, max_examples=60)
MODELS = {name: load_model(name) for name in bundled_models()}
DENSE = sorted(name for name, model in MODELS.items() if not model.experts)
MIXED = sorted(name for name, model in MODELS.items() if model.experts)
PLAIN = sorted(name for name in MIXED if not MODELS[name].latent)
LATENT = sorted(name for name in MIXED if MODELS[name].latent)
LLAMA = MODELS["llama-3.1-8b"]

counts = st.integers(1, 5000)


def operators(model: Model, batch: Batch) -> list[tuple[Operator, int]]:
    """Return every operator of an iteration with how often it runs."""
    work = iteration_operators(model, batch)
    counts_of = Counter(model.kinds)
    layers = [(operator, counts_of[kind]) for kind, tasks in work.layers.items() for operator in tasks]
    return [*((operator, 1) for operator in work.embed), *layers, *((operator, 1) for operator in work.head)]


def flops(model: Model, batch: Batch) -> int:
    """Return the matrix FLOPs of an iteration."""
    return sum(times * amount.value for operator, times in operators(model, batch) for amount in operator.matrix_flops)


def weights(model: Model, batch: Batch) -> int:
    """Return the weight elements that an iteration reads."""
    return sum(times * amount.value for operator, times in operators(model, batch) for amount in operator.weights)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("batch", [Batch.of_decode(7, 300), Batch.of_prefill(40, cached=9, sequences=3)])
def test_flops_are_two_a_weight_and_token_and_four_a_pair_and_query_element(name: str, batch: Batch) -> None:
    """Every matrix multiplies every token once; the head only the sampled positions; attention the causal pairs."""
    model = MODELS[name]
    matrices = 3 if model.gated else 2
    layer = model.hidden * (2 * model.query_width + 2 * model.kv_width + matrices * model.intermediate)
    seen = [batch.windowed(kind.window) for kind in model.kinds]
    pairs = sum(one.kv_tokens + one.prefill_pairs for one in seen)
    head = model.hidden * model.vocabulary
    expected = 2 * model.layers * layer * batch.tokens + 2 * head * batch.sampled
    assert flops(model, batch) == expected + 4 * model.query_width * pairs


@pytest.mark.parametrize("name", DENSE)
def test_a_dense_decode_step_reads_every_weight_once_and_one_table_row_a_token(name: str) -> None:
    """All parameters but the embedding table, which is gathered; a tied table is read once by the head."""
    model, tokens = MODELS[name], 5
    rows = tokens * model.hidden
    unread = model.learned_positions * model.hidden + (0 if model.tied else embedding_table(model).value)
    gathered = rows + (rows if model.learned_positions else 0)
    assert weights(model, Batch.of_decode(tokens, 10)) == parameter_count(model) - unread + gathered


@pytest.mark.parametrize("name", MIXED)
def test_a_batch_that_touches_every_expert_reads_every_weight(name: str) -> None:
    """With tokens without end the expected distinct experts are all of them."""
    model, tokens = MODELS[name], 5000
    expected = parameter_count(model) - embedding_table(model).value + tokens * model.hidden
    assert weights(model, Batch.of_decode(tokens, 10)) == expected


@pytest.mark.parametrize("name", PLAIN)
def test_expert_flops_follow_the_tokens_not_the_experts(name: str) -> None:
    """A token costs k experts of three matrices, however many distinct ones the batch touches, and a router."""
    model = MODELS[name]
    batch = Batch.of_decode(9, 20)
    expert = 3 * model.hidden * model.intermediate * model.experts_per_token + model.hidden * model.experts
    layer = model.hidden * (2 * model.query_width + 2 * model.kv_width) + expert
    expected = 2 * 9 * (model.layers * layer + model.hidden * model.vocabulary)
    assert flops(model, batch) == expected + 4 * model.layers * model.query_width * batch.kv_tokens


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("tokens", [1, 2, 8, 32, 500])
def test_distinct_experts_are_the_expectation_of_uniform_routing(name: str, tokens: int) -> None:
    """E(1-(1-k/E)^T) in exact fractions, to half a part of 1,024; one token touches exactly k."""
    model = MODELS[name]
    missed = (1 - Fraction(model.experts_per_token, model.experts)) ** tokens
    parts = distinct_experts(model, tokens)
    assert abs(parts - 1024 * model.experts * (1 - missed)) <= Fraction(1, 2) + Fraction(1, 10**6)
    assert tokens > 1 or parts == 1024 * model.experts_per_token


@given(tokens=counts)
@LAWS
def test_distinct_experts_grow_with_tokens_and_never_pass_all(tokens: int) -> None:
    """More tokens touch at least as many experts, at most all and at most k a token."""
    for model in (MODELS[name] for name in MIXED):
        touched, more = distinct_experts(model, tokens), distinct_experts(model, tokens + 1)
        assert touched <= more <= 1024 * model.experts
        assert touched <= 1024 * tokens * model.experts_per_token


@given(sequences=counts, context=st.integers(1, 100_000), more=st.integers(1, 100_000))
@LAWS
def test_kv_bytes_grow_linearly_with_context_and_nothing_else_does(sequences: int, context: int, more: int) -> None:
    """Each further context token is read once by one sequence in each layer; weights and appends stay."""
    short = dict(operators(LLAMA, Batch.of_decode(sequences, context)))
    long = dict(operators(LLAMA, Batch.of_decode(sequences, context + more)))
    for before, after in zip(short, long, strict=True):
        grown = 2 * sequences * more * LLAMA.kv_width if before.name == "attention_decode" else 0
        assert after.kv_read - before.kv_read == grown
        assert (after.weights, after.kv_append_decode) == (before.weights, before.kv_append_decode)


@given(first=counts, second=counts, context=st.integers(1, 1000))
@LAWS
def test_flops_and_appends_of_decode_are_additive_and_weights_are_shared(first: int, second: int, context: int) -> None:
    """Two batches in one iteration do the sum of their work and read the layers' weights once."""
    model = LLAMA
    one, other = Batch.of_decode(first, context), Batch.of_decode(second, context)
    both = one + other
    assert flops(model, both) == flops(model, one) + flops(model, other)
    table_rows = [batch.tokens * model.hidden for batch in (one, other, both)]
    shared = {weights(model, batch) - rows for batch, rows in zip((one, other, both), table_rows, strict=True)}
    assert len(shared) == 1


@given(tokens=st.integers(1, 400), cut=st.integers(1, 400), cached=st.integers(0, 50))
@LAWS
def test_a_prompt_in_two_chunks_attends_the_same_pairs(tokens: int, cut: int, cached: int) -> None:
    """Pairs are n*cached + n(n+1)/2, the count of (query, earlier key) by hand, and chunking keeps their number."""
    whole = Batch.of_prefill(tokens, cached=cached)
    assert whole.prefill_pairs == sum(cached + position + 1 for position in range(tokens))
    head = min(cut, tokens)
    chunks = [Batch.of_prefill(head, cached=cached)]
    if tokens > head:
        chunks.append(Batch.of_prefill(tokens - head, cached=cached + head))
    assert sum(chunk.prefill_pairs for chunk in chunks) == whole.prefill_pairs


def test_the_last_token_of_a_prompt_costs_what_a_decode_step_costs() -> None:
    """Prefill of one token on a cache of c - 1 and decode at context c are the same work under two names."""
    decode, prefill = Batch.of_decode(1, 500), Batch.of_prefill(1, cached=499)
    assert flops(LLAMA, decode) == flops(LLAMA, prefill)
    assert weights(LLAMA, decode) == weights(LLAMA, prefill)
    reads = [sum(t * operator.kv_read for operator, t in operators(LLAMA, batch)) for batch in (decode, prefill)]
    assert reads[0] == reads[1] == 500 * LLAMA.kv_elements_per_token


@given(batch=st.builds(Batch.of_decode, counts, st.integers(1, 1000)))
@LAWS
def test_each_new_token_appends_its_keys_and_values_once(batch: Batch) -> None:
    """Appended elements are tokens times the model's KV elements a token."""
    mixed = batch + Batch.of_prefill(33)
    appended = sum(t * (o.kv_append_decode + o.kv_append_prefill) for o, t in operators(LLAMA, mixed))
    assert appended == mixed.tokens * LLAMA.kv_elements_per_token


def test_only_a_mixed_batch_has_both_attention_kernels() -> None:
    """Decode rows are a group of query heads, prefill rows a prompt of them: two kernels, one phase name each."""
    decode, prefill = Batch.of_decode(4, 100), Batch.of_prefill(50)
    for batch, phase, kernels in (
        (decode, "decode", ["attention_decode"]),
        (prefill, "prefill", ["attention_prefill"]),
        (decode + prefill, "mixed", ["attention_decode", "attention_prefill"]),
    ):
        names = [operator.name for operator in iteration_operators(LLAMA, batch).layer if operator.reads_kv]
        assert (batch.phase, names) == (phase, kernels)
    rows = {operator.name: operator.matrix_rows for operator in iteration_operators(LLAMA, decode + prefill).layer}
    assert (rows["attention_decode"], rows["attention_prefill"], rows["qkv"]) == (4, 4 * 50, 54)


@pytest.mark.parametrize(("name", "exchanges"), [("llama-3.1-8b", 2), ("mixtral-8x7b", 2), ("palm-540b", 1)])
def test_a_parallel_block_exchanges_once_a_layer(name: str, exchanges: int) -> None:
    """Attention and MLP of PaLM sum into one all-reduce of tokens x hidden; others need two."""
    model = MODELS[name]
    layer = iteration_operators(model, Batch.of_decode(3, 9)).layer
    amounts = [operator.exchange_elements.value for operator in layer if operator.exchange == "all_reduce"]
    assert amounts == [3 * model.hidden] * exchanges


def test_a_plain_mlp_has_two_matrices_and_a_gated_one_three() -> None:
    """The same model without its gate reads and multiplies a third less in the MLP."""
    plain = dataclasses.replace(LLAMA, gated=False)
    batch = Batch.of_decode(2, 4)
    matrix = LLAMA.hidden * LLAMA.intermediate
    assert flops(LLAMA, batch) - flops(plain, batch) == 2 * 2 * LLAMA.layers * matrix
    assert weights(LLAMA, batch) - weights(plain, batch) == LLAMA.layers * matrix


def test_a_layer_has_few_kernels() -> None:
    """The step floor's cost grows with tasks: at most nine a layer, exchanges included."""
    for model in MODELS.values():
        assert len(iteration_operators(model, Batch.of_decode(1, 1)).layer) <= (14 if model.latent else 9)


@pytest.mark.parametrize(
    "counts",
    [
        (0, 0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0, 0),
        (2, 1, 0, 0, 0, 0),
        (0, 0, 2, 1, 1, 1),
        (0, 0, 1, 5, 4, 5),
        (-1, 0, 1, 1, 1, 1),
    ],
)
def test_an_impossible_batch_is_refused(counts: tuple[int, ...]) -> None:
    """No tokens, a sequence without context, more prompts than tokens, fewer pairs than tokens."""
    with pytest.raises(ValueError, match="Batch"):
        Batch(*counts)


@pytest.mark.parametrize("name", LATENT)
def test_a_latent_decode_step_costs_its_matrices_and_two_products_with_the_latent(name: str) -> None:
    """Each active matrix multiplies each token once; every pair and head meets a key of c + r and a value of c."""
    model, batch = MODELS[name], Batch.of_decode(9, 20)
    latent = model.latent
    assert latent is not None
    query = model.heads * latent.query
    into = model.hidden * latent.query_rank + latent.query_rank * query if latent.query_rank else model.hidden * query
    expand = latent.kv_rank * model.heads * (latent.nope + latent.value)
    attention = into + model.hidden * latent.cached + expand + model.query_width * model.hidden
    dense = 3 * model.hidden * model.dense_intermediate
    chosen = model.experts_per_token * model.intermediate + model.shared_intermediate
    mixed = 3 * model.hidden * chosen + model.hidden * model.experts
    layers = model.layers * attention + model.dense_layers * dense + model.expert_layers * mixed
    pairs = model.layers * model.heads * batch.kv_tokens * (2 * latent.kv_rank + latent.rope)
    assert flops(model, batch) == 2 * 9 * (layers + model.hidden * model.vocabulary) + 2 * pairs


@pytest.mark.parametrize("name", LATENT)
def test_a_latent_prefill_expands_its_context_and_attends_head_by_head(name: str) -> None:
    """Against the absorbed way it has H (n + r + d) products a pair, and expands each token of the context once."""
    model = MODELS[name]
    latent = model.latent
    assert latent is not None
    work = {operator.name: operator for operator in iteration_operators(model, Batch.of_prefill(30, cached=12)).layer}
    pairs = sum(12 + place + 1 for place in range(30))
    expanded = 2 * 42 * latent.kv_rank * model.heads * (latent.nope + latent.value)
    assert sum(amount.value for amount in work["expand"].matrix_flops) == expanded
    attended = 2 * pairs * model.heads * (latent.query + latent.value)
    assert sum(amount.value for amount in work["attention_prefill"].matrix_flops) == attended
    assert "absorb_query" not in work
    assert work["expand"].kv_read == 42 * latent.cached


@pytest.mark.parametrize("name", LATENT)
def test_a_mixed_latent_iteration_needs_the_expanding_matrix_once(name: str) -> None:
    """Decode absorbs it and prefill expands with it: two reads, of which one counts."""
    model = MODELS[name]
    decode, prefill = Batch.of_decode(5000, 9), Batch.of_prefill(7)
    rows = [batch.tokens * model.hidden for batch in (decode, decode + prefill)]
    assert weights(model, decode) - rows[0] == weights(model, decode + prefill) - rows[1]
    again = [a for operator, _ in operators(model, decode + prefill) for a in operator.reread_weights]
    assert again
    assert not [a for operator, _ in operators(model, decode) for a in operator.reread_weights]


@given(length=st.integers(1, 20_000), sequences=st.integers(1, 50))
@LAWS
def test_kv_reads_stop_growing_at_the_window(length: int, sequences: int) -> None:
    """Gemma 3 reads all of the context in 8 of 48 layers and at most 1,024 tokens of it in 40."""
    model = MODELS["gemma-3-12b"]
    read = sum(times * operator.kv_read for operator, times in operators(model, Batch.of_decode(sequences, length)))
    assert read == 2 * model.kv_width * sequences * (8 * length + 40 * min(length, 1024))
    assert read == 2 * model.kv_width * 8 * sequences * model.reach.attended(length)


@given(new=st.integers(1, 60), cached=st.integers(0, 60), window=st.integers(1, 70))
@LAWS
def test_windowed_pairs_are_counted_query_by_query(new: int, cached: int, window: int) -> None:
    """A query at place p attends to min(p, window) tokens, its own with them."""
    by_hand = sum(min(cached + place + 1, window) for place in range(new))
    assert window_pairs(new, cached, window) == by_hand
    assert Batch.of_prefill(new, cached=cached, sequences=3).windowed(window).prefill_pairs == 3 * by_hand


@given(st.lists(st.sampled_from("ab"), max_size=80))
@LAWS
def test_runs_write_out_to_the_layers_they_stand_for(keys: list[str]) -> None:
    """Patterns times repetitions are the layers again, in order."""
    assert [key for pattern, count in runs(keys) for _ in range(count) for key in pattern] == keys


def test_alternating_layers_are_one_pattern_and_leading_ones_another() -> None:
    """Gemma 3 12B repeats six layers eight times; DeepSeek-V3 three dense layers, then 58 with experts."""
    assert [(len(pattern), count) for pattern, count in runs(MODELS["gemma-3-12b"].kinds)] == [(6, 8)]
    assert [(len(pattern), count) for pattern, count in runs(MODELS["gemma-3-27b"].kinds)] == [(6, 10), (1, 2)]
    assert [(len(pattern), count) for pattern, count in runs(MODELS["deepseek-v3"].kinds)] == [(1, 3), (1, 58)]
