"""Decode traces written by a run and replayed without its scheduler: the same iterations, and nothing else.

A `DecodeLog` takes the place of a server's log and writes down who decodes. Replayed, the iterations follow one another
without a gap, on the cost model of whatever system and model: costs of decode iterations are additive, so that time
and accounts of the decode phase are those of the run, to the last unit, where the costs are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from pathlib import Path

import numpy as np

from archsim.errors import InputError, Problem
from archsim.files import replaced_file
from archsim.result import RequestColumns
from archsim.serving.batch import Batch
from archsim.serving.chunks import Chunks
from archsim.serving.costs import Costs, Run, ps_from_fine
from archsim.serving.fleet import Fleet, fleet_of
from archsim.serving.record import Record, Window
from archsim.serving.requests import Limits
from archsim.serving.windows import WindowLog
from archsim.workload.decode_trace import FORMAT, VERSION, DecodeStep, DecodeTrace

__all__ = ["DecodeLog", "Recorder", "replay_decode"]

_WRITTEN = ("decode", "mixed")


class DecodeLog(WindowLog):
    """A log that also hands a line to *write* for all that decodes."""

    def __init__(self, write: Callable[[str], None], replica: int) -> None:
        super().__init__()
        self._write = write
        self._replica = replica
        self._announced = 0

    def decoding(self, batch: Batch, steps: int, chunks: Chunks | None = None) -> None:
        """Write down who decodes in the next *steps* iterations."""
        members = list(batch.members())
        line = {
            "start_ps": ps_from_fine(self._open.end_fine), "replica": self._replica, "steps": steps,
            "ids": [number for number, _ in members], "contexts": [length for _, length in members],
        }  # fmt: skip
        if chunks is not None:
            line["prefill"] = dict(zip(Chunks._fields[:4], chunks[:4], strict=True))
        self._write(json.dumps(line, separators=(",", ":")))
        self._announced += steps

    def book(self, phase: str, iterations: int, run: Run, output_tokens: int) -> None:
        """Book as any log does. Raises `InputError` for iterations whose sequences do not advance by a token each."""
        if phase in _WRITTEN:
            self._announced -= iterations
            if self._announced:
                expected = "a run that decodes a token a sequence in every iteration: a decode trace has no other"
                raise InputError(Problem("", "--decode-trace", phase, expected))
        super().book(phase, iterations, run, output_tokens)


class Recorder:
    """Gives servers their logs; while its file is open, logs that write a decode trace."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write: Callable[[str], None] | None = None
        self._servers = 0

    def log(self) -> WindowLog:
        """Return the log of the next server."""
        if self._write is None:
            return WindowLog()
        self._servers += 1
        return DecodeLog(self._write, self._servers - 1)

    @contextmanager
    def writing(self, *, model: str, shares: bool) -> Iterator[None]:
        """Write what decodes while the block runs; the file appears when it ends.

        *shares* says that sequences of *model* share KV blocks. Raises `InputError` where the file exists.
        """
        path = self._path
        if path.exists() or path.is_symlink():
            raise InputError(Problem(str(path), "--decode-trace", "", "a file that does not exist yet"))
        header = {"format": FORMAT, "version": VERSION, "model": model} | ({"shares": True} if shares else {})
        with replaced_file(path) as file:
            out = GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if path.suffix == ".gz" else file

            def write(line: str) -> None:
                out.write(line.encode() + b"\n")

            write(json.dumps(header))
            self._write = write
            try:
                yield
            finally:
                self._write = None
                if isinstance(out, GzipFile):
                    out.close()


