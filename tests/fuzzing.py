"""Hostile files for every reader of archsim, made from good ones, and what becomes of them on the command line.

A `Target` is one kind of file: good examples, and the commands that read it. `damaged` turns an example into something
a broken disk, a bad script or an enemy could have written; `tried` gives it to a command and tells a refusal (exit code
0, 1 or 2 with a message) from a `Crash`: a traceback, more than `CPU_LIMIT_S` of work, more than `MEMORY_LIMIT_BYTES`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import random
import resource
import signal
import sqlite3
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from archsim import cli
from archsim.errors import ArchsimError
from archsim.files import bundled_path
from archsim.hardware.library import load_system, resolved_toml
from archsim.run import evaluate_step
from archsim.workload.model import load_model

__all__ = ["TARGETS", "Crash", "Target", "bounded_memory", "compile_kernels", "damaged", "inputs_of", "tried"]

CPU_LIMIT_S = 5.0
MEMORY_LIMIT_BYTES = 2**30
LONGEST_BYTES = 1 << 16
_HOSTILE = (
    b"0", b"-1", b"1e308", b"-0.0", b"nan", b"inf", b"1e-320", b"9" * 70, b"true", b"null", b"[]", b"{}", b'""', b"''",
    b'"\\u0000"', b"\xff\xfe", b"\xf0\x9f\x92\xa9", b"[" * 200, b"{" * 200, b'"0 GB/s"', b'"1e30 TB/s"', b'"-5 ns"',
    b'"1 fs"', b'"999999 h"', b"2147483648", b"18446744073709551616", b"0x10", b"1_0", b"../../etc/passwd", b"\x00",
    b"=SUM(A1)", b"<script>", b"%s%n", b"1e5", b"4096.5", b'"8"', b"[0]", b"[-1]", b'["a", 1]', b"\r\n", b"\t", b"#",
)  # fmt: skip
"""What stands in a file where something else is expected."""


_STANDARDS = ("HBM2E", "HBM3", "HBM4", "LPDDR5X", "DDR5", "GDDR6", "GDDR7")


@dataclass(frozen=True)
class Target:
    """A kind of file: name endings, good examples, and commands in which `FILE` stands for it."""

    name: str
    suffix: str
    examples: Callable[[], list[bytes]]
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Crash:
    """An input that ended badly: where, and the bytes."""

    target: str
    command: tuple[str, ...]
    place: str
    content: bytes


class _TooLongError(BaseException):
    """The CPU limit is over; no `except Exception` swallows it."""


def damaged(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Return *content* with one to four things wrong, parts of *others* among them."""
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        content = draw.choice(_WAYS)(content, draw, others)[:LONGEST_BYTES]
    return content


def compile_kernels() -> None:
    """Compile the kernels of every kind of memory, so that no input is charged with it, nor cut off inside of it."""
    for standard in _STANDARDS:
        code, said = _quietly("memory", standard, "--json")
        assert code == 0, said


def _quietly(*arguments: str) -> tuple[int, str]:
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return cli.main(arguments), quiet.getvalue()


def _flipped(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    if not content:
        return b"\x00"
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]


