"""Messages that cannot be told apart are solved as one: the exact fold of a step in which all have one size.

Colours are refined until they hold (1-WL, an equitable partition): messages of one colour have the same latency and
pass equally many links of each colour; links of one colour have the same rate and carry equally many messages of each
colour. Progressive filling cannot tell such messages apart (by induction over its levels: links of a colour fill at
one level, messages of a colour freeze at one level), and equal ones finish at one instant. So one link and one message
of each colour are solved, where the message passes its link as often as messages of its colour do. No symmetry has to
be declared: 331,200 messages among the 576 chips of a dragonfly of 72 groups fold into 505.

Signatures are sums of hashes, as Weisfeiler and Leman's colours often are; that the partition holds is then checked
exactly, and where it does not nothing is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from archsim.network.closed import ends_of
from archsim.network.columns import Routed
from archsim.network.flows import solve_routed
from archsim.network.schedules import Step
from archsim.network.topology import Network

__all__ = ["LEAST_FOLDED", "Fold", "fold_of", "folded_finish_s"]

LEAST_FOLDED = 5_000
"""Messages of a step from which folding pays."""
Array = Any
"""Of int64 or uint64."""


class Fold(NamedTuple):
    """One link and one message of each colour."""

    capacity: list[float]
    routes: list[tuple[int, ...]]
    """Colours of links that a message passes, each as often as its colour passes one such link."""
    latency_s: list[float]


def folded_finish_s(network: Network, members: Sequence[int], step: Step, software_ps: int) -> list[float] | None:
    """Return when a message of each colour of *step* is done; None where messages differ in size or nothing folds."""
    kinds = {(message.bytes, message.wait_ps) for message in step.messages}
    if len(step.messages) < LEAST_FOLDED or len(kinds) > 1:
        return None
    ends = tuple(ends_of(members, message) for message in step.messages)
    if ends not in network.folds:
        network.folds[ends] = fold_of(network, ends)
    fold = network.folds[ends]
    if fold is None:
        return None
    ((size, wait_ps),) = kinds
    count = len(fold.routes)
    routed = Routed(
        capacity=fold.capacity,
        routes=fold.routes,
        bytes=[float(size)] * count,
        start_s=[0.0] * count,
        wait_s=[(software_ps + wait_ps) * 1e-12 + latency_s for latency_s in fold.latency_s],
        weight=[1.0] * count,
        after=[()] * count,
    )
    return solve_routed(routed).finish_s


def fold_of(network: Network, ends: Sequence[tuple[int | str, int | str]]) -> Fold | None:
    """Return the fold of one message for each pair of *ends*; None where no two of them are alike."""
    import numpy as np  # noqa: PLC0415 - 100 ms that small exchanges must not pay

    routes = [network.route(*pair) for pair in ends]
    lengths = np.array([len(route) for route in routes], np.int64)
    hop_flow = np.repeat(np.arange(len(routes)), lengths)
    passed, hop_link = np.unique(np.concatenate([np.array(route, np.int64) for route in routes]), return_inverse=True)
    latency_ps = np.array([network.latency_ps(route) for route in routes], np.int64)
    rates = np.array([network.links[link].bytes_per_s for link in passed.tolist()], np.int64)
    flows, links = _refined(latency_ps, rates, hop_flow, hop_link)
    on_link = _counted(hop_link, links, flows[hop_flow])
    of_flow = _counted(hop_flow, flows, links[hop_link])
    colours, first = np.unique(flows, return_index=True)
    if on_link is None or of_flow is None or len(colours) == len(routes):
        return None
    found: list[list[int]] = [[] for _ in colours]
    for (link, flow), times in on_link.items():
        found[flow] += [link] * times
    return Fold(
        capacity=rates[np.unique(links, return_index=True)[1]].astype(float).tolist(),
        routes=[tuple(route) for route in found],
        latency_s=(latency_ps[first] * 1e-12).tolist(),
    )


def _refined(flows: Array, links: Array, hop_flow: Array, hop_link: Array) -> tuple[Array, Array]:
    """Return colours of flows and links, numbered from 0, refined until no signature tells two of one colour apart."""
    flows, links = _numbered(flows), _numbered(links)
    known = -1
    while (colours := int(flows.max()) + int(links.max())) > known:
        known = colours
        links = _numbered(links, _sums(_mixed(flows)[hop_flow], hop_link, len(links)))
        flows = _numbered(flows, _sums(_mixed(links)[hop_link], hop_flow, len(flows)))
    return flows, links


def _numbered(*keys: Array) -> Array:
    """Return the rank of each position among the different tuples of *keys*."""
    import numpy as np  # noqa: PLC0415 - as above

    order = np.lexsort(keys[::-1])
    new = np.zeros(len(order), bool)
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new)
    return numbers


def _mixed(colours: Array) -> Array:
    """Return a hash of each colour (splitmix64)."""
    import numpy as np  # noqa: PLC0415 - as above

    value = (colours.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _sums(values: Array, places: Array, count: int) -> Array:
    """Return for each of *count* places the sum of its *values*, modulo 2^64."""
    import numpy as np  # noqa: PLC0415 - as above

    sums = np.zeros(count, np.uint64)
    np.add.at(sums, places, values)
    return sums


def _counted(things: Array, colours: Array, met: Array) -> dict[tuple[int, int], int] | None:
    """Return how often a thing of a colour meets each colour; None where two of one colour differ in that.

    *things* and the colours that they *met* are given hop by hop.
    """
    import numpy as np  # noqa: PLC0415 - as above

    width = int(met.max()) + 1
    keys, times = np.unique(things * width + met, return_counts=True)
    pairs = colours[keys // width] * width + keys % width
    both, first, of = np.unique(pairs, return_index=True, return_counts=True)
    _, where = np.unique(pairs, return_inverse=True)
    if (times != times[first][where]).any() or (of != np.bincount(colours)[both // width]).any():
        return None
    return {(int(key) // width, int(key) % width): int(number) for key, number in zip(both, times[first], strict=True)}
