"""Pools: the fast replay equals the one that takes single iterations, and nothing is lost on the way."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.pools import design_toml, load_design, load_pools
from archsim.metrics.accounts import ACCOUNTS
from archsim.result import Result
from archsim.serving.closed_loop import Users
from archsim.serving.divide import Division, divided
from archsim.serving.fleet import replay_fleet
from archsim.serving.handover import TransferLaw
from archsim.serving.observe import bin_of
from archsim.serving.pools import ended_together, replay_handover, replay_side_by_side, serve_stage
from archsim.serving.pools_loop import replay_handover_loop
from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import PLAIN, Techniques
from archsim.simulate import load_trace, run
from archsim.timeline import Ask, timeline_of_requests
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import load_model

sys.path.append(str(Path(__file__).parents[1]))
import pools_twin
import replay_toy as toy

LAWS = settings(phases=[Phase.generate], max_examples=60, deadline=None, derandomize=True, database=None)
COSTS = toy.ToyCosts(
    lambda batch, kv: 10**9 + 10**6 * batch + 1000 * kv, lambda tokens, pairs: 10**9 + 10**7 * tokens + pairs,
    spacing_bits=10,
)  # fmt: skip


@st.composite
def traces(draw: st.DrawFn) -> list[Arrival]:
    """Return arrivals, some at one instant, some too long for the limits."""
    rows = draw(st.lists(st.tuples(st.integers(0, 3 * 10**10), st.integers(1, 60), st.integers(1, 60)), max_size=30))
    return [Arrival(at, prompt, output) for at, prompt, output in sorted(rows)]


@st.composite
def groups(draw: st.DrawFn, techniques: Techniques = PLAIN) -> ServerGroup:
    """Return a pool of one to three servers with little room."""
    limits = Limits(
        max_batch=draw(st.integers(1, 6)), max_prefill_tokens=draw(st.sampled_from([40, 100])),
        kv_blocks=draw(st.integers(16, 40)), block_tokens=4, context_tokens=110, techniques=techniques,
    )  # fmt: skip
    return ServerGroup(COSTS, limits, draw(st.integers(1, 3)))


LAW = st.builds(
    TransferLaw,
    bytes_per_s=st.sampled_from([10**3, 10**6, 10**9]),
    latency_ps=st.sampled_from([0, 1, 10**6, 10**9]),
    kv_bits=st.sampled_from([8, 12]),
    layers=st.sampled_from([1, 2, 32]),
)


def phases_of(record: Record) -> dict[str, tuple[int, int, dict[int, int]]]:
    """Return what a server did: phase -> iterations, time, weights of knots."""
    return {name: (use.iterations, use.time_fine, use.weights) for name, use in record.total.phases.items()}


def twin_phases(machine: pools_twin.Machine) -> dict[str, tuple[int, int, dict[int, int]]]:
    """Return the same of the twin's server."""
    found: dict[str, tuple[int, int, dict[int, int]]] = {}
    for piece in machine.pieces:
        if piece.phase:
            count, time, weights = found.setdefault(piece.phase, (0, 0, {}))
            for knot, weight in piece.knots:
                weights[knot] = weights.get(knot, 0) + weight
            found[piece.phase] = (count + 1, time + piece.end - piece.start, weights)
    return found


@LAWS
@given(arrivals=traces(), prefill=groups(), decode=groups(), law=LAW)
def test_jumps_equal_single_iterations(
    arrivals: list[Arrival], prefill: ServerGroup, decode: ServerGroup, law: TransferLaw
) -> None:
    """Times of every request, what every server did and every port passed are the twin's, to the last unit."""
    fast = replay_handover(iter(arrivals), prefill=prefill, decode=decode, law=law)
    twin = pools_twin.Pools(arrivals, prefill, decode, law)
    table = fast.requests
    assert table.first_token_ps.tolist() == [-1 if row.rejected else row.first_token_ps for row in twin.rows]
    assert table.finish_ps.tolist() == [-1 if row.rejected else row.finish_ps for row in twin.rows]
    assert table.preemptions.tolist() == [row.preemptions for row in twin.rows]
    machines = [*twin.senders, *twin.receivers]
    for record, machine in zip([*fast.pools[0], *fast.pools[1]], machines, strict=True):
        assert phases_of(record) == twin_phases(machine)
        assert record.total.end_fine == machine.pieces[-1].end
    ports = [port.sent_bytes for of_pool in fast.ports for port in of_pool]
    assert ports == [machine.port_bytes for machine in machines]