def _cut(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _token_replaced(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    """Replace a number or a word, where one begins, by something hostile."""
    starts = [at for at, (a, b) in enumerate(itertools.pairwise(content), 1) if a in b" =:,[\n\"'" and b > 32]
    if not starts:
        return draw.choice(_HOSTILE)
    begin = draw.choice(starts)
    end = begin
    while end < len(content) and content[end] not in b',:\n]}"= ':
        end += 1
    return content[:begin] + draw.choice(_HOSTILE) + content[end:]


def _lines_changed(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Drop a line, repeat one, move one, or take one from another file."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    way = draw.randrange(4)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines[at:at] = [lines[at]] * draw.choice((1, 1, 2, 50))
    elif way == 2:
        lines.insert(draw.randrange(len(lines)), lines.pop(at))
    else:
        lines.insert(at, draw.choice(draw.choice(others).split(b"\n")))
    return b"\n".join(lines)


def _inserted(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice(_HOSTILE) * draw.choice((1, 1, 1, 40)) + content[at:]


def _digit_changed(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    """Change a digit: the file stays well formed, its meaning does not."""
    places = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return content
    at = draw.choice(places)
    return content[:at] + draw.choice((b"0", b"9", b"1", b"00", b"-1", b".", b"123456789")) + content[at + 1 :]


def _spliced(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    other = draw.choice(others)
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other) + 1) :]


_WAYS = (_flipped, _cut, _token_replaced, _token_replaced, _token_replaced, _lines_changed, _lines_changed, _inserted,
         _digit_changed, _digit_changed, _spliced)  # fmt: skip


def inputs_of(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """Yield *count* damaged examples of *target*, the same for the same *seed*."""
    draw = random.Random(f"{target.name}-{seed}")
    examples = target.examples()
    for _ in range(count):
        yield damaged(draw.choice(examples), draw, examples)


@contextlib.contextmanager
def bounded_memory(limit: int = MEMORY_LIMIT_BYTES) -> Iterator[None]:
    """Let no more than *limit* bytes be allocated beyond what the process holds."""
    held = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmData:")[2].split()[0]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def tried(target: Target, content: bytes, command: tuple[str, ...], folder: Path) -> Crash | None:
    """Give *content* to *command* in *folder*; return how it crashed, or None. What was written is removed again."""
    file = folder / f"input{target.suffix}"
    file.write_bytes(content)
    arguments = [
        str(file) if part == "FILE" else str(folder / part.lower()) if part.startswith("OUT") else part
        for part in command
    ]
    place = _place_of_crash(arguments)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return Crash(target.name, command, place, content) if place else None


def _place_of_crash(arguments: list[str]) -> str:
    """Return the innermost place of archsim in the traceback; empty for an exit code of 0, 1 or 2."""
    quiet = io.StringIO()
    try:
        with _bounded_time(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = cli.main(["--debug", *arguments])
    except ArchsimError as error:
        code = error.exit_code
    except (_TooLongError, Exception) as error:  # noqa: BLE001  # whatever it is, it is the finding
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/archsim/" in f.filename]
        last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {last.name}: {str(error)[:100]}"
    return "" if code in (0, 1, 2) else f"exit code {code}"


@contextlib.contextmanager
def _bounded_time() -> Iterator[None]:
    def over(_signal: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _bundled(kind: str, folder: str, most: int = 12) -> Callable[[], list[bytes]]:
    @cache
    def read() -> list[bytes]:
        files = sorted((bundled_path(kind) / folder).iterdir())
        return [file.read_bytes() for file in files[:: max(1, len(files) // most)]]

    return read


def _text(*examples: str) -> Callable[[], list[bytes]]:
    return lambda: [example.encode() for example in examples]


@cache
def _resolved() -> list[bytes]:
    """Return whole systems in one file: no name of another file in them."""
    names = ("h100-sxm8", "tpu-v6e-8", "m4-max", "h100-sxm8-pnm", "sn40l-16", "groq-576", "cerebras-wse3", "h100-hbf")
    return [resolved_toml(load_system(name)).encode() for name in names]


@cache
def _foreign() -> list[bytes]:
    return [path.read_bytes() for path in sorted((Path(__file__).parent / "cli/inputs").iterdir())]


@cache
def _stores() -> list[bytes]:
    """Return a store of two points, and a database of SQLite that is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.toml").write_text(_STUDY, encoding="utf-8")
        code, said = _quietly("sweep", str(folder / "small.toml"), "--store", str(folder / "s.db"), "--workers", "1")
        assert code == 0, said
        with contextlib.closing(sqlite3.connect(folder / "s.db")) as base:
            whole = base.serialize()
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE points (id INTEGER PRIMARY KEY, inputs TEXT, status TEXT)")
        return [whole, base.serialize()]


@cache
def _results() -> list[bytes]:
    return [evaluate_step(load_system("m4-max"), load_model("llama-3.1-8b"), batch=1, context=64).to_json().encode()]


_CSV = "arrival_s,prompt_tokens,output_tokens\n0.0,100,10\n0.5,2000,3\n1.5,7,700\n"
_JSONL = "".join(f'{{"arrival_s": {n}.5, "prompt_tokens": {n + 1}, "output_tokens": 5}}\n' for n in range(4))
_MOONCAKE = "".join(
    f'{{"timestamp": {3000 * n}, "input_length": 1024, "output_length": 9, "hash_ids": [0, {n}]}}\n' for n in range(4)
)
_VLLM = json.dumps({"start_times": [7.5, 7.0, 8.25], "input_lens": [5, 6, 7], "output_lens": [3, 2, 0]})
_DECODING = (
    '{"format": "archsim-decode-trace", "version": 1, "model": "qwen3-8b"}\n{"ids": [0, 1], "contexts": [12, 9]}\n'
    '{"ids": [0, 1], "contexts": [13, 10], "steps": 5, "replica": 0}\n{"ids": [1], "contexts": [15], "prefill": '
    '{"sequences": 1, "tokens": 4, "pairs": 10, "kv_tokens": 4}}\n'
)
_GRAPH = json.dumps(
    {
        "workload_graph": [
            {"Id": 3, "NodeType": 4, "data_deps": [], "num_ops": 10**9, "tensor_size": 10**6, "is_cpu_op": False},
            {"Id": 4, "NodeType": 7, "data_deps": [3, 9], "comm_type": 0, "comm_size": 10**6, "runtime": 85},
            {"Id": 5, "NodeType": 2, "data_deps": [4], "tensor_size": 4096, "runtime": 2},
        ]
    }
)


def _streams() -> list[bytes]:
    """Return a Chakra trace as protobuf: metadata, a computation, an exchange that needs it."""
    attribute = b"\x52\x0e\x0a\x07num_ops\x48\x80\xc2\xd7\x2f"
    first = b"\x08\x03\x12\x01a\x18\x04" + attribute
    second = b"\x08\x04\x12\x01b\x18\x07\x2a\x01\x03\x38\x55"
    return [b"".join(bytes([len(part)]) + part for part in (b"\x12\x00", first, second))]


_ROUTES = "seq,pos,l1,l2\n0,0,1 2,3 4\n0,1,5 6,7 0\n1,0,2 3,1 6\n"
_NETWORK = json.dumps(
    {
        "topologies": {"pair": {"links": [[0, 1], [1, 0]], "routes": {"0,1": [0], "1,0": [1]}}},
        "scenarios": [
            {"name": "one flow", "topology": "pair", "link_bandwidth_Bps": 1e9, "link_latency_s": [1e-6, 2e-6],
             "flows": [[0, 1, 1000], [1, 0, 5000, 1e-6, [0]]], "finish_s": [2e-6, 1e-5]},
        ],
    }
)  # fmt: skip
_FIFO = json.dumps(
    {
        "link_bandwidth_Bps": 50e9,
        "results": [
            {"topology": "ring", "npus": 4, "lat_ns": 500, "collective": "ring_allreduce_1MiB", "makespan_ns": 40000},
        ],
    }
)
_PARTS = "system,chips,model,precision,batch,input_len,output_len,metric,value,unit,kind,source,notes\n"
_DECODE = (
    _PARTS
    + "H100 SXM,1,Llama-3-8B,bf16,1,128,128,decode_tokens_per_s,140,tok/s,x,y,vLLM\n"
    + "A100-SXM4-80GB,2,Llama-2-7B,fp16,4,128,64,prefill_time,20,ms,x,y,\n"
)
_SERVING = (
    "model,gpu_system,weight_precision,engine,engine_version,input_tokens,output_tokens,batch_per_attention_dp_rank,"
    "concurrency,tensor_parallel,pipeline_parallel,attention_data_parallel,moe_tensor_parallel,moe_expert_parallel,"
    "measured_ttft_ms,measured_tpot_ms,measured_on,source_label\n"
    "meta-llama/Llama-3.1-8B,h100_sxm,fp8,trtllm,1.0,64,8,2,2,1,1,1,1,1,30,6,h100,x\n"
)
_COLLECTIVES = (
    "system,fabric,collective,implementation,num_devices,dtype,message_size_bytes,latency_us,statistic,source\n"
    "H100-SXM5-80GB,NVLink/NVSwitch intra-node,all_reduce,nccl-2.27.3 nccl-tests,8,half,4096,16,mean,x\n"
)
_PRODUCTS = (
    "system,op,dtype,m_or_batch,n,k,q_heads,kv_heads,head_dim,kv_len,kv_dtype,latency_us,bytes_weights_or_kv,"
    "achieved_GB_per_s,source\nH100-SXM5-80GB,gemm,bfloat16,1,4096,4096,,,,,,20,33554432,1600,x\n"
    "H100-SXM5-80GB,decode_attention,bfloat16,8,,,32,8,128,4096,bfloat16,40,0,0,x\n"
)
_EXPERTS = (
    "gpu_system,engine,kernel,element_type,tokens,hidden,expert_intermediate,top_k,num_experts,moe_tensor_parallel,"
    "moe_expert_parallel,routing,latency_us\nh100_sxm,trtllm,x,bfloat16,8,4096,14336,2,8,1,1,uniform,300\n"
)
_STUDY = """kind = "study"
name = "small"
title = "Two batches"
systems = ["m4-max"]
model = "qwen3-8b"
precision = "w8a16kv16"

[[axis]]
key = "context"
values = [64]

[[axis]]
key = "batch"
values = [1, 2]

[[objective]]
metric = "tokens_per_s"
goal = "max"
"""
_STEP = ("--batch", "1", "--context", "16")

TARGETS = (
    Target("system", ".toml", _resolved, (("show", "FILE"), ("show", "FILE", "--sources"),
           ("run", "FILE", "--model", "llama-3.1-8b", "--precision", "w8a16kv16", *_STEP))),
    Target("bundled system", ".toml", _bundled("hwconfigs", "systems"), (("show", "FILE"),)),
    Target("chip", ".toml", _bundled("hwconfigs", "chips"), (("memory", "FILE"),)),
    Target("memory", ".toml", _bundled("hwconfigs", "memories"), (("memory", "FILE"),)),
    Target("model", ".json", _bundled("workloads", "models", 27), (("run", "h100-sxm8", "--model", "FILE", *_STEP),)),
    Target("trace", ".csv", _text(_CSV), (("trace", "inspect", "FILE"),
           ("run", "m4-max", "--model", "qwen3-8b", "--trace", "FILE", "--limit", "3"))),
    Target("lines", ".jsonl", _text(_JSONL, _MOONCAKE), (("trace", "inspect", "FILE"),)),
    Target("benchmark", ".json", _text(_VLLM), (("trace", "show", "FILE"),)),
    Target("decode trace", ".jsonl", _text(_DECODING),
           (("run", "m4-max", "--model", "qwen3-8b", "--decode-only", "FILE"),)),
    Target("operator graph", ".et", lambda: [*_streams(), _GRAPH.encode()],
           (("trace", "replay", "FILE", "h100-sxm8"),)),
    Target("packed trace", ".csv.gz", lambda: [gzip.compress(_CSV.encode(), mtime=0)], (("trace", "inspect", "FILE"),)),
    Target("sampler", ".toml", _bundled("workloads", "samplers"), (("trace", "inspect", "FILE", "--limit", "9"),)),
    Target("routes", ".csv", _text(_ROUTES), (("run", "h100-sxm8", "--model", "mixtral-8x7b", *_STEP, "--parallel",
           "ep=8,experts=FILE"),)),
    Target("study", ".toml", _bundled("workloads", "studies"), (("sweep", "FILE", "--limit", "1",
           "--workers", "1", "--store", "OUT"),)),
    Target("store", ".db", _stores, (("study", "export", "FILE", "OUT.csv"),)),
    Target("economics", ".toml", _bundled("hwconfigs", "economics"), (("run", "m4-max", "--model", "qwen3-8b", *_STEP,
           "--economics", "FILE"),)),
    Target("result", ".json", _results, (("report", "FILE", "--out", "OUT"), ("whatif", "FILE", "--set", "chips=1"))),
    Target("other simulators", "", _foreign, (("import", "FILE"), ("import", "FILE", "--json"))),
    Target("network rows", ".json", _text(_NETWORK, _FIFO), (("validate", "network", "--reference", "FILE"),)),
    Target("decode rows", ".csv", _text(_DECODE), (("validate", "decode", "--reference", "FILE"),
           ("validate", "power", "--reference", "FILE"))),
    Target("serving rows", ".csv", _text(_SERVING), (("validate", "serving", "--reference", "FILE"),)),
    Target("collective rows", ".csv", _text(_COLLECTIVES), (("validate", "collectives", "--reference", "FILE"),)),
    Target("kernel rows", ".csv", _text(_PRODUCTS, _EXPERTS), (("validate", "kernels", "--reference", "FILE"),)),
)  # fmt: skip
"""Every reader of user files."""
