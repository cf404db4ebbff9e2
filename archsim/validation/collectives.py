"""Collectives against silicon: rows of `system, fabric, collective, implementation, num_devices, ..., latency_us`.

A row's system picks a fabric (hwconfigs/fabrics), its implementation a library (hwconfigs/collectives), and the
library's time on that fabric is the prediction, in microseconds. What cannot be modelled is skipped with the reason.
Without a file the suite compares with a few published figures that stand below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from archsim.errors import InputError, Problem
from archsim.files import bundled_path, read_toml
from archsim.network.collectives import implementation_facts
from archsim.network.implementations import Implementation, load_implementation
from archsim.network.topology import Network, NetworkOptions, build_network
from archsim.units import PS_PER_S, parse_quantity
from archsim.validation.network import Row, row
from archsim.validation.origin import of_library
from archsim.validation.table import number, read_table, whole

__all__ = ["COLUMNS", "Measurement", "predict_us", "suite"]


class Measurement(NamedTuple):
    """One row of the reference."""

    system: str
    fabric: str
    collective: str
    implementation: str
    ranks: int
    bytes: int
    latency_us: float


COLUMNS = (
    "system", "fabric", "collective", "implementation", "num_devices", "message_size_bytes", "latency_us",
)  # fmt: skip
"""Columns of a table of the suite."""
_SMALLEST_VIDUR_BYTES = 10**6
_MOST_BYTES, _MOST_RANKS = 2**50, 2**12

_PUBLISHED = (
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "nccl-2.27.3 nccl-tests", 8, 512, 15.5),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "nccl-2.27.3 nccl-tests", 8, 262144, 19.3),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "nccl-2.27.3 nccl-tests", 8, 2097152, 38.6),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "nccl-2.27.3 nccl-tests", 8, 134217728, 579.0),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "trtllm custom allreduce TRTLLM", 8, 256, 3.2),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "trtllm custom allreduce TRTLLM", 8, 131072, 6.2),
    Measurement("H100-SXM5-80GB", "NVSwitch", "all_reduce", "vllm custom allreduce vLLM_custom_graph", 8, 256, 4.7),
    Measurement("A100-SXM4-80GB", "NVSwitch", "all_reduce", "nccl-2.27.3 nccl-tests", 8, 512, 22.6),
)
"""ai-dynamo/aiconfigurator (Apache-2.0), systems/data, as measured there."""

_LIBRARIES = (
    ("llmcompass", "nccl-llmcompass"),
    ("older nccl", "nccl-older"),
    ("rccl", "rccl"),
    ("vllm_custom_eager", "vllm-eager"),
    ("vllm", "vllm"),
    ("sglang", "vllm"),
    ("trtllm", "trtllm"),
    ("msccl", "mscclpp"),
    ("deepep", "deepep"),
    ("nvls", "nvls"),
    ("nccl", "nccl"),
)
"""A part of the row's implementation -> bundled implementation; the first that fits."""
_KINDS = {
    "all_reduce": "all_reduce",
    "allreduce": "all_reduce",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "broadcast": "broadcast",
    "send_recv": "send_receive",
    "sendrecv": "send_receive",
    "moe_dispatch": "all_to_all",
    "moe_combine": "all_to_all",
}


def suite(reference: Path | None) -> list[Row]:
    """Return one row a measurement, expected and predicted in microseconds. Raises `InputError` for another schema."""
    measurements = _PUBLISHED if reference is None else tuple(_read(reference))
    return [_row(measurement) for measurement in measurements]


def _read(reference: Path) -> Iterator[Measurement]:
    for record in read_table(reference, COLUMNS):
        ranks, latency_us = whole(record, "num_devices"), number(record, "latency_us")
        size = number(record, "message_size_bytes") if record["message_size_bytes"].strip() else 0.0
        if ranks is None or latency_us is None or size is None:
            said = ", ".join(record[name] for name in ("num_devices", "message_size_bytes", "latency_us"))
            raise InputError(Problem(str(reference), "row", said, "numbers of devices, bytes and us"))
        yield Measurement(
            record["system"], record["fabric"], record["collective"], record["implementation"], ranks, int(size),
            latency_us,
        )  # fmt: skip


def _row(measured: Measurement) -> Row:
    identity = (
        f"{measured.system} {measured.fabric} {measured.implementation} {measured.collective} "
        f"{measured.ranks} ranks {measured.bytes} B latency_us"
    )
    predicted, reason = predict_us(measured)
    fabric = _fabric(measured.system)
    origin = of_library(str(fabric["chip"]), _library(measured) or "") if fabric else None
    return row(identity, measured.collective, measured.latency_us, predicted, reason, origin=origin)