@LAWS
@given(
    arrivals=traces(),
    prefill=groups(Techniques(classes=(30, 70), ttft_ps=4 * 10**9, watched=True)),
    decode=groups(Techniques(classes=(20, 80), tpot_ps=10**9 + 3 * 10**6 + 10**5, watched=True)),
    law=LAW,
)
def test_classes_bounds_and_what_is_watched_equal_single_iterations(
    arrivals: list[Arrival], prefill: ServerGroup, decode: ServerGroup, law: TransferLaw
) -> None:
    """Urgent caches go first, nobody joins who would slow others, who waits too long goes; gaps pass between pools."""
    fast = replay_handover(iter(arrivals), prefill=prefill, decode=decode, law=law)
    twin = pools_twin.Pools(arrivals, prefill, decode, law)
    table = fast.requests
    assert table.finish_ps.tolist() == [-1 if row.rejected else row.finish_ps for row in twin.rows]
    assert table.first_token_ps.tolist() == [-1 if row.rejected else row.first_token_ps for row in twin.rows]
    assert table.preemptions.tolist() == [row.preemptions for row in twin.rows]
    records = [record for pool in fast.pools for record in pool]
    for record, machine in zip(records, [*twin.senders, *twin.receivers], strict=True):
        assert phases_of(record) == twin_phases(machine)
    seen = [record.observer for record in records if record.observer is not None]
    gaps = seen[0].with_others(seen[1:]).gaps
    assert gaps.bins == Counter(bin_of(gap) for gap in twin.gaps)
    assert gaps.total_fine == sum(twin.gaps)


def test_who_waited_too_long_makes_way_at_once() -> None:
    """Of three, the first prefills for 1.06 s; its cache is sent until 7.06 s, and the second needs all the blocks.

    The second is too late one picosecond after its bound, at 4 s, and the third, which fits beside the cache, begins
    then: nothing else happens at that instant.
    """
    slow = toy.ToyCosts(lambda _batch, _kv: 10**9, lambda tokens, _pairs: 10**12 + 10**10 * tokens, spacing_bits=10)
    room = Limits(max_batch=8, max_prefill_tokens=100, kv_blocks=6, block_tokens=4, context_tokens=100,
                  techniques=Techniques(ttft_ps=4 * 10**12))  # fmt: skip
    prefill, decode = ServerGroup(slow, room, 1), ServerGroup(slow, PLENTY, 1)
    law = TransferLaw(bytes_per_s=1, latency_ps=0, kv_bits=7, layers=1)
    arrivals = [Arrival(0, 6, 2), Arrival(1, 20, 1), Arrival(10**12, 4, 1)]
    late_ps = 1 + 4 * 10**12 + 1
    expected = [1060 * 10**9 + 6 * 10**12 + 10**9, -1, late_ps + 1040 * 10**9]
    fast = replay_handover(iter(arrivals), prefill=prefill, decode=decode, law=law).requests
    assert fast.finish_ps.tolist() == expected
    twin = pools_twin.Pools(arrivals, prefill, decode, law)
    assert [-1 if row.rejected else row.finish_ps for row in twin.rows] == expected


def test_who_has_waited_for_just_the_bound_is_served() -> None:
    """A request that has waited 4 ms when the blocks it needs are free begins; a picosecond later it is turned away."""
    slow = toy.ToyCosts(lambda _batch, _kv: 10**9, lambda _tokens, _pairs: 10**9, spacing_bits=10)
    law = TransferLaw(bytes_per_s=1000, latency_ps=0, kv_bits=8, layers=1)
    freed_ps = 10**9 + 8 * 10**9
    for arrival_ps, served in ((freed_ps - 4 * 10**9, True), (freed_ps - 4 * 10**9 - 1, False)):
        room = Limits(max_batch=8, max_prefill_tokens=100, kv_blocks=3, block_tokens=4, context_tokens=100,
                      techniques=Techniques(ttft_ps=4 * 10**9))  # fmt: skip
        arrivals = [Arrival(0, 8, 2), Arrival(arrival_ps, 8, 1)]
        groups_of = {"prefill": ServerGroup(slow, room, 1), "decode": ServerGroup(slow, PLENTY, 1)}
        found = replay_handover(iter(arrivals), **groups_of, law=law).requests
        assert found.finish_ps.tolist() == [freed_ps + 10**9, freed_ps + 10**9 if served else -1]


