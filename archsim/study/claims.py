"""Who works on what, when several processes sweep one study into one store.

A process that wants points takes claims on them in one transaction; a point with a row or a claim is not taken again. A
claim holds as long as its owner lives, and the system knows that better than any lease: every owner keeps a lock on a
small file beside the store, which the kernel drops when the process ends, however it ends. Claims whose owner's lock is
free are dead and go back to the points that are missing. A process that was merely stopped keeps its claims.

SQLite's write-ahead mode wants all processes on one machine; machines share a study by shards or by a scheduler.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from archsim.errors import InputError, Problem
from archsim.study.store import Store

__all__ = ["Claims", "Part"]

_BATCH = 32
"""The most points claimed together: one transaction for so many."""
_ROUNDS = 16
"""Claims that few points are spread over, so that processes share them."""
_BLOCK = 4096
"""Points looked up together."""


class Part:
    """The points that this process is to look at: all below *points* from *first* on, every *shards*-th of them."""

    def __init__(self, points: int, *, first: int = 0, shards: int = 1) -> None:
        self._points = range(first, points, shards)

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, point: int) -> bool:
        return point in self._points

    def blocks(self) -> Iterator[range]:
        """Yield the points in order, some at a time."""
        for start in range(0, len(self._points), _BLOCK):
            yield self._points[start : start + _BLOCK]


class Claims:
    """The claims of this process on the points of a store; a context manager that gives them back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._place = _lock_file(store.path, self.owner)
        try:
            self._lock = os.open(self._place, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            expected = f"a folder in which a lock can be made ({error.strerror})"
            raise InputError(Problem(str(store.path), "--store", "", expected)) from None
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            # On a full disk they cannot be given back; then they die with this process.
            with contextlib.suppress(InputError), self._store.transaction() as db:
                db.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
        finally:
            self._place.unlink(missing_ok=True)
            os.close(self._lock)

    def points(self, part: Part, *, most: int | None = None) -> Iterator[int]:
        """Yield points of *part* that are neither done nor claimed by others, claimed as they are handed out.

        In the end those that dead processes left are taken, too. At most *most* are yielded.
        """
        left = len(part) if most is None else most
        self._bury()
        for again in (False, True):
            if again and not self._bury():
                return
            for block in part.blocks():
                known = self._store.known(block.start, block.stop)
                missing = [point for point in block if point not in known]
                batch = max(1, min(_BATCH, len(missing) // _ROUNDS))
                for start in range(0, len(missing), batch):
                    for point in self._claim(missing[start : start + min(batch, left)]):
                        yield point
                        left -= 1
                    if left <= 0:
                        return

    def _claim(self, points: list[int]) -> list[int]:
        taken = []
        with self._store.transaction() as db:
            for point in points:
                if db.execute("SELECT 1 FROM points WHERE point = ?", (point,)).fetchone() is None:
                    row = (point, self.owner)
                    if db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", row).rowcount:
                        taken.append(point)
        return taken

    def others(self, part: Part) -> int:
        """Return how many points of *part* living processes hold beside this one."""
        self._bury()
        with self._store.transaction() as db:
            held = db.execute("SELECT point FROM claims WHERE owner != ?", (self.owner,))
            return sum(point in part for (point,) in held)

    def _bury(self) -> int:
        """Drop the claims of processes that have ended and return how many there were."""
        freed = 0
        with self._store.transaction() as db:
            owners = [owner for (owner,) in db.execute("SELECT DISTINCT owner FROM claims")]
            for owner in owners:
                if owner != self.owner and not _lives(_lock_file(self._store.path, owner)):
                    freed += db.execute("DELETE FROM claims WHERE owner = ?", (owner,)).rowcount
        return freed


def _lock_file(store: Path, owner: str) -> Path:
    return store.with_name(f"{store.name}.owner-{owner}")


def _lives(place: Path) -> bool:
    """Return whether a process holds the lock at *place*; a file that none holds is removed."""
    try:
        handle = os.open(place, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        place.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)