def predict_us(measured: Measurement) -> tuple[float | None, str | None]:
    """Return the predicted time in microseconds, or None and the reason why there is none."""
    reason = _unmodelled(measured)
    fabric = _fabric(measured.system)
    kind = _KINDS.get(measured.collective)
    if reason or fabric is None or kind is None:
        return None, reason or (f"no fabric for {measured.system}" if kind else f"no model of {measured.collective}")
    library = _library(measured)
    if library is None:
        return None, f"no model of the implementation {measured.implementation}"
    if library == "nccl" and fabric["chip"].startswith("mi"):
        library = "rccl"
    try:
        network = _network(fabric["name"], measured.ranks, _nodes(measured, fabric))
        implementation = _restricted(_implementation(library, fabric["chip"]), measured)
        facts = implementation_facts(
            network, implementation, kind=kind, members=tuple(range(measured.ranks)), size=measured.bytes
        )
    except InputError as error:
        return None, str(error)
    return facts.duration_ps * 1e-6, None


def _library(measured: Measurement) -> str | None:
    return next((name for part, name in _LIBRARIES if part in measured.implementation.lower()), None)


def _unmodelled(measured: Measurement) -> str | None:
    """Return why a row is outside the model, or None."""
    fabric = f"{measured.system} {measured.fabric}".lower()
    if measured.bytes <= 0 or measured.ranks < 2:
        return "no message"
    if measured.bytes > _MOST_BYTES or measured.ranks > _MOST_RANKS:
        return f"more than {_MOST_BYTES} bytes or {_MOST_RANKS:,} ranks"
    if "vidur" in measured.implementation.lower():
        if measured.bytes < _SMALLEST_VIDUR_BYTES:
            return "three samples of 1 us resolution, noisy below 1 MB as their source says"
        if "node" in measured.fabric.lower() and "intra" not in measured.fabric.lower():
            return "the network between the nodes is not stated"
    if "pairwise" in fabric and measured.ranks > 2:
        return "pairs of chips meet over PCIe whose layout is not stated"
    return None


def _nodes(measured: Measurement, fabric: dict[str, Any]) -> int:
    """Return over how many nodes the ranks lie: as the row says, else as many as they need."""
    said = re.search(r"(\d+) nodes", f"{measured.fabric} {measured.implementation}")
    return int(said[1]) if said else -(-measured.ranks // int(fabric["node_chips"]))


def _restricted(implementation: Implementation, measured: Measurement) -> Implementation:
    """Keep the protocols that the row names: NVLS, LL, dispatch, combine; all where it names none that fits."""
    named = re.findall(r"[a-z0-9]+", f"{measured.implementation} {measured.collective}".lower())
    kept = [protocol for protocol in implementation.protocols if protocol.name.lower() in named]
    several = re.search(r"\d+ nodes", f"{measured.fabric} {measured.implementation}")
    if implementation.name == "mscclpp" and several:
        kept = [p for p in implementation.protocols if p.name == ("Nodes_LL" if "ll" in named else "Nodes_Simple")]
    return Implementation(
        implementation.name, implementation.title, implementation.generation, implementation.note,
        implementation.host_ps, tuple(kept) or implementation.protocols,
    )  # fmt: skip


@cache
def _implementation(library: str, chip: str) -> Implementation:
    return load_implementation(library, chip)


@cache
def _fabric(system: str) -> dict[str, Any] | None:
    table = read_toml(bundled_path("hwconfigs") / "fabrics" / "measured.toml")
    fits = [name for name in table if name in system.lower()]
    best = max(fits, key=len, default=None)
    return None if best is None else {"name": best, **table[best]}


@cache
def _network(fabric_name: str, ranks: int, nodes: int) -> Network:
    """Return a node's switch or mesh with just the ranks, or several nodes on a spine."""
    fabric = read_toml(bundled_path("hwconfigs") / "fabrics" / "measured.toml")[fabric_name]

    def read(key: str, dimension: str, scale: int) -> int:
        return int(Fraction(parse_quantity(fabric[key], dimension)) * scale)

    rate, latency = read("link_bandwidth", "bytes/s", 1), read("link_latency", "s", PS_PER_S)
    reduces = bool(fabric.get("reduces", False))
    if nodes < 2:
        options = NetworkOptions(reduces=reduces)
        return build_network(fabric["topology"], ranks, link_bytes_per_s=rate, link_latency_ps=latency, options=options)
    if "outer_bandwidth" not in fabric or ranks % nodes:
        expected = f"a fabric with a network between nodes, and nodes of equal size for {ranks} ranks"
        raise InputError(Problem("", "fabric", fabric_name, expected))
    options = NetworkOptions(
        outer_bytes_per_s=read("outer_bandwidth", "bytes/s", 1), outer_latency_ps=read("outer_latency", "s", PS_PER_S)
    )
    shape = (ranks // nodes,)
    return build_network(
        "two_level", ranks, link_bytes_per_s=rate, link_latency_ps=latency, shape=shape, options=options
    )