@LAWS
@given(
    loop=st.builds(ClosedLoop, users=st.integers(1, 9), prompt_tokens=st.integers(1, 40),
                   output_tokens=st.integers(1, 30), rounds=st.integers(1, 3), together=st.booleans()),
    prefill=groups(Techniques(watched=True)),
    decode=groups(Techniques(watched=True)),
    law=LAW,
)  # fmt: skip
def test_users_who_ask_again_equal_single_iterations(
    loop: ClosedLoop, prefill: ServerGroup, decode: ServerGroup, law: TransferLaw
) -> None:
    """A request is sent when one before it is done, wherever it decoded; times, phases and gaps are the twin's."""
    first = [Arrival(0, loop.prompt_tokens, loop.first_output(user)) for user in range(loop.users)]
    again = (loop.prompt_tokens, loop.output_tokens, loop.users * loop.rounds)
    twin = pools_twin.Pools(first, prefill, decode, law, again=again)
    assume(not any(row.rejected for row in twin.rows))
    fast = replay_handover_loop(Users(loop), prefill=prefill, decode=decode, law=law)
    table = fast.requests
    assert len(table.finish_ps) == loop.users * (1 + loop.rounds)
    assert table.arrival_ps.tolist() == [row.arrival_ps for row in twin.rows]
    assert table.finish_ps.tolist() == [row.finish_ps for row in twin.rows]
    assert table.first_token_ps.tolist() == [row.first_token_ps for row in twin.rows]
    records = [record for pool in fast.pools for record in pool]
    for record, machine in zip(records, [*twin.senders, *twin.receivers], strict=True):
        assert phases_of(record) == twin_phases(machine)
        assert record.total.end_fine == machine.pieces[-1].end
        spent = record.total.idle_fine + sum(use.time_fine for use in record.total.phases.values())
        assert spent == record.total.end_fine
    seen = [record.observer for record in records if record.observer is not None]
    assert seen[0].with_others(seen[1:]).gaps.bins == Counter(bin_of(gap) for gap in twin.gaps)


def test_pools_side_by_side_do_what_each_does_alone() -> None:
    """Two groups with requests of their own: tables one after the other, and every server idle to the common end."""
    limits = Limits(4, 100, 40, 4, 110)
    groups = [ServerGroup(COSTS, limits, 2, router="least_tokens"), ServerGroup(COSTS, limits, 1)]
    streams = [[Arrival(at * 10**9, 9 + at, 5 + at % 3) for at in range(count)] for count in (12, 7)]
    calls: list[int] = []
    both = replay_side_by_side(streams, groups, progress=lambda done, _: calls.append(done))
    alone = [replay_fleet(stream, group) for stream, group in zip(streams, groups, strict=True)]
    for name in ("arrival_ps", "first_token_ps", "finish_ps", "prompt_tokens"):
        apart = [value for fleet in alone for value in getattr(fleet.record.requests, name).tolist()]
        assert getattr(both.requests, name).tolist() == apart
    servers = [list(fleet.replicas) or [fleet.record] for fleet in alone]
    for pool, records in zip(both.pools, servers, strict=True):
        assert [phases_of(record) for record in pool] == [phases_of(record) for record in records]
    assert {record.end_ps for pool in both.pools for record in pool} == {max(fleet.record.end_ps for fleet in alone)}
    for stream, group, fleet in zip(streams, groups, alone, strict=True):
        stage = serve_stage(stream, group)
        assert stage.requests.finish_ps.tolist() == fleet.record.requests.finish_ps.tolist()
        ((*ended,),) = ended_together([stage.servers], stage.event_count)
        assert [phases_of(record) for record in ended] == [
            phases_of(record) for record in (fleet.replicas or (fleet.record,))
        ]
    assert calls == []


def test_progress_of_pools_counts_every_256th_request() -> None:
    """Of 600, wherever they end: those of one token with their prompts, the others behind the door."""
    calls: list[int] = []
    group = ServerGroup(COSTS, Limits(64, 4000, 400, 4, 110), 2)
    law = TransferLaw(bytes_per_s=10**12, latency_ps=0, kv_bits=8, layers=1)
    for progress in (None, lambda done, _: calls.append(done)):
        arrivals = (Arrival(number, 2, 1 + number % 2) for number in range(600))
        replay_handover(arrivals, prefill=group, decode=group, law=law, progress=progress)
    assert calls == [256, 512]


