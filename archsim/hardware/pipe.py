"""The one mechanism: a FIFO server that keeps when it is free and logs its busy intervals.

A6: a memory's data path, for reads and writes alike, an engine and a cache port are pipes. Two users of a pipe contend
by its order of requests; the slower of two pipes is the roofline. `free_at` gives the same busy intervals as a
`simpy.Resource` at half the events, because a FIFO server's answer is known when the request is made. Not here:
preemption, priorities, finite buffers.
"""

from __future__ import annotations

from archsim.kernel import ROOT, JobLog

__all__ = ["Gate", "Pipe"]


class Gate:
    """When a server is free. Pipes that share one exclude each other."""

    def __init__(self) -> None:
        self.free_at = 0
        """Picosecond at which the last reservation ends."""
        self.last = ROOT
        """The job that ends then."""


class Pipe:
    """A FIFO server on one rank.

    *kind* is the job class that its service is logged as (`"memory"`, `"compute"`). Pipes with one *gate* are served in
    turn; each logs its own jobs.
    """

    def __init__(self, log: JobLog, kind: str, *, rank: int, gate: Gate | None = None) -> None:
        self.kind = kind
        self.rank = rank
        self.gate = gate or Gate()
        self.jobs: list[int] = []
        """Jobs served, in order: the pipe's busy intervals."""
        self._log = log

    @property
    def free_at(self) -> int:
        """Picosecond at which the last reservation ends."""
        return self.gate.free_at

    def reserve(self, now: int, duration_ps: int, *, enabled_by: int, lap: int) -> int:
        """Serve for *duration_ps* as soon as the pipe is free and return the job.

        *enabled_by* is the job that ended at *now* and made this request. Where the pipe is still busy, the job
        before it in the queue is the binding predecessor instead.
        """
        gate, start, predecessor = self.gate, now, enabled_by
        if gate.free_at > now or (gate.free_at == now and gate.last > enabled_by):
            start, predecessor = gate.free_at, gate.last
        end = start + duration_ps
        job = self._log.add(self.kind, rank=self.rank, lap=lap, start=start, end=end, predecessor=predecessor)
        gate.free_at, gate.last = end, job
        self.jobs.append(job)
        return job
