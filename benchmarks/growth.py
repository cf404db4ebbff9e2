"""CPU time and peak memory against size, for each thing that can be large: `python benchmarks/growth.py`.

    python benchmarks/growth.py [--only layers] [--largest 10000]
    python benchmarks/growth.py --draw      # page and figure alone, from the rows that are there

Commands as a user gives them, each a process of its own whose CPU seconds and peak resident memory the system counts.
Sizes go up to what users may bring. A refusal (exit code 2) is a row, too, with its message. CPU time hardly
depends on what else the machine does; it contains about a second of start-up. Rows go to `benchmarks/growth.csv`, the
table to `docs/growth.md` between its marks, the figure to `docs/images/growth.svg`.

An exponent is the slope of ln(cost - cost at the smallest size) over ln(size), of the sizes where that difference is
half a second or 20 MB at least: 1 is linear; where there are not two such sizes nothing has grown.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "benchmarks" / "growth.csv"
PAGE = ROOT / "docs" / "growth.md"
FIGURE = ROOT / "docs" / "images" / "growth.svg"
BEGIN, END = "<!-- growth: begin -->\n", "<!-- growth: end -->\n"
MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096,
    "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 100_000_000,
    "torch_dtype": "bfloat16", "num_hidden_layers": 32,
}  # fmt: skip
STUDY = """kind = "study"
name = "growth"
title = "growth"
systems = ["m4-max"]
model = "qwen3-8b"
precision = "w8a16kv16"

[[axis]]
key = "batch"
values = {batches}

[[axis]]
key = "context"
values = {contexts}

[[objective]]
metric = "tokens_per_s"
goal = "max"

