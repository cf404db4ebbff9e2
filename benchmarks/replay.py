"""Requests, output tokens and events a second: the replay alone, then the whole job in a process of its own.

    python benchmarks/replay.py ../shared/traces/azure_llm_2023_conv.csv.gz [--system h100-sxm8] [--model llama-3.1-70b]

The replay alone runs on the tests' toy cost model (closed form between knots of 16,384 tokens), with times near those
of Llama-3.1-70B on eight H100: its own cost, without that of the step floor. Outputs 10 and 100 times as long must
hardly cost more, as it jumps from event to event and not from token to token. With `--system` the same on iterations of
that system, after a first replay has simulated those that it needs. The whole job is `archsim run`, start-up,
reading the trace and simulating the steps included. The best of several is printed: noise only adds. The whole job is
in wall time, all else in the time of its one core.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.simulate import load_model, load_system
from archsim.single import Bench
from archsim.workload.trace import load_trace

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from replay_toy import ToyCosts

# KV memory for all: preemption is work of its own, and would cloud how the cost depends on the output length.
LIMITS = Limits(max_batch=256, max_prefill_tokens=8192, kv_blocks=10**6, block_tokens=16, context_tokens=131_072)


def decode_ps(batch: int, kv_tokens: int) -> int:
    """Return about 8 ms of weights and launches, and the KV cache at 24 TB/s."""
    return 8_000_000_000 + 10_000_000 * batch + 14_000 * kv_tokens


def prefill_ps(tokens: int, pairs: int) -> int:
    """Return about 35 us a token, plus attention."""
    return 8_000_000_000 + 35_000_000 * tokens + 200 * pairs


def stretched(trace: str, *, rate: int, output: int) -> list[Arrival]:
    """Return the requests *rate* times as fast, their outputs *output* times as long."""
    return [Arrival(r.arrival_ps // rate, r.prompt_tokens, r.output_tokens * output) for r in load_trace(trace)]


def serve(arrivals: list[Arrival]) -> Record:
    """Replay on the toy costs."""
    return replay(arrivals, ToyCosts(decode_ps, prefill_ps, spacing_bits=14), limits=LIMITS)


def best_of(times: int, work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the shortest time of *work* in seconds: of its core, whoever else wants it, unless *clock* is another."""
    taken_s = []
    for _ in range(times):
        started = clock()
        work()
        taken_s.append(clock() - started)
    return min(taken_s)


def report(name: str, wall_s: float, *, requests: int, tokens: int, events: int) -> None:
    """Print one line."""
    rates = (
        f"{count / wall_s:13,.0f} {unit}/s"
        for count, unit in zip((requests, tokens, events), ("requests", "output tokens", "events"), strict=True)
    )
    print(f"{name:34} {wall_s:7.3f} s {''.join(rates)}")


def alone(trace: str) -> None:
    """Print the replay's own cost, for rates and output lengths."""
    for rate, output in ((1, 1), (3, 1), (1, 10), (1, 100)):
        arrivals = stretched(trace, rate=rate, output=output)
        record = serve(arrivals)
        wall_s = best_of(5, lambda arrivals=arrivals: serve(arrivals))
        name = f"replay alone, rate x{rate}, output x{output}"
        tokens = record.total.output_tokens
        report(name, wall_s, requests=len(arrivals), tokens=tokens, events=record.event_count)


def warmed(trace: str, system: str, model: str) -> None:
    """Print the replay on simulated iterations of *system*, all of them known: outputs as they are, and stretched."""
    setup = Bench(load_system(system), load_model(model)).setup
    for output in (1, 10, 100):
        arrivals = stretched(trace, rate=1, output=output)
        limits = setup.limits if output == 1 else replace(setup.limits, kv_blocks=LIMITS.kv_blocks)

        def work(arrivals: list[Arrival] = arrivals, limits: Limits = limits) -> Record:
            return replay(arrivals, setup.costs, limits=limits, policy=setup.scheduler)

        started = time.perf_counter()
        record = work()
        cold_s = time.perf_counter() - started
        wall_s = best_of(5, work)
        name = f"{system}, output x{output}, warm"
        report(name, wall_s, requests=len(arrivals), tokens=record.total.output_tokens, events=record.event_count)
        print(f"{'':34} {cold_s:7.3f} s the first time: {len(setup.costs.records):,} iterations simulated so far")


def whole_job(trace: str, system: str, model: str) -> None:
    """Print the cost of `archsim run` as a user meets it."""
    command = [sys.executable, "-m", "archsim", "run", system, "--model", model, "--trace", trace, "--json"]
    outputs: list[str] = []

    def work() -> None:
        outputs.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    wall_s = best_of(2, work, time.perf_counter)
    result = json.loads(outputs[-1])
    requests, tokens = result["requests"]["offered"], result["tokens"]["output"]
    report(
        f"archsim run {system}", wall_s, requests=requests, tokens=tokens, events=result["provenance"]["event_count"]
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    """Print a line a measurement, or a profile of the replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--system", help="measure the whole job on it, too")
    parser.add_argument("--model", default="llama-3.1-70b")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        arrivals = stretched(options.trace, rate=1, output=1)
        profile = cProfile.Profile()
        profile.runcall(serve, arrivals)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    alone(options.trace)
    if options.system:
        warmed(options.trace, options.system, options.model)
        whole_job(options.trace, options.system, options.model)


if __name__ == "__main__":
    main()
