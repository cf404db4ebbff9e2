"""GPUs with near-memory attention against AttAcc's simulator: speed-ups and energies of decode steps.

A reference row is a decode step of one system, simulated by AttAcc (scale-snu, ASPLOS 2024) as its mean over an output
of `lout` tokens after a prompt of `lin`; layers only, no output head. A row of the suite compares two of them: how much
faster AttAcc is than a DGX (`speedup`), and what part of the DGX's energy it takes (`energy_ratio`). Steps by
themselves are listed too (`step_ms`, `energy_mj`): there the GPU models differ, and no bound is on them.

Ours are the bundled comparison profiles `attacc-dgx-a100`, `attacc-dgx-h100`, `attacc`, `attacc-bank-group` and
`attacc-buffer`: AttAcc's own constants (0.85 of bandwidth, 0.8 of FLOPS, its fixed kernel times and exchanges, its
energies), so that no GPU model of ours is bent to another simulator. AttAcc checks no capacity: neither does this
suite, and rows that would not fit are marked.

AttAcc's GPU gives a head of a sequence to one core: the profiles count `cores`, so that few heads leave most of the
bandwidth unused. It also loses some of a product's bandwidth to rounds of tiles, which the profiles do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from archsim.errors import ArchsimError
from archsim.hardware.capacity import with_assumed_capacity
from archsim.hardware.library import load_system
from archsim.simulate import evaluate_step
from archsim.validation.network import Row, row
from archsim.validation.table import MOST_CONTEXT, MOST_SEQUENCES, Record, number, read_table, whole
from archsim.workload.model import Model

__all__ = ["COLUMNS", "suite"]

COLUMNS = (
    "model", "dtype", "system", "gpu", "ngpu", "pim", "powerlimit", "ffopt", "pipeopt", "batch", "lin", "lout",
    "required_cap_GB", "cap_GiB", "decode_step_ms", "decode_energy_per_step_nJ",
)  # fmt: skip
"""Columns of a table of the suite."""
_MODELS = {
    "GPT-175B": (96, 12288, 96, 4 * 12288, False),
    "LLAMA-7B": (32, 4096, 32, 10928, True),
    "LLAMA-65B": (80, 8192, 64, 21840, True),
    "MT-530B": (105, 20480, 128, 4 * 20480, False),
    "OPT-66B": (64, 9216, 72, 4 * 9216, False),
}
"""Layers, hidden width, heads, MLP width, gated MLP: AttAcc src/config.py; 8/3 of the width rounded to 16 ranks."""
_PRECISION = {"W16A16": "w16a16kv16", "W8A8": "w8a8kv8"}
_GPU = {"A100a": "attacc-dgx-a100", "H100": "attacc-dgx-h100"}
_PIM = {"bank": "attacc", "bg": "attacc-bank-group", "buffer": "attacc-buffer"}
_UNIT = "chip.near_memory.attacc"
_FREE_INTERVAL = "3.076 ns"
"""nCCDAB and nCCDSB of 4 clocks of 0.769 ns: AttAcc HBM3-PIM.cpp without a power limit."""
_GIB, _GB = 2**30, 10**9


class _Point(NamedTuple):
    """One row of the reference: what was run, and what it gave."""

    model: str
    dtype: str
    system: str
    gpu: str
    chips: int
    pim: str
    limited: int
    cooperates: int
    batch: int
    lin: int
    lout: int
    assumed: bool
    """It does not fit the machine's memory."""
    step_ms: float | None
    energy_nj: float | None

    @property
    def workload(self) -> tuple[str, str, int, int, int]:
        """What two systems are compared on."""
        return self.model, self.dtype, self.batch, self.lin, self.lout

    @property
    def machine(self) -> str:
        """The system in words."""
        if self.system != "dgx-attacc":
            return f"{self.system} {self.chips} x {self.gpu}"
        words = [self.pim, *(["no power limit"] if not self.limited else [])]
        return f"attacc {' '.join([*words, *(['cooperating'] if self.cooperates else [])])}"

    @property
    def words(self) -> str:
        """The workload in words."""
        capacity = " (capacity assumed)" if self.assumed else ""
        return f"{self.model} {self.dtype} batch {self.batch} lin {self.lin} lout {self.lout}{capacity}"


class _Step(NamedTuple):
    """What ours gives for a point."""

    step_ms: float
    energy_nj: float | None


def suite(reference: Path | None) -> list[Row]:
    """Return the rows of *reference*. Raises `InputError` for a file of another schema."""
    points = _points(read_table(reference, COLUMNS)) if reference is not None else _published()
    rows = list(_steps(points))
    baselines = [point for point in points if point.system == "dgx"]
    for point in points:
        if point.system != "dgx-attacc":
            continue
        for base in baselines:
            if base.workload == point.workload:
                rows += _ratios(point, base)
    return rows


