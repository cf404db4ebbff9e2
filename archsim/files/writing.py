"""Writing that is all or nothing: a reader sees the old state or the new one, never a part.

A file or folder is made under a hidden name beside its own and renamed when it is whole. Nothing is overwritten that
nobody asked to be.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from archsim.errors import InputError, Problem
from archsim.files.reading import reason_of

__all__ = [
    "gzip_into", "refuse_existing", "replaced_file", "write_atomically", "write_gzip_atomically", "written_directory",
]  # fmt: skip


def write_atomically(path: Path, content: bytes) -> None:
    """Write *content* to *path* in one step; an existing file is replaced whole or not at all.

    Raises `InputError` where the file cannot be written.
    """
    with replaced_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that becomes *path* when the block ends without an exception.

    Raises `InputError` where the file cannot be written.
    """
    temporary = _hidden(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError, ValueError):  # where it cannot be made it cannot be removed
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise


def _hidden(path: Path) -> Path:
    """Return a free name beside *path*. It is there before what it names, so that no interrupt can come between."""
    return path.parent / f".{path.name[:50]}.{secrets.token_hex(6)}"


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(Problem(str(path), "", "", f"a file that can be written ({reason_of(error)})"))


def write_gzip_atomically(path: Path, content: bytes) -> None:
    """Write *content* to *path* as gzip whose bytes depend on the content alone (no name, no time)."""
    packed = io.BytesIO()
    with gzip_into(packed) as file:
        file.write(content)
    write_atomically(path, packed.getvalue())


def gzip_into(file: BinaryIO) -> gzip.GzipFile:
    """Return what packs into *file*: no name, no time, and a stated level, since Python 3.15 has another default."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0)


@contextlib.contextmanager
def written_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory that becomes *path* when the block ends without an exception.

    Raises `InputError` where *path* exists, before and after: `rename` onto an empty directory would succeed.
    An interrupt or an error leaves nothing behind.
    """
    refuse_existing(path)
    temporary = _hidden(path)
    created = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        refuse_existing(path)
        temporary.rename(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(created)
        if isinstance(error, OSError) or (isinstance(error, ValueError) and "\0" in str(path)):
            raise _uncreatable(path, error) from None
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def refuse_existing(path: Path, key: str = "--out", expected: str = "a directory that does not exist yet") -> None:
    """Raise `InputError` where *path* exists: nothing is overwritten unasked, and a long run is not begun in vain."""
    try:
        taken = path.exists() or path.is_symlink()
    except (OSError, ValueError) as error:
        raise _uncreatable(path, error) from None
    if taken:
        raise InputError(Problem(str(path), key, "", expected))


def _uncreatable(path: Path, error: Exception) -> InputError:
    return InputError(Problem(str(path)[:80], "--out", "", f"a directory that can be created ({reason_of(error)})"))
