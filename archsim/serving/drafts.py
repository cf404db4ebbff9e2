"""From what a system says of speculative decoding to what guesses, where, and what room that takes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from archsim.errors import CapacityError, InputError, Problem, did_you_mean
from archsim.hardware.library import load_system
from archsim.hardware.serving_spec import SpeculationSpec
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.placement import Demand, Placement, place
from archsim.mapping.sharding import Cut
from archsim.mapping.spread import Spread
from archsim.step.drafting import Drafter, Drafting
from archsim.workload.acceptance import acceptance_of, profile_of
from archsim.workload.drafter import METHODS, drafter_of
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["blocks_beside", "drafting_of", "guesses_of"]

_TABLE = "serving.speculation"


def guesses_of(setting: SpeculationSpec) -> tuple[Fraction, ...]:
    """Return the shares by position of *setting*. Raises `InputError` for a table shorter than the draft."""
    if setting.acceptance is None:
        return profile_of(setting.profile, setting.depth, key=f"{_TABLE}.profile")
    return acceptance_of(setting.acceptance, setting.depth, key=f"{_TABLE}.acceptance")


def drafting_of(target: Cut, precision: Precision, system: System) -> Drafting | None:
    """Return how guesses are made for *target* on *system*; None where none are.

    What guesses has the precision of the model and is cut as it is, or as its own system's default. Raises `InputError`
    for an unknown method, for a model that does not divide, and for stages or expert ranks that would idle.
    """
    serving = system.spec.serving
    setting = serving.speculation if serving else None
    if setting is None:
        return None
    if setting.method not in METHODS:
        expected = f"one of {', '.join(METHODS)}{did_you_mean(setting.method, METHODS)}"
        raise InputError(Problem(system.spec.name, f"{_TABLE}.method", setting.method, expected))
    shares, model = guesses_of(setting), drafter_of(setting.method, target.model, setting.model)
    return Drafting(
        shares,
        setting.branch,
        setting.verified,
        None if model is None else _drafter(setting, model, target, precision=precision, system=system),
    )


def _drafter(setting: SpeculationSpec, model: Model, target: Cut, *, precision: Precision, system: System) -> Drafter:
    if setting.system is not None:
        spec = load_system(setting.system)
        ways = Spread.parse(None, lambda: default_ways(model, precision, spec)).parallelism
        place(model, precision, spec, ways)
        return Drafter(Cut.of(model, precision, ways, spec), System(spec), setting.hop_ps)
    if target.ways.pp > 1 or target.ways.ep > 1:
        expected = "pp=1 and ep=1: what guesses is cut over the tensor ranks; or serving.speculation.system"
        raise InputError(Problem(system.spec.name, f"--parallel with {_TABLE}", setting.method, expected))
    cut = Cut.of(model, precision, target.ways, system.spec)
    return Drafter(cut, system, None, head=setting.method != "draft")


def blocks_beside(drafting: Drafting | None, placement: Placement) -> int:
    """Return the KV blocks of a replica that what guesses leaves: its weights take room, and its keys of every token.

    A head shares embedding and output with the model. Raises `CapacityError` where nothing is left.
    """
    drafter, demand = drafting.drafter if drafting else None, placement.demand
    if drafter is None or drafter.hop_ps is not None:
        return placement.kv_blocks
    model = drafter.cut.model
    tp = demand.ways.tp
    held = _held(demand, model, tp)
    weight_bytes = held.weight_bytes_per_chip
    if drafter.head:
        weight_bytes = _held(demand, replace(model, layers=2), tp).weight_bytes_per_chip - weight_bytes
    block_bytes = placement.kv_block_bytes_per_chip
    more = Fraction(held.kv_bytes_per_token_per_chip * placement.kv_block_tokens, placement.reach.parts)
    room = placement.kv_blocks // placement.groups * block_bytes - weight_bytes
    blocks = placement.groups * int(max(room, 0) / (block_bytes + more))
    if not blocks:
        expected = f"a model that leaves room for its {weight_bytes:,} bytes on each chip and a block of KV"
        raise CapacityError(Problem(demand.system.name, f"{_TABLE}.model", model.name, expected))
    return blocks


def _held(demand: Demand, model: Model, tp: int) -> Placement:
    return replace(demand, model=model, spare_experts=0).over(tp)
