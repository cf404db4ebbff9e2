"""Good examples of every file that archsim reads."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from archsim import cli
from archsim.files import bundled_path
from archsim.hardware.library import load_system, resolved_toml

__all__ = [
    "LINKED",
    "SAMPLES",
    "beside_run",
    "bundled",
    "described",
    "foreign",
    "of_run",
    "parquet",
    "quietly",
    "resolved",
    "stores",
    "streams",
    "system_of",
    "text",
]


def quietly(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and all that it said."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return cli.main(arguments), quiet.getvalue()


def bundled(kind: str, folder: str, most: int = 12) -> Callable[[], list[bytes]]:
    @cache
    def read() -> list[bytes]:
        files = sorted((bundled_path(kind) / folder).iterdir())
        return [file.read_bytes() for file in files[:: max(1, len(files) // most)]]

    return read


def text(*examples: str) -> Callable[[], list[bytes]]:
    return lambda: [example.encode() for example in examples]


@cache
def resolved() -> list[bytes]:
    """Return whole systems in one file: no name of another file in them."""
    names = ("h100-sxm8", "tpu-v6e-8", "m4-max", "h100-sxm8-pnm", "sn40l-16", "groq-576", "cerebras-wse3", "h100-hbf")
    techniques = load_system("h100-sxm8", [f"serving.{line}" for line in _TECHNIQUES])
    return [resolved_toml(spec).encode() for spec in (*map(load_system, names), techniques)]


_TECHNIQUES = (
    "prefix_cache.eviction=lru", "speculation.method=eagle", "speculation.depth=3",
    "speculation.acceptance=eagle3-llama-3.1-8b",
)  # fmt: skip


@cache
def foreign() -> list[bytes]:
    return [path.read_bytes() for path in sorted((Path(__file__).parent / "cli/inputs").iterdir())]


@cache
def stores() -> list[bytes]:
    """Return a store of two points, and a database of SQLite that is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.toml").write_text(_STUDY, encoding="utf-8")
        code, said = quietly("sweep", str(folder / "small.toml"), "--store", str(folder / "s.db"), "--workers", "1")
        assert code == 0, said
        with contextlib.closing(sqlite3.connect(folder / "s.db")) as base:
            whole = base.serialize()
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE points (id INTEGER PRIMARY KEY, inputs TEXT, status TEXT)")
        return [whole, base.serialize()]


