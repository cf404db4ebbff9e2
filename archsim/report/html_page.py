"""The report as one HTML file: what a run came to, where its bandwidth went, and what all of it rests on.

The page asks for nothing: styles, the few lines of script and every drawing stand in it, and its own policy
(Content-Security-Policy) forbids any request and any script but that one, known by its hash. Every string from a run
is escaped by the template engine. Equal runs are equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from archsim.hardware.spec import SystemSpec
from archsim.metrics.mixing import useful_share
from archsim.report import html_charts as charts
from archsim.report import html_rows as rows
from archsim.report.html_charts import Drawing
from archsim.report.html_frame import MOST_BYTES, filled
from archsim.report.html_input import ReportRun
from archsim.report.html_operators import OperatorPage, operator_page
from archsim.report.style import svg_bytes
from archsim.report.system_figure import system_figure
from archsim.report.views import percent
from archsim.result import Bounds, Result, ScopeLedger

__all__ = ["MOST_BYTES", "report_html"]

_PHASES = ("decode", "mixed", "prefill")
_LATENCIES = (
    ("ttft_s", "time to first token"),
    ("tpot_s", "time per output token after the first"),
    ("e2e_s", "end to end"),
)
_MOST_LINKS = 40
"""Links and engines that are listed."""


@dataclass(frozen=True, slots=True)
class _Book:
    """One waterfall: a memory in one phase."""

    scope: str
    phase: str
    useful: str
    steps: Sequence[rows.Step]
    opened: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """What the template shows of one run."""

    label: str
    run: ReportRun
    books: Sequence[_Book]
    roofline: Drawing | None
    operators: OperatorPage | None
    bandwidth: Sequence[tuple[str, Drawing]]
    pictures: Sequence[Markup]
    others: Sequence[tuple[str, int, str, float, float, str]]
    left_out: int
    energy: Sequence[tuple[str, float, float]]
    bounded: Sequence[tuple[str, Sequence[tuple[str, Bounds]], Sequence[str]]]
    """Title, rows by part and the parts without a figure: of cost and of carbon, where the run has them."""


def report_html(runs: Sequence[ReportRun]) -> str:
    """Return the report of one run, or of two side by side. Raises `ValueError` for another number of runs."""
    if len(runs) not in (1, 2):
        raise ValueError(f"one or two runs, not {len(runs)}")
    labels = [run.result.system.name for run in runs]
    if len(runs) > 1:
        labels = [f"{letter}: {label}" for letter, label in zip("AB", labels, strict=True)]
    return filled(
        "report.html.j2",
        title=" and ".join(run.result.system.name for run in runs),
        headline=rows.headline_rows([run.result for run in runs]),
        pages=[_page(label, run) for label, run in zip(labels, runs, strict=True)],
        latencies=_latencies(labels, runs),
        differences=_differences(runs),
    )


def _page(label: str, run: ReportRun) -> _Page:
    result = run.result
    decoded = result.phases.get("decode")
    others = rows.other_rows(decoded.ledger if decoded else result.ledger)
    return _Page(
        label=label,
        run=run,
        books=_books(run),
        roofline=charts.roofline(result),
        operators=operator_page(result, run.operators),
        bandwidth=_bandwidth(run),
        pictures=_pictures(run),
        others=others[:_MOST_LINKS],
        left_out=max(0, len(others) - _MOST_LINKS),
        energy=rows.energy_rows(result),
        bounded=_bounded(result),
    )


def _pictures(run: ReportRun) -> list[Markup]:
    """Return the drawing of each system of *run*, its links coloured by what they carried while decoding."""
    if run.spec is None:
        return []
    decoded = run.result.phases.get("decode")
    one = isinstance(run.spec, SystemSpec)
    systems = {"": run.spec} if isinstance(run.spec, SystemSpec) else {
        f"{name}/": pool.system for name, pool in run.spec.pools.items()
    }  # fmt: skip
    drawn = []
    for pool, spec in systems.items():
        start = f"link.{pool}"
        heats = [
            {
                name.removeprefix(start): useful_share(book.accounts)
                for name, book in ledger.items()
                if name.startswith(start)
            }
            for ledger in ({} if decoded is None else decoded.ledger, run.result.ledger)
        ]
        heat = heats[0] or heats[1]
        words = f"Drawing of {spec.name}: {spec.title}" if one else f"Drawing of the pool {pool[:-1]}: {spec.title}"
        drawn.append(charts.picture(svg_bytes(system_figure(spec, heat)), words))
    return drawn


def _bounded(result: Result) -> list[tuple[str, Sequence[tuple[str, Bounds]], Sequence[str]]]:
    found: list[tuple[str, Sequence[tuple[str, Bounds]], Sequence[str]]] = []
    if (cost := result.cost) is not None:
        title = f"USD per million output tokens ({cost.economics}, {cost.region}, chips by {cost.basis})"
        found.append((title, rows.part_rows(cost.by_part), cost.absent))
    if (carbon := result.carbon) is not None:
        title = f"g CO2e per million output tokens ({carbon.region})"
        found.append((title, rows.part_rows(carbon.by_part), carbon.absent))
    return found


def _books(run: ReportRun) -> list[_Book]:
    """Return a waterfall for each memory and phase, the main memory first; the first phase of each is shown open."""
    result = run.result
    named: list[tuple[str, dict[str, ScopeLedger]]] = [
        (phase, found.ledger) for phase, found in result.phases.items() if phase in _PHASES
    ]
    named.sort(key=lambda item: _PHASES.index(item[0]))
    if not named:
        named = [("the whole run", result.ledger)]
    memories = [name for name, book in result.ledger.items() if book.unit == "B/s" and not name.startswith("link.")]
    memories.sort(key=lambda name: (name != result.system.main_memory, name))
    return [
        _Book(
            scope,
            phase,
            percent(useful_share(ledger[scope].accounts)),
            rows.waterfall(ledger[scope]),
            phase == named[0][0],
        )
        for scope in memories
        for phase, ledger in named
        if scope in ledger
    ]


def _bandwidth(run: ReportRun) -> list[tuple[str, Drawing]]:
    """Return what each memory served over time, then the busiest link."""
    memories = [name for name in run.windows if not name.startswith("link.")]
    links = [name for name in run.windows if name.startswith("link.")]
    busiest = sorted(links, key=lambda name: -_served(run, name))[:1]
    return [(name, charts.bandwidth(run.windows[name], name)) for name in [*memories, *busiest]]


def _served(run: ReportRun, scope: str) -> float:
    book = run.result.ledger.get(scope)
    return 0.0 if book is None else useful_share(book.accounts)


def _latencies(labels: Sequence[str], runs: Sequence[ReportRun]) -> list[tuple[str, Drawing]]:
    timed = [(label, run.times) for label, run in zip(labels, runs, strict=True) if run.times is not None]
    drawn = [(title, charts.latency(timed, which, title)) for which, title in _LATENCIES] if timed else []
    return [(title, drawing) for title, drawing in drawn if drawing is not None]


def _differences(runs: Sequence[ReportRun]) -> list[tuple[str, str, str]]:
    if len(runs) == 1 or not all(run.settings for run in runs):
        return []
    return rows.difference_rows(runs[0].settings, runs[1].settings)
