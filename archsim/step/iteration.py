"""One iteration as a discrete-event simulation: tasks in order on every rank, meeting at collectives.

A kernel starts after the runtime's launch gap and ramp, reads its operands chunk by chunk into on-chip staging,
computes each chunk when it has arrived and writes results back. Reads run ahead of the engine as far as staging has
room (`feeds`). A runtime that prefetches by stream reads the weights of later kernels ahead as well; one that works
kernel by kernel does not. A runtime without a captured graph has a host that issues the tasks one after the other,
ahead of the chip: a task starts when the chip is ready for it and the host has issued it. Every job is logged with its
binding predecessor; where the time went is read off that log afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import simpy

from archsim.hardware.system import System
from archsim.kernel import ROOT, JobLog, Kernel, Process
from archsim.mapping.plan import Collective, Task
from archsim.network.collectives import CollectiveFacts
from archsim.step.chunks import Chunk
from archsim.step.exchange import Exchanges
from archsim.step.feeds import Feed, Place, feeds_of
from archsim.step.rank_parts import RankParts
from archsim.step.work import Work

__all__ = ["Iteration", "Lap"]


@dataclass(frozen=True, slots=True)
class Lap:
    """One simulated repetition of a segment."""

    segment: int
    by_rank: tuple[tuple[Task, ...], ...]
    """Tasks of each rank in order; of all of them where there is one entry."""

    def tasks(self, rank: int) -> tuple[Task, ...]:
        """Return the tasks of *rank*."""
        return self.by_rank[rank if len(self.by_rank) > 1 else 0]


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A collective whose parts are exchanged while their tensor is made."""

    number: int
    """Its place among the collectives of the iteration."""
    parts: tuple[CollectiveFacts, ...]


@dataclass(slots=True)
class _Meeting:
    """A collective that ranks arrive at."""

    done: simpy.Event
    """Succeeds with the collective's job, at the latest when that ends."""
    arrived: dict[int, int] = field(default_factory=dict)
    """Rank -> its last job before."""


