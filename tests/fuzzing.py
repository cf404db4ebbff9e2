"""Hostile files for every reader of archsim, made from good ones, and what becomes of them on the command line.

A `Target` is one kind of file (`fuzz_targets` lists them): good examples, and the commands that read it. `damaged`
turns an example into something a broken disk, a bad script or an enemy could have written; `tried` gives it to a
command and tells a refusal (exit code 0, 1 or 2 with a message) from a `Crash`: a traceback, more than `CPU_LIMIT_S` of
work, more than `MEMORY_LIMIT_BYTES`. `watched` does so in processes of their own, which may hang or die.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from archsim import cli
from archsim.errors import ArchsimError

__all__ = [
    "Crash",
    "Tally",
    "Target",
    "bounded_memory",
    "command_of",
    "compile_kernels",
    "damaged",
    "inputs_of",
    "tried",
    "watched",
]  # fmt: skip

CPU_LIMIT_S = 5.0
HANG_LIMIT_S = 60.0
"""By the clock on the wall: a process that waits spends no CPU, and a busy machine makes all slow."""
MEMORY_LIMIT_BYTES = 2**30
LONGEST_BYTES = 1 << 16
_HOSTILE = (
    b"0", b"-1", b"1e308", b"-0.0", b"nan", b"inf", b"1e-320", b"9" * 70, b"true", b"null", b"[]", b"{}", b'""', b"''",
    b'"\\u0000"', b"\xff\xfe", b"\xf0\x9f\x92\xa9", b"[" * 200, b"{" * 200, b'"0 GB/s"', b'"1e30 TB/s"', b'"-5 ns"',
    b'"1 fs"', b'"999999 h"', b"2147483648", b"18446744073709551616", b"0x10", b"1_0", b"../../etc/passwd", b"\x00",
    b"=SUM(A1)", b"<script>", b"%s%n", b"1e5", b"4096.5", b'"8"', b"[0]", b"[-1]", b'["a", 1]', b"\r\n", b"\t", b"#",
)  # fmt: skip
"""What stands in a file where something else is expected."""


_STANDARDS = ("HBM2E", "HBM3", "HBM4", "LPDDR5X", "DDR5", "GDDR6", "GDDR7")


@dataclass(frozen=True)
class Target:
    """A kind of file: where it lies, good examples, and commands.

    In a command, `FILE` stands for the damaged file, `HERE` for its folder, `OUT` for a free path, and `TEXT` for the
    content itself, where it is an option and no file.
    """

    name: str
    place: str
    """Path below the folder of a trial."""
    examples: Callable[[], list[bytes]]
    commands: tuple[tuple[str, ...], ...]
    beside: Callable[[], dict[str, bytes]] = dict
    """Other files of that folder."""
    packed: bool = False
    """Whether the content is packed by gzip before it is written."""
    needs: str = ""
    """A module without which nothing can be tried."""
    weight: int = 30
    """Share of the inputs of a long run: a reader that is followed by a simulation gets few."""


@dataclass(frozen=True)
class Crash:
    """An input that ended badly: where, and the bytes."""

    target: str
    command: tuple[str, ...]
    place: str
    content: bytes


_NUMBER = re.compile(rb"(?<![\w.])\d{1,15}(?:\.\d{1,15})?(?![\w.])")


class _TooLongError(BaseException):
    """The CPU limit is over; no `except Exception` swallows it."""


def damaged(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Return *content* with one to four things wrong, parts of *others* among them."""
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        content = draw.choice(_WAYS)(content, draw, others)[:LONGEST_BYTES]
    return content


def compile_kernels() -> None:
    """Compile what inputs may need, so that no input is charged with it, nor cut off inside of it."""
    system = ("risc-v-chiplets", "--model", "llama-3.1-8b", "--batch", "1", "--context", "16")
    for command in (*(("memory", standard, "--json") for standard in _STANDARDS), ("run", *system)):
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = cli.main(command)
        assert code == 0, quiet.getvalue()


def _flipped(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    if not content:
        return b"\x00"
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]


