"""What the memory floor has computed, kept on disk by digest.

One JSON file per answer, written atomically, in the user's cache (`archsim.cache`). The key is the
digest of everything that the answer depends on, and of `VERSION`, which changes with the physics. A file that cannot be
read, parsed or verified, by the digest of its answer, is treated as absent and written again. Nothing is unpickled.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from archsim.cache import cache_folder
from archsim.errors import InputError
from archsim.files import digest_of, read_json, write_atomically

__all__ = ["VERSION", "key_of", "recall", "remember", "shipped"]

VERSION = 1
"""Raised whenever a kernel, a profile or a timing table changes an answer."""


def key_of(question: dict[str, Any]) -> str:
    """Return the digest of *question*: everything an answer depends on, as JSON values."""
    return _digest_of({"version": VERSION, **question})


def _digest_of(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest_of(text.encode()).removeprefix("sha256:")


@lru_cache(maxsize=1)
def _shipped_answers() -> dict[str, dict[str, Any]]:
    place = Path(__file__).parent / "answers.json"
    if not place.is_file():
        return {}
    stored = read_json(place)
    answers: dict[str, dict[str, Any]] = stored["answers"] if stored.get("version") == VERSION else {}
    return answers


def shipped(key: str) -> dict[str, Any] | None:
    """Return the answer that came with archsim, or `None`: bundled systems need no simulation for common phases."""
    return _shipped_answers().get(key)


def _place(key: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "dram" / f"{key}.json"


def recall(key: str, question: dict[str, Any]) -> dict[str, Any] | None:
    """Return the stored answer to *question*, or `None`; the stored question must be the same one."""
    place = _place(key)
    if place is None or not place.is_file():
        return None
    try:
        stored = read_json(place)
    except InputError:
        return None
    if not isinstance(stored, dict) or stored.get("question") != {"version": VERSION, **question}:
        return None
    answer = stored.get("answer")
    return answer if isinstance(answer, dict) and stored.get("answer_digest") == _digest_of(answer) else None


def remember(key: str, question: dict[str, Any], answer: dict[str, Any]) -> None:
    """Store *answer*; where the folder cannot be written the answer is simply not kept."""
    place = _place(key)
    if place is None:
        return
    content = {
        "question": {"version": VERSION, **question},
        "answer": answer,
        "answer_digest": _digest_of(answer),
    }
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(place, json.dumps(content, sort_keys=True, allow_nan=False).encode() + b"\n")
    except (OSError, InputError):  # a full disk is no reason to refuse an answer that is there
        return
