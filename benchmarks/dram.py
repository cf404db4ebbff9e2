"""Requests per second of the memory floor, one thread: HBM3-6400, two pseudochannels, queue 32, all-bank refresh.

Run: `python benchmarks/dram.py`. Processor time of the best and of the median of nine runs, decoding of addresses
included; a first one that compiles or loads the kernel does not count. Ramulator 2.1 was measured at 0.64 M
(sequential) and 0.17 M (random) requests per processor second on the same work, on another machine.
"""

from __future__ import annotations

import statistics
import time
from fractions import Fraction

from archsim.dram.address import parse_map
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import simulate
from archsim.dram.profile import PROFILES
from archsim.dram.streams import Domain, make_stream

MAP = "pc1 bg2 co5 ba2 sid1 ro15"
WORK = (("seq", 1_000_000), ("rand", 300_000), ("chunk", 1_000_000))
CHUNK_BYTES = 4096
RUNS = 9
ASKED = {"seq": 10e6, "rand": 2e6}
"""Requests per second that the memory floor is held to."""
RAMULATOR = {"seq": 0.64e6, "rand": 0.17e6}


def measured(pattern: str, requests: int) -> tuple[float, float, Fraction]:
    """Return the best and the median requests per second of processor time, and the share of peak sustained."""
    device = build_device("HBM3", DeviceOptions(channel_gbit=16))
    address_map = parse_map(MAP, device, place="benchmark")
    domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
    param = CHUNK_BYTES if pattern == "chunk" else 0
    stream = make_stream(pattern, param, requests=requests, domain=domain, place="benchmark")
    seconds = []
    for _ in range(1 + RUNS):
        start = time.process_time()
        run = simulate(device, address_map, PROFILES["ramulator2"], stream)
        seconds.append(time.process_time() - start)
    return requests / min(seconds[1:]), requests / statistics.median(seconds[1:]), run.utilisation


def main() -> None:
    """Print one line a pattern."""
    for pattern, requests in WORK:
        best, median, share = measured(pattern, requests)
        line = (
            f"{pattern:<6} best {best / 1e6:6.2f}, median {median / 1e6:6.2f} M requests/s   {float(share):.3f} of peak"
        )
        if pattern in ASKED:
            line += f"   {median / ASKED[pattern]:.2f} x asked, {median / RAMULATOR[pattern]:.1f} x Ramulator 2.1"
        print(line)


if __name__ == "__main__":
    main()
