"""The energy of a run: what every part did in each phase, times what it costs.

A memory, cache or link is charged for every byte that it moved, useful or not; an engine for the FLOPs done, without
rows that only fill a tile (A60); a chip for the time, and once more for the time in which iterations run. What the
books say of bytes is what the energy is computed from, so both tell one story.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from archsim.hardware.energy import Costs
from archsim.hardware.spec import SystemSpec
from archsim.metrics.accounts import ACCOUNTS, GROUPS
from archsim.metrics.energy import Bill, Use, bill
from archsim.metrics.mixing import Amounts
from archsim.network.layouts import LAYOUTS
from archsim.result import Energy, PhaseName, PhasePower
from archsim.step.record import StepRecord
from archsim.summary.parts import Part
from archsim.summary.phases import PHASE_OF, iterations, seconds

__all__ = ["energy_of"]

_MOVED = [ACCOUNTS.index(account) for account in (*GROUPS["useful"], *GROUPS["moved"])]
_MATRIX = "matrix"
_ARRAY, _PHY = ".array", ".phy"
"""Endings of the two books of a memory with near-memory units."""
_BITS = 8


def energy_of(
    spec: SystemSpec,
    parts: Sequence[Part],
    steps: Sequence[StepRecord],
    *,
    costs: Costs,
    simulated_s: float,
    output_tokens: int,
    beside: Sequence[Use] = (),
    off_s: Sequence[float] = (),
) -> Energy | None:
    """Return the energy of the run that *parts*, one a replica, and the iterations *steps* describe, and of *beside*.

    *off_s* is the part of each replica's idle time in which it is off.

    *costs* are the `energy_costs` of *spec*. None where no part that did something has a known cost.
    """
    activity = _Activity(spec, parts, steps, off_s or [0.0] * len(parts))
    phases = activity.uses(costs)
    host = Use("host", simulated_s, costs["host"])
    whole = bill([*(use for uses in phases.values() for use in uses), host, *beside])
    if not whole.by_part:
        return None
    powers = {name: _power(bill(uses), activity.chip_seconds(name)) for name, uses in phases.items()}
    tdp = None if spec.chip.tdp_watts is None else float(spec.chip.tdp_watts)
    return _energy(whole, powers, tdp, simulated_s=simulated_s, output_tokens=output_tokens)


def _energy(
    whole: Bill, powers: dict[PhaseName, PhasePower], tdp: float | None, *, simulated_s: float, output_tokens: int
) -> Energy:
    per_token = [whole.joules, whole.joules_low, whole.joules_high]
    middle, low, high = [joules / output_tokens if output_tokens else None for joules in per_token]
    over = [name for name, power in powers.items() if tdp is not None and power.chip_watts > tdp]
    return Energy(
        joules=whole.joules,
        joules_low=whole.joules_low,
        joules_high=whole.joules_high,
        joules_per_output_token=middle,
        joules_per_output_token_low=low,
        joules_per_output_token_high=high,
        average_watts=whole.joules / simulated_s if simulated_s else 0.0,
        by_part=whole.by_part,
        absent=list(whole.absent),
        phases=powers,
        tdp_watts=tdp,
        over_tdp=over,
    )


def _power(spent: Bill, chip_s: float) -> PhasePower:
    return PhasePower(
        joules=spent.joules,
        chip_watts=spent.joules / chip_s if chip_s else 0.0,
        by_part=spent.by_part,
    )


class _Activity:
    """What the parts of all replicas did, phase by phase."""

    def __init__(
        self, spec: SystemSpec, parts: Sequence[Part], steps: Sequence[StepRecord], off_s: Sequence[float]
    ) -> None:
        self._off_s = dict(zip(map(id, parts), off_s, strict=True))
        self._spec = spec
        self._parts = parts
        self._steps = steps
        self._outer = _outer_links(spec)

    def uses(self, costs: Costs) -> dict[PhaseName, list[Use]]:
        """Return phase -> what each part of the chips and links did in it."""
        found: dict[PhaseName, list[Use]] = {}
        for part in self._parts:
            for phase, amounts, time_s in self._spans(part):
                uses = found.setdefault(phase, [])
                chip_s = time_s * self._chips(part)
                uses.append(Use("chip.idle", chip_s, costs["chip.idle"]))
                if phase not in {"none", "moving"}:
                    uses.append(Use("chip.active", chip_s, costs["chip.active"]))
                if amounts is not None:
                    uses += self._moved(part, amounts, costs)
            for phase, dtype, flops in self._flops(part):
                uses = found.setdefault(phase, [])
                uses.append(Use(f"chip.matrix.{dtype}", flops, costs.get(f"chip.matrix.{dtype}")))
        return found

    def chip_seconds(self, phase: PhaseName) -> float:
        """Return the time of *phase*, each chip's counted."""
        return math.fsum(
            time_s * self._chips(part) for part in self._parts for name, _, time_s in self._spans(part) if name == phase
        )

    def _spans(self, part: Part) -> Iterator[tuple[PhaseName, Amounts | None, float]]:
        for phase, (amounts, time_fine) in part.did.phases.items():
            yield phase, amounts, seconds(time_fine)
        if part.total.idle_fine:
            yield "none", None, max(seconds(part.total.idle_fine) - self._off_s[id(part)], 0.0)

    def _chips(self, part: Part) -> int:
        folds = {scope.name.partition(".")[0]: scope.chips for scope in part.scopes if scope.kind != "link"}
        return sum(folds.values())

    def _moved(self, part: Part, amounts: Amounts, costs: Costs) -> Iterator[Use]:
        rows = {scope.name: row for scope, row in zip(part.scopes, part.rows, strict=True)}
        sums = [math.fsum(moved) for moved in amounts[:, _MOVED].tolist()]
        for scope, row in zip(part.scopes, part.rows, strict=True):
            amount = sums[row]
            if scope.kind == "link":
                name = "outer_link" if scope.name in self._outer else "link"
                yield Use(name, _BITS * amount, costs[name])
                continue
            where = scope.name.partition(".")[2]
            if where.endswith(_ARRAY):
                yield self._near_reads(amounts, where, costs, of=(rows[scope.name], rows[_interface(scope.name)]))
            elif scope.kind == "memory":
                memory = where.removesuffix(_PHY)
                for level in (f"chip.{memory}.device", f"chip.{memory}.path"):
                    yield Use(level, _BITS * amount, costs.get(level))
            elif where != _MATRIX:
                amount *= _BITS if scope.unit == "bytes" else 1
                yield Use(f"chip.{where}", amount, costs.get(f"chip.{where}"))

    def _near_reads(self, amounts: Amounts, where: str, costs: Costs, *, of: tuple[int, int]) -> Use:
        """Return what near-memory units read: bytes that arrays delivered and the interface did not pass on."""
        memory = where.removesuffix(_ARRAY)
        array, interface = of
        beyond = amounts[array, _MOVED] - amounts[interface, _MOVED]
        unit = next(name for name, unit in self._spec.chip.near_memory.items() if unit.memory == memory)
        return Use(f"chip.{unit}.array", _BITS * math.fsum(beyond.clip(min=0.0).tolist()), costs[f"chip.{unit}.array"])

    def _flops(self, part: Part) -> Iterator[tuple[PhaseName, str, float]]:
        for phase, use in part.total.phases.items():
            for knot, count in sorted(iterations(use).items()):
                for dtype, flops in self._steps[knot].matrix_flops:
                    yield PHASE_OF[phase], dtype, count * flops


def _interface(array: str) -> str:
    """Return the scope of the interface of the memory whose arrays are the scope *array*."""
    return array.removesuffix(_ARRAY) + _PHY


def _outer_links(spec: SystemSpec) -> frozenset[str]:
    """Return the scopes of the links of the outer tier."""
    network = spec.network
    if network.topology == "edges":
        return frozenset()
    return _outer_of(network.topology, spec.chips, tuple(network.shape))


@lru_cache(maxsize=8)
def _outer_of(topology: str, chips: int, shape: tuple[int, ...]) -> frozenset[str]:
    wires = LAYOUTS[topology](chips, shape).wires
    ends = [pair for wire in wires if wire.tier for pair in ((wire.a, wire.b), (wire.b, wire.a))]
    return frozenset(f"link.{src}-{dst}" for src, dst in ends)
