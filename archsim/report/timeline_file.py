"""A timeline as Chrome JSON: the trace event format that Perfetto and chrome://tracing open, as gzip.

Tracks are threads, what they belong to is a process, counters are counters. Perfetto keeps nanoseconds, so `ts` and
`dur` are microseconds cut to them, such that slices which touch still touch; the picoseconds stand in `args`, with the
bytes or FLOPs of every account of the ledger. Equal timelines are equal bytes.

Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (2016).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from archsim.files import write_gzip_atomically
from archsim.metrics.timeline import Timeline
from archsim.result import Result

__all__ = ["timeline_json", "write_timeline"]

_COUNTERS = 1
_UNITS = {"B/s": ("GB/s", 1e-9), "FLOP/s": ("TFLOP/s", 1e-12)}


def write_timeline(timeline: Timeline, result: Result, path: Path) -> int:
    """Write *timeline* of *result* to *path* as gzip and return its events. Raises `InputError` where it cannot."""
    text, events = timeline_json(timeline, result)
    write_gzip_atomically(path, text.encode())
    return events


def timeline_json(timeline: Timeline, result: Result) -> tuple[str, int]:
    """Return the JSON of *timeline*, one event a line, and how many events it has."""
    about = {
        "archsim_version": result.provenance.archsim_version,
        "command": result.provenance.command,
        "config_digest": result.provenance.config_digest,
        "end_ps": timeline.end_ps,
    } | ({"left_out": timeline.left_out} if timeline.left_out else {})
    lines = [json.dumps(event, separators=(",", ":"), sort_keys=True, allow_nan=False) for event in _events(timeline)]
    head = json.dumps(about, sort_keys=True)
    text = f'{{"displayTimeUnit":"ns","otherData":{head},"traceEvents":[\n' + ",\n".join(lines) + "\n]}\n"
    return text, len(lines)


def _events(timeline: Timeline) -> Iterator[dict[str, object]]:
    tracks = dict.fromkeys((each.group, each.track) for each in timeline.slices)
    groups = {group: place + _COUNTERS + 1 for place, group in enumerate(dict.fromkeys(group for group, _ in tracks))}
    yield from _process(_COUNTERS, "counters")
    for group, pid in groups.items():
        yield from _process(pid, group)
    threads: dict[tuple[str, str], int] = {}
    for group, track in sorted(tracks, key=lambda each: (groups[each[0]], each[1])) if tracks else ():
        threads[group, track] = len(threads) + 1
        ids = {"pid": groups[group], "tid": threads[group, track]}
        yield {"ph": "M", "name": "thread_name", **ids, "args": {"name": track}}
        yield {"ph": "M", "name": "thread_sort_index", **ids, "args": {"sort_index": _order(track, threads)}}
    for each in sorted(timeline.slices, key=lambda row: (threads[row.group, row.track], row.start_ps, row.end_ps)):
        start_ns, end_ns = _ns(each.start_ps), _ns(each.end_ps)
        amounts = {account: amount for account, amount in each.accounts.items() if amount}
        yield {
            "ph": "X", "name": each.name, "cat": "wait" if each.waiting else "work",
            "pid": groups[each.group], "tid": threads[each.group, each.track],
            "ts": start_ns / 1000, "dur": (end_ns - start_ns) / 1000,
            "args": {**each.facts, **amounts, "start_ps": each.start_ps, "ps": each.end_ps - each.start_ps},
        }  # fmt: skip
    for count in sorted(timeline.counts, key=lambda row: (row.name, row.at_ps)):
        unit, factor = _UNITS.get(count.unit, (count.unit, 1.0))
        yield {
            "ph": "C", "name": count.name, "pid": _COUNTERS, "tid": 0, "ts": _ns(count.at_ps) / 1000,
            "args": {unit: count.value * factor},
        }  # fmt: skip


def _process(pid: int, name: str) -> Iterator[dict[str, object]]:
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}


def _order(track: str, threads: dict[tuple[str, str], int]) -> int:
    """Return the place of *track*: what the chip is at comes before its parts."""
    return len(threads) - (1000 if track.endswith((".operators", ".host", "iterations", "micro-batches")) else 0)


def _ns(picoseconds: int) -> int:
    return (picoseconds + 500) // 1000
