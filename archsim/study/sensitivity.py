"""Which knob of a system moves a metric: elasticities, one knob at a time.

Every quantity of a system's configuration that hardware or software could make better is multiplied and divided by the
same factor 1 + s, all else unchanged, and the step is evaluated again:

    elasticity = ln(y(up) / y(down)) / ln(x(up) / x(down))

1 means that the metric grows with the knob, 0 that the knob does not matter here, -1 that the metric falls as it grows.
Knobs are found in the configuration by pattern, so a new memory or engine of a chip is a knob by itself; element types
of an engine move together. Counts (stacks, chips) are axes of a study, not knobs: they have no small change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

from archsim.errors import InputError
from archsim.hardware.library import load_system, setting_paths
from archsim.hardware.spec import SystemSpec
from archsim.result import Result
from archsim.study.axes import scaled
from archsim.study.bars import EXTRAPOLATED
from archsim.study.metrics import METRICS, metrics_of

__all__ = ["KNOBS", "Effect", "Knob", "knobs_of", "sensitivities"]


@dataclass(frozen=True, slots=True)
class Knob:
    """Keys that move together."""

    title: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a knob does to the metrics."""

    knob: Knob
    up: dict[str, float]
    """Metric -> its relative change where the knob is larger by the step."""
    down: dict[str, float]
    """The same where it is smaller."""
    elasticity: dict[str, float]
    problem: str = ""
    """Why it could not be turned both ways; then the rest is what could be."""


KNOBS: tuple[tuple[str, str], ...] = (
    ("{0} bandwidth", "chip.memory.*.pin_rate"),
    ("{0} capacity", "chip.memory.*.stack_capacity"),
    ("{0} round trip", "chip.memory.*.round_trip"),
    ("{0} access latency", "chip.memory.*.device.access_latency"),
    ("{0} refresh cycle", "chip.memory.*.device.refresh_cycle"),
    ("bytes in flight (queue depth)", "chip.bytes_in_flight"),
    ("staging SRAM", "chip.staging"),
    ("{0} cache bandwidth", "chip.cache.*.bandwidth"),
    ("{0} cache capacity", "chip.cache.*.capacity"),
    ("{0} FLOP/s", "chip.engine.*.rate.*"),
    ("{0} FLOP/s", "chip.engine.*.sustained.*"),
    ("{0} FLOP/s near memory", "chip.near_memory.*.rate.*"),
    ("{0} array bandwidth", "chip.near_memory.*.array_rate"),
    ("{0} bytes in flight near memory", "chip.near_memory.*.in_flight"),
    ("{0} mode switch", "chip.near_memory.*.mode_switch"),
    ("link bandwidth", "network.link_bandwidth"),
    ("link latency", "network.link_latency"),
    ("outer link bandwidth", "network.outer_bandwidth"),
    ("outer link latency", "network.outer_latency"),
    ("collective software", "runtime.collective_software"),
    ("kernel launch gap", "runtime.launch_gap"),
    ("kernel ramp", "runtime.ramp"),
    ("host step", "runtime.host_step"),
    ("host launch", "runtime.host_launch"),
    ("host per sequence", "runtime.host_sequence"),
    ("chip price", "chip.price"),
    ("chip power (TDP)", "chip.tdp"),
)
"""(title, pattern of keys): `{0}` is what the first asterisk stands for; keys of one title move together."""


def knobs_of(spec: SystemSpec) -> list[Knob]:
    """Return the knobs that *spec* has, in the order of `KNOBS`."""
    present = {path: text for path, text in setting_paths(spec).items() if text}
    found: dict[str, list[str]] = {}
    for title, pattern in KNOBS:
        for path in present:
            if fnmatchcase(path, pattern) and path.count(".") == pattern.count("."):
                found.setdefault(title.format(_starred(pattern, path)), []).append(path)
    return [Knob(title, tuple(keys)) for title, keys in found.items()]


def _starred(pattern: str, path: str) -> str:
    places = [place for place, part in enumerate(pattern.split(".")) if part == "*"]
    return path.split(".")[places[0]] if places else ""


def sensitivities(
    system: str,
    overrides: Sequence[str],
    evaluate: Callable[[SystemSpec], Result],
    *,
    step: Fraction = Fraction(1, 10),
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Result, list[Effect]]:
    """Return the result of *system* and the effect of every knob, the one that moves tokens/s most first.

    *step* is the relative change of a knob. Raises `InputError` where the system itself cannot be evaluated.
    """
    spec = load_system(system, overrides)
    base = evaluate(spec)
    reference = metrics_of(base, spec)
    values = setting_paths(spec)
    knobs = knobs_of(spec)
    effects = []
    for number, knob in enumerate(knobs):
        if progress is not None:
            progress(knob.title, number / len(knobs))
        turned, problem = [], ""
        for factor in (1 + step, 1 / (1 + step)):
            changes = [f"{key}={scaled(values[key], factor)}" for key in knob.keys]
            try:
                other = load_system(system, [*overrides, *changes])
                turned.append(_relative(metrics_of(evaluate(other), other), reference))
            except InputError as error:
                turned.append({})
                problem = problem or str(error).splitlines()[0]
        up, down = turned
        effects.append(Effect(knob, up, down, _elasticities(up, down, step=step), problem))
    effects.sort(key=lambda effect: (-_largest(effect), effect.knob.title))
    return base, effects


def _largest(effect: Effect) -> float:
    return max(abs(side.get("tokens_per_s", 0.0)) for side in (effect.up, effect.down))


def _relative(metrics: dict[str, float | int | None], reference: dict[str, float | int | None]) -> dict[str, float]:
    return {name: value / base - 1 for name, value, base in _pairs(metrics, reference)}


def _pairs(
    metrics: dict[str, float | int | None], reference: dict[str, float | int | None]
) -> Iterator[tuple[str, float, float]]:
    for name in METRICS:
        value, base = metrics[name], reference[name]
        if value is not None and base and name != EXTRAPOLATED:
            yield name, float(value), float(base)


def _elasticities(up: dict[str, float], down: dict[str, float], *, step: Fraction) -> dict[str, float]:
    """Return the elasticity of each metric; from one side where the other could not be turned."""
    width = math.log(float(1 + step))
    sides = [(up, 1), (down, -1)]
    known = [(side, sign) for side, sign in sides if side]
    names = set(up or down) & set(down or up)
    return {
        name: math.fsum(sign * math.log(1 + side[name]) for side, sign in known) / (len(known) * width)
        for name in METRICS
        if name in names and all(side[name] > -1 for side, _ in known)
    }
