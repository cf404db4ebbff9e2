"""Near-memory units against a simulator of HBM-PIM: one product of a matrix and a vector, with and without them.

The figures are clocks of PIMSimulator (SAITPublic), run on 64 pseudochannels of HBM2 at 2.0 Gb/s, four stacks, with
its own kernel: FP16, 4,096 by 4,096. Ours is one kernel on the step floor of the bundled `hbm-pim` at that pin rate,
under a runtime that costs nothing: the host reads the matrix, or the units do, their inputs are broadcast and their
partial sums read back. Nothing is fitted to the two figures.

A file has rows of NeuPIMs (ASPLOS 2024), one a stage of a layer of GPT3-7B cut over four: `A` makes queries, keys and
values, `B` attends in the memory, `E` and `F` project and run the MLP; its clocks are of 1 ns. Ours run on the machine
above, whose memory has the same 1.02 TB/s; its units are Samsung's and not those of NeuPIMs. Where two half batches
take turns, what overlaps is that simulator's schedule, and only their first and last stages are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.step.simulate import simulate_step
from archsim.validation.network import Row, row
from archsim.validation.table import Record, number, read_table, whole

__all__ = ["COLUMNS", "gemv_clocks", "suite"]

COLUMNS = ("batch", "mean_seq_len", "sub_batch_interleave", "stage", "total_cycles")
"""Columns of a table of NeuPIMs' stages."""

_CLOCK_PS = 1000
"""HBM2 at 2.0 Gb/s."""
_SIZE = 4096
_EXPECTED = {"none": 36_082, "all": 13_166}
"""Policy -> clocks of PIMSimulator b464dde."""
_FREE = (
    "runtime.launch_gap=0 s", "runtime.ramp=0 s", "runtime.host_step=0 s", "runtime.host_sequence=0 s",
    "runtime.host_launch=0 s",
)  # fmt: skip


def suite(reference: Path | None) -> list[Row]:
    """Return the rows. Raises `InputError` for a file of another schema."""
    if reference is not None:
        return [_stage_row(record) for record in read_table(reference, COLUMNS)]
    clocks = {place: gemv_clocks(place) for place in _EXPECTED}
    rows = [
        row(f"gemv {_SIZE}x{_SIZE} fp16, {'with' if place == 'all' else 'without'} units clocks", "gemv", expected,
            clocks[place])
        for place, expected in _EXPECTED.items()
    ]  # fmt: skip
    speedup = _EXPECTED["none"] / _EXPECTED["all"]
    return [*rows, row(f"gemv {_SIZE}x{_SIZE} fp16 speedup", "speedup", speedup, clocks["none"] / clocks["all"])]


def gemv_clocks(place: str, *, size: int = _SIZE) -> float:
    """Return the clocks of a product of *size* by *size* under the policy *place*."""
    return _clocks(place, _Work("weights", 2 * size * size, 2 * size, 2 * size * size, 1))


class _Work(NamedTuple):
    """A product: what is stored and read, what is moved beside it, its operations, and its rows."""

    tensor: str
    stored_bytes: int
    moved_bytes: int
    flops: int
    rows: int


def _clocks(place: str, work: _Work) -> float:
    settings = ("chip.memory.hbm.pin_rate=2 Gb/s", f"chip.near_memory.pim.place={place}", *_FREE)
    system = System(load_system("hbm-pim", settings))
    stored, moved = work.stored_bytes, work.moved_bytes
    task = Task(
        "product",
        transfers=(
            Transfer("hbm", work.tensor, stored, stored, write=False, run_bytes=stored),
            Transfer("l2", "activations", moved, moved, write=False, run_bytes=moved),
        ),
        matrix_flops=work.flops,
        matrix_dtype="fp16",
        matrix_rows=work.rows,
        matrix_inputs=moved // 2,
    )
    record = simulate_step(Plan("decode", (Segment("product", (task,)),), ranks=1), system)
    return record.time_ps / _CLOCK_PS


_WIDTH, _HEADS, _HEAD, _RANKS = 4096, 32, 128, 4
"""GPT3-7B, cut over four."""


_OVERLAPPED = "two half batches under way: what overlaps is that simulator's schedule"


def _stage_row(record: Record) -> Row:
    interleaved = record["sub_batch_interleave"].strip() == "1"
    name = (
        f"NeuPIMs GPT3-7B batch {record['batch']} mean {record['mean_seq_len']} tokens "
        f"{'two half batches' if interleaved else 'whole batch'} stage {record['stage']} clocks"
    )
    group, expected = f"stage {record['stage']}", number(record, "total_cycles")
    batch, length = whole(record, "batch"), number(record, "mean_seq_len")
    if not batch or not length:
        return row(name, group, expected, None, "batch or length is not stated as a number")
    stages = {"A": "A", "F": "E"} if interleaved else {"A": "A", "B": "B", "E": "E"}
    stage = stages.get(record["stage"])
    if stage is None:
        return row(
            name, group, expected, None, "two half batches under way: what overlaps is that simulator's schedule"
        )
    return row(name, group, expected, _stage_clocks(stage, batch, length))


def _stage_clocks(stage: str, batch: int, length: float) -> float:
    if stage == "B":
        size = round(batch * length) * 2 * _HEADS // _RANKS * _HEAD
        moved = 2 * batch * _WIDTH // _RANKS
        return _clocks("all", _Work("kv_read", 2 * size, moved, 2 * size, 1))
    weights = {"A": 3, "E": 9}[stage] * _WIDTH * _WIDTH // _RANKS
    return _clocks("none", _Work("weights", 2 * weights, 2 * batch * _WIDTH, 2 * batch * weights, batch))
