"""Answers of the memory floor on disk: found again, never believed when damaged, cleared on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.cache import clear
from archsim.dram import memo


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a private cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "archsim"


def test_an_answer_is_found_again_under_its_question(cache: Path) -> None:
    """What was remembered is recalled; another question, even under the same key, is not answered by it."""
    question = {"device": "x", "n": 3}
    key = memo.key_of(question)
    memo.remember(key, question, {"parts": [1, 2]})
    assert memo.recall(key, question) == {"parts": [1, 2]}
    assert memo.recall(key, {"device": "y"}) is None
    assert (cache / "dram" / f"{key}.json").is_file()


def test_a_damaged_answer_counts_as_absent(cache: Path) -> None:
    """A torn or foreign file is computed anew, not an error."""
    question = {"device": "x"}
    key = memo.key_of(question)
    memo.remember(key, question, {"parts": [1]})
    for content in (b"", b"{", b"[]", b'{"question": 1}', b"\xff\xfe"):
        (cache / "dram" / f"{key}.json").write_bytes(content)
        assert memo.recall(key, question) is None


def test_without_a_writable_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that is a file, or none at all, is no error."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    memo.remember("k", {}, {})
    assert memo.recall("k", {}) is None
    assert clear() == 0


def test_without_a_home_there_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative folder is none; a home is enough."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    assert memo.cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert memo.cache_folder() is None
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache").mkdir()
    assert memo.cache_folder() == tmp_path / ".cache" / "archsim"
    assert (tmp_path / ".cache" / "archsim").stat().st_mode & 0o777 == 0o700


def test_clearing_deletes_every_answer(cache: Path) -> None:
    """`archsim cache clear` leaves no file."""
    memo.remember("a", {}, {"parts": []})
    memo.remember("b", {}, {"parts": []})
    assert clear() == 2
    assert not list(cache.rglob("*.json"))
