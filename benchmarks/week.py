"""A synthetic week of 27 million requests from end to end: time of the core, requests a second, peak memory.

    python benchmarks/week.py [--limit 1200000] [--system h100-sxm8] [--model llama-3.1-8b] [--checkpoint FILE]

It is `archsim run SYSTEM --model MODEL --trace azure-week` in a process of its own: start-up, drawing the requests and
simulating the iterations included. Time is that of its one core, beside the wall's, which on a shared machine is
others' too. With `--checkpoint` the run writes one every million requests, and what that costs is in the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", help="take the first of them; beyond a million they stream")
    parser.add_argument("--system", default="h100-sxm8")
    parser.add_argument("--model", default="llama-3.1-8b")
    parser.add_argument("--checkpoint")
    options = parser.parse_args()
    command = [sys.executable, "-m", "archsim", "run", options.system, "--model", options.model]
    command += ["--trace", "azure-week", "--json"]
    for name in ("limit", "checkpoint"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name}", value]
    started = time.perf_counter()
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    wall_s = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    core_s = used.ru_utime + used.ru_stime
    requests, tokens = result["requests"], result["tokens"]["output"]
    print(f"{requests['offered']:,} requests, {requests['rejected']:,} rejected; {tokens:,} output tokens; "
          f"{result['simulated_s'] / 86400:.2f} days")  # fmt: skip
    print(f"{core_s:,.0f} s of one core ({wall_s:,.0f} s of wall time): "
          f"{requests['offered'] / core_s:,.0f} requests/s, {tokens / core_s:,.0f} output tokens/s")  # fmt: skip
    print(f"peak memory {used.ru_maxrss / 1024:,.0f} MiB")
    for name, latency in result["latency_s"].items():
        print(f"{name} {', '.join(f'{key} {value:.6g}' for key, value in latency.items())} s")
    print(f"percentiles: {result.get('percentiles', 'exact')}")


if __name__ == "__main__":
    main()
