"""The network floor against other simulators: SimGrid's max-min flows and ASTRA-sim's FIFO links.

A reference file is one of two kinds, told apart by its keys. `scenarios` (SimGrid): topologies with links and static
routes, flows with `[src, dst, bytes, start_s, after]` and the instant at which each finishes; a row of the suite is a
scenario, and compares the flow that is furthest off. `results` (ASTRA-sim analytical, congestion aware): topology,
chips, latency and collective; a row compares the makespan of one chunk a message with time cut to nanoseconds.

Without a file the suite compares the solver with closed forms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import read_json
from archsim.network.collectives import collective_facts
from archsim.network.columns import Routed
from archsim.network.fifo import solve_fifo
from archsim.network.flows import Flow, solve_flows, solve_routed
from archsim.network.schedules import (
    Schedule,
    binomial_broadcast,
    direct_all_gather,
    flat_broadcast,
    halving_doubling_all_reduce,
    ring_all_reduce,
    two_shot_all_reduce,
)  # fmt: skip
from archsim.network.timing import messages_of, schedule_flows
from archsim.network.topology import build_network

__all__ = ["Row", "row", "suite"]

Row = dict[str, Any]
"""`id, group, expected, predicted, error, skipped`: one line of `archsim validate --json`."""
_LIMIT_BYTES = 512 * 2**20
_MOST = 10**18
"""Of bytes, bytes/s, seconds or nanoseconds in a reference."""
_MOST_CHIPS = 1024
_MOST_MESSAGES = 32_768
"""Of a row whose links are FIFO: some seconds."""


def row(
    identity: str,
    group: str,
    expected: float | None,
    predicted: float | None,
    skipped: str | None = None,
    *,
    origin: Mapping[str, Any] | None = None,
) -> Row:
    """Return a row; the error is relative and signed, None where nothing can be compared.

    *origin* says what a prediction is made of (`validation.origin`).
    """
    comparable = skipped is None and expected and predicted is not None
    error = (predicted - expected) / expected if comparable and expected and predicted is not None else None
    reason = skipped if comparable or skipped else "the expected value is zero or absent"
    return {
        "id": identity,
        "group": group,
        "expected": expected,
        "predicted": predicted,
        "error": error,
        "skipped": reason,
        "origin": origin if comparable else None,
    }


def suite(reference: Path | None) -> list[Row]:
    """Return the rows of *reference*, or of the closed forms. Raises `InputError` for a file of another schema."""
    if reference is None:
        return _closed_forms()
    content = read_json(reference, limit=_LIMIT_BYTES)
    if isinstance(content, dict) and isinstance(content.get("scenarios"), list):
        return [_scenario(str(reference), content, index) for index in range(len(content["scenarios"]))]
    if isinstance(content, dict) and isinstance(content.get("results"), list):
        return [_fifo_result(str(reference), content, index) for index in range(len(content["results"]))]
    raise InputError(Problem(str(reference), "", "", "a table with 'scenarios' and 'topologies', or with 'results'"))


def _field(file: str, table: Mapping[str, Any], place: str, key: str, kinds: type | tuple[type, ...]) -> Any:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        shown = "" if value is None else str(value)
        raise InputError(Problem(file, f"{place}.{key}" if place else key, shown, f"a value of type {names}"))
    return value


def _scenario(file: str, content: dict[str, Any], index: int) -> Row:
    place = f"scenarios[{index}]"
    scenario = content["scenarios"][index]
    name = _field(file, scenario, place, "name", str)
    group = str(scenario.get("collective", name))
    finish = _field(file, scenario, place, "finish_s", list)
    routed = _routed(file, content, scenario, place)
    if len(finish) != len(routed.bytes):
        raise InputError(
            Problem(file, f"{place}.finish_s", str(len(finish)), f"one entry for each of {len(routed.bytes)} flows")
        )
    if not all(_is_amount(instant) for instant in finish):
        raise InputError(Problem(file, f"{place}.finish_s", str(finish), "seconds that are not negative"))
    if not finish:
        return row(name, group, None, None, "the scenario has no flows")
    solved = solve_routed(routed).finish_s
    worst = max(range(len(finish)), key=lambda flow: abs(solved[flow] - finish[flow]) / (finish[flow] or 1.0))
    return row(name, group, finish[worst], solved[worst])


def _routed(file: str, content: dict[str, Any], scenario: dict[str, Any], place: str) -> Routed:
    """Lay out a scenario's flows over the links and static routes of its topology."""
    name = _field(file, scenario, place, "topology", str)
    topology = _field(file, _field(file, content, "", "topologies", dict), "topologies", name, dict)
    links = _field(file, topology, f"topologies.{name}", "links", list)
    table = _field(file, topology, f"topologies.{name}", "routes", dict)
    rate = _per_link(file, scenario, place, "link_bandwidth_Bps", len(links), least=1)
    latency = _per_link(file, scenario, place, "link_latency_s", len(links))
    flows = _field(file, scenario, place, "flows", list)
    routes = []
    for number, flow in enumerate(flows):
        key = f"{place}.flows[{number}]"
        if not isinstance(flow, list) or len(flow) < 3 or not all(_is_amount(part) for part in flow[2:4]):
            raise InputError(Problem(file, key, str(flow), "[src, dst, bytes, start_s, after]"))
        pair = f"{flow[0]},{flow[1]}"
        route = table.get(pair, [] if flow[0] == flow[1] else None)
        if route is None or any(not isinstance(link, int) or not 0 <= link < len(links) for link in route):
            expected = f"a pair with a route over links 0 to {len(links) - 1} in topologies.{name}.routes"
            raise InputError(Problem(file, key, pair, expected))
        if any(not isinstance(earlier, int) or not 0 <= earlier < len(flows) for earlier in (flow[4:5] or [[]])[0]):
            raise InputError(Problem(file, key, str(flow[4]), f"flows from 0 to {len(flows) - 1}"))
        routes.append(tuple(route))
    return Routed(
        capacity=rate,
        routes=routes,
        bytes=[float(flow[2]) for flow in flows],
        start_s=[float(flow[3]) if len(flow) > 3 else 0.0 for flow in flows],
        wait_s=[math.fsum(latency[link] for link in route) for route in routes],
        weight=[1.0] * len(flows),
        after=[tuple(flow[4]) if len(flow) > 4 else () for flow in flows],
    )


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _per_link(file: str, scenario: dict[str, Any], place: str, key: str, links: int, *, least: int = 0) -> list[float]:
    value = _field(file, scenario, place, key, (int, float, list))
    values = value if isinstance(value, list) else [value] * links
    if len(values) != links or not all(_is_amount(item) and item >= least for item in values):
        expected = f"a number from {least} on, or one for each of {links} links"
        raise InputError(Problem(file, f"{place}.{key}", str(value), expected))
    return [float(item) for item in values]