def test_who_owes_nothing_gets_the_next_request() -> None:
    """Five requests, each done before the next one comes: the first of equals gets all, in either pool."""
    group = ServerGroup(COSTS, Limits(4, 100, 40, 4, 110), 2, router="least_tokens")
    law = TransferLaw(bytes_per_s=10**9, latency_ps=0, kv_bits=8, layers=1)
    arrivals = [Arrival(number * 10**12, 20 + number, 9) for number in range(5)]
    records = replay_handover(iter(arrivals), prefill=group, decode=group, law=law)
    assert [[record.total.output_tokens for record in pool] for pool in records.pools] == [[5, 0], [5 * 8, 0]]
    assert [[port.sent_bytes > 0 for port in pool] for pool in records.ports] == [[True, False], [True, False]]


def test_a_loop_without_waiting_is_the_trace_of_its_arrivals() -> None:
    """The same requests, replayed as an open trace at the arrivals that the loop gave them, have the same times."""
    loop = ClosedLoop(5, 20, 12, 3)
    group = ServerGroup(COSTS, PLENTY, 2)
    closed = replay_handover_loop(Users(loop), prefill=group, decode=group, law=FAST).requests
    arrivals = [Arrival(*row) for row in zip(closed.arrival_ps.tolist(), closed.prompt_tokens.tolist(),
                                             closed.output_tokens.tolist(), strict=True)]  # fmt: skip
    opened = replay_handover(iter(arrivals), prefill=group, decode=group, law=FAST).requests
    assert opened.finish_ps.tolist() == closed.finish_ps.tolist()
    assert opened.first_token_ps.tolist() == closed.first_token_ps.tolist()


def test_sessions_and_users_run_on_pools_that_hand_over() -> None:
    """Agents wait for their tools between calls; users of a loop ask when answered: all of them are completed."""
    spec, model = load_pools("h100-h200"), load_model("llama-3.1-8b")
    agents = run(spec, model, trace=load_trace("agents", limit=8))
    assert agents.requests.completed == 8
    users = run(spec, model, trace=ClosedLoop(4, 200, 20, 2))
    assert users.requests.completed == 12
    with pytest.raises(InputError, match="belong to no one of several pools"):
        run(PHONES, model, precision="w4a16kv16", trace=ClosedLoop(4, 200, 20, 2))


def test_a_bound_on_tokens_keeps_caches_waiting() -> None:
    """Three decode in 1.0031 ms, four would take longer: the fourth is taken on when one is done."""
    bound = Techniques(tpot_ps=10**9 + 3 * 10**6 + 2 * 10**5)
    groups_of = [ServerGroup(COSTS, replace(PLENTY, techniques=rule), 1) for rule in (PLAIN, bound)]
    arrivals = [Arrival(0, 20, output) for output in (10, 10, 10, 10)]
    replayed = replay_handover(iter(arrivals), prefill=groups_of[0], decode=groups_of[1], law=FAST)
    finish = replayed.requests.finish_ps.tolist()
    assert max(finish[:3]) < finish[3]
    # Alone it decodes nine tokens after the others are done.
    assert finish[3] - max(finish[:3]) > 9 * 10**9


@LAWS
@given(arrivals=traces(), prefill=groups(), decode=groups(), law=LAW)
def test_every_request_ends_once_and_every_port_is_accounted_for(
    arrivals: list[Arrival], prefill: ServerGroup, decode: ServerGroup, law: TransferLaw
) -> None:
    """Completed and rejected are all; one cache passes for each that decodes; a port's time is sent, held or idle."""
    replayed = replay_handover(iter(arrivals), prefill=prefill, decode=decode, law=law)
    records = [record for pool in replayed.pools for record in pool]
    table, sums = replayed.requests, replayed.transfers
    assert sum(record.completed + record.rejected for record in records) == len(arrivals)
    assert sum(record.rejected for record in records) == int((table.rejection > 0).sum())
    decoding = (table.rejection == 0) & (table.output_tokens > 1)
    assert sums is not None
    assert sums.count == int(decoding.sum())
    assert sums.sent_bytes == sum(law.bytes_of(prompt) for prompt in table.prompt_tokens[decoding].tolist())
    assert (table.finish_ps[decoding] > table.first_token_ps[decoding]).all()
    end_ps = records[0].end_ps
    for port in (port for pool in replayed.ports for port in pool):
        assert port.sending_ps + port.held_ps + port.idle_until(end_ps) == end_ps
    for record in records:
        spent = record.total.idle_fine + sum(use.time_fine for use in record.total.phases.values())
        assert spent == record.total.end_fine


