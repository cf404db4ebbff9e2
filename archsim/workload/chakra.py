"""Chakra execution traces: what one rank computed, moved and exchanged, as a graph of dependencies.

Both forms of MLCommons Chakra are read: the protobuf stream (`.et`, fields as in et_def.proto of schema 1.0) and the
JSON of its feeder (`.json`), each plain or gzip. Of a node are read its type, its data dependencies, its recorded
duration and the attributes `num_ops`, `tensor_size`, `comm_type`, `comm_size` and `is_cpu_op`. Control dependencies
name the caller and order nothing, as in Chakra's own feeder. A dependency on a node that the file does not hold is
taken as met: traces are cut out of longer ones. Sridharan et al., Chakra: Advancing Performance Benchmarking and
Co-design using Standardized Execution Traces, 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import parse_json, read_bytes
from archsim.workload.wire import fields, messages, signed, varints

__all__ = ["COLLECTIVES", "KINDS", "Graph", "Node", "read_graph"]

KINDS = {2: "load", 3: "store", 4: "compute", 5: "send", 6: "receive", 7: "collective"}
"""Chakra's types of nodes that do something; 0 and 1 are invalid and metadata."""
COLLECTIVES = (
    "all_reduce", "reduce", "all_gather", "gather", "scatter", "broadcast", "all_to_all", "reduce_scatter",
    "reduce_scatter_block", "barrier",
)  # fmt: skip
"""Chakra's collectives by their number."""

_LIMIT_BYTES = 2**28
_MOST_NODES = 2_000_000
_LARGEST = 2**60
_JSON = {
    "id": ("id", "Id", "ID"), "name": ("name", "Name"), "type": ("type", "NodeType", "node_type"),
    "after": ("data_deps", "dataDeps"),
    "duration_us": ("duration_micros", "runtime"),
}  # fmt: skip
"""What a node has -> its spellings in JSON files."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the rank."""

    id: int
    name: str
    kind: str
    """A value of `KINDS`; `"nothing"` for metadata."""
    after: tuple[int, ...]
    """Nodes that are done before it starts."""
    duration_us: int
    """As recorded, on the machine that recorded it."""
    ops: int
    bytes: int
    """Of memory that a computation, load or store touches; of the tensor of an exchange."""
    collective: str
    host: bool
    """It runs on the host."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A trace of one rank, nodes in the order of the file."""

    name: str
    nodes: tuple[Node, ...]
    unmet: int
    """Dependencies on nodes that the file does not hold."""


def read_graph(path: Path) -> Graph:
    """Return the graph in the file at *path*.

    Raises `InputError` for another format, ids that repeat, and dependencies that go in a circle.
    """
    content = read_bytes(path, limit=_LIMIT_BYTES)
    bare = content.lstrip()[:1] in (b"{", b"[")
    found = list(_from_json(path, content) if bare else _from_protobuf(path, content))
    known = {node.id for node in found}
    if not found or len(known) < len(found):
        expected = "at least one node, and ids that differ"
        raise InputError(Problem(str(path), "nodes", f"{len(found)} nodes, {len(known)} ids", expected))
    unmet = sum(other not in known for node in found for other in node.after)
    _refuse_circles(path, found, known)
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return Graph(name, tuple(found), unmet)


def _refuse_circles(path: Path, nodes: Iterable[Node], known: set[int]) -> None:
    """Raise `InputError` where some nodes can never start (Kahn's algorithm)."""
    waits: dict[int, int] = {}
    behind: dict[int, list[int]] = {}
    for node in nodes:
        met = [other for other in node.after if other in known]
        waits[node.id] = len(met)
        for other in met:
            behind.setdefault(other, []).append(node.id)
    ready = [number for number, count in waits.items() if not count]
    for number in ready:
        for later in behind.get(number, ()):
            waits[later] -= 1
            if not waits[later]:
                ready.append(later)
    if len(ready) < len(waits):
        stuck = min(number for number, count in waits.items() if count)
        raise InputError(Problem(str(path), f"node {stuck}", "", "dependencies that do not go in a circle"))


