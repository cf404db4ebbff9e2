"""Files: names, limits on what is read, and writing that is all or nothing."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.files import (
    bundled_names,
    digest_of,
    find,
    open_binary,
    open_text_lines,
    read_bytes,
    read_json,
    read_toml,
    write_atomically,
    write_gzip_atomically,
    written_directory,
)


def _find(name: str) -> Path:
    return find(name, kind="hwconfigs", folder="systems", suffixes=(".toml",))


def _short(text: str) -> str:
    return repr(text[:24])


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_bundled_name_is_found() -> None:
    """A word without separator and suffix is a name."""
    assert _find("h100-sxm8").name == "h100-sxm8.toml"
    assert "h100-sxm8" in bundled_names("hwconfigs", "systems", (".toml",))


def test_a_bundled_name_wins_over_a_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a name means does not depend on where one stands."""
    monkeypatch.chdir(tmp_path)
    _written(tmp_path, "h100-sxm8", "x = 1")
    assert _find("h100-sxm8").parent.name == "systems"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """A slip of the finger is mended by reading the message."""
    with pytest.raises(InputError, match=r"system: got 'h100-sxm9'; expected .*did you mean 'h100-sxm8'"):
        _find("h100-sxm9")


@pytest.mark.parametrize(
    "name",
    ["../systems/h100-sxm8", "../../etc/passwd", "/nowhere.toml", "a\0b", "x" * 300, "y" * 9999, "", ".", "no.toml"],
    ids=_short,
)
def test_a_name_that_is_no_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither `../` nor NUL nor any length gets past the door."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected"):
        _find(name)


def test_a_gzip_that_unpacks_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    """Of a bomb no more is unpacked than the limit and one byte."""
    bomb = _written(tmp_path, "bomb.json.gz", gzip.compress(b"[" + b" " * 50_000_000 + b"]"))
    tracemalloc.start()
    with pytest.raises(InputError, match="at most 1,000,000 bytes once unpacked"):
        read_bytes(bomb, limit=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["kept", "kept.gz"])
def test_a_short_file_takes_little_memory_whatever_its_limit(name: str, tmp_path: Path) -> None:
    """A checkpoint may have two gigabytes: room for them is not taken before they are there."""
    content = b"x" * 3_000_000
    path = _written(tmp_path, name, gzip.compress(content, 1) if name.endswith(".gz") else content)
    tracemalloc.start()
    try:
        assert read_bytes(path, limit=2**31) == content
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_lines_are_refused_beyond_their_number_of_characters(tmp_path: Path) -> None:
    """A trace that goes on without end is stopped while it is read, as is one endless line."""
    many = _written(tmp_path, "many.csv.gz", gzip.compress(b"1,2,3\n" * 1000))
    with pytest.raises(InputError, match="at most 100 characters"):
        list(open_text_lines(many, limit=100))
    endless = _written(tmp_path, "endless.csv.gz", gzip.compress(b"1" * 3_000_000))
    with pytest.raises(InputError, match="line 1: expected a line below"):
        list(open_text_lines(endless))


def test_lines_come_with_their_numbers_and_without_their_ends(tmp_path: Path) -> None:
    """Windows line ends and a byte-order mark are no part of a line."""
    path = _written(tmp_path, "t.csv", b"\xef\xbb\xbfa\r\nb\n\nc")
    assert list(open_text_lines(path)) == [(1, "a"), (2, "b"), (3, ""), (4, "c")]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a = '\xc3\x28'"])
def test_text_that_is_not_utf8_is_refused(content: bytes, tmp_path: Path) -> None:
    """The message says so instead of a traceback."""
    path = _written(tmp_path, "x.toml", content)
    with pytest.raises(InputError, match="UTF-8"):
        read_toml(path)
    with pytest.raises(InputError, match="UTF-8"):
        list(open_text_lines(path))


@pytest.mark.parametrize("reader", [read_bytes, lambda path: list(open_text_lines(path))])
@pytest.mark.parametrize(
    "content", [b"no gzip", b"", gzip.compress(b"x" * 1000, mtime=0)[:-12], gzip.compress(b"x", mtime=0)[:5]]
)
def test_a_broken_gzip_is_refused(reader: Callable[[Path], object], content: bytes, tmp_path: Path) -> None:
    """Damaged, cut off or no gzip at all: an error that names the file."""
    path = _written(tmp_path, "x.gz", content)
    if content == b"":
        assert not reader(path)
        return
    with pytest.raises(InputError, match=r"x\.gz: expected a readable file"):
        reader(path)