class Iteration:
    """A simulation of *laps* on *ranks* chips; `run` it once, then read `log`, `ranks`, `flows` and `end`."""

    def __init__(
        self,
        laps: list[Lap],
        works: dict[Task, Work],
        exchanges: Exchanges,
        system: System,
        *,
        ranks: int,
        sequences: int,
    ) -> None:
        self.kernel = Kernel()
        # Ranks wait for each other's events; what one rank waits for is its own alone.
        self._pause = self.kernel.pass_ps if ranks == 1 else self.kernel.wait_ps
        self.log = JobLog()
        self.flows: list[int] = []
        """Collective jobs in order of time."""
        self.lap_start: list[int] = []
        """Picosecond at which rank 0 began each lap."""
        self.issued_ps: list[list[list[int]]] = [[[] for _ in range(ranks)] for _ in laps]
        """For each lap and rank, when the rank's host has issued its tasks; hosts never wait."""
        self.last_host_wait = -1
        """The last lap in which a chip was ready for a task no later than the host had issued it; -1: none."""
        self.read_ahead_laps = 0
        """The most laps that a read ran ahead of the kernel then running."""
        self.end = ROOT
        """The job that ended last."""
        self._laps = laps
        self._works = works
        self._system = system
        self._exchanges = exchanges
        runtime = system.runtime
        self._host_ps = system.host_ps(runtime.host_step_ps + sequences * runtime.host_sequence_ps)
        self._meetings: dict[tuple[int, int], _Meeting] = {}
        """(collective, part) -> meeting."""
        self.ranks = [self._rank(index) for index in range(ranks)]

    def _rank(self, index: int) -> RankParts:
        kernels = [
            (task, lap)
            for lap, tasks in enumerate(self._laps)
            for task in tasks.tasks(index)
            if task.collective is None
        ]
        feeds = feeds_of([self._works[task].chunks for task, _ in kernels], self._system)
        return RankParts(index, self.log, self._system, feeds=feeds, kernel_laps=[lap for _, lap in kernels])

    def run(self) -> None:
        """Simulate to the end."""
        processes = [self.kernel.process(self._drive(rank)) for rank in self.ranks]
        self.kernel.run_until(simpy.AllOf(self.kernel, processes), waiting_for="the end of the iteration")
        for rank in self.ranks:
            self.end = self.log.latest(self.end, rank.last)

    def _drive(self, rank: RankParts) -> Process:
        runtime = self._system.runtime
        # A16: the host works before the iteration while the chips stand still.
        yield from self._delay(rank, "host", self._host_ps, lap=0)
        rank.issued = rank.last
        meetings = 0
        for lap, tasks in enumerate(self._laps):
            if rank.index == 0:
                self.lap_start.append(self.kernel.now_ps)
            of_rank = tasks.tasks(rank.index)
            for task, following in zip(of_rank, (*of_rank[1:], None), strict=False):
                parts = self._exchanges[task.collective].parts if task.collective else ()
                if not parts:
                    yield from self._delay(rank, "launch", runtime.launch_gap_ps, lap=lap)
                    yield from self._issue(rank, lap=lap)
                if task.collective is None:
                    ahead = self._ahead(following, meetings)
                    yield from self._compute(rank, self._works[task], lap=lap, ahead=ahead)
                    continue
                if parts:
                    yield from self._finish(rank, _Ahead(meetings, parts), lap=lap)
                else:
                    yield from self._exchange(rank, task.collective, number=meetings, lap=lap)
                meetings += 1
                if task in self._works:
                    yield from self._land_buffer(rank, self._works[task], lap=lap)

    def _delay(self, rank: RankParts, kind: str, duration_ps: int, *, lap: int) -> Process:
        if duration_ps:
            now = self.kernel.now_ps
            rank.last = self.log.add(
                kind, rank=rank.index, lap=lap, start=now, end=now + duration_ps, predecessor=rank.last
            )
            if (wait := self._pause(duration_ps)) is not None:
                yield wait

    def _issue(self, rank: RankParts, *, lap: int) -> Process:
        """Wait for the host, whose queue of issued tasks is never full (CUDA's holds about a thousand)."""
        duration = self._system.host_launch_ps
        if duration:
            start = self.log.end[rank.issued]
            rank.issued = self.log.add(
                "issue", rank=rank.index, lap=lap, start=start, end=start + duration, predecessor=rank.issued
            )
            self.issued_ps[lap][rank.index].append(start + duration)
            if start + duration >= self.kernel.now_ps:
                self.last_host_wait = max(self.last_host_wait, lap)
            rank.last = self.log.latest(rank.last, rank.issued)
            yield from self._until(rank.last)

    def _exchange(self, rank: RankParts, collective: Collective, *, number: int, lap: int) -> Process:
        # A17: a collective begins when its last rank has arrived and ends for all at once.
        meeting = self._meetings.setdefault((number, 0), _Meeting(self.kernel.event()))
        meeting.arrived[rank.index] = rank.last
        if len(meeting.arrived) < len(self.ranks):
            rank.last = yield meeting.done
            return
        facts = self._exchanges[collective]
        now, arrivals = self.kernel.now_ps, tuple(meeting.arrived[index] for index in range(len(self.ranks)))
        rank.last = self.log.add(
            "flow", rank=-1, lap=lap, start=now, end=now + facts.duration_ps, predecessor=rank.last
        )
        self.log.arrivals[rank.last] = arrivals
        self.flows.append(rank.last)
        yield self.kernel.wait_ps(facts.duration_ps)
        meeting.done.succeed(rank.last)

    def _ahead(self, following: Task | None, number: int) -> _Ahead | None:
        """Return the parts of the collective *following* a kernel at once, if it has any."""
        collective = following.collective if following else None
        parts = self._exchanges[collective].parts if collective else ()
        return _Ahead(number, parts) if parts else None

    def _hand_over(self, rank: RankParts, ahead: _Ahead, job: int, *, upto: int, lap: int) -> None:
        """Let *rank* arrive with *job* at the parts of a collective below *upto* that it has not arrived at.

        A part begins when its last rank has arrived and the part before it is done (P8).
        """
        while rank.parts < upto:
            meeting = self._meetings.setdefault((ahead.number, rank.parts), _Meeting(self.kernel.event()))
            meeting.arrived[rank.index] = job
            if len(meeting.arrived) == len(self.ranks):
                arrivals = tuple(meeting.arrived[index] for index in range(len(self.ranks)))
                ready, free = ROOT, self.flows[-1] if self.flows else ROOT
                for arrival in arrivals:
                    ready = self.log.latest(ready, arrival)
                cause = self.log.latest(free, ready)
                start = self.log.end[cause]
                end = start + ahead.parts[rank.parts].duration_ps
                flow = self.log.add("flow", rank=-1, lap=lap, start=start, end=end, predecessor=cause)
                if cause != free:
                    self.log.arrivals[flow] = arrivals
                self.flows.append(flow)
                meeting.done.succeed(flow)
            rank.parts += 1

    def _finish(self, rank: RankParts, ahead: _Ahead, *, lap: int) -> Process:
        """Arrive at what is left of a collective in parts, and wait for the last of them."""
        last = len(ahead.parts)
        self._hand_over(rank, ahead, rank.last, upto=last, lap=lap)
        rank.parts = 0
        rank.last = yield self._meetings[ahead.number, last - 1].done
        yield from self._until(rank.last)

    def _land_buffer(self, rank: RankParts, buffer: Work, *, lap: int) -> Process:
        """Write what a collective has delivered into memory, and read it again (P7)."""
        for chunk in buffer.chunks:
            for held in chunk.writes:
                rank.last = self.log.latest(rank.last, rank.hold(held, self.kernel.now_ps, lap=lap))
        yield from self._until(rank.last)
        for chunk in buffer.chunks:
            for held, latency_ps in chunk.bound:
                job = rank.hold(held, self.kernel.now_ps, lap=lap)
                rank.last = self.log.latest(rank.last, self._arrive(job, latency_ps, rank=rank.index, lap=lap))
        yield from self._until(rank.last)

    def _compute(self, rank: RankParts, work: Work, *, lap: int, ahead: _Ahead | None) -> Process:
        # A11, A13: chunks are computed when all of their operands are there; the ramp is paid before the first read.
        number = rank.kernels_started
        rank.kernels_started += 1
        ramp_ps = work.kernels * self._system.runtime.ramp_ps + work.exposed_ps
        yield from self._delay(rank, "ramp", ramp_ps, lap=lap)
        if work.near is not None:
            switch_ps = self._system.near[work.near.memory].spec.mode_switch_ps
            yield from self._delay(rank, "switch", switch_ps, lap=lap)
        self._read(rank, number)
        written = ROOT
        for index, chunk in enumerate(work.chunks):
            place = (number, index)
            while not rank.has_issued(place):
                rank.awaited = self.kernel.event()
                yield rank.awaited
            for feed in rank.feeds:
                rank.last = self.log.latest(rank.last, feed.arrived.pop(place, ROOT))
            if (wait := self._wait(rank.last)) is not None:
                yield wait
            rank.last = self._calculate(rank, chunk, lap=lap)
            if (wait := self._wait(rank.last)) is not None:
                yield wait
            for feed in rank.feeds:
                feed.give_back(place)
            self._read(rank, number)
            for held in chunk.writes:
                written = self.log.latest(written, rank.hold(held, self.kernel.now_ps, lap=lap))
            if ahead is not None:
                # The last part is left for the kernel's end.
                upto = min((index + 1) * len(ahead.parts) // len(work.chunks), len(ahead.parts) - 1)
                self._hand_over(rank, ahead, self.log.latest(rank.last, written), upto=upto, lap=lap)
        rank.last = self.log.latest(rank.last, written)
        yield from self._until(rank.last)

    def _until(self, job: int) -> Process:
        if (wait := self._wait(job)) is not None:
            yield wait

    def _wait(self, job: int) -> simpy.Timeout | None:
        """Return the event of *job*'s end; None where it has come."""
        left = self.log.end[job] - self.kernel.now_ps
        return self._pause(left) if left > 0 else None

    def _calculate(self, rank: RankParts, chunk: Chunk, *, lap: int) -> int:
        # A14: all engines start a chunk together.
        now, last = self.kernel.now_ps, rank.last
        engines = [(rank.matrix, chunk.matrix_ps), (rank.vector, chunk.vector_ps)]
        if chunk.near:
            engines += [(rank.near[name], duration) for name, duration in chunk.near]
        for engine, duration in engines:
            if duration:
                last = self.log.latest(last, engine.reserve(now, duration, enabled_by=rank.last, lap=lap))
        return last

    def _read(self, rank: RankParts, running: int, *, after: int | None = None) -> None:
        """Issue all reads that there is room for; *after* is the job that lets them go on, by default the rank's."""
        now, cause = self.kernel.now_ps, rank.last if after is None else after
        running_lap = rank.kernel_laps[running]
        for feed in rank.feeds:
            while (place := feed.next(running)) is not None:
                kernel, index = place
                lap = rank.kernel_laps[kernel]
                self.read_ahead_laps = max(self.read_ahead_laps, lap - running_lap)
                for held, latency_ps in feed.chunks[kernel][index][0]:
                    job = rank.hold(held, now, lap=lap, after=cause)
                    job = self._arrive(job, latency_ps, rank=rank.index, lap=lap)
                    feed.arrived[place] = self.log.latest(feed.arrived.get(place, ROOT), job)
                if feed.lands_on_the_way(place):
                    self.kernel.process(self._land(rank, feed, place))

    def _land(self, rank: RankParts, feed: Feed, place: Place) -> Process:
        """Write a chunk that has arrived to the level it goes through, and let what waited for it go on."""
        kernel, index = place
        job = feed.arrived.pop(place)
        yield from self._until(job)
        job = rank.hold(feed.lands[kernel][index], self.kernel.now_ps, lap=rank.kernel_laps[kernel], after=job)
        yield from self._until(job)
        feed.landed.add(place)
        self._read(rank, rank.kernels_started - 1, after=job)
        if rank.awaited is not None:
            rank.awaited.succeed()
            rank.awaited = None

    def _arrive(self, job: int, latency_ps: int, *, rank: int, lap: int) -> int:
        # A10: data comes the first access's latency after its service; later chunks overlap it.
        if not latency_ps:
            return job
        start = self.log.end[job]
        return self.log.add("latency", rank=rank, lap=lap, start=start, end=start + latency_ps, predecessor=job)
