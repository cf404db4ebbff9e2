"""What archsim keeps for itself may rot: it is made anew or refused, and never becomes another answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archsim import cache
from archsim.dram import memo
from archsim.errors import InputError
from archsim.files import inside
from archsim.study.cases import Outcome
from archsim.study.store import Identity, Store

IDENTITY = Identity("s", "sha256:0123456789abcdef", 40, '{"name": "s"}')
ROWS = [
    Outcome(point, {"batch": point, "system": f"m{point % 3}"}, "failed" if point % 7 == 3 else "done",
            {"tokens_per_s": 1 / (point + 1), "mbu": None}, "it does not fit" if point % 7 == 3 else "",
            {"command": "archsim run", "config_digest": "sha256:00", "seed": 0}, 0.25 * point)
    for point in range(40)
]  # fmt: skip
QUESTION: dict[str, Any] = {"pattern": "seq", "bytes": 4096, "window": [1, 2.5, 3]}
ANSWER: dict[str, Any] = {"rate": 1234567890.125, "causes": {"row": 0.25, "refresh": 0.75}, "reads": [1, 2, 3]}


def damaged(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield *content* with a bit flipped, its end lost, or a page of it in another's place."""
    draw = random.Random(seed)
    for number in range(count):
        at = draw.randrange(len(content))
        if number % 8 == 6:
            yield content[:at]
        elif number % 8 == 7 and len(content) > 8192:
            here, there = (4096 * draw.randrange(len(content) // 4096) for _ in range(2))
            yield content[:here] + content[there : there + 4096] + content[here + 4096 :]
        else:
            yield content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of an answer that is kept in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memo.remember(memo.key_of(QUESTION), QUESTION, ANSWER)
    (file,) = (tmp_path / "archsim" / "dram").iterdir()
    return file


def test_a_damaged_answer_is_absent(answers: Path) -> None:
    """Whatever bit flips, what is recalled is the answer or nothing, and it can be written again."""
    key, content = memo.key_of(QUESTION), answers.read_bytes()
    found = []
    for bad in damaged(content, 600, 0):
        answers.write_bytes(bad)
        found.append(memo.recall(key, QUESTION))
    assert all(answer in (None, ANSWER) for answer in found)
    assert found.count(None) > 400
    memo.remember(key, QUESTION, ANSWER)
    assert answers.read_bytes() == content
    assert memo.recall(key, QUESTION) == ANSWER


def test_an_answer_of_another_question_is_absent(answers: Path) -> None:
    """A file in the place of another: its question is in it."""
    other = {**QUESTION, "bytes": 8192}
    answers.rename(answers.with_name(f"{memo.key_of(other)}.json"))
    assert memo.recall(memo.key_of(other), other) is None


def test_an_answer_that_cannot_be_kept_is_no_error(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the file system takes no byte of it."""

    def full(_path: Path, _content: bytes) -> None:
        raise InputError

    monkeypatch.setattr(memo, "write_atomically", full)
    answers.unlink()
    memo.remember(memo.key_of(QUESTION), QUESTION, ANSWER)
    assert memo.recall(memo.key_of(QUESTION), QUESTION) is None


def read(path: Path) -> tuple[Identity, dict[str, int], list[Outcome]]:
    """Return all that a store says."""
    with Store(path) as store:
        return store.identity, store.counts(), list(store.rows())


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    """It says what was written, or that it is damaged: no other number, no row too few."""
    path = tmp_path / "s.db"
    with Store.create_or_open(path, IDENTITY) as store:
        store.take(ROWS)
    good, content = read(path), path.read_bytes()
    assert good == (IDENTITY, {"done": 34, "failed": 6}, ROWS)
    refused = 0
    for bad in damaged(content, 500, 1):
        path.write_bytes(bad)
        for beside in (path.with_name("s.db-wal"), path.with_name("s.db-shm")):
            beside.unlink(missing_ok=True)
        try:
            found = read(path)
        except InputError as error:
            refused += str(path) in str(error)
        else:
            assert found == good
    assert refused > 200


def loaded(folder: Path) -> Callable[[int], int]:
    """Return a compiled function whose cache lies in *folder*."""
    numba = pytest.importorskip("numba")
    config, before = numba.config, numba.config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        made = numba.njit(cache=True)(squared)
        assert cache.seal(made)
        made.compile((numba.int64,))
    finally:
        config.CACHE_DIR = before
    return made  # type: ignore[no-any-return]


def squared(number: int) -> int:
    """Return the square of *number*."""
    return number * number + 1


def test_damaged_machine_code_is_compiled_again(tmp_path: Path) -> None:
    """Numba would unpickle and run it: it is checked first, and found again where it is whole."""
    assert loaded(tmp_path)(12) == 145
    assert sum(loaded(tmp_path).stats.cache_hits.values()) == 1  # type: ignore[attr-defined]
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    for seed, path in enumerate(files):
        content = path.read_bytes()
        for bad in damaged(content, 4, seed):
            path.write_bytes(bad)
            again = loaded(tmp_path)
            assert again(12) == 145
            assert sum(again.stats.cache_hits.values()) == 0  # type: ignore[attr-defined]


def test_a_seal_breaks_with_any_bit() -> None:
    """Of the digest or of the content."""
    whole = cache.sealed(b"machine code")
    assert cache.unsealed(whole) == b"machine code"
    for place in range(8 * len(whole)):
        bad = bytearray(whole)
        bad[place // 8] ^= 1 << place % 8
        assert cache.unsealed(bytes(bad)) is None


def test_a_function_whose_cache_is_unknown_is_not_cached() -> None:
    """Another version of Numba may keep files in another way: then it keeps none."""

    class Dispatcher:
        _cache = object()

    made = Dispatcher()
    assert not cache.seal(made)
    assert type(made._cache).__name__ == "NullCache"


@pytest.mark.parametrize("name", ["/etc/passwd", "../chip.toml", "a/../../b.toml", ".."])
def test_a_file_names_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    """A hwconfig or a study from elsewhere reads nothing of this machine."""
    with pytest.raises(InputError, match="or below"):
        inside(tmp_path, name)
    assert inside(tmp_path, "parts/chip.toml") == tmp_path / "parts/chip.toml"


@pytest.mark.parametrize("target", ["/etc", "..", "out"])
def test_no_link_leads_out_of_a_folder(tmp_path: Path, target: str) -> None:
    """An archive may bring its links along: to a folder, to the one above, to nowhere."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own/parts").mkdir()
    (tmp_path / "own/near").symlink_to("parts")
    (tmp_path / "own/link").symlink_to({"out": tmp_path / "absent"}.get(target, Path(target)))
    with pytest.raises(InputError, match="or below"):
        inside(tmp_path / "own", "link/chip.toml")
    assert inside(tmp_path / "own", "near/chip.toml") == tmp_path / "own/near/chip.toml"


def test_nothing_is_unpickled_from_a_folder_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest beside a pickle proves no author: another user's folder is left alone, one open to others is closed."""
    open_to_all = tmp_path / "archsim"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == open_to_all
    assert open_to_all.stat().st_mode & 0o022 == 0
    monkeypatch.setattr(cache.os, "geteuid", lambda: open_to_all.stat().st_uid + 1)
    assert cache.cache_folder() is None
    memo.remember(memo.key_of(QUESTION), QUESTION, ANSWER)
    assert list(open_to_all.iterdir()) == []
