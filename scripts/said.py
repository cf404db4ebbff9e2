"""Figures and tables of docs/said.md: what is said of inference, simulated.

Run: `python scripts/said.py` from the repository. Writes docs/images/said-NAME.svg and prints a table for each, which
the page quotes; tests/docs/test_said.py compares the two.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import archsim
from archsim.errors import CapacityError
from archsim.report import style
from archsim.single import Bench
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.trace import Trace

IMAGES = Path(__file__).parents[1] / "docs" / "images"
H100, SMALL, LARGE = "h100-sxm8", "llama-3.1-8b", "llama-3.1-70b"
BATCHES = (1, 4, 16, 64, 256)
TOKENS = (512, 1024, 2048, 4096, 8192, 16384, 32768)

Table = tuple[list[str], Figure | bytes]
"""Lines of text, and what to draw or what is drawn."""


def bench(model: str, precision: str | None = None, system: str = H100) -> Bench:
    """Return *model* placed on *system*."""
    return Bench(archsim.load_system(system), archsim.load_model(model), precision=precision)


def figure() -> tuple[Figure, Axes]:
    """Return an empty figure of one column."""
    made = Figure(figsize=(style.ONE_COLUMN_IN * 1.25, 2.3), layout="constrained")
    return made, made.subplots()


def memory_bound() -> Table:
    """Decode reads all weights for a few tokens; prefill reads them once for thousands."""
    placed = bench(LARGE)
    rows = [("decode", batch, placed.setup.simulate(Batch.of_decode(batch, 2048))) for batch in BATCHES]
    rows += [("prefill", tokens, placed.setup.simulate(Batch.of_prefill(tokens))) for tokens in TOKENS[:5]]
    lines, points = ["phase    tokens  HBM useful  matrix useful"], {"decode": [], "prefill": []}
    for phase, tokens, record in rows:
        shares = []
        for part in ("hbm", "matrix"):
            scope = next(scope for scope in record.scopes if scope.name.endswith(f".{part}"))
            useful = sum(amount for account, amount in record.books[scope.name].items() if account.startswith("useful"))
            shares.append(useful / (scope.peak_per_s * record.time_ps / 1e12))
        points[phase].append((tokens, *shares))
        lines.append(f"{phase:<8} {tokens:>6}  {shares[0]:>9.1%}  {shares[1]:>12.1%}")
    drawn, axes = figure()
    for (phase, of_phase), marker in zip(points.items(), "os", strict=True):
        tokens, memory, matrix = zip(*of_phase, strict=True)
        axes.plot(tokens, memory, marker=marker, color=style.LINE_COLOURS[0], label=f"HBM, {phase}", ms=3.5)
        axes.plot(tokens, matrix, marker=marker, color=style.LINE_COLOURS[1], ls="--", label=f"matrix, {phase}", ms=3.5)
    axes.set(xscale="log", xlabel="new tokens in the iteration", ylabel="useful share of peak", ylim=(0, 1))
    axes.legend(fontsize=style.SMALL_PT, frameon=False, ncols=2, loc="upper center")
    return lines, drawn


def attention() -> Table:
    """Pairs grow with the square of a prompt, and by one context with each decoded token."""
    placed = bench(SMALL)
    lines, flops, times = ["tokens   prefill attention  decode attention    prefill     decode"], [], []
    for tokens in TOKENS:
        row = []
        for batch in (Batch.of_prefill(tokens), Batch.of_decode(1, tokens)):
            plan = placed.setup.cut.plan(batch)
            work = sum(
                segment.repeats * task.matrix_flops
                for segment in plan.segments
                for task in segment.tasks
                if task.name.startswith("attention")
            )
            row.append((work * plan.ranks, placed.setup.simulate(batch).time_ps / 1e9))
        (prefill, prefill_ms), (decode, decode_ms) = row
        flops.append((prefill, decode))
        times.append((prefill_ms, decode_ms))
        lines.append(
            f"{tokens:>6}  {prefill / 1e9:>11,.1f} GFLOP  {decode / 1e9:>10.3f} GFLOP  {prefill_ms:>6.1f} ms  "
            f"{decode_ms:>6.2f} ms"
        )
    drawn, axes = figure()
    for place, (label, line) in enumerate((("prefill of a prompt", "-"), ("one decoded token", "--"))):
        axes.plot(TOKENS, [row[place] for row in flops], line, marker="o", ms=3, color=style.LINE_COLOURS[place],
                  label=f"attention of {label}")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="tokens of context", ylabel="FLOPs of attention")
    axes.legend(fontsize=style.SMALL_PT, frameon=False)
    return lines, drawn


def capacity() -> Table:
    """A model must fit before it can be slow."""
    lines, bars = ["precision  weights    chips of 80 GB that hold it with a sequence of 8,192 tokens"], []
    model = archsim.load_model("llama-3.1-405b")
    for precision in ("w16a16kv16", "w8a16kv16", "w4a16kv16"):
        for chips in (2, 4, 8, 16, 32):
            system = archsim.load_system(H100 if chips <= 8 else "h100-sxm8x2" if chips == 16 else "h100-sxm8x4",
                                         [f"chips={chips}"] if chips < 8 else [])  # fmt: skip
            try:
                found = Bench(system, model, precision=precision, parallelism=f"tp={min(chips, 8)},pp={-(-chips // 8)}")
                weights = found.step(batch=1, context=8192, tables=False).model.weight_bytes
            except CapacityError:
                continue
            bars.append((precision, weights / 1e9, chips))
            lines.append(f"{precision:<10} {weights / 1e9:>5.0f} GB  {chips:>5}")
            break
    drawn, axes = figure()
    axes.barh([row[0] for row in bars], [row[1] for row in bars], color=style.LINE_COLOURS[0], height=0.55)
    for place, (_, gigabytes, chips) in enumerate(bars):
        axes.annotate(f"{gigabytes:.0f} GB: {chips} H100", (gigabytes, place), xytext=(4, 0), va="center",
                      textcoords="offset points", fontsize=style.SMALL_PT)  # fmt: skip
    axes.axvline(8 * 80, color="#555555", lw=0.8, ls=":")
    axes.annotate(
        "8 x 80 GB", (8 * 80, 1.01), xycoords=axes.get_xaxis_transform(), fontsize=style.SMALL_PT, ha="center"
    )
    axes.set(xlabel="weights of Llama-3.1-405B, GB", xlim=(0, 1150))
    axes.invert_yaxis()
    return lines, drawn


def idle_compute() -> Table:
    """What the matrix engines wait for while they decode."""
    placed, lines, stacks = bench(LARGE), ["batch   useful  waits for memory  for network  for host  other"], []
    for batch in BATCHES:
        result = placed.step(batch=batch, context=2048)
        book = result.phases["decode"].ledger["chip0-7.matrix"].accounts
        groups = {
            "useful": sum(v for k, v in book.items() if k.startswith("useful")),
            "memory": book.get("memory", 0.0) + book.get("latency", 0.0),
            "network": book.get("network", 0.0),
            "host": book.get("host", 0.0),
        }
        groups["other"] = max(0.0, 1 - sum(groups.values()))
        stacks.append(groups)
        lines.append(f"{batch:>5}  " + "  ".join(f"{share:>6.1%}" for share in groups.values()))
    drawn, axes = figure()
    left = [0.0] * len(BATCHES)
    for name, colour in zip(stacks[0], ("#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#bbbbbb"), strict=True):
        shares = [groups[name] for groups in stacks]
        axes.barh([str(batch) for batch in BATCHES], shares, left=left, color=colour, label=name, height=0.6)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.set(xlabel="share of the matrix engines' time, weighted by peak", ylabel="batch", xlim=(0, 1))
    drawn.legend(fontsize=style.SMALL_PT, frameon=False, ncols=5, loc="outside upper center")
    return lines, drawn


def quantization() -> Table:
    """Bytes fall by the bits; time only by as much as bytes were the reason."""
    lines, series = ["batch  precision   weights     time  faster than 16 bits"], {}
    for batch in (1, 32, 256):
        first = 0.0
        for precision in ("w16a16kv16", "w8a16kv8", "w4a16kv4"):
            result = bench(LARGE, precision).step(batch=batch, context=2048, tables=False)
            time = result.latency_s.tpot.mean or 0.0
            first = first or time
            series.setdefault(precision, []).append(first / time)
            lines.append(
                f"{batch:>5}  {precision:<10} {result.model.weight_bytes / 1e9:>5.0f} GB  {1e3 * time:>6.2f} ms  "
                f"{first / time:>5.2f} x"
            )
    drawn, axes = figure()
    for place, (precision, speedups) in enumerate(series.items()):
        axes.bar([x + 0.26 * (place - 1) for x in range(3)], speedups, 0.24, color=style.LINE_COLOURS[place],
                 label=precision)  # fmt: skip
    axes.set_xticks(range(3), ["batch 1", "batch 32", "batch 256"])
    axes.axhline(2, color="#555555", lw=0.6, ls=":")
    axes.axhline(4, color="#555555", lw=0.6, ls=":")
    axes.set(ylabel="faster than at 16 bits", ylim=(0, 4.4))
    axes.legend(fontsize=style.SMALL_PT, frameon=False)
    return lines, drawn


def distilled() -> Table:
    """What a smaller model costs, at the batch that it is served at."""
    lines, bars = ["model            batch   tokens/s  USD/Mtok  cheaper"], []
    for model in ("llama-3.1-405b", LARGE, SMALL):
        result = bench(model, "w8a16kv8").step(batch=64, context=2048, tables=False)
        cost = result.cost.usd_per_million_output_tokens if result.cost else 0.0
        bars.append((model, cost))
        rate, cheaper = result.throughput.output_tokens_per_s, bars[0][1] / cost
        lines.append(f"{model:<15}  {64:>5}  {rate:>9,.0f}  {cost:>8.2f}  {cheaper:>6.1f} x")
    drawn, axes = figure()
    axes.barh([row[0] for row in bars], [row[1] for row in bars], color=style.LINE_COLOURS[0], height=0.55)
    axes.set(xlabel="USD per million output tokens, batch 64, eight H100")
    axes.invert_yaxis()
    return lines, drawn


def reasoning() -> Table:
    """An answer that thinks first is longer, and each of its tokens reads more context."""
    placed, lines, points = bench(SMALL), ["thinks    tokens of an answer  time of it   cost of chat"], []
    answer, prompt, batch, chat = 250, 1000, 32, 0.0
    for thinking in (0, 1000, 2500, 5000, 10000):
        steps = [prompt + (answer + thinking) * part // 8 for part in (1, 3, 5, 7)]
        mean = sum(placed.step(batch=batch, context=c, tables=False).latency_s.tpot.mean or 0.0 for c in steps) / 4
        cost = mean * (answer + thinking)
        chat = chat or cost
        points.append((thinking, cost / chat))
        lines.append(f"{thinking:>6}  {answer + thinking:>20,}  {cost:>8.1f} s  {cost / chat:>10.1f} x")
    drawn, axes = figure()
    axes.plot(
        [x for x, _ in points], [y for _, y in points], "o-", ms=3.5, color=style.LINE_COLOURS[0], label="simulated"
    )
    axes.plot(
        [x for x, _ in points], [1 + x / answer for x, _ in points], ":", color="#555555", label="by tokens alone"
    )
    axes.set(xlabel="tokens of thought before an answer of 250", ylabel="cost of an answer, chat = 1")
    axes.legend(fontsize=style.SMALL_PT, frameon=False)
    return lines, drawn


def batching() -> Table:
    """Who is served next: the same requests, three servers."""
    model, trace = archsim.load_model(LARGE), archsim.load_trace("azure-conv", limit=60, rate_scale="4")
    ways = {
        "one at a time": ["runtime.max_batch=1"],
        "static batches": ["runtime.scheduler=static"],
        "continuous": [],
    }
    return served(model, trace, ways)


def paging() -> Table:
    """Where memory is short, a sequence that books what it might need keeps others out."""
    model, trace = archsim.load_model(LARGE), archsim.load_trace("azure-conv", limit=60, rate_scale="0.25")
    sizes = {"blocks of 16": 16, "blocks of 2,048": 2048, "blocks of 4,096": 4096}
    ways = {name: ["chips=2", f"runtime.kv_block_tokens={size}"] for name, size in sizes.items()}
    return served(model, trace, ways)


def speculation() -> Table:
    """Idle FLOPs verify what something cheap has guessed."""
    guesses = {
        "no guesses": [],
        "n-grams, 2": ["method=ngram", "depth=2", 'profile=["45 %", "30 %"]'],
        "EAGLE, 3": ["method=eagle", "depth=3", "acceptance=eagle3-llama-3.1-8b"],
    }
    lines, series = ["batch  guesses      tokens/s  faster"], {}
    for batch in BATCHES:
        first = 0.0
        for name, keys in guesses.items():
            system = archsim.load_system(H100, [f"serving.speculation.{key}" for key in keys])
            result = Bench(system, archsim.load_model(SMALL)).step(batch=batch, context=2048, tables=False)
            rate = result.throughput.output_tokens_per_s or 0.0
            first = first or rate
            series.setdefault(name, []).append(rate / first)
            lines.append(f"{batch:>5}  {name:<10} {rate:>10,.0f}  {rate / first:>4.2f} x")
    drawn, axes = figure()
    for place, (name, faster) in enumerate(series.items()):
        axes.plot(BATCHES, faster, marker="os^"[place], ms=3.5, ls=style.LINE_STYLES[place], label=name,
                  color=style.LINE_COLOURS[place])  # fmt: skip
    axes.set(xscale="log", xlabel="batch", ylabel="tokens/s, no guesses = 1", ylim=(0, None))
    axes.legend(fontsize=style.SMALL_PT, frameon=False)
    return lines, drawn


def served(model: Model, trace: Trace, ways: dict[str, list[str]]) -> Table:
    """Return what requests of *trace* feel on an H100 system with each way's settings."""
    lines, bars = ["server             E2E p50    E2E p99  output tokens/s"], []
    for name, settings in ways.items():
        result = archsim.run(archsim.load_system(H100, settings), model, trace=trace)
        end, rate = result.latency_s.e2e, result.throughput.output_tokens_per_s
        bars.append((name, end.p50, end.p99))
        lines.append(f"{name:<16}  {end.p50:>6.1f} s  {end.p99:>7.1f} s  {rate:>15,.0f}")
    drawn, axes = figure()
    for place, (label, column) in enumerate((("median", 1), ("99th percentile", 2))):
        axes.barh([y + 0.36 * place - 0.18 for y in range(len(bars))], [row[column] for row in bars], 0.34,
                  color=style.LINE_COLOURS[place], label=label)  # fmt: skip
    axes.set_yticks(range(len(bars)), [row[0] for row in bars], fontsize=style.SMALL_PT)
    axes.set(xlabel="time from arrival to last token, s")
    axes.invert_yaxis()
    drawn.legend(fontsize=style.SMALL_PT, frameon=False, ncols=2, loc="outside upper center")
    return lines, drawn


