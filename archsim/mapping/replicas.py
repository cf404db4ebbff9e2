"""Replicas of one design on one graph: which chips and links are each one's own, and that they are alike.

Replicas share nothing: every link that routes of one pass is used by no other, and the routes of all are the same but
for the names. Then the iterations of one stand for those of all. A pair of routes is the same where it passes links of
the same rates, crossing other routes in the same places; link by link this maps the first replica onto every other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, permutations
from typing import NamedTuple

from archsim.errors import InputError, Problem
from archsim.mapping.parallelism import Parallelism
from archsim.network.topology import Network

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
    first = _Routes.of(network, chips[0], network.route)
    routes = [first.links]
    for other in range(1, ways.replicas):
        found = _Routes.of(network, chips[other], network.route_once)
        if found.shape != first.shape:
            said = f"replica {other} on chips {_shown(chips[other])}"
            raise _refusal(ways, said, f"routes like those of replica 0 on chips {_shown(chips[0])}")
        routes.append(found.links)
    owner: dict[int, int] = {}
    for replica, links in enumerate(routes):
        for link in links:
            if owner.setdefault(link, replica) != replica:
                said = f"{network.links[link].name}, which replicas {owner[link]} and {replica} pass"
                raise _refusal(ways, said, "replicas whose routes share no link")
    names = [link.name for link in network.links]
    idle = {name: name for index, name in enumerate(names) if index not in owner}
    return [
        Replica(
            dict(zip(chips[0], chips[replica], strict=True)),
            {names[one]: names[its] for one, its in zip(first.links, links, strict=True)}
            | (idle if replica == 0 else {}),
        )
        for replica, links in enumerate(routes)
    ]


class _Routes(NamedTuple):
    """The routes between the chips of a replica."""

    links: list[int]
    """In the order in which the pairs of chips first pass them."""
    shape: tuple[object, ...]
    """All that matters of the routes, with links by their place in `links`."""

    @classmethod
    def of(cls, network: Network, chips: tuple[int, ...], route: Callable[[int, int], tuple[int, ...]]) -> _Routes:
        """Return those between *chips*, each looked up by *route* once."""
        routes = [route(*pair) for pair in permutations(chips, 2)]
        passed = list(chain.from_iterable(routes))
        links = list(dict.fromkeys(passed))
        place = dict(zip(links, range(len(links)), strict=True))
        kinds = [(network.links[index].bytes_per_s, network.links[index].latency_ps) for index in links]
        return cls(links, (list(map(len, routes)), [place[index] for index in passed], kinds))


def _refusal(ways: Parallelism, found: str, expected: str) -> InputError:
    return InputError(Problem("", f"--parallel dp={ways.dp}", found, expected))


def _shown(chips: tuple[int, ...]) -> str:
    few = 4
    return ", ".join(map(str, chips[:few])) + (", ..." if len(chips) > few else "")
