"""Whatever a file holds, archsim ends with exit code 0, 1 or 2 and a message, within bounds of work and memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import click
import fuzzing
import pytest
from fuzz_damage import inputs_of
from fuzz_forms import FORMS
from fuzz_grammar import drawn_inputs_of
from fuzz_targets import TARGETS
from fuzzing import Judged, Stage, Target, command_of, compile_kernels, judged, tried, watched

BY_NAME = {target.name: target for target in TARGETS}
FLASH = next(at for at, example in enumerate(BY_NAME["memory"].examples()) if b"planes = 512" in example)
"""Number of the example that is flash."""
CRASHED = [
    ("lines", b'{"arrival_s": ["a", 1], "prompt_tokens": 1, "output_tokens": 5}\n', 0),
    ("lines", b'{"arrival_s": 1, "prompt_tokens": [], "output_tokens": {}, "session": [3], "wait_s": [1]}\n', 0),
    ("rates of clients", b"client,t_s,rate_rps,cv,pattern,p1,p2\n18,600,1e-9,1.0,Gamma,1.5,0.2\n", 0),
    ("rates of clients", b"client,t_s,rate_rps,cv,pattern,p1,p2\n18,600,1.0,1.0,Weibull,0.001,0.2\n", 0),
    ("settings", b'chip.memory.hbm.bandwidth="1e30 TB/s"', 1),
]
"""What once ended in a traceback: target, content, number of the command."""
CHANGED = [
    ("network rows", 0, b"1000]", b'"-5 ns"]', 0),
    ("network rows", 0, b"1000]", b"[0]]", 0),
    ("network rows", 1, b'"npus": 4', b'"npus": 123456789', 0),
    ("network rows", 1, b'"lat_ns": 500', b'"lat_ns": -500', 0),
    ("serving rows", 0, b",64,8,2,2,1", b",64,8,2,123456789,1", 0),
    ("kernel rows", 0, b"bfloat16,1,4096", b"bfloat16,-1,4096", 0),
    ("kernel rows", 0, b"bfloat16,40,", b"bfloat16,-40,", 1),
    ("kernel rows", 0, b"H100-SXM5-80GB,gemm", b"H100-SXM5-" + b"9" * 400 + b"GB,gemm", 1),
    ("kernel rows", 0, b"bfloat16,8,,,32", b"bfloat16,0,,,32", 0),
    ("kernel rows", 0, b"32,8,128,4096", b"1e308,8,128,4096", 0),
    ("memory", FLASH, b"planes = 512", b"planes = 102123456789", 0),
    ("network rows", 0, b'"finish_s": [2e-06', b'"finish_s": ["x"', 0),
    ("requests of a run", 0, b"\n0,0", b"\n0,1e999999", 0),
    ("network rows", 0, b'"link_bandwidth_Bps": 1000000000.0', b'"link_bandwidth_Bps": 0', 0),
    ("decode rows", 0, b"fp16,4,", b"fp16,123456789,", 0),
    ("collective rows", 0, b"half,4096", b"half,1e308", 0),
    ("attacc rows", 0, b"1,2048,128,358", b"1,204x,0,358", 0),
    ("attacc rows", 0, b"0,0,0,1,2048", b"0,0,0,none,2048", 0),
    ("attacc rows", 0, b"8,bank,", b"8,nothing,", 0),
    ("dram rows", 0, b"chunk,4096", b"chunk,[]", 0),
    ("parquet", 0, b"arrival_s", b"arrival_\xff", 0),
    ("parquet", 0, b"PAR1", b"PAR1\x00", 0),
    ("store", 0, b'"batch"', b'"bat\x00h"', 0),
    ("store", 0, b'"context":', b'"context" ', 1),
]
"""The same as a change of one of a target's examples."""


