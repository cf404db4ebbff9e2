"""What becomes of a hostile file on archsim's command line.

A `Target` is one kind of file (`fuzz_targets` lists them): examples, what makes more of them, and the commands that
read it. `judged` gives an input to a command and tells how far it came (a `Stage`) from a `Crash`: a traceback, an exit
code that is not 0, 1 or 2, a control character in what is printed, more than `CPU_LIMIT_S` of work, or more than
`MEMORY_LIMIT_BYTES` beyond what the process held, both measured for every input. `watched` does so in a process of its
own, which may hang or die. `fuzz_damage` and `fuzz_grammar` make the inputs.
"""

from __future__ import annotations

import contextlib
import enum
import gzip
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from archsim import cli
from archsim.errors import ArchsimError
from archsim.network import flows, sharing

__all__ = [
    "Crash",
    "Judged",
    "Stage",
    "Tally",
    "Target",
    "bounded_memory",
    "command_of",
    "compile_exchanges",
    "compile_kernels",
    "judged",
    "packed_parts",
    "recorded",
    "tally_of",
    "tried",
    "watched",
]  # fmt: skip

CPU_LIMIT_S = 5.0
HANG_LIMIT_S = 600.0
"""By the clock on the wall, of a process that sleeps: one that waits for a turn on a busy machine does not hang."""
MEMORY_LIMIT_BYTES = 2**30
_STANDARDS = ("HBM2E", "HBM3", "HBM4", "LPDDR5X", "DDR5", "GDDR6", "GDDR7")
_PARSERS = frozenset({"bundled.py", "reading.py", "wire.py"})
"""Where a file ends that is not of its format at all: UTF-8, TOML, JSON, gzip, protobuf."""
# Click leaves escape sequences out where a stream is no terminal: what stands for them in inputs begins with a bell.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PART = re.compile(rb"^%%% ([\w./]+)\n", re.MULTILINE)


class Stage(enum.IntEnum):
    """How far an input came."""

    ACCEPTED = 0
    """Exit code 0."""
    FAILED = 1
    """Exit code 1: a simulation or a check of its result failed, with a message."""
    REFUSED = 2
    """Parsed, and refused for what it says."""
    UNREAD = 3
    """Refused by the parser of its format or the command line."""
    CRASHED = 4


@dataclass(frozen=True)
class Target:
    """A kind of file: where it lies, good examples, and commands.

    In a command, `FILE` stands for the damaged file, `HERE` for its folder, `OUT` for a free path, and `TEXT` for the
    content itself, where it is an option and no file. Content of several files begins each with a line `%%% NAME`.
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
    form: str = ""
    """How its content is written, a key of `fuzz_grammar.FORMS`: what parses is edited there. Empty: bytes."""


@dataclass(frozen=True)
class Crash:
    """An input that ended badly: where, and the bytes."""

    target: str
    command: tuple[str, ...]
    place: str
    content: bytes


@dataclass(frozen=True)
class Judged:
    """What became of one input, and what it took."""

    stage: Stage
    cpu_s: float
    """Of user and system."""
    most_bytes: int
    """Largest resident memory of the process while it was tried, interpreter and libraries included."""
    crash: Crash | None


class _TooLongError(BaseException):
    """The CPU limit is over; no `except Exception` swallows it."""


def compile_kernels() -> None:
    """Compile what inputs may need, so that no input is charged with it, nor cut off inside of it."""
    system = ("risc-v-chiplets", "--model", "llama-3.1-8b", "--batch", "1", "--context", "16")
    for command in (*(("memory", standard, "--json") for standard in _STANDARDS), ("run", *system)):
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = cli.main(command)
        assert code == 0, quiet.getvalue()


def compile_exchanges() -> None:
    """The same for the kernel of exchanges, which only large networks need."""
    flows._interpreted()[0] = 2**40  # as if enough had been interpreted for it to pay
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        code = cli.main(("network", "tpu-v4-64", "--collective", "all-to-all", "--bytes", "4KiB:4KiB", "--json"))
    assert code == 0, quiet.getvalue()
    assert sharing.compiled_share.cache_info().currsize == 1


@contextlib.contextmanager
def bounded_memory(limit: int = MEMORY_LIMIT_BYTES) -> Iterator[None]:
    """Let no more than *limit* bytes be allocated beyond what the process holds."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_memory("VmData") + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _memory(what: str) -> int:
    """Return `VmData`, `VmRSS` or `VmHWM`, the highest so far, of this process in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return 0
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024


def _peak_begun() -> int:
    """Let the highest resident memory so far begin anew; return what is resident, 0 where the system cannot tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _memory("VmRSS")
    except OSError:
        return 0


