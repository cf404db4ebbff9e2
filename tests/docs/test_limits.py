"""The page on limits states what the code holds, and what is beyond a limit is refused by its name."""

from __future__ import annotations

import gzip
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from archsim import files
from archsim.errors import InputError
from archsim.files import reading
from archsim.hardware.library import load_system
from archsim.validation.network import suite
from archsim.workload import chakra, trace
from archsim.workload.model import load_model
from archsim.workload.trace import load_trace

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
LINE = re.compile(r"^\|[^|]+\|[^|]+\| ([\d,]+) \| `(archsim[\w.]+)` \|$", re.MULTILINE)
ROWS = [(int(most.replace(",", "")), name) for most, name in LINE.findall(PAGE.read_text("utf-8"))]


@pytest.mark.parametrize(("most", "name"), ROWS, ids=[name for _, name in ROWS])
def test_the_page_states_what_the_code_holds(most: int, name: str) -> None:
    """Number by number."""
    module, _, constant = name.rpartition(".")
    assert getattr(importlib.import_module(module), constant) == most


def test_the_page_names_the_limits_of_the_files() -> None:
    """Every limit of the room that opens files is on the page."""
    held = {name for name in vars(reading) if re.fullmatch(r"_?[A-Z_]*LIMIT[A-Z_]*", name)}
    assert {name.rpartition(".")[2] for _, name in ROWS if name.startswith("archsim.files.")} == held
    assert len(ROWS) > 30


def nested(folder: Path) -> None:
    """Read a model of 70 lists in each other."""
    (folder / "config.json").write_text('{"a": ' + "[" * 70 + "]" * 70 + "}", encoding="utf-8")
    load_model(str(folder / "config.json"))


def layered(folder: Path) -> None:
    """Read a model of a million layers."""
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 10**6,
              "num_attention_heads": 1, "vocab_size": 100, "max_position_embeddings": 64,
              "torch_dtype": "bfloat16"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    load_model(str(folder / "config.json"))


def packed(folder: Path) -> None:
    """Read 9 MiB that gzip packs into 9 KiB."""
    (folder / "m.json.gz").write_bytes(gzip.compress(b" " * (9 << 20), mtime=0))
    files.read_json(folder / "m.json.gz")


def long_line(folder: Path) -> None:
    """Read a trace whose second line does not end."""
    (folder / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + "1" * (1 << 21), encoding="utf-8")
    load_trace(str(folder / "t.csv"))


def wired(_folder: Path) -> None:
    """Join ten thousand chips each with each."""
    load_system("h100-sxm8", ["network.topology=full_mesh", "chips=10000"])


def crowded(_folder: Path) -> None:
    """Build a system of a million chips."""
    load_system("h100-sxm8", ["chips=1000000"])


def digits(folder: Path) -> None:
    """Read an integer of 5,000 digits."""
    (folder / "s.toml").write_text(f"chips = {'9' * 5000}\n", encoding="utf-8")
    load_system(str(folder / "s.toml"))


def dotted(folder: Path) -> None:
    """Read a key of a thousand parts."""
    (folder / "s.toml").write_text("a" + ".a" * 1000 + " = 1\n", encoding="utf-8")
    load_system(str(folder / "s.toml"))


def queued(folder: Path) -> None:
    """Compare two million messages on links that serve them one by one."""
    result = {"topology": "ring", "npus": 1024, "lat_ns": 500, "collective": "ring_allreduce_1MiB", "makespan_ns": 1}
    reference = {"link_bandwidth_Bps": 10**9, "results": [result]}
    (folder / "fifo.json").write_text(json.dumps(reference), encoding="utf-8")
    suite(folder / "fifo.json")


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (queued, "2,095,104 of ring_allreduce among 1,024 chips.*32,768 messages"),
        (nested, "nesting below 64 levels"),
        (layered, "10,?000"),
        (packed, "8,388,608 bytes once unpacked"),
        (long_line, "1,048,576 characters"),
        (wired, "wires|links"),
        (crowded, "65,536 chips"),
        (digits, "digits"),
        (dotted, "128 dots"),
    ],
    ids=lambda part: getattr(part, "__name__", "")[:20],
)
def test_what_is_beyond_a_limit_is_refused_by_name(read: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    """The message states the limit."""
    with pytest.raises(InputError, match=said):
        read(tmp_path)


def test_rows_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits set low: requests of a trace, nodes of a graph."""
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + "0,1,1\n" * 4, encoding="utf-8")
    monkeypatch.setattr(trace, "_MOST_REQUESTS", 3)
    with pytest.raises(InputError, match="at most 3 requests"):
        load_trace(str(tmp_path / "t.csv"))
    nodes = [{"Id": number, "NodeType": 4, "num_ops": 1, "tensor_size": 1} for number in range(4)]
    (tmp_path / "g.json").write_text(json.dumps({"workload_graph": nodes}), encoding="utf-8")
    monkeypatch.setattr(chakra, "_MOST_NODES", 3)
    with pytest.raises(InputError, match="3 nodes"):
        chakra.read_graph(tmp_path / "g.json")
