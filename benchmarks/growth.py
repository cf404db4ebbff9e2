"""CPU time and peak memory against size, for each thing that can be large: `python benchmarks/growth.py`.

    python benchmarks/growth.py [--only chips] [--table benchmarks/growth.csv] [--figure docs/images/growth.svg]
    python benchmarks/growth.py --draw      # the figure alone, from the table

Five commands, each a process of its own whose CPU seconds and peak resident memory the system counts: a collective on a
torus of N chips, a trace of N requests, a study of N points, a model of N layers, a context of N tokens. Sizes are
powers of ten, up to what the issue of a user may be. A refusal (exit code 2) is a row, too, with its message. CPU time
does not depend on what else the machine does; it contains about a second of start-up.

`points of a study` is a study of N points of which ten are simulated, `points, simulated` one in which all are.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
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
"""
SIDES = {10: "[2, 5]", 100: "[10, 10]", 1000: "[10, 10, 10]", 10_000: "[100, 100]"}


@dataclass(frozen=True)
class Row:
    """What one command cost: exit code 0, or 2 and what it said."""

    what: str
    size: int
    cpu_s: float
    peak_mb: float
    code: int
    said: str = ""


def chips(_folder: Path, size: int) -> list[str]:
    """An all-reduce of 1 MiB on a torus."""
    shape = ("--set", f"chips={size}", "--set", f"network.shape={SIDES[size]}")
    return ["network", "tpu-v5p-8", *shape, "--bytes", "1MiB:1MiB"]


def requests(folder: Path, size: int) -> list[str]:
    """A trace that arrives at a rate which the machine keeps up with."""
    rows = (f"{place / 8},{200 + place * 37 % 800},{20 + place * 13 % 60}\n" for place in range(size))
    path = folder / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(rows), encoding="utf-8")
    return ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--trace", str(path)]


def _study(folder: Path, size: int) -> list[str]:
    wide = min(size, 100)
    text = STUDY.format(batches=list(range(1, wide + 1)), contexts=[512 + 8 * place for place in range(size // wide)])
    (folder / "growth.toml").write_text(text, encoding="utf-8")
    return ["sweep", str(folder / "growth.toml"), "--store", str(folder / "growth.db"), "--workers", "1"]


def points(folder: Path, size: int) -> list[str]:
    """A study of that many points of which ten are simulated now."""
    return [*_study(folder, size), "--limit", "10"]


def simulated(folder: Path, size: int) -> list[str]:
    """A study all of whose points are simulated."""
    return _study(folder, size)


def layers(folder: Path, size: int) -> list[str]:
    """A step of a model of that many layers."""
    path = folder / "config.json"
    path.write_text(json.dumps(MODEL | {"num_hidden_layers": size}), encoding="utf-8")
    return ["run", "h100-sxm8", "--model", str(path), "--batch", "8", "--context", "2048"]


def context(folder: Path, size: int) -> list[str]:
    """A step of one sequence of that many tokens."""
    path = folder / "config.json"
    path.write_text(json.dumps(MODEL), encoding="utf-8")
    return ["run", "b200-sxm8", "--model", str(path), "--batch", "1", "--context", str(size)]


KINDS: dict[str, tuple[Callable[[Path, int], list[str]], tuple[int, ...], int]] = {
    "chips": (chips, (10, 100, 1000, 10_000), 1000),
    "requests": (requests, (1000, 10_000, 100_000, 1_000_000), 1000),
    "points of a study": (points, (100, 1000, 10_000, 100_000), 100),
    "points, simulated": (simulated, (10, 100, 1000, 10_000, 100_000), 10),
    "layers": (layers, (10, 100, 1000, 10_000), 10),
    "tokens of context": (context, (1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000), 1000),
}
"""What grows -> its command at a size, the sizes, and the one that goes before them to compile and ask the memory."""


def measured(what: str, size: int, cache: Path) -> Row:
    """Run the command of *what* at *size* in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "archsim", *KINDS[what][0](Path(name), size)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
        with (Path(name) / "said").open("w+") as said:
            child = subprocess.Popen(command, cwd=name, env=environment, stdout=subprocess.DEVNULL, stderr=said)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            text = " ".join(said.read().split())[:300] if child.returncode else ""
    return Row(
        what, size, round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / 1000), child.returncode, text
    )


def draw(table: Path, figure: Path) -> None:
    """Draw the table: CPU time and peak memory over size, logarithmic."""
    sys.path.insert(0, str(ROOT))
    from matplotlib.figure import Figure  # noqa: PLC0415 - a measurement needs none of it

    from archsim.report.style import LINE_COLOURS, TWO_COLUMNS_IN, quiet_axes, styled, svg_bytes  # noqa: PLC0415

    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with styled():
        drawing = Figure(figsize=(TWO_COLUMNS_IN, 2.8), layout="constrained")
        left, right = drawing.subplots(1, 2)
        for axes, key, label in ((left, "cpu_s", "CPU time [s]"), (right, "peak_mb", "peak memory [MB]")):
            for number, what in enumerate(dict.fromkeys(row["what"] for row in rows)):
                mine = [row for row in rows if row["what"] == what and row["code"] == "0"]
                axes.plot(
                    [int(row["size"]) for row in mine], [float(row[key]) for row in mine], label=what,
                    color=LINE_COLOURS[number % len(LINE_COLOURS)], marker="osD^vP"[number % 6], markersize=3.5,
                )  # fmt: skip
            axes.set(xscale="log", yscale="log", xlabel="size", ylabel=label)
            quiet_axes(axes)
        right.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
        figure.write_bytes(svg_bytes(drawing))


@click.command(context_settings={"show_default": True})
@click.option(
    "--only", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="These alone; their rows replaced."
)
@click.option("--largest", default=10**9, help="No size beyond it.")
@click.option("--table", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "growth.csv")
@click.option("--figure", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "growth.svg")
@click.option("--draw", "draw_alone", is_flag=True, help="Measure nothing.")
def main(*, kinds: tuple[str, ...], largest: int, table: Path, figure: Path, draw_alone: bool) -> None:
    """Measure, write the table, draw it."""
    if not draw_alone:
        kept = []
        if kinds and table.exists():
            with table.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if row["what"] not in kinds]
        found = []
        with tempfile.TemporaryDirectory() as cache:
            for what in kinds or KINDS:
                _, sizes, before = KINDS[what]
                measured(what, before, Path(cache))
                for size in (size for size in sizes if size <= largest):
                    row = measured(what, size, Path(cache))
                    click.echo(
                        f"{what:<20}{size:>12,}{row.cpu_s:>10.1f} s{row.peak_mb:>8.0f} MB  {row.code} {row.said}"
                    )
                    found.append(asdict(row))
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(Row.__dataclass_fields__), lineterminator="\n")
            writer.writeheader()
            order = list(KINDS)
            writer.writerows(sorted(kept + found, key=lambda row: (order.index(row["what"]), int(row["size"]))))
    draw(table, figure)


if __name__ == "__main__":
    main()
