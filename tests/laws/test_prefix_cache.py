"""Prefix caching: shared once, evicted in order, and worth what the trace has in common."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archsim.errors import InputError
from archsim.serving.prefix import PrefixCache
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits, Sequence
from archsim.serving.techniques import PrefixRule, Techniques
from archsim.simulate import load_model, load_system, run
from archsim.step.costs import StepCosts
from archsim.workload.trace import load_trace


def _limits(*, kv_blocks: int, eviction: str = "lru", unit_tokens: int = 4) -> Limits:
    rule = PrefixRule(eviction, unit_tokens)
    return Limits(8, 64, kv_blocks, 4, 10**6, techniques=Techniques(prefix=rule))


def _cache(limits: Limits) -> PrefixCache:
    assert limits.techniques.prefix is not None
    return PrefixCache(limits.techniques.prefix, limits)


def _serve(cache: PrefixCache, prompt: int, prefix: tuple[int, ...]) -> int:
    """Return what a request finds that comes and goes alone."""
    sequence = Sequence(0, Arrival(0, prompt, 1, prefix))
    cache.share(sequence)
    cached = sequence.cached
    cache.keep(sequence)
    cache.leave(sequence)
    return cached


@pytest.mark.parametrize(
    ("eviction", "left"),
    [
        ("lru", {1, 2}),  # 4 left first; of the others, which left together, 3 is the deepest
        ("fifo", {3, 4}),  # 1 and 2 were there first
        ("lfu", {1, 2}),  # 4 and 3 were used once
    ],
)
def test_what_nobody_uses_goes_in_the_order_of_the_policy(eviction: str, left: set[int]) -> None:
    """Talks 1-2, then 4, then 1-2-3 were served, and there is room for two units of four."""
    limits = _limits(kv_blocks=100, eviction=eviction)
    cache = _cache(limits)
    for prefix in ((1, 2), (4,), (1, 2, 3)):
        _serve(cache, 4 * len(prefix), prefix)
    assert cache.idle_blocks == 4
    cache.shrink_to(2)
    found = set()
    for unit in (1, 2, 3, 4):
        probe = Sequence(9, Arrival(0, 4, 1, (unit,)))
        next(iter(cache.offered([probe])))
        found |= {unit} if probe.cached else set()
    assert found == left


def test_the_least_often_used_goes_first_however_recent() -> None:
    """Talk 1 was served three times, talk 2 twice, then talk 3 twice and last: with room for one, 1 stays."""
    cache = _cache(_limits(kv_blocks=100, eviction="lfu"))
    for unit in (1, 1, 1, 2, 2, 3, 3):
        _serve(cache, 4, (unit,))
    cache.shrink_to(1)
    assert cache.use.evicted_units == 2
    assert _serve(cache, 4, (1,)) == 3


def test_whoever_leaves_first_leaves_what_goes_first() -> None:
    """Two run side by side: of units left one after the other the one left earlier is the least recent."""
    cache = _cache(_limits(kv_blocks=100))
    running = [Sequence(number, Arrival(0, 4, 1, (number,))) for number in (1, 2)]
    for sequence in running:
        cache.share(sequence)
        cache.keep(sequence)
    for sequence in running:
        cache.leave(sequence)
    cache.shrink_to(1)
    assert _serve(cache, 4, (2,)) == 3


def test_a_prompt_that_is_all_there_computes_its_last_token() -> None:
    """Eight tokens in two kept units: seven are found, one is computed for its logits."""
    cache = _cache(_limits(kv_blocks=100))
    assert _serve(cache, 8, (1, 2)) == 0
    assert _serve(cache, 8, (1, 2)) == 7
    assert _serve(cache, 11, (1, 3)) == 4


def _step(batch: Any) -> Any:
    return SimpleNamespace(time_ps=1000 + batch.tokens)


def test_running_sequences_hold_what_they_share_once() -> None:
    """A first request leaves 16 tokens; three more of 16 + 4 and 4 of output fit beside it in 4 + 3 x 2 blocks."""
    prefix = (1, 2, 3, 4)
    arrivals = [Arrival(0, 20, 1, prefix)] + [Arrival(10**12, 20, 4, prefix)] * 3
    record = replay(arrivals, StepCosts(_step), limits=_limits(kv_blocks=10))
    assert record.preemptions == 0
    assert record.peak_kv_blocks == 4 + 3 * 2
    assert len(set(record.requests.finish_ps.tolist()[1:])) == 1
    assert record.prefixes is not None
    assert record.prefixes.hit_tokens == 3 * 16


def test_the_ideal_hit_share_of_mooncakes_conversations_is_the_published_one(shared: Path) -> None:
    """With room for everything, one request after the other: 34.7 % of the input tokens of the first half hour."""
    trace = load_trace(str(shared / "traces" / "mooncake_conversation_first30min.jsonl.gz"))
    cache = _cache(_limits(kv_blocks=10**9, unit_tokens=512))
    for request in trace:
        _serve(cache, request.prompt_tokens, request.blocks[: request.prompt_tokens // 512])
    assert trace.count == 5719
    assert cache.use.prompt_tokens == sum(trace.prompt_tokens)
    assert abs(cache.use.hit_tokens / cache.use.prompt_tokens - 0.347) < 0.0005


def test_a_run_says_what_the_cache_found_and_computes_as_much_less(shared: Path) -> None:
    """Prefill takes less time by half of the share found at least, and the same tokens come out."""
    trace = load_trace(str(shared / "traces" / "mooncake_conversation_first30min.jsonl.gz"), limit=16)
    model = load_model("llama-3.1-8b")
    plain, cached = (
        run(load_system("gh200", overrides), model, trace=trace)
        for overrides in ((), ("serving.prefix_cache.eviction=lru",))
    )
    assert plain.serving is None
    assert "serving" not in plain.to_json()
    assert cached.serving is not None
    assert cached.serving.prefix_cache is not None
    share = cached.serving.prefix_cache.hit_share
    assert 0 < share < 0.347
    assert cached.tokens == plain.tokens
    assert cached.phases["prefill"].time_s < plain.phases["prefill"].time_s * (1 - share / 2)


def test_a_cache_of_prompts_that_say_nothing_of_their_beginnings_is_refused() -> None:
    """The key and the trace stand in the message, as does an unknown order of eviction."""
    model, trace = load_model("llama-3.1-8b"), load_trace("azure-conv", limit=3)
    with pytest.raises(InputError, match=r"serving\.prefix_cache.*azure-conv.*which prompts begin alike"):
        run(load_system("h100-sxm8", ("serving.prefix_cache.eviction=lru",)), model, trace=trace)
    with pytest.raises(InputError, match="lru, lfu, fifo"):
        run(load_system("h100-sxm8", ("serving.prefix_cache.eviction=lry",)), model, trace=trace)
