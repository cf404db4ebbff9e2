"""The words of a study's report: what it asked, what became of it, what was held constant, where numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archsim.economics.spec import DEFAULT
from archsim.errors import InputError
from archsim.files import bundled_names, bundled_path
from archsim.hardware.pools import design_names
from archsim.hardware.sources import SourceRow, sources, sources_of_file
from archsim.result import ARCHSIM_VERSION
from archsim.study.axes import Axis
from archsim.study.metrics import METRICS
from archsim.study.seen import Seen
from archsim.study.spec import WorkloadSpec
from archsim.study.store import Store
from archsim.study.study import PLAIN, Study

__all__ = ["axis_rows", "constant_rows", "fact_rows", "source_rows"]

_MOST_VALUES = 60
"""Settings of an axis that are listed."""
_MOST_SOURCES = 4_000


def fact_rows(study: Study, store: Store, seen: Seen) -> list[tuple[str, str]]:
    """Return what was asked and what became of the points."""
    spec, counts = study.spec, seen.counts
    rows = sum(count for status, count in counts.items() if status != "without")
    total = store.identity.points
    states = ", ".join(f"{counts[name]:,} {name}" for name in ("done", "infeasible", "failed") if counts[name])
    goals = "; ".join(f"{METRICS[o.metric].title} ({o.metric}, {o.goal})" for o in spec.objective)
    facts = [
        ("systems", ", ".join(spec.systems)),
        ("points in the store", f"{rows:,} of {total:,}" if total else f"{rows:,} trials of a search"),
        ("what became of them", states or "nothing yet"),
        ("objectives", goals),
        ("constraints", "; ".join(limit.text for limit in study.limits) or "none"),
        ("points that keep the constraints", f"{sum(point.kept for point in seen.points):,}"),
    ]
    if len(spec.objective) > 1:
        facts.append(("on the Pareto front", f"{len(seen.front):,}"))
    if counts["without"]:
        facts.append(("done, but without a figure for an objective", f"{counts['without']:,}"))
    if outside := sum(point.outside for point in seen.points):
        facts.append(("extrapolated beyond what was validated", f"{outside:,}"))
    facts.append(("written by", f"archsim {store.identity.version}"))
    return facts


def axis_rows(study: Study) -> list[tuple[str, str, str]]:
    """Return (keys, number of settings, values) of every axis that varies."""
    return [
        (", ".join(axis.keys), f"{len(axis.levels):,}" if axis.levels else "continuous", _values(axis))
        for axis in study.axes
        if len(axis.levels) != 1
    ]


def _values(axis: Axis) -> str:
    if not axis.levels:
        low, high = axis.samples
        scale = ", even in the logarithm" if axis.span is not None and axis.span.log else ""
        return f"{low[0]} to {high[0]}{scale}"
    shown = ["/".join(map(str, level)) for level in axis.levels[:_MOST_VALUES]]
    more = f" and {len(axis.levels) - _MOST_VALUES:,} more" if len(axis.levels) > _MOST_VALUES else ""
    return "; ".join(shown) + more


def constant_rows(study: Study, varied: Sequence[str], seen: Seen) -> list[tuple[str, str]]:
    """Return what is the same at every point, and how points were chosen."""
    spec = study.spec
    rows: list[tuple[str, str]] = []
    for place, key in enumerate(study.columns):
        if key not in varied and key != "workload":
            found = {repr(p.inputs[place]): p.inputs[place] for p in seen.points[:1]}
            default = getattr(spec, key, None) if key in PLAIN else None
            value = next(iter(found.values()), default)
            rows.append((key, _absent(key) if value is None else str(value)))
    rows += [(f"workload {work.name}", _work(work)) for work in spec.workload]
    sample = spec.sample
    drawn = f"{sample.method}, {sample.points or 0:,} points, seed {sample.seed}"
    how = "every combination" if sample.method == "grid" else drawn
    rows.append(("choice of points", how))
    rows.append(("seed of sampled traces", str(spec.seed)))
    where = ", ".join(filter(None, (spec.region, spec.basis)))
    rows.append(("prices and emissions", f"{spec.economics}{f' ({where})' if where else ''}"))
    return rows


def _absent(key: str) -> str:
    return {"precision": "as published", "parallel": "tensor parallel over all chips"}.get(key, "-")


def _work(work: WorkloadSpec) -> str:
    stated = work.model_dump(exclude={"name"}, exclude_none=True)
    return ", ".join(f"{key} {value}" for key, value in stated.items()) or "batch and context are axes"


def source_rows(study: Study, *, same_files: bool) -> tuple[list[SourceRow], str]:
    """Return the numbers of the base systems and prices that are bundled, and whose they are."""
    known = [name for name in study.spec.systems if name in design_names()]
    other = [name for name in study.spec.systems if name not in known]
    rows: dict[tuple[str, str, str], SourceRow] = {}
    for name in known:
        try:
            found = sources(name)
        except InputError:  # another version's
            continue
        for row in found:
            rows.setdefault((row.file, row.path, row.value), row._replace(file="/".join(Path(row.file).parts[-2:])))
    prices = study.spec.economics or DEFAULT
    if prices in bundled_names("hwconfigs", "economics", (".toml",)):
        file = bundled_path("hwconfigs") / "economics" / f"{prices}.toml"
        for row in sources_of_file(file):
            rows.setdefault((row.file, row.path, row.value), row._replace(file="/".join(file.parts[-2:])))
    note = "Numbers of the base systems as in the bundled files; axes set other values in their place."
    if same_files:
        note += " The bundled study of this version is exactly the study of the store, files and all."
    else:
        note += f" They are those of archsim {ARCHSIM_VERSION}; the store knows the files it was made from by digest."
    if other:
        note += f" Not bundled, so without sources here: {', '.join(other)}."
    if len(rows) > _MOST_SOURCES:
        note += f" Shown: {_MOST_SOURCES:,} of {len(rows):,}."
    return list(rows.values())[:_MOST_SOURCES], note