def command_of(target: Target, number: int) -> tuple[str, ...]:
    """Return the command that input *number* of *target* goes to."""
    return target.commands[number % len(target.commands)]


def packed_parts(parts: dict[str, bytes]) -> bytes:
    """Return the content of several files as one."""
    return b"".join(f"%%% {name}\n".encode() + content.rstrip() + b"\n" for name, content in parts.items())


def tried(target: Target, content: bytes, command: tuple[str, ...], folder: Path) -> Crash | None:
    """Give *content* to *command* in *folder*; return how it crashed, or None. What was written is removed again."""
    return judged(target, content, command, folder).crash


def judged(target: Target, content: bytes, command: tuple[str, ...], folder: Path) -> Judged:
    """Give *content* to *command* in *folder* and judge what happens. What was written is removed again."""
    _laid_out(target, content, folder)
    text = content.decode("utf-8", "surrogateescape").replace("\0", "")
    words = {"FILE": str(folder / target.place), "HERE": str(folder), "OUT": str(folder / "out"), "TEXT": text}
    arguments = [_filled_in(part, words) for part in command]
    before = _peak_begun()
    began = time.process_time()
    stage, place = _outcome(arguments)
    cpu_s, most_bytes = time.process_time() - began, _memory("VmHWM")
    if not place and cpu_s > CPU_LIMIT_S:
        place = f"{cpu_s:.1f} s of CPU"
    if not place and before and most_bytes - before > MEMORY_LIMIT_BYTES:
        place = f"{(most_bytes - before) / 1e6:.0f} MB of memory"
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    crash = Crash(target.name, command, place, content) if place else None
    return Judged(Stage.CRASHED if crash else stage, cpu_s, most_bytes, crash)


def _laid_out(target: Target, content: bytes, folder: Path) -> None:
    """Write *content*, and what lies beside it, into *folder*."""
    names = _PART.split(content)
    parts = dict(zip((name.decode() for name in names[1::2]), names[2::2], strict=True))
    if not parts or not target.form.startswith("parts"):
        parts = {target.place: gzip.compress(content, 1, mtime=0) if target.packed else content}
    for name, part in {**target.beside(), **parts}.items():
        file = folder / name.replace("..", "").lstrip("/")
        with contextlib.suppress(OSError):  # damage may have made a name that no file can have
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(part)


def _filled_in(part: str, words: dict[str, str]) -> str:
    """Return *part* with the one of *words* that it holds filled in."""
    word = next((word for word in words if word in part), None)
    return part if word is None else part.replace(word, words[word], 1)