def usable(target: Target) -> Target:
    """Return *target*; skip where a library that it needs is absent."""
    if target.needs:
        pytest.importorskip(target.needs)
    return target


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
    target = usable(BY_NAME[name])
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
    for command in usable(target).commands:
        assert tried(target, target.examples()[0], command, tmp_path) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_files_are_refused(target: Target, tmp_path: Path) -> None:
    """A few damaged files of each kind: `scripts/fuzz.py` tries any number."""
    for number, content in enumerate(inputs_of(usable(target), 0, 6)):
        assert tried(target, content, command_of(target, number), tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_many_damaged_files_are_refused(target: Target, tmp_path: Path) -> None:
    """Five hundred of each kind, none of which may take a gigabyte, hang, or end the process."""
    found = watched(target, list(inputs_of(usable(target), 1, 500)), tmp_path)
    assert found.crashes == []
    assert found.inputs == 500


@pytest.mark.parametrize(
    ("end", "place"),
    [(lambda: os.kill(os.getpid(), signal.SIGKILL), "the process ended with -9"), (signal.pause, "hangs")],
    ids=["dies", "hangs"],
)
def test_what_dies_or_hangs_is_a_crash(
    end: Callable[[], object], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of its own is watched from outside."""
    monkeypatch.setattr(fuzzing, "judged", lambda *_: end())
    if place == "hangs":
        monkeypatch.setattr(fuzzing, "HANG_LIMIT_S", 0.1)  # it hangs for ever: slowness changes no outcome
    found = watched(Target("toy", "input", lambda: [b""], (("toy",),)), [b"x"], tmp_path)
    assert [crash.place for crash in found.crashes] == [place]
    assert found.inputs == 1


@pytest.mark.parametrize("target", [t for t in TARGETS if t.form in FORMS], ids=lambda target: target.name)
def test_a_file_that_is_parsed_and_written_again_fares_as_before(target: Target, tmp_path: Path) -> None:
    """What the grammar draws differs from a good file by its edits alone, digests included."""
    form = FORMS[usable(target).form]
    good, again = next(
        (example, form.written(tree)) for example in target.examples() if (tree := form.parsed(example)) is not None
    )
    as_given, anew = (judged(target, content, target.commands[0], tmp_path) for content in (good, again))
    assert anew.stage == as_given.stage
    assert anew.crash is None


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_drawn_files_are_taken_or_refused(target: Target, tmp_path: Path) -> None:
    """A hundred of each kind, well formed and mostly valid; the same again for the same seed."""
    contents = drawn_inputs_of(usable(target), 3, 100)
    assert contents == drawn_inputs_of(target, 3, 100)
    found = watched(target, contents, tmp_path)
    assert found.crashes == []
    assert found.stages[Stage.ACCEPTED] + found.stages[Stage.REFUSED] > 0


def _toy(monkeypatch: pytest.MonkeyPatch, folder: Path, act: Callable[[], object]) -> Judged:
    """Return the verdict on a command that does *act* and prints something."""
    monkeypatch.setattr(fuzzing.cli, "main", lambda _arguments: (act(), click.echo("said"), 0)[2])
    return judged(Target("toy", "input", lambda: [b""], (("toy",),)), b"x", ("toy",), folder)


def test_memory_is_that_of_one_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large input leaves no mark on the one after it."""
    if not fuzzing._peak_begun():
        pytest.skip("this system does not say how much memory was resident at most")
    monkeypatch.setattr(fuzzing, "MEMORY_LIMIT_BYTES", 150_000_000)
    large = _toy(monkeypatch, tmp_path, lambda: b"y" * 200_000_000)
    small = _toy(monkeypatch, tmp_path, lambda: None)
    assert large.crash is not None
    assert large.crash.place.endswith("MB of memory")
    assert small.crash is None
    assert large.most_bytes > small.most_bytes + 150_000_000


@pytest.mark.parametrize(
    ("act", "place"),
    [
        (lambda: [None for _ in iter(int, 1)], "_TooLongError"),
        (lambda: click.echo("\x07"), r"'\x07' in toy"),
        (lambda: click.echo("\ud800"), "UnicodeEncodeError"),
        (lambda: int("x"), "ValueError"),
    ],
    ids=["endless", "steers the terminal", "no text", "traceback"],
)
def test_a_bad_end_is_a_crash(
    act: Callable[[], object], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work without end, control characters, text that no stream takes, an error of Python, too much memory."""
    monkeypatch.setattr(fuzzing, "CPU_LIMIT_S", 0.2)  # of CPU time: an endless loop spends it on any machine
    found = _toy(monkeypatch, tmp_path, act)
    assert found.stage == Stage.CRASHED
    assert found.crash is not None
    assert place in found.crash.place


def test_damage_is_the_same_for_the_same_seed() -> None:
    """A crash can be found again, and inputs differ."""
    target = TARGETS[0]
    first, again = (list(inputs_of(target, 7, 20)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 15
