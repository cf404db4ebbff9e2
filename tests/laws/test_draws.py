"""Laws of draws: inverse distributions against closed forms, and what samplers make of them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.random import PCG64

from archsim.errors import InputError
from archsim.workload.draws import exponential, gamma, uniforms, weibull
from archsim.workload.sampler import read_sampler
from archsim.workload.statistics import describe
from archsim.workload.trace import load_trace

U = np.concatenate([10.0 ** -np.arange(1, 15, 0.5), np.linspace(0.001, 0.999, 200), 1 - 10.0 ** -np.arange(1, 13, 0.5)])


@pytest.mark.parametrize("shape", [1, 2, 3, 12])
def test_gamma_of_a_whole_shape_inverts_the_erlang_law(shape: int) -> None:
    """P(k, x) = 1 - e^-x (1 + x + ... + x^(k-1) / (k-1)!): the sum of k exponentials of mean 1."""
    x = gamma(shape)(U) * shape
    above = [math.exp(-at) * math.fsum(at**n / math.factorial(n) for n in range(shape)) for at in x]
    below = [
        math.exp(-at) * math.fsum(at**n / math.factorial(n) for n in range(shape, shape + 80)) if at < 20 else 1 - up
        for at, up in zip(x, above, strict=True)
    ]
    assert np.where(U < 0.5, below, 1 - np.array(above)) == pytest.approx(U, rel=1e-9)


def test_gamma_of_half_a_shape_is_a_squared_normal() -> None:
    """P(1/2, x) = erf(sqrt(x))."""
    x = gamma(0.5)(U) * 0.5
    assert [math.erf(math.sqrt(at)) for at in x] == pytest.approx(U.tolist(), rel=1e-9)


@pytest.mark.parametrize("shape", [1 / 169, 0.0138, 0.3, 1.7, 19.9])
def test_laws_rise_and_have_the_mean_one_and_their_variation(shape: float) -> None:
    """The CV of gamma gaps is 1 / sqrt(shape), also of the burstiest clients; a Weibull's follows from its moments."""
    ordered = np.sort(U)
    drawn = uniforms(PCG64(1), 200_000)
    gaps = gamma(shape)(drawn)
    assert (np.diff(gamma(shape)(ordered)) >= 0).all()
    assert float(gaps.mean()) == pytest.approx(1, abs=5 / math.sqrt(200_000 * shape))
    assert float(gaps.std()) == pytest.approx(shape**-0.5, rel=0.08)
    if shape > 0.2:
        moments = math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1
        assert float(weibull(shape)(drawn).std()) == pytest.approx(math.sqrt(moments), rel=0.25)
    assert exponential(np.array([0.0, 0.5])).tolist() == pytest.approx([0, math.log(2)])


def test_bursts_have_the_variation_that_they_are_named_for() -> None:
    """2,000 gaps of CV 13 at 5.53 requests/s: within the error of so few."""
    facts = describe(load_trace("bursty"))
    assert facts.interarrival_cv == pytest.approx(13, rel=0.25)
    assert facts.requests_per_s == pytest.approx(5.53, rel=0.6)


def test_agents_repeat_ninety_four_percent_of_their_prompts() -> None:
    """The share of the published agent trace, 93.6 %, from blocks that every call keeps; waits make the loop closed."""
    trace = load_trace("agents")
    facts = describe(trace)
    assert facts.prefix_share == pytest.approx(0.936, abs=0.006)
    assert trace.closed
    assert trace.waits_ps.tolist().count(-1) == facts.sessions


def test_sessions_grow_by_their_turns_and_share_what_they_say() -> None:
    """Prompts of a session rise; the whole blocks of each but the last are the next one's first; ids tell sessions."""
    trace = load_trace("multi-turn", limit=400)
    last: dict[int, tuple[int, tuple[int, ...]]] = {}
    for request in trace:
        assert len(request.blocks) == -(-request.prompt_tokens // trace.block_tokens)
        before = last.get(request.session)
        if before is not None:
            whole = before[0] // trace.block_tokens
            assert request.prompt_tokens > before[0]
            assert request.blocks[:whole] == before[1][:whole]
        last[request.session] = (request.prompt_tokens, request.blocks)
    owners = Counter(block for _, blocks in last.values() for block in set(blocks))
    assert all(count == 1 for block, count in owners.items() if block >= 2**24)
    assert list(trace) == list(load_trace("multi-turn"))[:400]
    assert all(a.arrival_ps <= b.arrival_ps for a, b in itertools.pairwise(trace))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[arrivals]\ncv = 0", "arrivals.cv"),
        ("[arrivals]\ncv = 'x'", "arrivals.cv"),
        ("[arrivals]\ncvs = 3", "did you mean 'cv'"),
        ("arrivals = 3", "a table: [arrivals]"),
        ("session = 3", "a table: [session]"),
        ("[session]\nshared_tokens = 0", "session.turns"),
        ("[session]\nblock_tokens = 0", "session.block_tokens"),
    ],
)
def test_a_law_with_a_mistake_is_refused_by_key(text: str, words: str, tmp_path: Path) -> None:
    """All problems of the file at once, each by its key."""
    path = tmp_path / "own.toml"
    tables = '[prompt_tokens]\n"0" = 4\n"100" = 8\n[output_tokens]\n"0" = 1\n"100" = 2\n'
    top, own = (text, "") if "[" not in text else ("", text)
    path.write_text(f'rate = "5 req/s"\nrequests = 9\n{top}\n{tables}{own}\n')
    with pytest.raises(InputError) as caught:
        read_sampler(path)
    assert words in str(caught.value)