PLENTY = Limits(max_batch=8, max_prefill_tokens=100, kv_blocks=400, block_tokens=4, context_tokens=400)
FAST = TransferLaw(bytes_per_s=10**15, latency_ps=0, kv_bits=8, layers=1)


def test_a_cache_that_takes_no_time_loses_none() -> None:
    """One request: a prefill here, its decode iterations there, and the transfer between, which takes 1 ps."""
    group = ServerGroup(COSTS, PLENTY, 1)
    split = replay_handover(iter([Arrival(5, 30, 20)]), prefill=group, decode=group, law=FAST).requests
    alone = replay(iter([Arrival(5, 30, 20)]), COSTS, limits=PLENTY).requests
    assert split.first_token_ps.tolist() == alone.first_token_ps.tolist()
    assert split.finish_ps.tolist() == [alone.finish_ps[0] + 1]


@pytest.mark.parametrize(("layers", "ahead"), [(1, False), (10, True)])
def test_layers_that_go_ahead_leave_one_layer_to_send(layers: int, ahead: bool) -> None:
    """A cache of 30 bytes at 1 kB/s takes 30 ms, of ten layers the last 3 ms; the prefill outlasts the others."""
    slow = toy.ToyCosts(lambda _batch, _kv: 10**9, lambda _tokens, _pairs: 10**12, spacing_bits=10)
    law = TransferLaw(bytes_per_s=10**3, latency_ps=7, kv_bits=8, layers=layers)
    group = ServerGroup(slow, PLENTY, 1)
    replayed = replay_handover(iter([Arrival(0, 30, 2)]), prefill=group, decode=group, law=law)
    landed_ps = int(replayed.requests.finish_ps[0]) - 10**9
    assert landed_ps == 10**12 + (3 if ahead else 30) * 10**9 + 7


def test_caches_wait_for_a_port_that_is_taken() -> None:
    """Two prompts done together: the second cache leaves when the first has, 30 ms later."""
    slow = toy.ToyCosts(lambda _batch, _kv: 10**6, lambda _tokens, _pairs: 10**9, spacing_bits=10)
    law = TransferLaw(bytes_per_s=10**3, latency_ps=0, kv_bits=8, layers=1)
    group = ServerGroup(slow, PLENTY, 1)
    arrivals = [Arrival(0, 30, 2), Arrival(0, 30, 2)]
    replayed = replay_handover(iter(arrivals), prefill=group, decode=group, law=law)
    first, second = replayed.requests.finish_ps.tolist()
    assert (first, second - first) == (10**9 + 30 * 10**9 + 10**6, 30 * 10**9)
    assert replayed.transfers is not None
    assert replayed.transfers.waited_ps == 30 * 10**9


def test_a_prompt_that_its_pool_can_never_hold_is_rejected() -> None:
    """The reason says which pool; what the decode pool cannot hold is rejected before its prompt is processed."""
    small, large = (Limits(max_batch=8, max_prefill_tokens=100, kv_blocks=blocks, block_tokens=4, context_tokens=400)
                    for blocks in (10, 400))  # fmt: skip
    arrivals = [Arrival(0, 60, 5)]
    for prefill, decode, reason in ((small, large, "its pool holds 40"), (large, small, "the KV memory holds 40")):
        groups_of = {"prefill": ServerGroup(COSTS, prefill, 1), "decode": ServerGroup(COSTS, decode, 1)}
        replayed = replay_handover(iter(arrivals), **groups_of, law=FAST)
        assert reason in replayed.requests.rejections[int(replayed.requests.rejection[0])]
        assert not replayed.pools[0][0].total.phases


PHONES = load_pools("phone-cloud")


def divided_by(*overrides: str) -> Division:
    """Return twenty requests divided by the phone's law, changed."""
    arrivals = [Arrival(10**9 * number, 50 * (number + 1), 10) for number in range(20)]
    return divided(iter(arrivals), load_pools("phone-cloud", overrides), seed=3)


