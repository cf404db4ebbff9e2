"""Numba's cache of compiled kernels, each file with a digest of itself: a flipped bit costs a compilation, no answer.

Numba unpickles whatever it finds. A damaged file would end in a traceback at best, and at worst in machine code that
computes something else. Files are therefore written with the SHA-256 of their content before it, and one that does not
match is taken for absent and written again. Where a version of Numba keeps its files in another way, nothing is cached.
Not here: where the folder lies, and when a change of a source starts a new one; rooms that compile know that.
"""

from __future__ import annotations

import hashlib
import pickle  # our own files, in a private folder, after their digest
from pathlib import Path
from typing import Any

__all__ = ["seal", "sealed", "unsealed"]

_SIZE = hashlib.sha256().digest_size
_CLASS = "IndexDataCacheFile"


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
