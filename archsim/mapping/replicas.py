"""Replicas of one design on one graph: which chips and links are each one's own, and that they are alike.

Replicas share nothing: every link that routes of one pass is used by no other, and the routes of all are the same but
for the names. Then the iterations of one stand for those of all. A pair of routes is the same where it passes links of
the same rates, crossing other routes in the same places; link by link this maps the first replica onto every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from archsim.errors import InputError, Problem
from archsim.mapping.parallelism import Parallelism
from archsim.network.topology import Link, Network

__all__ = ["Replica", "replicas_of"]


@dataclass(frozen=True, slots=True)
class Replica:
    """What the first replica's parts are in this one."""

    chips: dict[int, int]
    """Chip of the first replica -> chip of this one."""
    links: dict[str, str]
    """Link of the first replica -> link of this one; links that no replica passes are the first one's."""


def replicas_of(ways: Parallelism, network: Network, working: Sequence[int]) -> list[Replica]:
    """Return the replicas on *working* chips. Raises `InputError` where routes share a link or are not alike."""
    chips = [
        tuple(working[place] for stage in range(ways.pp) for place in ways.chips_of(stage=stage, replica=replica))
        for replica in range(ways.replicas)
    ]
    routes = [_links_in_order(network, of_one) for of_one in chips]
    shapes = [_shape(network, of_one, links) for of_one, links in zip(chips, routes, strict=True)]
    for other in range(1, ways.replicas):
        if shapes[other] != shapes[0]:
            found = f"replica {other} on chips {_shown(chips[other])}"
            raise _refusal(ways, found, f"routes like those of replica 0 on chips {_shown(chips[0])}")
    owner: dict[Link, int] = {}
    for replica, links in enumerate(routes):
        for link in links:
            if owner.setdefault(link, replica) != replica:
                found = f"{link.name}, which replicas {owner[link]} and {replica} pass"
                raise _refusal(ways, found, "replicas whose routes share no link")
    idle = {link.name: link.name for link in network.links if link not in owner}
    return [
        Replica(
            dict(zip(chips[0], chips[replica], strict=True)),
            {first.name: link.name for first, link in zip(routes[0], routes[replica], strict=True)}
            | (idle if replica == 0 else {}),
        )
        for replica in range(ways.replicas)
    ]


def _links_in_order(network: Network, chips: tuple[int, ...]) -> list[Link]:
    """Return the links on routes between *chips* in the order in which the pairs of chips first pass them."""
    return list({network.links[index]: None for pair in permutations(chips, 2) for index in network.route(*pair)})


def _shape(network: Network, chips: tuple[int, ...], links: list[Link]) -> tuple[object, ...]:
    """Return all that matters of the routes between *chips*, with links by their place in *links*."""
    place = {link: number for number, link in enumerate(links)}
    routes = tuple(
        tuple(place[network.links[index]] for index in network.route(*pair)) for pair in permutations(chips, 2)
    )
    return (routes, tuple((link.bytes_per_s, link.latency_ps) for link in links))


def _refusal(ways: Parallelism, found: str, expected: str) -> InputError:
    return InputError(Problem("", f"--parallel dp={ways.dp}", found, expected))


def _shown(chips: tuple[int, ...]) -> str:
    few = 4
    return ", ".join(map(str, chips[:few])) + (", ..." if len(chips) > few else "")
