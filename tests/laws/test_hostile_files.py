"""Whatever a file holds, archsim ends with exit code 0, 1 or 2 and a message, within bounds of work and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import TARGETS, Target, bounded_memory, compile_kernels, inputs_of, tried

BY_NAME = {target.name: target for target in TARGETS}
CRASHED = [
    ("lines", b'{"arrival_s": ["a", 1], "prompt_tokens": 1, "output_tokens": 5}\n', 0),
    ("lines", b'{"arrival_s": 1, "prompt_tokens": [], "output_tokens": {}, "session": [3], "wait_s": [1]}\n', 0),
]
"""What once ended in a traceback: target, content, number of the command."""
CHANGED = [
    ("network rows", 0, b"1000]", b'"-5 ns"]', 0),
    ("network rows", 0, b"1000]", b"[0]]", 0),
    ("network rows", 1, b'"npus": 4', b'"npus": 123456789', 0),
    ("network rows", 1, b'"lat_ns": 500', b'"lat_ns": -500', 0),
    ("serving rows", 0, b",64,8,2,2,1", b",64,8,2,123456789,1", 0),
    ("kernel rows", 0, b"bfloat16,1,4096", b"bfloat16,-1,4096", 0),
    ("kernel rows", 0, b"bfloat16,8,,,32", b"bfloat16,0,,,32", 0),
    ("kernel rows", 0, b"32,8,128,4096", b"1e308,8,128,4096", 0),
]
"""The same as a change of one of a target's examples."""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile what would else be charged to the first input."""
    compile_kernels()


@pytest.mark.parametrize(("name", "content", "number"), CRASHED)
def test_what_once_crashed_is_refused(name: str, content: bytes, number: int, tmp_path: Path) -> None:
    """A list where text was expected is no reason for a traceback."""
    target = BY_NAME[name]
    assert tried(target, content, target.commands[number], tmp_path) is None


@pytest.mark.parametrize(("name", "example", "old", "new", "number"), CHANGED)
def test_a_number_beyond_sense_is_refused(
    name: str, example: int, old: bytes, new: bytes, number: int, tmp_path: Path
) -> None:
    """Negative, absent, endless: named, or skipped with a reason, in a moment."""
    target = BY_NAME[name]
    content = target.examples()[example]
    assert old in content
    assert tried(target, content.replace(old, new), target.commands[number], tmp_path) is None


def test_a_store_with_damaged_text_is_refused(tmp_path: Path) -> None:
    """SQLite may hand out text that is not UTF-8."""
    target = BY_NAME["store"]
    content = target.examples()[0].replace(b"CREATE TABLE", b"CREATE T\xff\xfeBLE")
    assert tried(target, content, target.commands[0], tmp_path) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_good_examples_are_taken(target: Target, tmp_path: Path) -> None:
    """The fuzzing begins at files that each of their commands reads."""
    for command in target.commands:
        assert tried(target, target.examples()[0], command, tmp_path) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_files_are_refused(target: Target, tmp_path: Path) -> None:
    """A few damaged files of each kind: `scripts/fuzz.py` tries any number."""
    for number, content in enumerate(inputs_of(target, 0, 12)):
        assert tried(target, content, target.commands[number % len(target.commands)], tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_many_damaged_files_are_refused(target: Target, tmp_path: Path) -> None:
    """Five hundred of each kind, none of which may take a gigabyte."""
    with bounded_memory():
        for number, content in enumerate(inputs_of(target, 1, 500)):
            assert tried(target, content, target.commands[number % len(target.commands)], tmp_path) is None


def test_damage_is_the_same_for_the_same_seed() -> None:
    """A crash can be found again, and inputs differ."""
    target = TARGETS[0]
    first, again = (list(inputs_of(target, 7, 20)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 15
