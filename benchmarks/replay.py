"""Requests, output tokens and events a second of the replay alone, on a real trace with a cheap cost model.

    python benchmarks/replay.py ../shared/traces/azure_llm_2023_conv.csv.gz [--stretch 10] [--profile]

The cost model is the toy of the tests (closed form between knots of 16,384 tokens), with times near those of
Llama-3.1-70B on eight H100: the replay's own cost without that of the step floor. `--stretch N` makes each output N
times as long, which must hardly cost more: the replay jumps from event to event, not from token to token.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import gzip
import pstats
import sys
import time
from datetime import datetime
from pathlib import Path

from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from replay_toy import ToyCosts

TOKENS_APART_BITS = 14


def decode_ps(batch: int, kv_tokens: int) -> int:
    """Return about 8 ms of weights and launches, and the KV cache at 24 TB/s."""
    return 8_000_000_000 + 10_000_000 * batch + 14_000 * kv_tokens


def prefill_ps(tokens: int, pairs: int) -> int:
    """Return about 35 us a token, plus attention."""
    return 8_000_000_000 + 35_000_000 * tokens + 200 * pairs


def azure(path: str, stretch: int) -> list[Arrival]:
    """Return the requests of an Azure 2023 trace."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    first = datetime.fromisoformat(rows[0][0][:26])
    # The seventh fractional digit (100 ns) is beyond datetime and is dropped: a benchmark needs no more.
    times = [round((datetime.fromisoformat(row[0][:26]) - first).total_seconds() * 1e6) * 10**6 for row in rows]
    return [Arrival(at, int(row[1]), int(row[2]) * stretch) for at, row in zip(times, rows, strict=True)]


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace")
    parser.add_argument("--stretch", type=int, default=1)
    parser.add_argument("--rate-scale", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    arrivals = [
        row._replace(arrival_ps=row.arrival_ps // options.rate_scale) for row in azure(options.trace, options.stretch)
    ]
    costs = ToyCosts(decode_ps, prefill_ps, spacing_bits=TOKENS_APART_BITS)
    limits = Limits(max_batch=256, max_prefill_tokens=8192, kv_blocks=90_000, block_tokens=16, context_tokens=131_072)
    profile = cProfile.Profile()
    for _ in range(1 if options.profile else options.repeats):
        started = time.perf_counter()
        if options.profile:
            record = profile.runcall(replay, arrivals, costs, limits=limits)
        else:
            record = replay(arrivals, costs, limits=limits)
        wall_s = time.perf_counter() - started
        tokens = record.total.output_tokens
        print(
            f"{len(arrivals)} requests in {wall_s:.3f} s: {len(arrivals) / wall_s:,.0f} requests/s, "
            f"{tokens / wall_s:,.0f} output tokens/s, {record.event_count / wall_s:,.0f} events/s; "
            f"mean batch {record.mean_batch:.1f}, {record.preemptions} preemptions, {len(record.windows)} windows"
        )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