@cache
def _run() -> dict[str, bytes]:
    """Return the files of a run directory: file name -> content, tables unpacked."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "trace.csv").write_text(_CSV, encoding="utf-8")
        trace, out = str(Path(name) / "trace.csv"), Path(name) / "given"
        code, said = quietly("run", "m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16", "--trace", trace,
                             "--economics", "default", "--metrics", "--out", str(out))  # fmt: skip
        assert code == 0, said
        return {file.name: file.read_bytes() for file in sorted(out.iterdir()) if file.is_file()}


def of_run(name: str) -> Callable[[], list[bytes]]:
    """Return what gives the one file *name* of the run directory, unpacked."""

    def read() -> list[bytes]:
        content = _run()[name]
        return [gzip.decompress(content) if name.endswith(".gz") else content]

    return read


def beside_run() -> dict[str, bytes]:
    return {f"given/{name}": content for name, content in _run().items()} | {"trace.csv": _CSV.encode()}


@cache
def parquet() -> list[bytes]:
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    found = []
    for compression in ("none", "snappy"):
        file = io.BytesIO()
        table = arrow.table({"arrival_s": [0.0, 0.5, 1.5], "prompt_tokens": [100, 2000, 7], "output_tokens": [1, 2, 3],
                             "blocks": [[1], [1, 2], []], "block_tokens": [512] * 3})  # fmt: skip
        parquet.write_table(table, file, compression=compression)
        found.append(file.getvalue())
    return found


_NETWORK_LINES = """[network]
topology = "switch"
link_bandwidth = "450 GB/s"
link_latency = "350 ns"
"""


def system_of(*lines: str) -> Callable[[], dict[str, bytes]]:
    """Return what gives `system.toml`, a system of one chip that names its files by *lines*."""
    head = ('kind = "system"', 'name = "s"', 'title = "t"', 'status = "hypothetical"', "chips = 1")
    return lambda: {"system.toml": "\n".join((*head, *lines, _NETWORK_LINES)).encode()}


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


def streams() -> list[bytes]:
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


def described() -> list[bytes]:
    """Return parameters of two small memories as Ramulator and DRAMsim3 describe them; their numbers are made up."""
    commands = ["ACT", "PREpb", "PREab", "RD", "WR", "RDA", "WRA", "REFab"]
    first = {
        "standard": "HBM3",
        "tick_per_ck": 2,
        "levels": ["ch", "pc", "bg", "ba", "ro", "co"],
        "commands": commands,
        "org": {"channel_width": 32, "pseudochannel": 2, "bankgroup": 4, "bank": 4, "row": 4096, "column": 256},
        "timing_ck": {"nBL": 2, "nCWL": 10, "tCK_ps": 625, "nREFI": 6240},
        "column_units_per_tx": 8,
        "mapping_lsb_to_msb": [["pc", 1], ["bg", 2], ["co", 5], ["ba", 2], ["ro", 12]],
        "read_latency_ticks": 44,
        "timing_constraints_ticks": [
            [1, [3], [3], 4],
            [2, [3], [3], 8],
            [1, [0], [0], 8],
            [1, [0], [0], 48, 4],
            [3, [0], [3], 63],
            [3, [0], [0], 144],
            [3, [0], [1], 92],
            [3, [1], [0], 50],
            [3, [3], [1], 19],
            [1, [7], [0], 1118],
            [1, [2], [7], 52],
            [1, [0], [2], 92],
            [1, [2], [0], 50],
        ],
        "controller": {
            "read_queue": 32,
            "write_queue": 32,
            "refresh": "AllBank",
            "scheduler": "FRFCFS",
            "cap": None,
            "wr_high_watermark": 0.8,
            "wr_low_watermark": 0.2,
        },
    }
    clocks = {
        "tCK": "1",
        "CL": "14",
        "CWL": "4",
        "tRCDRD": "14",
        "tRCDWR": "14",
        "tRP": "14",
        "tRAS": "34",
        "tRFC": "260",
        "tREFI": "3900",
        "tREFIb": "128",
        "tRRD_S": "4",
        "tRRD_L": "6",
        "tWTR_S": "6",
        "tWTR_L": "8",
        "tFAW": "30",
        "tWR": "16",
        "tCCD_S": "1",
        "tCCD_L": "2",
    }
    second = {
        "ini": {"dram_structure": {"protocol": "HBM"}, "timing": clocks,
                "system": {"trans_queue_size": "32", "cmd_queue_size": "8", "queue_structure": "PER_BANK",
                           "row_buf_policy": "OPEN_PAGE"}},
        "field_bits": {"ch": 0, "ra": 0, "bg": 2, "ba": 2, "ro": 12, "co": 5}, "burst_cycles": 2, "tx_bytes": 64,
        "mapping_msb_to_lsb": "rorabgbachco",
    }  # fmt: skip
    return [json.dumps({"x": first, "y": second}).encode()]


_DRAM = (
    "simulator,config_id,pattern,param,n_requests,tx_bytes,util_steady\nramulator2.1,x,seq,0,1000,32,0.8\n"
    "ramulator2.1,x,rand,0,1000,32,0.3\nramulator2.1,x,chunk,4096,1000,32,0.7\ndramsim3,y,seq,0,1000,64,0.9\n"
)
_ATTACC = (
    "model,dtype,system,gpu,ngpu,pim,powerlimit,ffopt,pipeopt,batch,lin,lout,required_cap_GB,cap_GiB,decode_step_ms,decode_energy_per_step_nJ\n"
    "GPT-175B,W16A16,dgx,A100a,8,,0,0,0,1,2048,128,358,640,31.0,1.2e10\n"
    "GPT-175B,W16A16,dgx-attacc,A100a,8,bank,0,0,0,1,2048,128,358,640,29.0,1.1e10\n"
)
_VIDUR = (
    "device,model,d_model,d_ff,n_head,n_kv_head,tp,num_tokens,op,median_ms,std_ms\n"
    "a100,meta-llama/Llama-2-7b-hf,4096,11008,32,32,1,8,attn_pre_proj,0.1,0.001\n"
)
_LAYERS = (
    "hardware,model,tp,n_decode,kv_decode,time_us\nRTXPRO6000,meta-llama/Llama-3.1-8B,1,4,1024,20.0\n"
    "RTXPRO6000,meta-llama/Llama-3.1-8B,1,1,16,8.3\n"
)
_RATES = "client,t_s,rate_rps,cv,pattern,p1,p2\n17,0,2.9,31.7,Weibull,0.27,0.1\n18,600,0.1,1.0,Gamma,1.5,0.2\n"
_LENGTHS = "".join(
    json.dumps({"client": client, "window_s": 0, "input_tokens": {"13": 0.5, "14": 0.5}, "output_tokens": {"9": 1.0}})
    + "\n"
    for client in (17, 18)
)
LINKED = (
    b'kind = "pools"\nname = "p"\ntitle = "t"\nstatus = "hypothetical"\n[pools.prefill]\nsystem = "m4-max"\n'
    b'replicas = 1\nserves = "prefill"\n[pools.decode]\nsystem = "m4-max"\nreplicas = 2\nserves = "decode"\n'
    b'[link]\nbandwidth = "40 GB/s"\nlatency = "10 us"\noverlap = "layer"\n'
)
_STAGES = "batch,mean_seq_len,sub_batch_interleave,stage,total_cycles\n16,1000,0,A,27586\n"
SAMPLES = {
    "stages": _STAGES,
    "csv": _CSV,
    "jsonl": _JSONL,
    "mooncake": _MOONCAKE,
    "vllm": _VLLM,
    "decoding": _DECODING,
    "graph": _GRAPH,
    "routes": _ROUTES,
    "network": _NETWORK,
    "fifo": _FIFO,
    "decode": _DECODE,
    "serving": _SERVING,
    "collectives": _COLLECTIVES,
    "products": _PRODUCTS,
    "experts": _EXPERTS,
    "study": _STUDY,
    "dram": _DRAM,
    "attacc": _ATTACC,
    "vidur": _VIDUR,
    "layers": _LAYERS,
    "rates": _RATES,
    "lengths": _LENGTHS,
}
"""Name -> the text of a small good file."""
