"""What archsim keeps between runs in a private folder of the user, and that compiled kernels come back as they were.

The folder is `XDG_CACHE_HOME` or `~/.cache`, never a shared temporary one: Numba unpickles whatever it finds. Numba
stamps a cached function with the time of its own file alone, so an edited callee in a second file would leave a stale
caller: kernels lie in a folder named by the digest of all of their sources, and any edit starts a new one. A damaged
file would end in a traceback at best, and at worst in machine code that computes something else: each is written with
the SHA-256 of its content before it, and one that does not match is taken for absent and written again, so that a
flipped bit costs a compilation and no answer. Who can write a digest can write a pickle: the folder must be this user's
own, and nobody else may write there. Where a version of Numba keeps its files in another way, nothing is cached. Not
here: what is compiled, and answers of the memory floor (`dram.memo`), which are checked JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle  # our own files, in a private folder, after their digest
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from archsim.files import digest_of

__all__ = ["cache_folder", "clear", "kept", "kernel_folder", "seal", "sealed", "unsealed"]

_SIZE = hashlib.sha256().digest_size
_CLASS = "IndexDataCacheFile"


def cache_folder() -> Path | None:
    """Return archsim's own cache folder, created with mode 0700.

    `None` where it cannot be written, or belongs to another user; others lose the right to write there.
    """
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME", "") and str(Path.home() / ".cache"))
    if not base or not Path(base).is_absolute():
        return None
    folder = Path(base) / "archsim"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return None
        if status.st_mode & 0o022:
            folder.chmod(status.st_mode & 0o755)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def clear() -> int:
    """Delete every stored answer and compiled kernel; return the number of files deleted."""
    folder = cache_folder()
    if folder is None:
        return 0
    files = len(kept())
    for child in folder.iterdir():
        shutil.rmtree(child, ignore_errors=True) if child.is_dir() else child.unlink(missing_ok=True)
    return files


def kept() -> list[int]:
    """Return the bytes of each file in the cache; one that another process takes away meanwhile is left out."""
    folder = cache_folder()
    sizes: list[int] = []
    for place, _, names in os.walk(folder) if folder else ():
        for name in names:
            with contextlib.suppress(OSError):
                sizes.append(os.stat(os.path.join(place, name)).st_size)  # noqa: PTH116, PTH118 - as os.walk names them
    return sizes


def kernel_folder(sources: Iterable[Path]) -> str | None:
    """Return the folder of kernels compiled from *sources*; `None` where none can be written."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = digest_of(b"\0".join(path.read_bytes() for path in sources))
    compiled = folder / f"numba-{digest.removeprefix('sha256:')}"
    try:
        compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return str(compiled) if os.access(compiled, os.W_OK | os.X_OK) else None


def sealed(content: bytes) -> bytes:
    """Return *content* after its digest."""
    return hashlib.sha256(content).digest() + content


def unsealed(stored: bytes) -> bytes | None:
    """Return what `sealed` was given; None where *stored* is not as it was written."""
    digest, content = stored[:_SIZE], stored[_SIZE:]
    return content if hashlib.sha256(content).digest() == digest else None


def seal(dispatcher: Any) -> bool:
    """Let the cache of *dispatcher*, which Numba has not compiled yet, check its files; return whether it can.

    Where it cannot, the cache is left off. A plain function, as Numba leaves it when it is switched off, has none.
    """
    if not hasattr(dispatcher, "_cache"):
        return False
    file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    known = type(file).__name__ == _CLASS and all(hasattr(file, name) for name in ("_index_path", "_open_for_write"))
    if not known:
        dispatcher._cache = _no_cache()  # noqa: SLF001  # Numba offers no other way
        return False
    file.__class__ = _checked(type(file))
    return True


def _no_cache() -> Any:
    from numba.core.caching import NullCache  # noqa: PLC0415  # with a kernel alone

    return NullCache()


def _checked(base: Any) -> type:
    """Return Numba's class of cache files with a digest before the content of each."""

    class Checked(base):  # type: ignore[misc]
        def _read(self, path: str) -> Any:
            try:
                content = unsealed(Path(path).read_bytes())
            except OSError:
                return None
            return None if content is None else pickle.loads(content)  # noqa: S301

        def _write(self, path: str, value: object) -> None:
            with self._open_for_write(path) as file:
                file.write(sealed(self._dump(value)))

        def _load_index(self) -> dict[Any, Any]:
            stamp, overloads = self._read(self._index_path) or (None, {})
            return overloads if stamp == (self._version, self._source_stamp) else {}

        def _save_index(self, overloads: dict[Any, Any]) -> None:
            self._write(self._index_path, ((self._version, self._source_stamp), overloads))

        def _load_data(self, name: str) -> Any:
            return self._read(self._data_path(name))

        def _save_data(self, name: str, data: object) -> None:
            self._write(self._data_path(name), data)

    return Checked
