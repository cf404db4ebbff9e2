"""The store of a study: one SQLite file, one row a point.

Rows are written as points finish, each in a transaction of its own in write-ahead mode: killed at any moment, a process
loses the points in flight and nothing else, and a full disk leaves what was written. What a row holds follows from the
study alone, but for `wall_s`; the order of rows is that of points. Several processes share a store:
`archsim.study.claims` says who works on what. A store belongs to one study, by digest, and to one version of archsim,
since its rows would mix two physics otherwise. SQLite does not notice a bit that flipped on a disk: every row and the
store's own description hold a digest of themselves, the description the number of rows, and what does not match is
refused, never shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from archsim.errors import InputError, Problem
from archsim.files import digest_of, open_binary
from archsim.result import ARCHSIM_VERSION
from archsim.study.cases import Outcome

__all__ = ["SCHEMA", "Identity", "Store", "is_store"]

SCHEMA = "archsim.study/3"
"""Changes when a table goes or changes its meaning, or rows have other metrics."""
_ALL = 2**63 - 1
_DIGEST = "digest_of_this"
"""Key of the description that holds the digest of all others."""
_ROWS = "rows_written"
"""Key of the number of rows: a damaged tree may lose some without notice."""
_READ = """
SELECT value, row_digest, point, status, inputs, metrics, error, provenance, wall_s
FROM meta LEFT JOIN points ON point >= ? AND point < ? WHERE key = 'rows_written' ORDER BY point
"""
"""Rows and their number in one statement, which sees one state of the store whatever others write."""
_WAIT_S = 60.0
"""How long a write waits for another process's."""
_APPLICATION_ID = 0x61726373
"""`arcs`, in the header of the file."""
_ANOTHER = "a store of `archsim sweep`; this is another file"
_SQLITE = b"SQLite format 3\0"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (
    point INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    inputs TEXT NOT NULL,
    metrics TEXT NOT NULL,
    error TEXT NOT NULL,
    config_digest TEXT,
    provenance TEXT NOT NULL,
    wall_s REAL NOT NULL,
    row_digest TEXT NOT NULL
);
CREATE TABLE claims (point INTEGER PRIMARY KEY, owner TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which study a store is of."""

    study: str
    """Name of the study."""
    digest: str
    """Digest of everything that its rows depend on."""
    points: int
    """How many it has."""
    definition: str
    """The study as JSON."""
    version: str = ARCHSIM_VERSION
    schema: str = SCHEMA


class Store:
    """An open store. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the store at *path*; raises `InputError` where there is none, or the file is something else."""
        if not path.is_file():
            raise _refused(path, "", "a store that `archsim sweep` has written; there is none")
        self.path = path
        self._db = _connected(path)
        try:
            self.identity = self._identity()
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def create_or_open(cls, path: Path, identity: Identity) -> Store:
        """Return the store of *identity* at *path*, made where there is none.

        Raises `InputError` where the file is the store of another study or of another version of archsim.
        """
        if not path.exists():
            _create(path, identity)
        store = cls(path)
        try:
            store._check(identity)
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _identity(self) -> Identity:
        with _named_errors(self.path):
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta.get("schema") != SCHEMA:
            raise _refused(self.path, str(meta.get("schema")), f"{SCHEMA}, the schema of this version")
        written, _ = meta.pop(_DIGEST, ""), meta.pop(_ROWS, "")
        if set(meta) != {field.name for field in fields(Identity)} or _digest_of(meta) != written:
            raise _refused(self.path, "", "a store as it was written; its description is damaged")
        return Identity(**{**meta, "points": int(meta["points"])})

    def _check(self, wanted: Identity) -> None:
        found, place = self.identity, str(self.path)
        if found.version != wanted.version:
            expected = f"a store of archsim {wanted.version}; its rows would mix two versions"
            raise InputError(Problem(place, "archsim version", found.version, expected))
        if found.digest != wanted.digest:
            same = " as it is now (the study, or a file it names, has changed)" if found.study == wanted.study else ""
            raise InputError(Problem(place, "study", found.study, f"a store of the study {wanted.study}{same}"))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a write transaction, which is undone where the block raises."""
        with _named_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def write(self, outcome: Outcome) -> None:
        """Keep *outcome* and drop the claim on its point. A row that is there already stays as it is."""
        with self.transaction() as db:
            _insert(db, outcome)
            db.execute("DELETE FROM claims WHERE point = ?", (outcome.point,))

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Keep all of *outcomes* in one transaction; rows that are there already stay as they are."""
        with self.transaction() as db:
            for outcome in outcomes:
                _insert(db, outcome)

    def counts(self) -> dict[str, int]:
        """Return status -> number of rows."""
        return dict(sorted(Counter(row[1] for row in self._written(0, _ALL)).items()))

    def known(self, first: int, stop: int) -> set[int]:
        """Return the points of [first, stop) that have a row."""
        with _named_errors(self.path):
            rows = self._db.execute("SELECT point FROM points WHERE point >= ? AND point < ?", (first, stop))
            return {point for (point,) in rows}

    def rows(self, *, status: str | None = None) -> Iterator[Outcome]:
        """Yield the rows in the order of points, without holding them all."""
        for outcome in self.rows_between(0, _ALL):
            if status is None or outcome.status == status:
                yield outcome

    def rows_between(self, first: int, stop: int) -> Iterator[Outcome]:
        """Yield the rows of the points in [first, stop)."""
        for point, state, inputs, metrics, error, provenance, wall_s in self._written(first, stop):
            yield Outcome(point, json.loads(inputs), state, json.loads(metrics), error, json.loads(provenance), wall_s)

    def _written(self, first: int, stop: int) -> Iterator[list[Any]]:
        """Yield the columns of rows as they were written; refuse a row that is not, and a store that lost some."""
        seen, before, count = 0, -1, ""
        with _named_errors(self.path):
            for count, written, *row in self._db.execute(_READ, (first, stop)):  # noqa: B007  # the last one is used
                if row[0] is None:  # no row at all
                    continue
                if _digest_of(row) != written or row[0] <= before:
                    raise _refused(self.path, f"point {row[0]}", "a row as it was written; this one is damaged")
                seen, before = seen + 1, row[0]
                yield row
        if (first, stop) == (0, _ALL) and count != str(seen):
            raise _refused(self.path, f"{seen} rows", f"the {count} rows that were written; it is damaged")


def is_store(path: Path) -> bool:
    """Return whether *path* looks like a store: a file that ends in `.db`, or is one of SQLite's."""
    if path.is_dir():
        return False
    if path.suffix == ".db" or not path.is_file():
        return path.suffix == ".db"
    with open_binary(path) as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _insert(db: sqlite3.Connection, outcome: Outcome) -> None:
    inputs, metrics, provenance = (_json(part) for part in (outcome.inputs, outcome.metrics, outcome.provenance))
    row = [outcome.point, outcome.status, inputs, metrics, outcome.error, provenance, float(outcome.wall_s)]
    values = (*row[:5], outcome.provenance.get("config_digest"), *row[5:], _digest_of(row))
    if db.execute("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values).rowcount:
        db.execute("UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = ?", (_ROWS,))


def _digest_of(value: Any) -> str:
    """Return the digest of *value*, a row or the description; what a flipped bit made of it is another value."""
    return digest_of(repr(value if isinstance(value, list) else sorted(value.items())).encode(errors="replace"))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _check_kind(path: Path, db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise _refused(path, "", _ANOTHER)


def _refused(path: Path, value: str, expected: str) -> InputError:
    return InputError(Problem(str(path), "--store", value, expected))


def _connected(path: Path) -> sqlite3.Connection:
    with _named_errors(path):
        db = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        try:
            # Before anything else: setting the mode would write a header into an empty file.
            _check_kind(path, db)
            db.execute("PRAGMA journal_mode = WAL")
            # What a crash of the machine may cost is the last points; a crash of the process costs none.
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db


def _create(path: Path, identity: Identity) -> None:
    """Make the store elsewhere and move it into place whole, unless another process was first."""
    fresh = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    with _named_errors(path):
        try:
            fresh.unlink(missing_ok=True)
            db = sqlite3.connect(fresh, isolation_level=None)
            try:
                db.executescript(_TABLES)
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                meta = {key: str(value) for key, value in asdict(identity).items()}
                db.executemany(
                    "INSERT INTO meta VALUES (?, ?)", [*meta.items(), (_DIGEST, _digest_of(meta)), (_ROWS, "0")]
                )
            finally:
                db.close()
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
        except OSError as error:
            raise _refused(path, "", f"a file that can be written ({error.strerror})") from None
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into an error that names the file."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the text of a damaged file need not be UTF-8
        reason = str(error)
        if "full" in reason:
            expected = "room for a row: the disk is full; what was written is intact, and the sweep goes on from there"
        elif "locked" in reason:
            expected = f"a store that other processes leave free for a write within {_WAIT_S:.0f} s"
        elif "not a database" in reason:
            expected = _ANOTHER
        else:
            expected = f"a store that can be read and written ({reason})"
        raise _refused(path, "", expected) from error
