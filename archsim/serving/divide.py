"""Requests divided between two pools by a law that looks at each request alone, and the way to a pool and back.

    up    = max(arrival, link free) + bytes / rate, then latency        the prompts of a pool share its link, in order
    down  = the time of the server + latency                            for the first token and the last

The user's clock is the one that latencies are told in. Tokens on the way down are small; they take the latency alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from archsim.hardware.division_spec import LawSpec
from archsim.hardware.pools_spec import PoolsSpec, WideAreaSpec
from archsim.result import RequestColumns
from archsim.serving.requests import Arrival
from archsim.units import PS_PER_S

__all__ = ["Division", "divided", "held_for", "returned", "up_to"]


@dataclass(frozen=True, slots=True)
class Division:
    """Arrivals at each pool, and what it takes to tell requests in the order of the trace again."""

    streams: tuple[list[Arrival], ...]
    """As the servers see them."""
    places: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Row of the pools' requests, one pool after the other, of each request of the trace."""
    sent_ps: np.ndarray[tuple[int], np.dtype[np.int64]]
    """When the user sent each request, in the order of the trace."""
    back_ps: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Latency of its way back."""


def divided(arrivals: Iterable[Arrival], spec: PoolsSpec, *, seed: int) -> Division:
    """Return *arrivals* divided between the pools of *spec*; *seed* draws where the law says so."""
    law = spec.divide
    if law is None:
        raise AssertionError(f"{spec.name} divides nothing")
    names = list(spec.pools)
    requests = list(arrivals)
    first = held_for(requests, law, seed=seed)
    chosen = np.where(first, names.index(law.first), 1 - names.index(law.first)).astype(np.int64)
    ways = [spec.pools[name].wide_area for name in names]
    streams = tuple(
        up_to([request for request, pool in zip(requests, chosen.tolist(), strict=True) if pool == place], way)
        for place, way in enumerate(ways)
    )
    latency = np.array([way.latency_ps if way else 0 for way in ways], dtype=np.int64)
    places = np.empty(len(requests), dtype=np.int64)
    places[np.argsort(chosen, kind="stable")] = np.arange(len(requests))
    sent = np.array([request.arrival_ps for request in requests], dtype=np.int64)
    return Division(streams, places, sent, latency[chosen])


def returned(requests: RequestColumns, division: Division) -> RequestColumns:
    """Return *requests* of the pools, one after the other, in the order of the trace and on the users' clock."""
    rows = {
        name: getattr(requests, name)[division.places]
        for name in ("prompt_tokens", "output_tokens", "first_token_ps", "finish_ps", "preemptions", "rejection")
    }
    back = np.where(rows["rejection"] > 0, 0, division.back_ps)
    seen = {name: rows[name] + back for name in ("first_token_ps", "finish_ps")}
    return replace(requests, arrival_ps=division.sent_ps, **(rows | seen))


def held_for(requests: Sequence[Arrival], law: LawSpec, *, seed: int) -> npt.NDArray[np.bool_]:
    """Return for which of *requests* the law holds; *seed* draws the difficulty of each, uniform from 0 to 1."""
    if law.law in {"share", "difficulty"}:
        # 53 raw bits make a uniform number; the generator's own distributions differ between versions.
        raw = np.random.PCG64(seed).random_raw(len(requests)) >> np.uint64(11)
        shares = law.shares or (law.share or 0,)
        limits = np.array([int(share * 2**53) for share in shares], dtype=np.uint64)
        prompts = np.array([request.prompt_tokens for request in requests], dtype=np.int64)
        classes = np.searchsorted(np.array(law.bounds, dtype=np.int64), prompts, side="left")
        return np.asarray(raw < limits[classes])
    outputs = law.law == "tokens"
    tokens = [request.prompt_tokens + (request.output_tokens if outputs else 0) for request in requests]
    return np.array(tokens, dtype=np.int64) <= (law.most_tokens or 0)


def up_to(requests: list[Arrival], way: WideAreaSpec | None) -> list[Arrival]:
    """Return *requests* as they arrive behind *way*."""
    if way is None:
        return requests
    free_ps, found = 0, []
    for request in requests:
        size = request.prompt_tokens * way.bytes_per_token
        free_ps = max(free_ps, request.arrival_ps) + -(-size * PS_PER_S // way.bytes_per_s)
        found.append(request._replace(arrival_ps=free_ps + way.latency_ps))
    return found