@pytest.mark.parametrize(
    "text",
    [
        "x = nan",
        "x = inf",
        "x = -inf",
        "x = 1e999",
        "x = " + "9" * 100,
        "x = " + "9" * 5000,
        "x = " + "[" * 100 + "]" * 100,
        "x = " + "[" * 100_000,
        ".".join(["a"] * 100) + " = 1",
        ".".join(["a"] * 200_000) + " = 1",
        "[" + ".".join(["a"] * 200_000) + "]",
        "x = ",
        "x = 1\nx = 2",
        "= 1",
        "x = 1" + " " * 2**20,
    ],
    ids=_short,
)
def test_toml_that_no_config_needs_is_refused_at_once(text: str, tmp_path: Path) -> None:
    """NaN, infinity, endless digits, endless nesting, a file too large and plain bad TOML name the file."""
    path = _written(tmp_path, "x.toml", text)
    with pytest.raises(InputError, match=r"x\.toml"):
        read_toml(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"x": NaN}',
        '{"x": Infinity}',
        '{"x": -Infinity}',
        '{"x": 1e999}',
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "9" * 100 + "}",
        "[" * 100 + "]" * 100,
        "[" * 100_000,
        '{"a":' * 100_000,
        "{",
        "",
        '{"x": 1,}',
    ],
    ids=_short,
)
def test_json_that_no_config_needs_is_refused(text: str, tmp_path: Path) -> None:
    """The same for JSON, whose standard library reader would let NaN and infinity in."""
    path = _written(tmp_path, "x.json", text)
    with pytest.raises(InputError, match=r"x\.json"):
        read_json(path)


def test_ordinary_toml_and_json_are_read(tmp_path: Path) -> None:
    """Limits stop no real file."""
    assert read_toml(_written(tmp_path, "x.toml", "[a.b]\nc = [1, 2.5]\nd = '3 TB/s'")) == {
        "a": {"b": {"c": [1, 2.5], "d": "3 TB/s"}}
    }
    assert read_json(_written(tmp_path, "x.json", json.dumps({"a": [1, {"b": None}]}))) == {"a": [1, {"b": None}]}


def test_a_missing_or_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    """A folder in the place of a file too."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="readable file"):
            read_bytes(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """A pipe may be silent for ever and a device endless: neither is opened for reading."""
    path = tmp_path / "input"
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda link: link.symlink_to("/dev/zero")}[kind](path)
    for read in (read_bytes, lambda place: next(open_text_lines(place)), lambda place: open_binary(place).__enter__()):
        with pytest.raises(InputError, match="readable file"):
            read(path)


@pytest.mark.parametrize("text", ['a = "\\u001b[31m"', '"a\\u009b" = 1', 'a = ["\\u202e"]', '[["\\u0007"]]'])
def test_toml_does_not_steer_a_terminal(text: str, tmp_path: Path) -> None:
    """What is shown of a file, a name or a title, is text and no command to whatever shows it."""
    with pytest.raises(InputError, match="without control characters") as refused:
        read_toml(_written(tmp_path, "x.toml", text))
    assert str(refused.value).isprintable()


def test_half_a_character_of_json_is_refused(tmp_path: Path) -> None:
    """JSON can write a lone surrogate, which no stream and no file can."""
    with pytest.raises(InputError, match="without control characters"):
        read_json(_written(tmp_path, "x.json", '{"a": "\\ud800"}'))


def test_a_digest_depends_on_the_content_alone() -> None:
    """Sixteen hex digits after the algorithm."""
    assert digest_of(b"x") == digest_of(b"x") != digest_of(b"y")
    assert len(digest_of(b"")) == len("sha256:") + 16


def test_an_atomic_write_replaces_a_file_whole(tmp_path: Path) -> None:
    """The new content stands there, and no temporary file beside it."""
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk or Ctrl-C in the middle changes nothing."""
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(_handle: int, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("archsim.files.writing.os.fsync", fail)
        with pytest.raises((InputError, KeyboardInterrupt)):
            write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_file_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    """A folder that is not there, or a folder in the file's place."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x", tmp_path / "folder"):
        with pytest.raises(InputError, match="can be written"):
            write_atomically(path, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_packed_bytes_depend_on_the_content_alone(tmp_path: Path) -> None:
    """Neither the name nor the time of writing stands in the file, and its level is the same in each Python (XFL 2)."""
    for name in ("a.gz", "b.gz"):
        write_gzip_atomically(tmp_path / name, b"content")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"content"


def test_a_directory_appears_when_its_block_ends(tmp_path: Path) -> None:
    """Before that, nobody sees it under its name."""
    path = tmp_path / "runs" / "one"
    with written_directory(path) as inside:
        (inside / "result.json").write_text("{}")
        assert not path.exists()
    assert [entry.name for entry in path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_directory_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    """Neither a part of it, nor its temporary name, nor the folders made on the way."""

    def interrupted() -> None:
        with written_directory(tmp_path / "runs" / "deep" / "one") as inside:
            (inside / "result.json").write_text("{}")
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["empty folder", "full folder", "file", "dangling link"])
def test_a_directory_that_exists_is_refused(kind: str, tmp_path: Path) -> None:
    """Nothing is overwritten unasked, not even an empty folder."""
    path = tmp_path / "out"
    if kind == "file":
        path.write_text("kept")
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir()
    if kind == "full folder":
        (path / "kept").write_text("kept")
    with pytest.raises(InputError, match="does not exist yet"), written_directory(path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_directory_made_by_another_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """`rename` onto an empty folder would succeed, so it is looked for again at the end."""
    path = tmp_path / "out"
    with pytest.raises(InputError, match="does not exist yet"), written_directory(path):
        path.mkdir()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_directory_that_cannot_be_made_is_an_input_error(name: str, tmp_path: Path) -> None:
    """A name longer than the file system takes, or with NUL."""
    with pytest.raises(InputError, match="can be created"), written_directory(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []
