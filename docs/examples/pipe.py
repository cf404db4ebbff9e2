"""Two users of one pipe: the second waits for the first, and the log says why."""

from archsim.hardware.pipe import Pipe
from archsim.kernel import ROOT, JobLog

log = JobLog()
memory = Pipe(log, "memory", rank=0)
engine = Pipe(log, "compute", rank=0)

first = memory.reserve(0, 400, enabled_by=ROOT, lap=0)
second = memory.reserve(0, 300, enabled_by=ROOT, lap=0)
product = engine.reserve(log.end[first], 250, enabled_by=first, lap=0)

for name, job in (("first read", first), ("second read", second), ("product", product)):
    cause = log.predecessor[job]
    print(f"{name:12} {log.start[job]:4} to {log.end[job]:4} ps, after job {cause} ({log.kind[cause]})")