[[objective]]
metric = "tpot_s_p50"
goal = "min"
"""
TORI = {1024: (16, 16, 4), 4096: (16, 16, 16), 10_240: (16, 16, 40), 65_536: (16, 64, 64)}
TREES = {128: 8, 1024: 16, 11_664: 36}
DRAGONFLIES = {72: (4, 2, 2, 9), 1056: (8, 4, 4, 33), 16_512: (16, 8, 8, 129)}


@dataclass(frozen=True)
class Row:
    """What one command cost: exit code 0, or 2 and what it said."""

    what: str
    size: int
    cpu_s: float
    peak_mb: float
    code: int
    said: str = ""


def replicas(_folder: Path, size: int) -> list[str]:
    """A step of replicas of eight chips on one switch."""
    ways = ("--parallel", f"tp=8,dp={size // 8}")
    return ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--set", f"chips={size}", *ways,
            "--batch", str(size), "--context", "2048"]  # fmt: skip


def torus(_folder: Path, size: int) -> list[str]:
    """A step of replicas on a torus, in the way that is the default there."""
    return ["run", "tpu-v5p-8", "--model", "llama-3.1-8b", "--set", f"chips={size}",
            "--set", f"network.shape={list(TORI[size])}", "--batch", str(size), "--context", "2048"]  # fmt: skip


def _all_reduce(size: int, topology: str, shape: Sequence[int]) -> list[str]:
    chosen = ("--set", f"chips={size}", "--set", f"network.topology={topology}", "--set", f"network.shape={[*shape]}")
    return ["network", "h100-sxm8", *chosen, "--bytes", "1MiB:1MiB"]


def fat_tree(_folder: Path, size: int) -> list[str]:
    """An all-reduce of 1 MiB over all chips of a fat tree."""
    return _all_reduce(size, "fat_tree", (TREES[size],))


def dragonfly(_folder: Path, size: int) -> list[str]:
    """An all-reduce of 1 MiB over all chips of a dragonfly."""
    return _all_reduce(size, "dragonfly", DRAGONFLIES[size])


def _trace(folder: Path, size: int) -> Path:
    path = folder / f"trace{size}.csv"
    if not path.exists():
        rows = (f"{place / 8},{200 + place * 37 % 800},{20 + place * 13 % 60}\n" for place in range(size))
        with path.open("w", encoding="utf-8") as file:  # line by line: a child's peak is counted from its parent's size
            file.write("arrival_s,prompt_tokens,output_tokens\n")
            file.writelines(rows)
    return path


def requests(folder: Path, size: int) -> list[str]:
    """A trace that arrives at a rate which the machine keeps up with."""
    return ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--trace", str(_trace(folder, size))]


def inspected(folder: Path, size: int) -> list[str]:
    """The statistics of that trace."""
    return ["trace", "inspect", str(_trace(folder, size))]


def _study(folder: Path, size: int) -> Path:
    wide = min(size, 100)
    path = folder / f"growth{size}.toml"
    contexts = [512 + 8 * place for place in range(size // wide)]
    path.write_text(STUDY.format(batches=list(range(1, wide + 1)), contexts=contexts), encoding="utf-8")
    return path


def points(folder: Path, size: int) -> list[str]:
    """A study of that many points of which ten are simulated now."""
    store = folder / f"ten{size}.db"
    store.unlink(missing_ok=True)
    return ["sweep", str(_study(folder, size)), "--store", str(store), "--workers", "1", "--limit", "10"]


def simulated(folder: Path, size: int) -> list[str]:
    """A study all of whose points are simulated, or where they are, one that has nothing left to do."""
    return ["sweep", str(_study(folder, size)), "--store", str(folder / f"all{size}.db"), "--workers", "1"]


def reported(folder: Path, size: int) -> list[str]:
    """The report of that study."""
    return ["report", str(folder / f"all{size}.db"), "--out", str(folder / f"{size}.html")]


def layers(folder: Path, size: int) -> list[str]:
    """A step of a model of that many layers."""
    path = folder / f"layers{size}.json"
    path.write_text(json.dumps(MODEL | {"num_hidden_layers": size}), encoding="utf-8")
    return ["run", "h100-sxm8", "--model", str(path), "--batch", "8", "--context", "2048"]


def context(folder: Path, size: int) -> list[str]:
    """A step of one sequence of that many tokens."""
    path = folder / "context.json"
    path.write_text(json.dumps(MODEL), encoding="utf-8")
    return ["run", "b200-sxm8", "--model", str(path), "--batch", "1", "--context", str(size)]


@dataclass(frozen=True)
class Curve:
    """What grows."""

    panel: str
    """Curves of one panel are drawn together; it names the size, too."""
    command: Callable[[Path, int], list[str]]
    sizes: tuple[int, ...]
    title: str


CURVES = {
    "replicas": Curve("chips", replicas, (64, 1024, 16_384, 65_536), "`run` on a switch, tp=8"),
    "torus": Curve("chips", torus, tuple(TORI), "`run` on a torus"),
    "fat tree": Curve("chips", fat_tree, tuple(TREES), "`network`, fat tree"),
    "dragonfly": Curve("chips", dragonfly, tuple(DRAGONFLIES), "`network`, dragonfly"),
    "served": Curve("requests", requests, (1000, 10_000, 100_000, 1_000_000), "`run`, trace"),
    "inspected": Curve("requests", inspected, (1000, 10_000, 100_000, 1_000_000), "`trace inspect`"),
    "ten": Curve("points", points, (100, 1000, 10_000, 100_000), "`sweep --limit 10`"),
    "simulated": Curve("points", simulated, (100, 1000, 10_000, 100_000), "`sweep`, all points"),
    "resumed": Curve("points", simulated, (100, 1000, 10_000, 100_000), "`sweep`, nothing left to do"),
    "reported": Curve("points", reported, (100, 1000, 10_000, 100_000), "`report` of the store"),
    "layers": Curve("layers", layers, (10, 100, 1000, 10_000), "`run`, step"),
    "context": Curve(
        "tokens of context", context, (1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000), "`run`, step"
    ),
}
NEEDED = {"resumed": "simulated", "reported": "simulated"}
"""Curve -> the one whose files it reads."""


def measured(what: str, size: int, folder: Path) -> Row:
    """Run the command of *what* at *size* in a process of its own."""
    command = [sys.executable, "-m", "archsim", *CURVES[what].command(folder, size)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    with (folder / "said").open("w+") as said:
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = " ".join(said.read().split())[:300] if child.returncode else ""
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000
    return Row(what, size, round(seconds, 2), round(megabytes), child.returncode, text)


def exponent(rows: Sequence[Row], cost: Callable[[Row], float], least: float) -> float | None:
    """Return the slope of what *rows* cost beyond the first, in logarithms; None where two have not grown so."""
    grown = [
        (math.log(row.size), math.log(more))
        for row in rows
        if row.code == 0 and (more := cost(row) - cost(rows[0])) >= least
    ]
    if len(grown) < 2:
        return None
    x, y = (math.fsum(column) / len(grown) for column in zip(*grown, strict=True))
    return math.fsum((a - x) * (b - y) for a, b in grown) / math.fsum((a - x) ** 2 for a, _ in grown)


def _slopes(rows: Sequence[Row]) -> str:
    found = (exponent(rows, lambda row: row.cpu_s, 0.5), exponent(rows, lambda row: row.peak_mb, 20.0))
    return ", ".join("flat" if slope is None else f"{slope:.2f}" for slope in found)


def markdown(rows: Sequence[Row], machine: str) -> str:
    """Return the table, one line a point; exponents stand on the last line of a curve."""
    lines = ["| what grows | command | size | CPU s | peak MB | exponents: CPU, memory |", "|---|---|--:|--:|--:|---|"]
    for what, curve in CURVES.items():
        mine = [row for row in rows if row.what == what]
        for place, row in enumerate(mine):
            head = (curve.panel, curve.title) if place == 0 else ("", "")
            last = _slopes(mine) if place == len(mine) - 1 else ""
            refusal = f"refused: {'; '.join(row.said.split('; ')[:2])}"
            cost = (refusal, "") if row.code else (f"{row.cpu_s:,.1f}", f"{row.peak_mb:,.0f}")
            lines.append(f"| {' | '.join((*head, f'{row.size:,}', *cost, last))} |")
    total = math.fsum(row.cpu_s for row in rows)
    return "\n".join(lines) + f"\n\nMeasured on {machine}; {total / 60:.1f} minutes of a core in all.\n"


def machine_line() -> str:
    """Return the machine."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def draw(rows: Sequence[Row]) -> bytes:
    """Return small multiples as SVG: CPU time above, peak memory below, a column for what grows; a line is linear."""
    sys.path.insert(0, str(ROOT))
    from matplotlib.figure import Figure  # noqa: PLC0415 - a measurement needs none of it

    from archsim.report.style import LINE_COLOURS, TWO_COLUMNS_IN, quiet_axes, styled, svg_bytes  # noqa: PLC0415

    panels = list(dict.fromkeys(curve.panel for curve in CURVES.values()))
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN, 4.6), layout="constrained")
        grid = figure.subplots(2, len(panels), sharex="col", sharey="row")
        for column, panel in enumerate(panels):
            names = [what for what, curve in CURVES.items() if curve.panel == panel]
            for axes, cost in zip(grid[:, column], ("cpu_s", "peak_mb"), strict=True):
                for number, what in enumerate(names):
                    mine = [row for row in rows if row.what == what and row.code == 0]
                    axes.plot(
                        [row.size for row in mine], [getattr(row, cost) for row in mine],
                        label=CURVES[what].title.replace("`", ""),
                        color=LINE_COLOURS[number], marker="osD^"[number], markersize=3.5, linewidth=1.0,
                    )  # fmt: skip
                axes.set(xscale="log", yscale="log")
                quiet_axes(axes)
                axes.tick_params(labelsize=6)
            grid[0, column].set_title(panel, fontsize=8)
            grid[1, column].set_xlabel(panel, fontsize=7)
            if len(names) > 1:
                grid[1, column].legend(loc="upper center", bbox_to_anchor=(0.5, -0.32), fontsize=6, frameon=False)
        _guides(grid[0])
        grid[0, 0].set_ylabel("CPU time [s]")
        grid[1, 0].set_ylabel("peak memory [MB]")
        return svg_bytes(figure)