def _from_protobuf(path: Path, content: bytes) -> Iterator[Node]:
    try:
        stream = messages(content)
        next(stream, None)  # the first message is the global metadata
        for number, (place, message) in enumerate(stream):
            if number >= _MOST_NODES:
                raise ValueError(f"at most {_MOST_NODES:,} nodes")  # noqa: TRY301
            yield _node(path, f"byte {place:,}", _parts(message))
    except (ValueError, TypeError, AttributeError) as error:
        expected = f"a Chakra trace, protobuf or JSON ({error})"
        raise InputError(Problem(str(path), "", "", expected)) from None


def _parts(message: bytes) -> dict[str, Any]:
    """Return the fields of a node message by name."""
    parts: dict[str, Any] = {"after": []}
    for number, value in fields(message):
        if number == 2 and isinstance(value, bytes):
            parts["name"] = value.decode(errors="replace")
        elif number == _DATA_DEPENDENCIES:
            parts["after"] += varints(value) if isinstance(value, bytes) else [value]
        elif number == 10 and isinstance(value, bytes):
            inner = dict(fields(value))
            name = inner.pop(1, b"")
            inner.pop(2, None)
            if isinstance(name, bytes) and inner:
                stated = next(iter(inner.values()))
                parts[name.decode(errors="replace")] = signed(stated) if isinstance(stated, int) else stated
        elif number in _NUMBERS:
            parts[_NUMBERS[number]] = value
    return parts


_DATA_DEPENDENCIES = 5
_NUMBERS = {1: "id", 3: "type", 7: "duration_us"}


def _from_json(path: Path, content: bytes) -> Iterator[Node]:
    try:
        value = parse_json(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "", "", f"UTF-8 text ({error.reason})")) from None
    rows = next((value[key] for key in ("workload_graph", "nodes") if key in value), None) if (
        isinstance(value, dict)
    ) else value  # fmt: skip
    if not isinstance(rows, list) or len(rows) > _MOST_NODES or not all(isinstance(row, dict) for row in rows):
        expected = f'a list "workload_graph" of at most {_MOST_NODES:,} nodes'
        raise InputError(Problem(str(path), "workload_graph", "", expected))
    for place, row in enumerate(rows):
        parts = dict(row)
        for name, spellings in _JSON.items():
            parts[name] = next((row[spelling] for spelling in spellings if spelling in row), parts.get(name))
        parts["after"] = [] if parts["after"] is None else parts["after"]
        if not isinstance(parts["after"], list):
            raise InputError(Problem(str(path), f"node {place}", str(parts["after"]), "a list of dependencies"))
        yield _node(path, f"node {place}", parts)


def _node(path: Path, place: str, parts: Mapping[str, Any]) -> Node:
    def whole(name: str) -> int:
        value = parts.get(name)
        value = 0 if value is None else value
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value != int(value)
            or not (0 <= value < _LARGEST)
        ):
            raise InputError(
                Problem(str(path), f"{place}: {name}", str(value)[:80], "a whole number from 0 below 2^60")
            )
        return int(value)

    if not all(type(other) is int and other >= 0 for other in parts["after"]):
        raise InputError(Problem(str(path), f"{place}: dependencies", str(parts["after"]), "numbers of nodes"))
    kind = KINDS.get(whole("type"), "nothing")
    return Node(
        id=whole("id"),
        name=str(parts.get("name") or "")[:200],
        kind=kind,
        after=tuple(dict.fromkeys(parts["after"])),
        duration_us=whole("duration_us"),
        ops=whole("num_ops"),
        bytes=whole("comm_size" if kind in {"send", "receive", "collective"} else "tensor_size"),
        collective=_collective(path, place, parts.get("comm_type")) if kind == "collective" else "",
        host=bool(parts.get("is_cpu_op", False)),
    )


def _collective(path: Path, place: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.lower() in COLLECTIVES:
        return value.lower()
    if type(value) is int and 0 <= value < len(COLLECTIVES):
        return COLLECTIVES[value]
    expected = f"a number below {len(COLLECTIVES)} or one of {', '.join(COLLECTIVES)}"
    raise InputError(Problem(str(path), f"{place}: comm_type", str(value)[:80], expected))
