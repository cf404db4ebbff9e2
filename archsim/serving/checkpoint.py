"""Checkpoints: a long replay written to a file now and then, from which it goes on to the same bytes.

A checkpoint is two lines of JSON. The first says what it is of: a run by the command that asks for it, the digest of
its system, the version of archsim, and the digest of the second. The second holds the state of the server (`state`),
how many requests have been read with a digest of them, and the iterations that were simulated, by their batches: these
are simulated again, in the same order. The trace is read from its beginning and must hold the same requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from archsim.errors import InputError, Problem
from archsim.files import digest_of, parse_json, read_text, write_atomically
from archsim.serving.requests import ArrivalStream
from archsim.serving.server import Server
from archsim.serving.state import restore, saved
from archsim.workload.batch import Batch

__all__ = ["EVERY", "Keeper", "Resume", "Wanted"]

_FORMAT, _VERSION = "archsim-checkpoint", 1
_LIMIT_BYTES = 2**31
EVERY = 10**6
"""Requests between two checkpoints where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for."""

    path: Path | None = None
    """File to write; None: nothing is written."""
    every: int = EVERY
    """Requests between two of them."""
    resume: Path | None = None
    """File to go on from; None: from the beginning."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a replay goes on."""

    path: Path
    taken: int
    """Requests that have arrived."""
    digest: str
    """Of all that have been read."""
    events: int
    batches: list[list[int] | None]
    server: dict[str, Any]


class Knots(Protocol):
    """A cost model that simulates iterations when it is first asked for them."""

    @property
    def asked(self) -> Sequence[Batch | None]:
        """The iterations simulated so far, in order; None: moves."""

    def ask_again(self, batches: Iterable[Batch | None]) -> None:
        """Simulate *batches* in order."""


class Keeper:
    """Writes checkpoints of one run, and reads them.

    *identity* says which run it is; *digest* returns that of the requests read so far. Raises `InputError` where the
    file to resume from is no checkpoint, or that of another run.
    """

    def __init__(self, wanted: Wanted, identity: Mapping[str, str], costs: Knots, digest: Callable[[], str]) -> None:
        self._wanted, self._identity, self._costs, self._digest = wanted, dict(identity), costs, digest
        self._next = wanted.every
        self.resume = None if wanted.resume is None else _read(wanted.resume, self._identity)

    @property
    def taken(self) -> int:
        """Requests that have arrived before the replay goes on."""
        return 0 if self.resume is None else self.resume.taken

    @property
    def events(self) -> int:
        """Events of the replay before it goes on."""
        return 0 if self.resume is None else self.resume.events

    def restore(self, server: Server) -> None:
        """Bring *server*, whose source has passed over what was taken, to where it was."""
        resume = self.resume
        if resume is None:
            return
        if self._digest() != resume.digest:
            expected = f"a trace whose first requests are those of {resume.path}: they differ"
            raise InputError(Problem(str(resume.path), "--resume", "", expected))
        try:
            self._costs.ask_again(None if batch is None else Batch(*batch) for batch in resume.batches)
            restore(server, resume.server)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise _foreign(resume.path, str(error)) from None
        self._next = server.served + self._wanted.every

    def look(self, server: Server, arrivals: ArrivalStream, events: int) -> None:
        """Write a checkpoint where one is due; *events* is the count of the whole replay."""
        if self._wanted.path is None or server.served < self._next:
            return
        self._next = server.served + self._wanted.every
        now = Resume(
            self._wanted.path,
            taken=arrivals.taken,
            digest=self._digest(),
            events=events,
            batches=[None if batch is None else list(astuple(batch)) for batch in self._costs.asked],
            server=saved(server),
        )
        _write(now, self._identity)


def _write(now: Resume, identity: Mapping[str, str]) -> None:
    content = {field.name: getattr(now, field.name) for field in fields(now) if field.name != "path"}
    body = json.dumps(content, separators=(",", ":")).encode()
    head = {"format": _FORMAT, "version": _VERSION, "run": identity, "digest": digest_of(body)}
    write_atomically(now.path, json.dumps(head).encode() + b"\n" + body + b"\n")


def _read(path: Path, identity: Mapping[str, str]) -> Resume:
    """Return the checkpoint in *path*. Raises `InputError` where it is none, cut off, or of another run."""
    first, _, second = read_text(path, limit=_LIMIT_BYTES).partition("\n")
    body = second.removesuffix("\n")
    head = parse_json(first, path)
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise _foreign(path, "another file")
    if head.get("version") != _VERSION:
        raise _foreign(path, f"version {head.get('version')}")
    if head.get("digest") != digest_of(body.encode()):
        raise _foreign(path, "its content is not what was written")
    written = head.get("run")
    found = written if isinstance(written, dict) else {}
    differing = [key for key in identity if found.get(key) != identity[key]]
    if differing:
        raise InputError(
            *(Problem(str(path), f"--resume: {key}", str(found.get(key)), f"this run's: {identity[key]}")
              for key in differing)
        )  # fmt: skip
    try:
        return Resume(path, **parse_json(body, path))
    except TypeError:
        raise _foreign(path, "other fields") from None


def _foreign(path: Path, found: str) -> InputError:
    return InputError(Problem(str(path), "--resume", found, f"a checkpoint of archsim, version {_VERSION}"))
