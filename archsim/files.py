"""The only place that opens user files, finds bundled ones and writes results.

Reading is bounded (file size, unpacked size, nesting, digits of a number) and every failure is an `InputError`
that names the file. Writing is atomic: a reader sees the old state or the new one, never a part.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import secrets
import shutil
import tomllib
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from archsim.errors import InputError, Problem, did_you_mean

__all__ = [
    "bundled_names",
    "bundled_path",
    "check_values",
    "digest_of",
    "digest_of_lines",
    "find",
    "inside",
    "open_binary",
    "open_text_lines",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "read_toml",
    "refuse_existing",
    "replaced_file",
    "write_atomically",
    "write_gzip_atomically",
    "written_directory",
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
_SINGULAR = {
    "systems": "system",
    "chips": "chip",
    "memories": "memory device",
    "runtimes": "runtime",
    "tiers": "tier",
    "models": "model",
    "samplers": "trace",
    "studies": "study",
    "economics": "economics",
}
"""Folder of bundled files -> what a message calls one of them."""


def bundled_path(kind: str) -> Path:
    """Return the folder of the bundled *kind*, `"hwconfigs"` or `"workloads"`.

    Installed from a wheel they lie in `archsim/_data`; in a source tree beside the package.
    """
    package = Path(__file__).parent
    installed = package / "_data" / kind
    return installed if installed.is_dir() else package.parent / kind


def bundled_names(kind: str, folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the sorted names (file names without suffix) bundled in *folder* of *kind*."""
    root = bundled_path(kind) / folder
    files = [path for path in root.iterdir() if path.suffix in suffixes] if root.is_dir() else []
    return sorted(path.stem for path in files)


def find(name_or_path: str, *, kind: str, folder: str, suffixes: tuple[str, ...]) -> Path:
    """Return the file that *name_or_path* means: a bundled name, else a path.

    A bundled name wins over a file of the same name in the working directory. Raises `InputError` for an unknown
    name (with the nearest known one) and for a path that is not a readable file.
    """
    what = _SINGULAR.get(folder, folder or kind)
    if "\0" in name_or_path or len(name_or_path) > 4096:
        raise InputError(Problem("", what, name_or_path[:40], "a name or a path without NUL, below 4,096 characters"))
    path = Path(name_or_path)
    if path.name == name_or_path:
        root = bundled_path(kind) / folder
        bundled = next((file for s in suffixes if _is_file(file := root / (name_or_path + s))), None)
        if bundled is not None:
            return bundled
    if _is_file(path):
        return path
    if "/" in name_or_path or os.sep in name_or_path or name_or_path.endswith(suffixes):
        raise InputError(Problem(name_or_path, "", "", f"a readable {what} file at this path; there is none"))
    known = bundled_names(kind, folder, suffixes)
    hint = did_you_mean(name_or_path, known)
    raise InputError(Problem("", what, name_or_path, f"a path or one of the bundled names{hint}: {', '.join(known)}"))


def inside(folder: Path, name: str) -> Path:
    """Return the path that *name*, as a file in *folder* writes it, means: in that folder or below it.

    Raises `InputError` for an absolute path and for one that leaves the folder: a file from elsewhere names no file of
    this machine. What a user writes on the command line may lie anywhere.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(Problem("", "", name, "a path in the folder of the file that names it, or below"))
    return folder / path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False


def read_bytes(path: Path, *, limit: int = CONFIG_LIMIT_BYTES) -> bytes:
    """Return the content of *path*, unpacked where its name ends in `.gz`; refuse more than *limit* bytes."""
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    content = unpacked.read(limit + 1)
            else:
                content = raw.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if len(content) > limit:
        raise InputError(Problem(str(path), "", "", f"at most {limit:,} bytes once unpacked"))
    return content


def _unreadable(path: Path, error: BaseException) -> InputError:
    return InputError(Problem(str(path), "", "", f"a readable file ({_reason(error)})"))


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def open_text_lines(path: Path, *, limit: int = TRACE_LIMIT_BYTES) -> Iterator[tuple[int, str]]:
    """Yield `(line number from 1, line without its end)` of a UTF-8 text file, gzip or plain, streamed.

    Refuses a line beyond a million characters and more than *limit* characters in all.
    """
    seen = 0
    try:
        with path.open("rb") as raw:
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
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None
    with file:
        if path.stat().st_size > limit:
            raise InputError(Problem(str(path), "", "", f"at most {limit:,} bytes"))
        yield file


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
    """Raise `InputError` where *value* of *path* nests too deep or holds a number that is none."""
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        key, item, depth = pending.pop()
        if depth > _NESTING_LIMIT:
            raise InputError(Problem(str(path), key[:80], "", f"nesting below {_NESTING_LIMIT} levels"))
        if isinstance(item, float) and not math.isfinite(item):
            raise InputError(Problem(str(path), key, str(item), "a finite number"))
        if isinstance(item, int) and item.bit_length() > 4 * _DIGITS_LIMIT:
            raise InputError(Problem(str(path), key, "", f"an integer of at most {_DIGITS_LIMIT} digits"))
        if isinstance(item, dict):
            pending += [(f"{key}.{name}" if key else str(name), inner, depth + 1) for name, inner in item.items()]
        elif isinstance(item, list):
            pending += [(f"{key}[{index}]", inner, depth + 1) for index, inner in enumerate(item)]


def digest_of(content: bytes) -> str:
    """Return `sha256:` and the first 16 hex digits of the digest of *content*."""
    return "sha256:" + hashlib.sha256(content).hexdigest()[:16]


def write_atomically(path: Path, content: bytes) -> None:
    """Write *content* to *path* in one step; an existing file is replaced whole or not at all.

    Raises `InputError` where the file cannot be written.
    """
    with replaced_file(path) as file:
        file.write(content)


def digest_of_lines(path: Path) -> str:
    """Return the digest of the lines of a text file, whatever it is packed in."""
    digest = hashlib.sha256()
    for _, line in open_text_lines(path):
        digest.update(line.encode() + b"\n")
    return "sha256:" + digest.hexdigest()[:16]


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
    return InputError(Problem(str(path), "", "", f"a file that can be written ({_reason(error)})"))


def write_gzip_atomically(path: Path, content: bytes) -> None:
    """Write *content* to *path* as gzip whose bytes depend on the content alone (no name, no time)."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(content)
    write_atomically(path, packed.getvalue())


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
    return InputError(Problem(str(path)[:80], "--out", "", f"a directory that can be created ({_reason(error)})"))
