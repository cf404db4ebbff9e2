"""Near-memory units against a simulator of HBM-PIM: one product of a matrix and a vector, with and without them.

The figures are clocks of PIMSimulator (SAITPublic), run on 64 pseudochannels of HBM2 at 2.0 Gb/s, four stacks, with
its own kernel: FP16, 4,096 by 4,096. Ours is one kernel on the step floor of the bundled `hbm-pim` at that pin rate,
under a runtime that costs nothing: the host reads the matrix, or the units do, their inputs are broadcast and their
partial sums read back. Nothing is fitted to the two figures.
"""

from __future__ import annotations

from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.step.simulate import simulate_step
from archsim.validation.network import Row, row

__all__ = ["gemv_clocks", "suite"]

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
    """Return the rows. Raises `InputError` for a *reference*: the figures are of one run and stand here."""
    if reference is not None:
        raise InputError(Problem("--reference", "pim", str(reference), "no file: the suite holds its two figures"))
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
    settings = ("chip.memory.hbm.pin_rate=2 Gb/s", f"chip.near_memory.pim.place={place}", *_FREE)
    system = System(load_system("hbm-pim", settings))
    matrix, vector = 2 * size * size, 2 * size
    task = Task(
        "gemv",
        transfers=(
            Transfer("hbm", "weights", matrix, matrix, write=False, run_bytes=matrix),
            Transfer("l2", "activations", vector, vector, write=False, run_bytes=vector),
        ),
        matrix_flops=2 * size * size,
        matrix_dtype="fp16",
        matrix_rows=1,
        matrix_inputs=size,
    )
    record = simulate_step(Plan("decode", (Segment("gemv", (task,)),), ranks=1), system)
    return record.time_ps / _CLOCK_PS
