"""Laws of operator graphs: both forms say the same, nodes keep order and engine, the critical path adds up."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.step.graph import replay_graph
from archsim.workload.chakra import Graph, Node, read_graph

LAWS = settings(max_examples=60, deadline=None, derandomize=True, database=None)
US = 10**6


@pytest.fixture(scope="module")
def system() -> System:
    """Return eight GPUs behind a switch."""
    return System(load_system("h100-sxm8"))


def node(number: int, *after: int, us: int = 5, host: bool = False, **more: Any) -> Node:
    """Return a computation with its recorded time."""
    plain = {"id": number, "name": "x", "kind": "compute", "after": after, "duration_us": us, "ops": 0, "bytes": 0}
    return Node(**plain | {"collective": "", "host": host} | more)


def graph(*nodes: Node) -> Graph:
    """Return the graph of *nodes*."""
    return Graph("g", nodes, 0)


def varint(value: int) -> bytes:
    """Return *value* as protobuf writes it."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | bytes) -> bytes:
    """Return one field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def protobuf(rows: list[dict[str, Any]]) -> bytes:
    """Return the stream of *rows*, with the fields of et_def.proto."""
    stream = [field(2, field(1, b"schema"))]
    for row in rows:
        parts = [field(1, row["id"]), field(2, row["name"].encode()), field(3, row["type"])]
        parts += [field(5, b"".join(map(varint, row["data_deps"]))), field(7, row["runtime"])]
        for name in ("num_ops", "tensor_size", "comm_size", "comm_type"):
            if name in row:
                parts.append(field(10, field(1, name.encode()) + field(9, row[name])))
        parts.append(field(10, field(1, b"is_cpu_op") + field(27, int(row["is_cpu_op"]))))
        parts.append(field(10, field(1, b"scale") + varint(3 << 3 | 1) + struct.pack("<d", 0.5)))
        stream.append(b"".join(parts))
    return b"".join(varint(len(message)) + message for message in stream)


ROWS: list[dict[str, Any]] = [
    {"id": 7, "name": "load", "type": 2, "data_deps": [], "runtime": 3, "tensor_size": 10**9, "is_cpu_op": False},
    {"id": 8, "name": "gemm", "type": 4, "data_deps": [7], "runtime": 3, "num_ops": 10**12, "tensor_size": 10**8,
     "is_cpu_op": False},
    {"id": 300, "name": "sum", "type": 7, "data_deps": [8, 99], "runtime": 3, "comm_size": 10**7, "comm_type": 0,
     "is_cpu_op": False},
    {"id": 9, "name": "launch", "type": 4, "data_deps": [], "runtime": 40, "is_cpu_op": True},
]  # fmt: skip


def test_both_forms_hold_the_same_graph(tmp_path: Path, system: System) -> None:
    """Protobuf and JSON, plain and packed; the dependency that the file does not hold is counted."""
    (tmp_path / "a.et").write_bytes(protobuf(ROWS))
    (tmp_path / "b.et.gz").write_bytes(gzip.compress(protobuf(ROWS)))
    (tmp_path / "c.json").write_text(json.dumps({"workload_graph": ROWS}))
    one, two, three = (read_graph(tmp_path / name) for name in ("a.et", "b.et.gz", "c.json"))
    assert one.nodes == two.nodes == three.nodes
    assert one.unmet == 1
    assert [each.kind for each in one.nodes] == ["load", "compute", "collective", "compute"]
    done = replay_graph(one, system)
    assert (done.modelled, done.recorded) == (3, 1)
    # A read of 1 GB takes at least what the peak of 3.35 TB/s allows; 1 TFLOP what the engine's 989 TFLOP/s does.
    assert done.ends_ps[0] >= 10**9 * 10**12 // 3_352_320_000_000
    assert done.ends_ps[1] - done.starts_ps[1] >= 10**12 * 10**12 // 989_500_000_000_000
    assert done.ends_ps[2] - done.starts_ps[2] == system.collective("all_reduce", 10**7, tuple(range(8))).duration_ps
    assert done.exposed_ps == done.busy_ps["network"]
    assert done.makespan_ps == done.ends_ps[2]


def test_nodes_wait_for_results_and_engines(system: System) -> None:
    """By hand: two kernels share the chip, the host runs beside, a node starts after the last that it needs."""
    done = replay_graph(graph(node(1, us=5), node(2, us=7), node(3, us=20, host=True), node(4, 1, 3, us=2)), system)
    assert done.starts_ps == (0, 5 * US, 0, 20 * US)
    assert done.makespan_ps == 22 * US
    assert done.critical_ps == {"chip": 2 * US, "network": 0, "host": 20 * US}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return a graph of recorded nodes whose dependencies point back, in a shuffled order."""
    count = draw(st.integers(1, 15))
    nodes = [
        node(at, *draw(st.sets(st.integers(0, at - 1), max_size=3) if at else st.just(set())),
             us=draw(st.integers(0, 9)), host=draw(st.booleans()))
        for at in range(count)
    ]  # fmt: skip
    return graph(*draw(st.permutations(nodes)))


