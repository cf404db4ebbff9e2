"""Answers of the memory floor on disk: found again, never believed when damaged, cleared on demand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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


def test_a_key_is_the_digest_of_the_question_as_compact_json() -> None:
    """Sorted, without spaces, with the version; its first 16 digits name an answer, shipped or stored."""
    text = f'{{"a":[1,"x"],"b":{{"c":null}},"version":{memo.VERSION}}}'
    assert memo.key_of({"b": {"c": None}, "a": [1, "x"]}) == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where shipped answers are looked for, none of them read yet."""
    monkeypatch.setattr(memo, "__file__", str(tmp_path / "memo.py"))
    memo._shipped_answers.cache_clear()
    yield tmp_path / "answers.json"
    memo._shipped_answers.cache_clear()


@pytest.mark.parametrize(("version", "found"), [(memo.VERSION, {"parts": [7]}), (memo.VERSION + 1, None)])
def test_shipped_answers_of_this_version_are_found(beside: Path, version: int, found: dict[str, list[int]]) -> None:
    """Those of another physics are not."""
    beside.write_text(json.dumps({"version": version, "answers": {"k": {"parts": [7]}}}))
    assert memo.shipped("k") == found
    assert memo.shipped("j") is None


def test_without_shipped_answers_none_is_found(beside: Path) -> None:
    """A copy of archsim that ships none computes all."""
    assert not beside.exists()
    assert memo.shipped("k") is None