def _published() -> list[_Point]:
    """Return two steps of AttAcc's simulator: the suite without a file."""
    dgx = _Point(
        "LLAMA-65B", "W16A16", "dgx", "A100a", 8, "", 0, 0, 48, 2040, 128,
        assumed=False, step_ms=30.2012, energy_nj=1.60618e10,
    )  # fmt: skip
    return [dgx, dgx._replace(system="dgx-attacc", pim="bank", limited=1, step_ms=18.3313, energy_nj=8.48525e9)]


def _points(records: Iterable[Record]) -> list[_Point]:
    found: dict[tuple[object, ...], _Point] = {}
    for record in records:
        sizes = {key: whole(record, key) or 0 for key in ("ngpu", "powerlimit", "ffopt", "batch", "lin", "lout")}
        assumed = (number(record, "required_cap_GB") or 0) * _GB > (number(record, "cap_GiB") or 0) * _GIB
        point = _Point(
            record["model"], record["dtype"], record["system"], record["gpu"], sizes["ngpu"], record["pim"],
            sizes["powerlimit"], sizes["ffopt"], sizes["batch"], sizes["lin"], sizes["lout"], assumed,
            number(record, "decode_step_ms"), number(record, "decode_energy_per_step_nJ"),
        )  # fmt: skip
        found.setdefault(tuple(point[:11]), point)
    return list(found.values())


def _steps(points: list[_Point]) -> Iterator[Row]:
    for point in points:
        ours, reason = _evaluated(point)
        name = f"{point.machine}, {point.words}"
        yield row(f"{name} step_ms", "step_ms", point.step_ms, ours and ours.step_ms, reason)
        energy_mj = point.energy_nj / 1e6 if point.energy_nj else None
        ours_mj = ours.energy_nj / 1e6 if ours and ours.energy_nj else None
        yield row(f"{name} energy_mj", "energy_mj", energy_mj, ours_mj, reason)


def _ratios(point: _Point, base: _Point) -> list[Row]:
    name = f"{point.machine} over {base.machine}, {point.words if point.assumed else base.words}"
    near, near_reason = _evaluated(point)
    far, far_reason = _evaluated(base)
    reason = near_reason or far_reason
    speedup = base.step_ms / point.step_ms if base.step_ms and point.step_ms else None
    saved = point.energy_nj / base.energy_nj if base.energy_nj and point.energy_nj else None
    ours = far.step_ms / near.step_ms if near and far else None
    ours_saved = near.energy_nj / far.energy_nj if near and far and near.energy_nj and far.energy_nj else None
    return [
        row(f"{name} speedup", "speedup", speedup, ours, reason),
        row(f"{name} energy_ratio", "energy_ratio", saved, ours_saved, reason),
    ]


def _evaluated(point: _Point) -> tuple[_Step | None, str | None]:
    """Return our step, or why there is none."""
    if point.system == "dgx-cpu":
        return None, "attention on the host's processors is not modelled"
    if point.model not in _MODELS or point.dtype not in _PRECISION or point.gpu not in _GPU:
        return None, "a model, number type or GPU that the suite does not know"
    if point.system == "dgx-attacc" and point.pim not in _PIM:
        return None, "a kind of near-memory unit that the suite does not know"
    if not (0 < point.batch <= MOST_SEQUENCES and 0 < point.lin + point.lout // 2 <= MOST_CONTEXT and point.chips):
        return None, "no batch, no context or no GPUs, or beyond all reason"
    try:
        return _step(point._replace(step_ms=None, energy_nj=None, assumed=False)), None
    except ArchsimError as error:
        return None, str(error)


@cache
def _step(point: _Point) -> _Step:
    settings = [f"chips={point.chips}"]
    name = _GPU[point.gpu]
    if point.system == "dgx-attacc":
        name = _PIM[point.pim]
        settings.append(f"{_UNIT}.host_work={'cooperates' if point.cooperates else 'waits'}")
        if not point.limited and point.pim != "buffer":
            settings.append(f"{_UNIT}.column_interval={_FREE_INTERVAL}")
    spec = with_assumed_capacity(load_system(name, settings))
    result = evaluate_step(
        spec,
        _model(point.model),
        batch=point.batch,
        context=point.lin + point.lout // 2,
        precision=_PRECISION[point.dtype],
        parallelism=f"tp={point.chips}",
    )
    if point.cooperates:
        # AttAcc charges a product that both sides share to the GPU alone.
        energy = _step(point._replace(cooperates=0)).energy_nj
    else:
        energy = result.energy.joules * 1e9 if result.energy else None
    return _Step(1000 * (result.latency_s.tpot.mean or 0.0), energy)


def _model(name: str) -> Model:
    layers, hidden, heads, intermediate, gated = _MODELS[name]
    # A small vocabulary: AttAcc has no output head.
    return Model(
        name=name, family="attacc", layers=layers, hidden=hidden, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=intermediate, vocabulary=1024, max_context=2**20, gated=gated, tied=False,
    )  # fmt: skip