def _cut(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _token_replaced(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    """Replace a number or a word, where one begins, by something hostile."""
    starts = [at for at, (a, b) in enumerate(itertools.pairwise(content), 1) if a in b" =:,[\n\"'" and b > 32]
    if not starts:
        return draw.choice(_HOSTILE)
    begin = draw.choice(starts)
    end = begin
    while end < len(content) and content[end] not in b',:\n]}"= ':
        end += 1
    return content[:begin] + draw.choice(_HOSTILE) + content[end:]


def _lines_changed(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Drop a line, repeat one, move one, or take one from another file."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    way = draw.randrange(4)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines[at:at] = [lines[at]] * draw.choice((1, 1, 2, 50))
    elif way == 2:
        lines.insert(draw.randrange(len(lines)), lines.pop(at))
    else:
        lines.insert(at, draw.choice(draw.choice(others).split(b"\n")))
    return b"\n".join(lines)


def _inserted(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice(_HOSTILE) * draw.choice((1, 1, 1, 40)) + content[at:]


def _digit_changed(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    """Change a digit: the file stays well formed, its meaning does not."""
    places = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return content
    at = draw.choice(places)
    return content[:at] + draw.choice((b"0", b"9", b"1", b"00", b"-1", b".", b"123456789")) + content[at + 1 :]


def _scaled(content: bytes, draw: random.Random, _others: Sequence[bytes]) -> bytes:
    """Multiply a number by up to a million, or divide by it: another valid machine, as far as a reader can tell."""
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return content
    found = draw.choice(numbers)
    value = float(found.group()) * 10 ** draw.uniform(-6, 6)
    text = f"{value:.6g}" if b"." in found.group() else f"{round(value)}"
    return content[: found.start()] + text.encode() + content[found.end() :]


def _spliced(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    other = draw.choice(others)
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other) + 1) :]


_WAYS = (_flipped, _cut, _token_replaced, _token_replaced, _token_replaced, _lines_changed, _lines_changed, _inserted,
         _digit_changed, _digit_changed, _scaled, _scaled, _spliced)  # fmt: skip


def inputs_of(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """Yield *count* damaged examples of *target*, the same for the same *seed*."""
    draw = random.Random(f"{target.name}-{seed}")
    examples = target.examples()
    for _ in range(count):
        yield damaged(draw.choice(examples), draw, examples)


@contextlib.contextmanager
def bounded_memory(limit: int = MEMORY_LIMIT_BYTES) -> Iterator[None]:
    """Let no more than *limit* bytes be allocated beyond what the process holds."""
    held = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmData:")[2].split()[0]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def command_of(target: Target, number: int) -> tuple[str, ...]:
    """Return the command that input *number* of *target* goes to."""
    return target.commands[number % len(target.commands)]


def tried(target: Target, content: bytes, command: tuple[str, ...], folder: Path) -> Crash | None:
    """Give *content* to *command* in *folder*; return how it crashed, or None. What was written is removed again."""
    file = folder / target.place
    file.parent.mkdir(exist_ok=True)
    for name, other in target.beside().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(other)
    file.write_bytes(gzip.compress(content, 1, mtime=0) if target.packed else content)
    text = content.decode("utf-8", "surrogateescape").replace("\0", "")
    words = {"FILE": str(file), "HERE": str(folder), "OUT": str(folder / "out"), "TEXT": text}
    place = _place_of_crash([_filled_in(part, words) for part in command])
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Crash(target.name, command, place, content) if place else None


def _filled_in(part: str, words: dict[str, str]) -> str:
    """Return *part* with the one of *words* that it holds filled in."""
    word = next((word for word in words if word in part), None)
    return part if word is None else part.replace(word, words[word], 1)


@dataclass
class Tally:
    """What became of the inputs of one target."""

    inputs: int
    crashes: list[Crash]
    cpu_s: float
    longest_s: float
    """CPU time of the slowest input."""
    most_bytes: int
    """Resident memory of the largest process."""


_PROGRESS = struct.Struct("qdq")
"""Input that is tried, CPU seconds of the slowest, crashes so far: what a process shares with its watcher."""


def watched(target: Target, contents: Sequence[bytes], folder: Path) -> Tally:
    """Try all *contents* in a process of its own, and in a further one after each input that killed or hung it."""
    found = Tally(0, [], 0.0, 0.0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    while found.inputs < len(contents):
        shared = mmap.mmap(-1, _PROGRESS.size)
        shared.write(_PROGRESS.pack(found.inputs, 0.0, 0))
        kept = folder / "crashes.jsonl"
        child = os.fork()
        if not child:
            _try_all(target, contents, folder, shared, kept)
        ended, most_bytes = _waited(child, shared)
        at, longest_s, _ = _PROGRESS.unpack(shared[:])
        shared.close()
        found.longest_s = max(found.longest_s, longest_s)
        found.most_bytes = max(found.most_bytes, most_bytes)
        if kept.is_file():
            for line in kept.read_text(encoding="utf-8").splitlines():
                number, place = json.loads(line)
                found.crashes.append(Crash(target.name, command_of(target, number), place, contents[number]))
            kept.unlink()
        if ended:
            found.crashes.append(Crash(target.name, command_of(target, at), ended, contents[at]))
        found.inputs = at + 1 if ended else len(contents)
    found.cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return found


def _try_all(target: Target, contents: Sequence[bytes], folder: Path, shared: mmap.mmap, kept: Path) -> None:
    """Be the process that tries: never return."""
    try:
        first, longest_s, crashes = _PROGRESS.unpack(shared[:])
        inside = folder / "trial"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir()
        with bounded_memory():
            for number in range(first, len(contents)):
                shared[:] = _PROGRESS.pack(number, longest_s, crashes)
                began = time.process_time()
                crash = tried(target, contents[number], command_of(target, number), inside)
                longest_s = max(longest_s, time.process_time() - began)
                if crash is not None:
                    crashes += 1
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([number, crash.place]) + "\n")
        shared[:] = _PROGRESS.pack(len(contents), longest_s, crashes)
        os._exit(0)
    except BaseException:  # noqa: BLE001  # a fault of this script must not look like a good end
        traceback.print_exc()
    finally:
        os._exit(1)


def _waited(child: int, shared: mmap.mmap) -> tuple[str, int]:
    """Wait for *child*; return how it ended, empty where well, and its largest resident memory."""
    at, since = -1, time.monotonic()
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return f"the process ended with {code}" if code else "", usage.ru_maxrss * 1024
        now = _PROGRESS.unpack(shared[:])[0]
        if now != at:
            at, since = now, time.monotonic()
        elif time.monotonic() - since > HANG_LIMIT_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs", 0
        time.sleep(0.02)


def _place_of_crash(arguments: list[str]) -> str:
    """Return the innermost place of archsim in the traceback; empty for an exit code of 0, 1 or 2."""
    quiet = io.StringIO()
    try:
        with _bounded_time(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = cli.main(["--debug", *arguments])
    except ArchsimError as error:
        code = error.exit_code
    except (_TooLongError, Exception) as error:  # noqa: BLE001  # whatever it is, it is the finding
        if isinstance(error, OSError) and error.filename is not None:
            return ""  # a path that the system refuses: exit code 2
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/archsim/" in f.filename]
        last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {last.name}: {str(error)[:100]}"
    return "" if code in (0, 1, 2) else f"exit code {code}"


@contextlib.contextmanager
def _bounded_time() -> Iterator[None]:
    def over(_signal: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