def test_a_bound_divides_requests_by_their_tokens() -> None:
    """At most 512 of prompt and output: prompts of 50 to 500 are ten requests; by prompt alone as many."""
    assert [len(stream) for stream in divided_by().streams] == [10, 10]
    assert [len(stream) for stream in divided_by("divide.law=prompt", "divide.most_tokens=200").streams] == [4, 16]


def test_the_way_to_the_cloud_takes_its_time() -> None:
    """A prompt of 550 tokens is 2,200 bytes at 12.5 MB/s, and then 25 ms; the answer comes 25 ms later."""
    division = divided_by()
    assert division.streams[1][0].arrival_ps == 10 * 10**9 + 2200 * 10**12 // 12_500_000 + 25 * 10**9
    assert division.back_ps.tolist() == [0] * 10 + [25 * 10**9] * 10


def test_a_design_is_read_back_from_its_resolved_file(tmp_path: Path) -> None:
    """One file holds both systems; overrides reach the design and, behind a pool's name, its system."""
    given = ["decode.replicas=3", "link.latency=5 us", "prefill.hbm.stacks=4"]
    spec = load_pools("h100-h200", given)
    assert (spec.pools["decode"].replicas, spec.link.latency_ps if spec.link else 0) == (3, 5 * 10**6)
    assert spec.pools["prefill"].system.chip.memory["hbm"].stacks == 4
    path = tmp_path / "resolved.toml"
    path.write_text(design_toml(spec))
    assert load_design(str(path)) == spec


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["decode.serves=all"], 'one pool that serves "prefill"'),
        (["decode.system=h100-sxm9"], "bundled names"),
        (["link.overlap=layers"], "'none' or 'layer'"),
        (["divide.law=share", "divide.first=decode", "divide.share=50 %"], "for pools that serve all of a request"),
        (["decode.replicas=1000"], "at most 256 copies"),
        (["decode.nothing=1"], "a setting as `archsim show` prints it"),
    ],
)
def test_a_wrong_design_is_refused_by_key(overrides: list[str], expected: str) -> None:
    """Each problem names what was expected."""
    with pytest.raises(InputError, match=re.escape(expected)):
        load_pools("h100-h200", overrides)


def test_a_pool_that_can_never_hold_the_model_is_named() -> None:
    """Two Llama-3.1-405B in 16 bits on eight H100: the pool, the bytes that are missing."""
    with pytest.raises(InputError, match="pool prefill: hbm of each of 8 chips"):
        run(load_pools("h100-h200"), load_model("llama-3.1-405b"), trace=load_trace("azure-conv", limit=2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["decode.serving.admission.ttft=1 s"], "pool decode: serving.admission.ttft"),
        (["prefill.serving.admission.tpot=1 s"], "pool prefill: serving.admission.tpot"),
        (["serving.priority.shares=[20, 80]", "serving.priority.preempt=recompute"],
         "never: a cache that comes from another pool waits"),
        (["decode.serving.metrics.detail=tokens"], "metrics of all pools or of none"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_in_a_pool_is_refused(given: list[str], expected: str) -> None:
    """Each problem names the pool, the key and what was expected."""
    with pytest.raises(InputError, match=re.escape(expected)):
        run(load_pools("h100-h200", given), load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=2))


def test_metrics_of_pools_are_those_of_the_design() -> None:
    """Times between tokens, goodput, fairness, energy of requests: of all requests, whichever pool served them."""
    levels = ["serving.metrics.detail=tokens", "serving.metrics.slo_ttft=10 s", "serving.metrics.slo_tpot=1 s"]
    for design in ("h100-h200", "phone-cloud"):
        found = run(load_pools(design, levels), load_model("llama-3.1-8b"), precision="w4a16kv16",
                           trace=load_trace("azure-conv", limit=12))  # fmt: skip
        assert found.serving is not None
        facts = found.serving.metrics
        assert facts is not None
        assert facts.inter_token_s.count == found.tokens.output - found.requests.completed
        assert facts.inter_token_s.p99 is not None
        assert facts.goodput is not None
        assert facts.goodput.share == 1.0
        assert found.tables is not None
        assert found.energy is not None
        assert math.fsum(found.tables.joules) == pytest.approx(found.energy.joules, rel=1e-9)
        assert found.tables.series


@pytest.mark.parametrize("pool", ["prefill", "decode"])
def test_a_pool_answers_from_no_cache(pool: str) -> None:
    """A cache of answers stands before a whole system; in a pool it would count requests of others."""
    given = [f"{pool}.serving.answer_cache.hits=50 %", f"{pool}.serving.answer_cache.latency=1 ms"]
    with pytest.raises(InputError, match="no answers of a pool"):
        run(load_pools("h100-h200", given), load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=2))