def _guides(panels: Sequence[object]) -> None:
    """Draw what linear growth looks like behind the curves."""
    for axes in panels:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()  # type: ignore[attr-defined]
        axes.plot([left, right], [low, low * right / left], color="#bbbbbb", linewidth=0.7, linestyle=":", zorder=0)  # type: ignore[attr-defined]
        axes.set(xlim=(left, right), ylim=(low, high))  # type: ignore[attr-defined]


def _read() -> list[Row]:
    if not TABLE.exists():
        return []
    kinds = {"what": str, "size": int, "cpu_s": float, "peak_mb": float, "code": int, "said": str}
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [Row(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def _write(rows: Sequence[Row]) -> None:
    """Write rows, page and figure."""
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _publish(rows: Sequence[Row]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + markdown(rows, machine_line()) + END + after, encoding="utf-8")
    FIGURE.write_bytes(draw(rows))


def _measure(wanted: Sequence[str], largest: int, kept: Sequence[Row]) -> list[Row]:
    """Return *kept* with the rows of the *wanted* curves in their order."""
    found = list(kept)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in (what for what in CURVES if what in wanted):
            sizes = [size for size in CURVES[what].sizes if size <= largest]
            if what not in NEEDED:
                measured(what, sizes[0], folder)  # kernels are compiled, memories asked
                (folder / f"all{sizes[0]}.db").unlink(missing_ok=True)
            for size in sizes:
                row = measured(what, size, folder)
                click.echo(f"{what:<12}{size:>12,}{row.cpu_s:>10.1f} s{row.peak_mb:>8.0f} MB  {row.code} {row.said}")
                found.append(row)
    order = list(CURVES)
    return sorted(found, key=lambda row: (order.index(row.what), row.size))


@click.command(context_settings={"show_default": True})
@click.option("--only", "chosen", multiple=True, type=click.Choice(list(CURVES)), help="These alone; rows replaced.")
@click.option("--largest", default=10**9, help="No size beyond it.")
@click.option("--draw", "draw_alone", is_flag=True, help="Measure nothing.")
def main(*, chosen: tuple[str, ...], largest: int, draw_alone: bool) -> None:
    """Measure, write the rows, the page and the figure."""
    rows = _read()
    if not draw_alone:
        wanted = {*(chosen or CURVES), *(NEEDED[what] for what in chosen if what in NEEDED)}
        rows = _measure([*wanted], largest, [row for row in rows if row.what not in wanted])
        _write(rows)
    _publish(rows)


if __name__ == "__main__":
    main()
