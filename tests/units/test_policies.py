"""Who begins next, prompt by prompt, and what one iteration takes of those under way; how replicas' windows merge."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from archsim.serving.batch import Batch
from archsim.serving.chunks import Chunks, cut
from archsim.serving.merging import merged_windows
from archsim.serving.policies import POLICIES, in_order, prefill_first, when_empty
from archsim.serving.requests import ALL, Arrival, Limits, Sequence
from archsim.serving.windows import MOST_WINDOWS, Window

LIMITS = Limits(4, 20, 100, 4, 10**6)


def _sequences(*lengths: int, generated: tuple[int, ...] = ()) -> list[Sequence]:
    made = [Sequence(number, Arrival(0, length, 9)) for number, length in enumerate(lengths)]
    for sequence, tokens in zip(made, generated, strict=False):
        sequence.generated = tokens
    return made


def test_whole_prompts_begin_together_up_to_the_places_the_tokens_and_the_blocks() -> None:
    """Twenty tokens at once: 8 + 12 fit to the last one, 8 + 13 do not; a longer one begins alone."""
    assert prefill_first(_sequences(8, 12, 1), 4, 100, LIMITS) == 2
    assert prefill_first(_sequences(8, 13), 4, 100, LIMITS) == 1
    assert prefill_first(_sequences(500), 4, 1000, LIMITS) == 1
    assert prefill_first(_sequences(1, 1, 1), 2, 100, LIMITS) == 2
    assert prefill_first(_sequences(7, 7), 4, 4, LIMITS) == 2
    assert prefill_first(_sequences(7, 7), 4, 3, LIMITS) == 1
    assert prefill_first([], 4, 100, LIMITS) == 0


def test_what_is_recomputed_does_not_begin_with_what_is_new() -> None:
    """One token generated before a preemption is enough to tell; either kind begins with its own."""
    for admit in (prefill_first, in_order):
        assert admit(_sequences(2, 2, generated=(1, 0)), 4, 100, LIMITS) == 1
        assert admit(_sequences(2, 2, generated=(0, 1)), 4, 100, LIMITS) == 1
        assert admit(_sequences(2, 2, generated=(1, 5)), 4, 100, LIMITS) == 2
        assert admit(_sequences(2, 2, 2, generated=(0, 0, 3)), 4, 100, LIMITS) == 2


def test_prompts_that_are_cut_begin_in_order_whatever_their_tokens() -> None:
    """Only places and blocks bound them."""
    assert in_order(_sequences(50, 50, 1), 4, 100, LIMITS) == 3
    assert in_order(_sequences(50, 50, 1), 2, 100, LIMITS) == 2
    assert in_order(_sequences(7, 7), 4, 4, LIMITS) == 2
    assert in_order(_sequences(7, 7), 4, 3, LIMITS) == 1


def test_a_static_batch_begins_when_all_places_are_free() -> None:
    """With one place taken nobody begins."""
    assert when_empty(_sequences(8, 12), 4, 100, LIMITS) == 2
    assert when_empty(_sequences(8, 12), 3, 100, LIMITS) == 0


def test_an_iteration_takes_prompts_in_order_until_its_tokens_are_spent() -> None:
    """Of 5, 7 and 9 tokens, 10 a time: 5 + 5, then 2 + 8, then the last one; each attends to all before it."""
    under_way = deque(_sequences(5, 7, 9))
    first = cut(under_way, 10, reach=ALL)
    assert (first.sequences, first.tokens, first.kv_tokens) == (2, 10, 5 + 5)
    assert first.pairs == 15 + 15
    assert [sequence.id for sequence in first.done] == [0]
    under_way.popleft()
    second = cut(under_way, 10, reach=ALL)
    assert (second.sequences, second.tokens, second.kv_tokens) == (2, 10, 7 + 8)
    assert second.pairs == (6 + 7) + 36
    assert [sequence.id for sequence in second.done] == [1]
    under_way.popleft()
    third = cut(under_way, 10, reach=ALL)
    assert (third.sequences, third.tokens, third.kv_tokens, third.pairs) == (1, 1, 9, 9)
    assert cut(deque(), 10, reach=ALL).sequences == 0


def test_the_rest_of_cached_prompts_is_what_they_lack() -> None:
    """Eight tokens of which three are cached: five attend to 4, 5, 6, 7 and 8."""
    sequences = _sequences(8, 2)
    sequences[0].cached = 3
    rest = Chunks.of_rest(sequences, ALL)
    assert (rest.sequences, rest.tokens, rest.kv_tokens) == (2, 5 + 2, 8 + 2)
    assert rest.pairs == (4 + 5 + 6 + 7 + 8) + (1 + 2)
    assert rest.done == sequences


def test_windows_of_replicas_merge_into_cells_of_time_that_fill_the_fleets_clock() -> None:
    """Two replicas of many windows: about as many cells as one replica may have, and no time is lost."""
    length = 1 << 18
    replicas = [[Window(k * length, (k + 1) * length) for k in range(4000)] for _ in range(2)]
    merged = merged_windows(replicas)
    assert MOST_WINDOWS // 4 <= len(merged) <= 2 * MOST_WINDOWS
    assert merged[0].start_fine == 0
    assert merged[-1].end_fine == 4000 * length
    assert all(one.end_fine == two.start_fine for one, two in pairwise(merged))
    assert merged_windows([[], []]) == ()


def test_policies_have_the_names_that_a_runtime_gives() -> None:
    """One of the three cuts prompts."""
    assert {name: policy.chunked for name, policy in POLICIES.items()} == {
        "prefill_first": False, "decode_first": True, "static": False,
    }  # fmt: skip


def test_a_batch_counts_its_places_blocks_and_the_lengths_of_its_members() -> None:
    """Of 8 and 5 tokens in blocks of four; a third is on its way: it takes a place and blocks, but does not decode."""
    batch = Batch(LIMITS)
    first, second, third = _sequences(8, 5, 9)
    for sequence in (first, second):
        batch.reserve(sequence)
        batch.join(sequence)
    assert (len(batch), batch.free_places, batch.kv_tokens, batch.growth) == (2, 2, 13, 2)
    assert list(batch.members()) == [(0, 8), (1, 5)]
    assert batch.used_blocks == batch.peak_blocks == 3 + 2
    batch.step += 2
    assert list(batch.members()) == [(0, 10), (1, 7)]
    assert batch.kv_tokens == 17
    assert batch.has_room(third)
    batch.expect(third)
    assert (len(batch), batch.free_places, batch.coming) == (2, 1, 1)
    assert batch.free_blocks == 100 - batch.used_blocks
    batch.land(third)
    assert (len(batch), batch.free_places, batch.coming) == (3, 1, 0)
    assert list(batch.members())[-1] == (2, 9)