def lifecycle() -> Table:
    """When serving a model has cost as much as training it."""
    parameters, trained_tokens, mfu = 8.03e9, 15e12, 0.4
    result = bench(SMALL).step(batch=64, context=2048, tables=False)
    cost = result.cost.usd_per_million_output_tokens if result.cost else 0.0
    machine_s = cost / 1e6 * (result.throughput.output_tokens_per_s or 0.0)
    peak = result.system.flop_per_s["bf16"]
    training = 6 * parameters * trained_tokens / (mfu * peak) * machine_s
    equal = training / (cost / 1e6)
    lines = [
        f"training, 6 N D at {mfu:.0%} of {peak / 1e15:.1f} PFLOP/s: {training / 1e6:.2f} million USD",
        f"serving at batch 64: {cost:.2f} USD for a million output tokens",
        f"equal after {equal / 1e12:.1f} trillion output tokens",
    ]
    lines += [
        f"{users:>11,} users of 5,000 tokens a day: {equal / users / 5000:>9,.0f} days"
        for users in (100_000, 1_000_000, 10_000_000)
    ]
    drawn, axes = figure()
    days = [1, 3, 10, 30, 100, 300, 1000, 3000]
    for place, users in enumerate((100_000, 1_000_000, 10_000_000)):
        axes.plot(days, [cost / 1e6 * users * 5000 * day / 1e6 for day in days], color=style.LINE_COLOURS[place],
                  ls=style.LINE_STYLES[place], label=f"{users:,} users")  # fmt: skip
    axes.axhline(training / 1e6, color="#555555", lw=0.8)
    axes.annotate("training", (1.1, training / 1e6 * 1.2), fontsize=style.SMALL_PT)
    axes.set(xscale="log", yscale="log", xlabel="days of service", ylabel="million USD")
    axes.legend(fontsize=style.SMALL_PT, frameon=False)
    return lines, drawn


def users() -> Table:
    """Whole systems under a service level, bought for the busy hours."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "case"
        done = subprocess.run(
            [sys.executable, "-m", "archsim", "economics", H100, "--model", SMALL, "--limit", "60", "--out", str(out)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        drawn = (out / "cost-curve.svg").read_bytes()
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()], drawn


CLAIMS: dict[str, Callable[[], Table]] = {
    "memory-bound": memory_bound,
    "attention": attention,
    "capacity": capacity,
    "idle-compute": idle_compute,
    "quantization": quantization,
    "distilled": distilled,
    "reasoning": reasoning,
    "batching": batching,
    "paging": paging,
    "speculation": speculation,
    "lifecycle": lifecycle,
    "users": users,
}


def main(names: Sequence[str]) -> None:
    """Write the figures of *names*, or of all, and print their tables."""
    for name in names or CLAIMS:
        with style.styled():
            lines, drawn = CLAIMS[name]()
            for axes in drawn.axes if isinstance(drawn, Figure) else ():
                style.quiet_axes(axes)
        content = drawn if isinstance(drawn, bytes) else style.svg_bytes(drawn)
        (IMAGES / f"said-{name}.svg").write_bytes(content)
        print(f"# {name}", *lines, "", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