def _outcome(arguments: list[str]) -> tuple[Stage, str]:
    """Run a command; return how far it came, and where it crashed: empty for an exit code of 0, 1 or 2."""
    written = io.BytesIO()
    quiet = io.TextIOWrapper(written, encoding="utf-8", write_through=True)  # strict, as a terminal's stream is
    message = ""
    try:
        with _bounded_time(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = cli.main(["--debug", *arguments])
        stage = {0: Stage.ACCEPTED, 1: Stage.FAILED}.get(code, Stage.UNREAD)
    except ArchsimError as error:
        code, message = error.exit_code, str(error)
        stage = Stage.FAILED if code == 1 else _refusal(error)
    except (_TooLongError, Exception) as error:  # noqa: BLE001  # whatever it is, it is the finding
        if isinstance(error, OSError) and error.filename is not None:
            return Stage.UNREAD, ""  # a path that the system refuses: exit code 2
        return Stage.CRASHED, _place_of(error)
    if code not in (0, 1, 2):
        return Stage.CRASHED, f"exit code {code}"
    said = message + written.getvalue().decode()
    if not said.strip() or (code and len(said) > 100_000):
        return Stage.CRASHED, f"a message of {len(said)} characters"
    found = _CONTROLS.search(said)
    return stage, f"{found[0]!r} in {arguments[0]}: {said[max(0, found.start() - 40) :][:80]!r}" if found else ""


def _refusal(error: ArchsimError) -> Stage:
    """Return whether the parser of a format refused, or what looks at the meaning."""
    frames = traceback.extract_tb(error.__traceback__)
    return Stage.UNREAD if frames and Path(frames[-1].filename).name in _PARSERS else Stage.REFUSED


def _place_of(error: BaseException) -> str:
    """Return the innermost place of archsim in the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/archsim/" in frame.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {last.name}: {str(error)[:100]}"


@contextlib.contextmanager
def _bounded_time() -> Iterator[None]:
    def over(_signal: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class Tally:
    """What became of the inputs of one target."""

    inputs: int = 0
    stages: Counter[int] = field(default_factory=Counter)
    crashes: list[Crash] = field(default_factory=list)
    cpu_s: float = 0.0
    longest_s: float = 0.0
    """CPU time of the slowest input."""
    most_bytes: int = 0
    """Resident memory of the largest."""
    different: set[str] = field(default_factory=set)
    """First hexadecimal digits of the digest of each input."""


_RECORD = struct.Struct("=Bdq8s")
"""Stage, CPU seconds, bytes and digest of an input: what a process that tries leaves to its watcher."""


def recorded(result: Judged, content: bytes) -> bytes:
    """Return what is kept of *result*."""
    return _RECORD.pack(result.stage, result.cpu_s, result.most_bytes, hashlib.sha256(content).digest()[:8])


def tally_of(records: bytes) -> Tally:
    """Return the sums of *records*, as `recorded` makes each; crashes are kept elsewhere."""
    found = Tally()
    for stage, cpu_s, most_bytes, digest in _RECORD.iter_unpack(records[: len(records) // _RECORD.size * _RECORD.size]):
        found.inputs += 1
        found.stages[stage] += 1
        found.cpu_s += cpu_s
        found.longest_s = max(found.longest_s, cpu_s)
        found.most_bytes = max(found.most_bytes, most_bytes)
        found.different.add(digest.hex())
    return found


def watched(target: Target, contents: Sequence[bytes], folder: Path) -> Tally:
    """Try all *contents* in a process of its own, and in a further one after each input that killed or hung it."""
    records, kept = folder / "records", folder / "crashes.jsonl"
    records.write_bytes(b"")
    ends: list[Crash] = []
    while (at := records.stat().st_size // _RECORD.size) < len(contents):
        child = os.fork()
        if not child:
            _try_all(target, contents, at, folder)
        ended = _waited(child, records)
        at = records.stat().st_size // _RECORD.size
        if ended and at < len(contents):
            ends.append(Crash(target.name, command_of(target, at), ended, contents[at]))
            with records.open("ab") as file:
                file.write(recorded(Judged(Stage.CRASHED, 0.0, 0, ends[-1]), contents[at]))
    found = tally_of(records.read_bytes())
    if kept.is_file():
        for line in kept.read_text(encoding="utf-8").splitlines():
            number, place = json.loads(line)
            found.crashes.append(Crash(target.name, command_of(target, number), place, contents[number]))
        kept.unlink()
    found.crashes += ends
    return found


def _try_all(target: Target, contents: Sequence[bytes], first: int, folder: Path) -> None:
    """Be the process that tries: never return."""
    try:
        inside = folder / "trial"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir()
        with bounded_memory(), (folder / "records").open("ab", buffering=0) as records:
            for number in range(first, len(contents)):
                result = judged(target, contents[number], command_of(target, number), inside)
                if result.crash is not None:
                    with (folder / "crashes.jsonl").open("a", encoding="utf-8") as file:
                        file.write(json.dumps([number, result.crash.place]) + "\n")
                records.write(recorded(result, contents[number]))
        os._exit(0)
    except BaseException:  # noqa: BLE001  # a fault of this script must not look like a good end
        traceback.print_exc()
    finally:
        os._exit(1)


def _waited(child: int, records: Path) -> str:
    """Wait for *child*, which appends to *records*; return how it ended, empty where well.

    It hangs where it works on an input for four times the limit, as code that no signal reaches may, or sleeps.
    """
    size, since, worked_s = -1, time.monotonic(), 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return f"the process ended with {code}" if code else ""
        now = records.stat().st_size
        asleep, cpu_s = _work_of(child)
        if now != size:
            size, since, worked_s = now, time.monotonic(), cpu_s
        elif cpu_s - worked_s > 4 * CPU_LIMIT_S or (asleep and time.monotonic() - since > HANG_LIMIT_S):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.02)


def _work_of(process: int) -> tuple[bool, float]:
    """Return whether *process* sleeps, and the CPU seconds that it has spent."""
    words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return words[0] in ("S", "D"), (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