@pytest.fixture(scope="module")
def split() -> Result:
    """A run of forty requests on H100 for prompts and two copies of H200, of two replicas each, for decoding."""
    spec = load_pools("h100-h200", ["decode.replicas=2", "decode.parallel=tp=4,dp=2"])
    return run(spec, load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=40))


def test_books_of_pools_balance(split: Result) -> None:
    """Every scope's shares sum to one, in the run and in each phase; phases sum to the time."""
    for ledger in (split.ledger, *(phase.ledger for phase in split.phases.values())):
        for scope, book in ledger.items():
            assert math.fsum(book.accounts.values()) == pytest.approx(1.0, rel=1e-9), scope
    assert math.fsum(phase.time_s for phase in split.phases.values()) == pytest.approx(split.simulated_s, rel=1e-9)
    for pool in (split.pools or {}).values():
        assert math.fsum(phase.time_share for phase in pool.phases.values()) == pytest.approx(1.0, rel=1e-9)


def test_pools_sum_to_the_design(split: Result) -> None:
    """Chips, peaks, joules and dollars are the sums of the pools', and the tokens are counted once."""
    pools = split.pools or {}
    assert split.system.chips == sum(pool.system.chips for pool in pools.values()) == 24
    assert split.ledger["decode/chip0-7.hbm"].peak_per_s == pools["decode"].system.memory_bytes_per_s
    assert split.energy is not None
    linked = split.energy.by_part["link.kv"]
    energies = [pool.energy.joules for pool in pools.values() if pool.energy is not None]
    assert split.energy.joules == pytest.approx(math.fsum(energies) + linked, rel=1e-12)
    assert split.kv_transfers is not None
    assert linked == pytest.approx(8 * split.kv_transfers.bytes * 20e-12, rel=1e-12)
    assert split.requests.completed == 40 == sum(pool.completed for pool in pools.values())
    assert split.cost is not None
    whole = math.fsum(part.mid for part in split.cost.by_part.values())
    assert split.cost.usd_per_million_output_tokens == pytest.approx(whole, rel=1e-12)
    assert split.cost.capital_usd["decode/chip"].mid == pytest.approx(2 * split.cost.capital_usd["prefill/chip"].mid,
                                                                      rel=0.5)  # fmt: skip


def test_each_pool_runs_its_own_phase(split: Result) -> None:
    """Prompts on one, decoding on the other; the headline is the decode pool's."""
    pools = split.pools or {}
    assert set(pools["prefill"].phases) == {"prefill", "none"}
    assert set(pools["decode"].phases) == {"decode", "none"}
    assert split.system.main_memory == "decode/chip0-7.hbm"
    assert split.mbu == pools["decode"].phases["decode"].mbu


def test_useful_bytes_of_the_main_memory_stand_in_its_table(split: Result) -> None:
    """The ledger table's rows of the main memory sum to the shares of the result times peak and time."""
    assert split.tables is not None
    table, scope = split.tables.ledger, split.system.main_memory
    rows = (table.scope == table.scopes.index(scope)) & (table.account == ACCOUNTS.index("useful_weights"))
    book = split.ledger[scope]
    expected = book.accounts["useful_weights"] * book.peak_per_s * split.simulated_s
    assert math.fsum(table.amount[rows].tolist()) == pytest.approx(expected, rel=1e-6)


def test_a_timeline_shows_requests_and_the_bandwidth_of_every_pool(split: Result) -> None:
    """A slice to the first token and one from there for each request that decodes; a rate for each pool's memory."""
    found = timeline_of_requests(split)
    assert split.tables is not None
    requests = split.tables.requests
    assert requests is not None
    decoding = int((requests.finish_ps > requests.first_token_ps).sum())
    assert len(found.slices) == split.requests.completed + decoding
    drawn = {count.name for count in found.counts}
    assert {"prefill/chip0-7.hbm useful", "decode/chip0-7.hbm useful", "requests in the system"} <= drawn
    with pytest.raises(InputError, match="pools show their requests alone"):
        timeline_of_requests(split, ask=Ask(level="chunk"))
