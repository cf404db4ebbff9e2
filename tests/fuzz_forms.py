"""Formats of the files that archsim reads, as trees that can be edited: parsed, and written again."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import io
import json
import math
import re
import sqlite3
import struct
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archsim.study.store import _digest_of as digest_of_row

__all__ = ["FORMS", "Form", "operator_stream"]


@dataclass(frozen=True)
class Form:
    """How a tree is read and written."""

    parse: Callable[[bytes], Any]
    written: Callable[[Any], bytes]

    def parsed(self, content: bytes) -> Any:
        """Return the tree of *content*; None where it has none."""
        try:
            return self.parse(content)
        except (ValueError, KeyError, IndexError, sqlite3.Error):
            return None


def _toml(tree: Any) -> bytes:
    lines: list[str] = []
    _table(tree, (), lines)
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def _table(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    later = []
    for key, value in table.items():
        tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
        if isinstance(value, dict) or tables:
            later.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in later:
        inside = (*path, key)
        head = ".".join(map(_key, inside))
        for item in value if isinstance(value, list) else [value]:
            lines.append(f"[[{head}]]" if isinstance(value, list) else f"[{head}]")
            _table(item, inside, lines)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _quoted(value) if isinstance(value, str) else str(value)


def _json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


def _lines_written(tree: Any) -> bytes:
    return b"".join(_json(line) + b"\n" for line in tree)


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def _rows_written(rows: list[dict[str, Any]]) -> bytes:
    """Write *rows* under the keys of all; a list of cells is quoted where it must be."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, keys, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def _words(content: bytes) -> list[dict[str, str]]:
    return [{"word": word} for word in re.findall(r"\w+|\W", content.decode())]


def _words_written(tree: list[dict[str, Any]]) -> bytes:
    return "".join(str(next(iter(word.values()), "")) for word in tree).encode("utf-8", "surrogatepass")


def _pairs(content: bytes) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in content.decode().split(","))


def _pairs_written(tree: dict[str, Any]) -> bytes:
    return ",".join(f"{key}={value}" for key, value in tree.items()).encode("utf-8", "surrogatepass")


def _setting(content: bytes) -> dict[str, str]:
    key, value = content.decode().split("=", 1)
    return {key: value}


def _parquet(content: bytes) -> Any:
    parquet = importlib.import_module("pyarrow.parquet")
    return parquet.read_table(io.BytesIO(content)).to_pylist()


def _parquet_written(rows: list[dict[str, Any]]) -> bytes:
    """Write *rows*, a column as text where its values are of several kinds."""
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    columns = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        try:
            columns[key] = arrow.array(values)
        except (arrow.ArrowException, OverflowError):
            columns[key] = arrow.array([None if value is None else str(value) for value in values])
    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def _store(content: bytes) -> Any:
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(content[:18] + b"\x01\x01" + content[20:])  # a database in memory has no log beside it
        base.row_factory = sqlite3.Row
        meta = dict(base.execute("SELECT key, value FROM meta").fetchall())
        points = [dict(row) for row in base.execute("SELECT * FROM points")]
        tables = [row[0] for row in base.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        kept = base.execute("PRAGMA application_id").fetchone()[0]
    for point in points:
        point |= {key: json.loads(point[key]) for key in ("inputs", "metrics", "provenance")}
    return {"meta": {**meta, "definition": json.loads(meta["definition"])}, "points": points, "_": [tables, kept]}


def _store_written(tree: Any) -> bytes:
    """Write a store whose digests are those of what it holds."""
    meta = {key: value if isinstance(value, str) else json.dumps(value) for key, value in tree["meta"].items()}
    meta = {key: value for key, value in meta.items() if key not in ("digest_of_this", "rows_written")}
    meta |= {"digest_of_this": digest_of_row(meta), "rows_written": str(len(tree["points"]))}
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as base:
        for table in tree["_"][0]:
            base.execute(table)
        base.execute(f"PRAGMA application_id = {tree['_'][1]}")
        base.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        for point in tree["points"]:
            row = {key: json.dumps(item) if isinstance(item, dict | list) else item for key, item in point.items()}
            names = ("point", "status", "inputs", "metrics", "error", "provenance", "wall_s")
            row["row_digest"] = digest_of_row([row.get(name) for name in names])
            columns = ", ".join(f'"{key}"' for key in row)
            base.execute(f"INSERT INTO points ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        return base.serialize()


def _checkpoint(content: bytes) -> Any:
    head, body, *_ = content.split(b"\n")
    return {"head": json.loads(head), "body": json.loads(body)}


def _checkpoint_written(tree: Any) -> bytes:
    """Write a checkpoint whose digest is that of its body."""
    body = json.dumps(tree["body"], separators=(",", ":")).encode()
    head = tree["head"] | {"digest": "sha256:" + hashlib.sha256(body).hexdigest()[:16]}
    return json.dumps(head).encode() + b"\n" + body + b"\n"


def _varint(value: int) -> bytes:
    found = bytearray()
    value &= 2**64 - 1
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, bool | int):
        return _varint(number << 3) + _varint(int(value))
    if isinstance(value, float):
        return _varint(number << 3 | 1) + struct.pack("<d", value)
    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return _varint(number << 3 | 2) + _varint(len(content)) + content


_ATTRIBUTES = ("num_ops", "tensor_size", "comm_type", "comm_size", "is_cpu_op", "comm_src", "comm_dst")
_FIELDS = {"Id": 1, "name": 2, "NodeType": 4, "data_deps": 5, "ctrl_deps": 4, "start_time_micros": 6, "runtime": 7}


def operator_stream(tree: Any) -> bytes:
    """Return the graph *tree*, as Chakra's JSON has it, as a stream of protobuf messages."""
    messages = [b""]
    for node in tree["workload_graph"]:
        message = b""
        for key, value in node.items():
            if key == "NodeType":
                message += _field(3, value)
            elif key in ("data_deps", "ctrl_deps") and isinstance(value, list):
                message += b"".join(_field(_FIELDS[key], item) for item in value)
            elif key in _FIELDS:
                message += _field(_FIELDS[key], value)
            else:
                message += _field(10, _field(1, key) + _field(9 if isinstance(value, bool | int) else 7, value))
        messages.append(message)
    return b"".join(_varint(len(message)) + message for message in messages)


def _graph(content: bytes) -> Any:
    return json.loads(content)


def _graph_written(tree: Any) -> bytes:
    """Write every second graph as protobuf."""
    return operator_stream(tree) if len(json.dumps(tree)) % 2 else _json(tree)


FORMS = {
    "toml": Form(lambda content: tomllib.loads(content.decode()), _toml),
    "json": Form(json.loads, _json),
    "jsonl": Form(_lines, _lines_written),
    "csv": Form(_rows, _rows_written),
    "words": Form(_words, _words_written),
    "pairs": Form(_pairs, _pairs_written),
    "setting": Form(_setting, _pairs_written),
    "parquet": Form(_parquet, _parquet_written),
    "store": Form(_store, _store_written),
    "checkpoint": Form(_checkpoint, _checkpoint_written),
    "graph": Form(_graph, _graph_written),
}
"""Name of a format -> how it is read and written."""
