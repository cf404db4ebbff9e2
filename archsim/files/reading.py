"""Reading that is bounded: file size, unpacked size, length of a line, nesting, digits of a number.

Every failure is an `InputError` that names the file.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import stat
import tomllib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from archsim.errors import InputError, Problem, printable

__all__ = [
    "check_values",
    "digest_of",
    "digest_of_lines",
    "open_binary",
    "open_text_lines",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "read_toml",
    "reason_of",
]

CONFIG_LIMIT_BYTES = 8 * 2**20
"""A hwconfig, model or study larger than this is refused."""
TRACE_LIMIT_BYTES = 8 * 2**30
"""Unpacked bytes of a trace; one that goes on is refused while it is read."""
_LINE_LIMIT_CHARACTERS = 2**20
_NESTING_LIMIT = 64
_DIGITS_LIMIT = 64
_TOML_LIMIT_BYTES = 2**20
_DOTS_LIMIT = 128
"""Dots of one line of TOML: the parser's time grows with the square of a dotted key's parts."""


def read_bytes(path: Path, *, limit: int = CONFIG_LIMIT_BYTES) -> bytes:
    """Return the content of *path*, unpacked where its name ends in `.gz`; refuse more than *limit* bytes."""
    try:
        with _opened(path) as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    content = _read(unpacked, limit + 1)
            else:
                content = _read(raw, limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if len(content) > limit:
        raise InputError(Problem(str(path), "", "", f"at most {limit:,} bytes once unpacked"))
    return content


def _read(file: BinaryIO | gzip.GzipFile, most: int) -> bytes:
    """Return at most *most* bytes of *file*, part by part: one call would take room for all of *most* at once."""
    parts: list[bytes] = []
    while most > 0 and (part := file.read(min(most, 2**20))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _opened(path: Path) -> BinaryIO:
    """Open a regular file alone: a pipe may be silent for ever, a device endless."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # no wait for a pipe's writer
    handle = os.open(path, flags)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise OSError("it is a folder, a pipe or a device")


def _unreadable(path: Path, error: BaseException) -> InputError:
    return InputError(Problem(str(path), "", "", f"a readable file ({reason_of(error)})"))


def reason_of(error: BaseException) -> str:
    """Return in words why a file could not be read or written."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def open_text_lines(path: Path, *, limit: int = TRACE_LIMIT_BYTES) -> Iterator[tuple[int, str]]:
    """Yield `(line number from 1, line without its end)` of a UTF-8 text file, gzip or plain, streamed.

    Refuses a line beyond a million characters and more than *limit* characters in all.
    """
    seen = 0
    try:
        with _opened(path) as raw:
            stream: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None) as text:
                number = 0
                while line := text.readline(_LINE_LIMIT_CHARACTERS + 1):
                    number += 1
                    seen += len(line)
                    if len(line) > _LINE_LIMIT_CHARACTERS:
                        raise InputError(Problem(str(path), f"line {number}", "", "a line below 1,048,576 characters"))
                    if seen > limit:
                        raise InputError(Problem(str(path), "", "", f"at most {limit:,} characters once unpacked"))
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "", "", f"UTF-8 text ({error.reason})")) from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


@contextlib.contextmanager
def open_binary(path: Path, *, limit: int = TRACE_LIMIT_BYTES) -> Iterator[BinaryIO]:
    """Give the file at *path* to a reader of a binary format; refuse more than *limit* bytes."""
    try:
        with _opened(path) as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise InputError(Problem(str(path), "", "", f"at most {limit:,} bytes"))
            yield file
    except OSError as error:
        raise _unreadable(path, error) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; refuse NaN, infinity, deep nesting and endless numbers."""
    text = read_text(path, limit=_TOML_LIMIT_BYTES)
    tables: dict[str, Any] = _copied(_parsed_toml(text, path))
    return tables


@lru_cache(maxsize=64)
def _parsed_toml(text: str, path: Path) -> dict[str, Any]:
    """Return the tables of *text*; the points of a study read the same few files over and over."""
    if any(line.count(".") > _DOTS_LIMIT for line in text.splitlines()):
        raise InputError(Problem(str(path), "", "", f"lines of at most {_DOTS_LIMIT} dots"))
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(str(path), "", "", f"valid TOML ({error})")) from None
    except (RecursionError, ValueError) as error:
        raise _too_large_inside(path, error) from None
    check_values(path, tables)
    return tables


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def read_json(path: Path, *, limit: int = CONFIG_LIMIT_BYTES) -> Any:
    """Return the value in a JSON file; refuse NaN, infinity, deep nesting and endless numbers."""
    return parse_json(read_text(path, limit=limit), path)


def parse_json(text: str, path: Path) -> Any:
    """Return the value that *text* of *path* holds, as `read_json` does."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InputError(Problem(str(path), f"line {error.lineno}", "", f"valid JSON ({error.msg})")) from None
    except (RecursionError, ValueError) as error:
        raise _too_large_inside(path, error) from None
    check_values(path, value)
    return value


def read_text(path: Path, *, limit: int = CONFIG_LIMIT_BYTES) -> str:
    """Return the UTF-8 text of *path*; refuse more than *limit* bytes."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "", "", f"UTF-8 text ({error.reason})")) from None


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number of JSON")


def _too_large_inside(path: Path, error: Exception) -> InputError:
    expected = (
        f"nesting below {_NESTING_LIMIT} levels"
        if isinstance(error, RecursionError)
        else f"finite numbers of ordinary length ({str(error)[:80]})"
    )
    return InputError(Problem(str(path), "", "", expected))


def check_values(path: Path, value: Any) -> None:
    """Raise `InputError` where *value* of *path* nests too deep, or holds a number or text that is none."""
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        key, item, depth = pending.pop()
        if depth > _NESTING_LIMIT:
            raise InputError(Problem(str(path), key[:80], "", f"nesting below {_NESTING_LIMIT} levels"))
        if isinstance(item, float) and not math.isfinite(item):
            raise InputError(Problem(str(path), key, str(item), "a finite number"))
        if isinstance(item, int) and item.bit_length() > 4 * _DIGITS_LIMIT:
            raise InputError(Problem(str(path), key, "", f"an integer of at most {_DIGITS_LIMIT} digits"))
        if any(printable(text) != text for text in (key, item) if isinstance(text, str)):
            raise InputError(Problem(str(path), key[:80], "", "text without control characters"))
        if isinstance(item, dict):
            pending += [(f"{key}.{name}" if key else str(name), inner, depth + 1) for name, inner in item.items()]
        elif isinstance(item, list):
            pending += [(f"{key}[{index}]", inner, depth + 1) for index, inner in enumerate(item)]


def digest_of(content: bytes) -> str:
    """Return `sha256:` and the first 16 hex digits of the digest of *content*."""
    return "sha256:" + hashlib.sha256(content).hexdigest()[:16]


def digest_of_lines(path: Path) -> str:
    """Return the digest of the lines of a text file, whatever it is packed in."""
    digest = hashlib.sha256()
    for _, line in open_text_lines(path):
        digest.update(line.encode() + b"\n")
    return "sha256:" + digest.hexdigest()[:16]
