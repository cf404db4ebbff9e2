"""What several servers leave, as the record of one.

Iterations, phases and idle time are those of all of them together, and a window spans the mean of theirs, so that

    servers * (end - start)  =  idle + sum over phases of their time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from archsim.result import RequestColumns
from archsim.serving.prefix import PrefixUse
from archsim.serving.record import Record, Window
from archsim.serving.tier import TierUse
from archsim.serving.windows import MOST_WINDOWS

__all__ = ["Finished", "merged_records", "merged_requests", "merged_windows", "records_at_end"]


class Finished(Protocol):
    """A server whose work is done."""

    @property
    def now_fine(self) -> int:
        """The end of all that it has done."""

    def idle_until(self, end_fine: int) -> None:
        """Book the time from there to *end_fine* as idle."""

    def record(self, event_count: int) -> Record:
        """Return what it leaves."""


def records_at_end(servers: Sequence[Finished], event_count: int) -> tuple[Record, ...]:
    """Return what finished *servers* leave, all idle to the end of the last."""
    end_fine = max(server.now_fine for server in servers)
    for server in servers:
        server.idle_until(end_fine)
    return tuple(server.record(event_count) for server in servers)


def merged_records(records: Sequence[Record], requests: RequestColumns) -> Record:
    """Return what servers that ended together did as one, with *requests* in place of theirs."""
    windows = merged_windows([record.windows for record in records]) if len(records) > 1 else records[0].windows
    tallies = [record.tally for record in records if record.tally]
    observers = [record.observer for record in records if record.observer]
    drafted = [record.draft_tokens for record in records if record.draft_tokens is not None]
    return Record(
        requests=requests,
        tally=tallies[0].with_others(tallies[1:]) if tallies else None,
        windows=windows,
        total=Window.of(windows),
        completed=sum(record.completed for record in records),
        rejected=sum(record.rejected for record in records),
        preemptions=sum(record.preemptions for record in records),
        decode_tokens=sum(record.decode_tokens for record in records),
        peak_kv_blocks=max(record.peak_kv_blocks for record in records),
        event_count=records[0].event_count,
        answered=sum(record.answered for record in records),
        observer=observers[0].with_others(observers[1:]) if observers else None,
        draft_tokens=sum(drafted) if drafted else None,
        prefixes=_prefixes(records),
        tier=_tiers(records),
    )


def _tiers(records: Sequence[Record]) -> TierUse | None:
    uses = [record.tier for record in records if record.tier is not None]
    return sum(uses[1:], uses[0]) if uses else None


def _prefixes(records: Sequence[Record]) -> PrefixUse | None:
    uses = [record.prefixes for record in records if record.prefixes is not None]
    return sum(uses[1:], uses[0]) if uses else None


def merged_requests(
    tables: Sequence[RequestColumns], sent: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> RequestColumns:
    """Return the rows of all replicas in order of arrival; *sent* is the replica of each request."""
    order = np.argsort(np.argsort(sent, kind="stable"), kind="stable")
    reasons = list(dict.fromkeys(reason for table in tables for reason in table.rejections))
    renamed = [
        np.array([reasons.index(reason) for reason in table.rejections], dtype=np.int64)[table.rejection]
        for table in tables
    ]
    names = ("arrival_ps", "prompt_tokens", "output_tokens", "first_token_ps", "finish_ps", "preemptions")
    columns = {name: np.concatenate([getattr(table, name) for table in tables])[order] for name in names}
    return RequestColumns(**columns, rejection=np.concatenate(renamed)[order], rejections=tuple(reasons))


def merged_windows(of_replicas: Sequence[Sequence[Window]]) -> tuple[Window, ...]:
    """Return windows of the fleet: cells of time that hold the windows which start in them."""
    count = len(of_replicas)
    end = max(windows[-1].end_fine if windows else 0 for windows in of_replicas)
    shift = max(0, end.bit_length() - MOST_WINDOWS.bit_length() + 1)
    cells: dict[int, list[Window]] = {}
    for windows in of_replicas:
        for window in windows:
            cells.setdefault(window.start_fine >> shift, []).append(window)
    # A fleet's clock is the sum of its replicas': each window moves it on by its own length.
    clock, merged = 0, []
    for cell in sorted(cells):
        whole = Window(clock // count, clock // count)
        for window in cells[cell]:
            clock += window.end_fine - window.start_fine
            whole.add(window)
        whole.end_fine = clock // count
        merged.append(whole)
    return tuple(merged)
