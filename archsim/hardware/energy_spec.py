"""What a chip draws: watts while it stands and works, joules for each bit and FLOP, as data of a chip file.

Every figure is optional, because sources give few of them: one that is absent is reported as absent, never counted as
zero. `[energy.low]` and `[energy.high]` hold the ends of a range where a source gives one.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, model_validator

from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import Dtype, Identifier, PicojoulesPerBit, PicojoulesPerFlop, Watts

__all__ = ["EnergyFigures", "EnergySpec", "check_energy"]


class EnergyFigures(Spec):
    """Figures of one chip, its memories included."""

    idle_watts: Watts | None = Field(alias="idle", default=None)
    """Drawn all the time: leakage, refresh and background of the memories, links kept awake."""
    active_watts: Watts | None = Field(alias="active", default=None)
    """Drawn on top while an iteration runs, whatever it does: clocks, schedulers."""
    path_pj_per_bit: dict[Identifier, PicojoulesPerBit] = Field(alias="path", default_factory=dict)
    """Memory -> energy of a bit on the chip, from the memory's pins to the engines or back: interface, wires, caches
    on the way, register files. The device's own energy comes on top."""
    cache_pj_per_bit: dict[Identifier, PicojoulesPerBit] = Field(alias="cache", default_factory=dict)
    """Cache -> energy of a bit from it to the engines or back."""
    matrix_pj_per_flop: dict[Dtype, PicojoulesPerFlop] = Field(alias="matrix", default_factory=dict)
    """Element type -> energy of a FLOP on the matrix engine, operands from the nearest buffer included."""
    vector_pj_per_flop: PicojoulesPerFlop | None = Field(alias="vector", default=None)
    """Energy of a FLOP on the vector engine."""


class EnergySpec(EnergyFigures):
    """Energy of one chip, table `[energy]`."""

    low: EnergyFigures | None = None
    """Lower ends, where a source gives a range."""
    high: EnergyFigures | None = None
    """Upper ends, where a source gives a range."""

    @model_validator(mode="after")
    def _check_ranges(self) -> EnergySpec:
        for end, figures, sign in (("low", self.low, 1), ("high", self.high, -1)):
            for key, bound in _flat(figures or EnergyFigures()).items():
                middle = _flat(self).get(key)
                if middle is None or sign * bound > sign * middle:
                    side = "at most" if sign > 0 else "at least"
                    raise refusal(f"{end}.{key}", float(bound), f"{side} the figure of the same name in [energy]")
        return self


def _flat(figures: EnergyFigures) -> dict[str, float]:
    """Return key -> number of every figure that is given."""
    found: dict[str, float] = {}
    for name, info in EnergyFigures.model_fields.items():
        value, key = getattr(figures, name), info.alias or name
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": float(number) for inner, number in value.items()}
        elif value is not None:
            found[key] = float(value)
    return found


def check_energy(figures: EnergyFigures, memories: Iterable[str], caches: Iterable[str], dtypes: Iterable[str]) -> None:
    """Raise a refusal where *figures* name a memory, cache or element type that the chip does not have."""
    for key, named, known in (
        ("path", figures.path_pj_per_bit, tuple(memories)),
        ("cache", figures.cache_pj_per_bit, tuple(caches)),
        ("matrix", figures.matrix_pj_per_flop, tuple(dtypes)),
    ):
        if unknown := next((name for name in named if name not in known), None):
            raise refusal(f"energy.{key}.{unknown}", "", f"one of the chip's own: {', '.join(known)}")