@LAWS
@given(trace=graphs())
def test_the_critical_path_is_the_makespan(trace: Graph, system: System) -> None:
    """No node starts early, no engine does two things, somebody always works, and the path adds up exactly."""
    done = replay_graph(trace, system)
    ends = {each.id: end for each, end in zip(trace.nodes, done.ends_ps, strict=True)}
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for each, start, end in zip(trace.nodes, done.starts_ps, done.ends_ps, strict=True):
        assert start >= max((ends[other] for other in each.after), default=0)
        assert end - start == each.duration_us * US
        spans[each.host].append((start, end))
    for own in spans.values():
        own.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(own))
    assert sum(done.critical_ps.values()) == done.makespan_ps == max(ends.values())
    longest: dict[int, int] = {}
    for each in sorted(trace.nodes, key=lambda one: one.id):
        longest[each.id] = max((longest[other] for other in each.after), default=0) + each.duration_us * US
    assert max(*longest.values(), *done.busy_ps.values()) <= done.makespan_ps <= sum(done.busy_ps.values())


def test_one_chip_has_nobody_to_exchange_with() -> None:
    """And a scatter is no exchange that the network floor knows."""
    alone = System(load_system("m4-max"))
    with pytest.raises(InputError, match="among at least two chips"):
        replay_graph(graph(node(1, kind="collective", collective="all_reduce", bytes=8)), alone)
    with pytest.raises(InputError, match="got 'scatter'"):
        replay_graph(graph(node(1, kind="collective", collective="scatter", bytes=8)), alone)


HOSTILE = {
    "empty": (b"", "at least one node"),
    "cut off": (protobuf(ROWS)[:-3], "are left"),
    "text": (b"hello, this is no trace at all", "a Chakra trace"),
    "endless number": (b"\xff" * 40, "more than 10 bytes"),
    "wrong wire type": (varint(0) + varint(2) + b"\x0b\x00", "wire type 3"),
    "a circle": (protobuf([ROWS[0] | {"data_deps": [8]}, ROWS[1]]), "do not go in a circle"),
    "itself": (protobuf([ROWS[0] | {"data_deps": [7]}]), "do not go in a circle"),
    "twice": (protobuf([ROWS[0], ROWS[0]]), "ids that differ"),
    "no such collective": (protobuf([ROWS[2] | {"comm_type": 77}]), "comm_type"),
    "negative": (json.dumps([ROWS[0] | {"runtime": -1}]).encode(), "from 0 below 2^60"),
    "infinite": (b'[{"id": 1, "type": 4, "runtime": 1e999}]', "a finite number"),
    "text for a number": (json.dumps([ROWS[0] | {"runtime": "5"}]).encode(), "a whole number"),
    "no list": (b'{"workload_graph": 3}', "workload_graph"),
    "no nodes": (b"[1, 2]", "workload_graph"),
    "no dependencies": (json.dumps([ROWS[0] | {"data_deps": 3}]).encode(), "a list of dependencies"),
    "text for dependencies": (json.dumps([ROWS[0] | {"data_deps": ["x"]}]).encode(), "numbers of nodes"),
    "list for a dependency": (json.dumps([ROWS[0] | {"data_deps": [[1]]}]).encode(), "numbers of nodes"),
    "deep": (b"[" * 100_000, "nesting"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_graph_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """One `InputError` that names the file."""
    content, words = HOSTILE[what]
    (tmp_path / "bad.et").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_graph(tmp_path / "bad.et")
    assert words in str(caught.value)
    assert "bad.et" in str(caught.value)


def test_the_public_samples_are_read_and_replayed(shared: Path, system: System) -> None:
    """3,664 nodes as the README says, of which the five all-reduces and two broadcasts state their bytes."""
    whole = read_graph(shared / "traces" / "chakra" / "chakra.0.et.gz")
    done = replay_graph(whole, system)
    assert (len(whole.nodes), whole.unmet, done.modelled) == (3664, 0, 7)
    assert sum(done.critical_ps.values()) == done.makespan_ps
    small = read_graph(shared / "traces" / "chakra" / "small_chakra.0.json")
    # The recorded times in microseconds: what waits for nobody runs on the host one after the other.
    assert replay_graph(small, system).makespan_ps == (318 + 28 + 85 + 79 + 153) * US