def replay_decode(
    trace: DecodeTrace,
    costs: Costs,
    *,
    limits: Limits,
    replicas: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Fleet:
    """Replay *trace* on *replicas* equal servers, each from time zero and without a gap.

    A sequence's row in the record arrives when its first iteration starts; its prompt is the context without the token
    that enters it. Raises `InputError` for a replica that does not exist and for what the memory or model cannot hold.
    """
    if trace.replicas > replicas:
        expected = f"replicas below {replicas}, as many as there are"
        raise InputError(Problem(str(trace.path), "replica", str(trace.replicas - 1), expected))
    servers = [_Decoder(trace, costs, limits) for _ in range(replicas)]
    for done, step in enumerate(trace):
        servers[step.replica].take(step)
        if progress is not None and done % _PROGRESS_EVERY == 0:
            progress(done)
    return fleet_of(servers, event_count=0)


_PROGRESS_EVERY = 256


class _Decoder:
    """One replica."""

    def __init__(self, trace: DecodeTrace, costs: Costs, limits: Limits) -> None:
        self._trace, self._costs, self._limits = trace, costs, limits
        self._log = WindowLog()
        self.now_fine = 0
        self._rows: dict[int, list[int]] = {}
        """Sequence -> start and end of its first iteration, end of its last, prompt, tokens; times in ps."""
        self._decode_tokens = self._peak_blocks = 0

    def take(self, step: DecodeStep) -> None:
        """Run the iterations of *step*."""
        self._check(step)
        start_ps = ps_from_fine(self.now_fine)
        new = [(number, context) for number, context in zip(step.ids, step.contexts, strict=True)
               if number not in self._rows]  # fmt: skip
        first_ps = self._run(step, 1) if new and step.steps > 1 else 0
        self._run_rest(step, 1 if first_ps else 0)
        end_ps = ps_from_fine(self.now_fine)
        for number, context in new:
            self._rows[number] = [start_ps, first_ps or end_ps, end_ps, context - 1 or 1, 0]
        for number in step.ids:
            row = self._rows[number]
            row[2] = end_ps
            row[4] += step.steps
        self._decode_tokens += len(step.ids) * step.steps

    def _run(self, step: DecodeStep, count: int) -> int:
        """Run the first *count* iterations and return when they end."""
        self._segment(step, 0, count)
        return ps_from_fine(self.now_fine)

    def _run_rest(self, step: DecodeStep, done: int) -> None:
        """Run what is left after *done* iterations, in runs in which contexts read grow evenly."""
        reach = self._limits.reach
        if step.prefill is not None:
            kv_tokens = sum(map(reach.attended, step.contexts))
            run = self._costs.mixed(len(step.ids), kv_tokens, Chunks(*step.prefill, []))
            self._log.open(self.now_fine)
            self._book("mixed", 1, run, len(step.ids))
            return
        ends = {reach.window - context for context in step.contexts} if reach.windowed else set()
        for end in [*sorted(end for end in ends if done < end < step.steps), step.steps]:
            self._segment(step, done, end)
            done = end

    def _segment(self, step: DecodeStep, done: int, end: int) -> None:
        reach, size = self._limits.reach, len(step.ids)
        contexts = [context + done for context in step.contexts]
        growing = sum(context < reach.window for context in contexts) if reach.windowed else 0
        kv_tokens, growth = sum(map(reach.attended, contexts)), reach.full * size + reach.windowed * growing
        left = end - done
        while left:
            self._log.open(self.now_fine)
            room = self._log.border_fine - self.now_fine
            count = self._costs.decode_steps_until(size, kv_tokens, room, left, growth=growth)
            run = self._costs.decode(size, kv_tokens, count, growth=growth)
            self._book("decode", count, run, size * count)
            kv_tokens += count * growth
            left -= count

    def _book(self, phase: str, count: int, run: Run, tokens: int) -> None:
        self._log.book(phase, count, run, tokens)
        self.now_fine += run.time_fine

    def _check(self, step: DecodeStep) -> None:
        limits, file = self._limits, str(self._trace.path)
        longest = max(step.contexts) + step.steps
        if longest > limits.context_tokens + 1:
            expected = f"contexts of at most {limits.context_tokens:,} tokens, as the model has them"
            raise InputError(Problem(file, step.place, str(longest - 1), expected))
        blocks = sum(limits.blocks_for(context + step.steps - 1) for context in step.contexts)
        if blocks > limits.kv_blocks and not self._trace.shares:
            expected = (
                f"sequences that the KV memory holds: {limits.kv_blocks:,} blocks of {limits.block_tokens} tokens"
            )
            raise InputError(Problem(file, step.place, f"{blocks:,} blocks", expected))
        self._peak_blocks = max(self._peak_blocks, blocks)

    def idle_until(self, end_fine: int) -> None:
        """Book the time from the end of its work to *end_fine* as idle."""
        if end_fine > self.now_fine:
            self._log.idle(self.now_fine, end_fine)
            self.now_fine = end_fine

    def record(self, event_count: int) -> Record:
        """Return what the finished replay leaves."""
        windows = self._log.windows()
        total = Window(0, 0)
        for window in windows:
            total.add(window)
        rows = sorted(self._rows.values())
        starts, firsts, ends, prompts, tokens = (np.array([row[at] for row in rows], dtype=np.int64) for at in range(5))
        nothing = np.zeros(len(rows), dtype=np.int64)
        return Record(
            requests=RequestColumns(
                arrival_ps=starts, prompt_tokens=prompts, output_tokens=tokens, first_token_ps=firsts, finish_ps=ends,
                preemptions=nothing, rejection=nothing, rejections=("",),
            ),
            windows=windows,
            total=total,
            completed=len(rows),
            rejected=0,
            preemptions=0,
            decode_tokens=self._decode_tokens,
            peak_kv_blocks=self._peak_blocks,
            event_count=event_count,
        )  # fmt: skip
