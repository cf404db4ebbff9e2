"""One gap of a memory, walked back to its causes: chip 0 of two chips that meet at an all-reduce."""

from archsim.kernel import ROOT, JobLog
from archsim.metrics.ledger import gaps_of

log = JobLog()


def job(kind: str, rank: int, duration: int, after: int) -> int:
    """Log a job of *duration* that starts when *after* has ended."""
    start = log.end[after]
    return log.add(kind, rank=rank, lap=0, start=start, end=start + duration, predecessor=after)


launch = job("launch", 0, 1, ROOT)
ramp = job("ramp", 0, 2, launch)
read = job("memory", 0, 10, ramp)
arrived = job("latency", 0, 1, read)
product = job("compute", 0, 6, arrived)

slower = job("compute", 1, 25, ROOT)
reduced = job("flow", -1, 15, slower)
log.arrivals[reduced] = (product, slower)

launch_again = job("launch", 0, 1, reduced)
ramp_again = job("ramp", 0, 2, launch_again)
read_again = job("memory", 0, 7, ramp_again)

stretches = gaps_of(log, [read, read_again], last=read_again, close=log.end[read_again], rank=0)
for start, end, account in sorted((start, end, account) for account, start, end in stretches):
    print(f"{start:3} to {end:3}  {account}")