_FIFO_TOPOLOGIES = {"ring": "ring", "switch": "switch", "fullyconnected": "full_mesh"}
_FIFO_SCHEDULES: dict[str, Callable[[int, int], Schedule]] = {
    "ring_allreduce": ring_all_reduce,
    "halving_doubling": halving_doubling_all_reduce,
    "direct_allreduce": two_shot_all_reduce,
    "all_to_all": direct_all_gather,
    "bcast_binomial": binomial_broadcast,
    "bcast_flat": flat_broadcast,
}


def _fifo_result(file: str, content: dict[str, Any], index: int) -> Row:
    place = f"results[{index}]"
    result = content["results"][index]
    topology = _field(file, result, place, "topology", str)
    chips = _field(file, result, place, "npus", int)
    latency_ns = _field(file, result, place, "lat_ns", int)
    collective = _field(file, result, place, "collective", str)
    expected = _field(file, result, place, "makespan_ns", (int, float))
    rate = int(_field(file, content, "", "link_bandwidth_Bps", (int, float)))
    identity = f"{topology} {chips} {latency_ns} ns {collective} makespan_ns"
    name, size = _sized(collective)
    if not (2 <= chips <= _MOST_CHIPS and 0 <= latency_ns <= _MOST and 0 < rate <= _MOST):
        problem = f"2 to {_MOST_CHIPS:,} chips on links with a latency and a bandwidth"
        raise InputError(Problem(file, place, f"{chips}, {latency_ns} ns, {rate} B/s", problem))
    if topology not in _FIFO_TOPOLOGIES or name not in _FIFO_SCHEDULES:
        return row(identity, collective, expected, None, f"no model of {topology} {collective}")
    schedule = _FIFO_SCHEDULES[name](chips, size)
    if (count := messages_of(schedule)) > _MOST_MESSAGES:
        problem = f"a collective of at most {_MOST_MESSAGES:,} messages, which queue one by one"
        raise InputError(Problem(file, place, f"{count:,} of {name} among {chips:,} chips", problem))
    network = build_network(_FIFO_TOPOLOGIES[topology], chips, link_bytes_per_s=rate, link_latency_ps=latency_ns * 1000)
    flows = schedule_flows(range(chips), schedule, 0)
    times = solve_fifo(network, flows, chunk_bytes=None, tick_ps=1000)
    return row(identity, collective, expected, times.makespan_ps / 1000)


def _sized(collective: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\w+)_(\d{1,9})(KiB|MiB|GiB)", collective)
    if not match:
        return "", 0
    return match[1], int(match[2]) << {"KiB": 10, "MiB": 20, "GiB": 30}[match[3]]


def _closed_forms() -> list[Row]:
    """Return rows whose expected values are closed forms: ring and halving-doubling all-reduce, incast, fair shares."""
    size, rate, hop = 64 * 2**20, 50 * 10**9, Fraction(1, 2_000_000)
    rows = []
    for chips in (2, 4, 8, 16):
        ring = build_network("ring", chips, link_bytes_per_s=rate, link_latency_ps=500_000)
        expected = float(2 * (chips - 1) * (Fraction(size, chips * rate) + hop))
        facts = collective_facts(ring, kind="all_reduce", ranks=chips, bytes=size, algorithm="ring", software_ps=0)
        rows.append(row(f"ring {chips} all_reduce ring duration_s", "all_reduce", expected, facts.duration_ps * 1e-12))
        star = build_network("switch", chips, link_bytes_per_s=rate, link_latency_ps=500_000)
        halves = range(1, chips.bit_length())
        expected = float(2 * sum(Fraction(size, 2**k * rate) + 2 * hop for k in halves))
        facts = collective_facts(
            star, kind="all_reduce", ranks=chips, bytes=size, algorithm="halving_doubling", software_ps=0
        )
        rows.append(
            row(
                f"switch {chips} all_reduce halving_doubling duration_s",
                "all_reduce",
                expected,
                facts.duration_ps * 1e-12,
            )
        )
        times = solve_flows(star, [Flow(source, 0, size) for source in range(1, chips)])
        expected = float(Fraction((chips - 1) * size, rate) + 2 * hop)
        rows.append(row(f"switch {chips} incast makespan_s", "incast", expected, times.makespan_s))
    return rows
