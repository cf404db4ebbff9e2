"""Decode traces: decoding token by token, without a scheduler. Who decodes, and how much each attends to.

JSONL, one object a line, `.gz` or not. The first line is the header, every other one an iteration, or several in a row
whose sequences are the same and whose contexts each grow by a token:

    {"format": "archsim-decode-trace", "version": 1, "model": "llama-3.1-70b"}
    {"ids": [0, 1], "contexts": [812, 93], "steps": 17}

`ids` tell sequences apart, `contexts` are the tokens that each attends to in the first of the iterations, the one that
enters it included; `steps` is 1 where it is absent. `replica` numbers the servers of a fleet, each with ids and a clock
of its own. `prefill` stands where prompts were processed beside those who decode: sequences, tokens, query-key pairs
and context tokens of their chunks, as the model's layers count them. Further keys are ignored. A file is checked whole
when it is opened and read again, line by line, when it is replayed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from archsim.errors import InputError, Problem
from archsim.files import digest_of_lines, open_text_lines

__all__ = ["FORMAT", "VERSION", "DecodeStep", "DecodeTrace", "Prefill", "open_decode_trace"]

FORMAT, VERSION = "archsim-decode-trace", 1
_MOST_LINES = 10**8
_MOST_SEQUENCES = 10**7
_MOST_REPLICAS = 65_536
_LARGEST = 2**40
_KEYS = '{"ids": [whole numbers], "contexts": [as many, from 1], "steps": from 1, "replica", "prefill"}'


class Prefill(NamedTuple):
    """Prompts that an iteration processes beside those who decode."""

    sequences: int
    tokens: int
    pairs: int
    kv_tokens: int


class DecodeStep(NamedTuple):
    """Iterations in a row that decode the same sequences."""

    place: str
    """Where it stands, such as `line 17`."""
    replica: int
    ids: list[int]
    contexts: list[int]
    """Tokens that each attends to in the first of them."""
    steps: int
    prefill: Prefill | None


@dataclass(frozen=True, slots=True)
class DecodeTrace:
    """A file of decode iterations; iterate it as often as needed."""

    path: Path
    digest: str
    """Of its lines, whatever they are packed in."""
    model: str
    """Whose run wrote it; empty where it does not say."""
    shares: bool
    """Its sequences share KV blocks, so that they may fit a memory that does not hold them one by one."""
    count: int
    """Sequences."""
    replicas: int
    mean_context: int

    sampled: ClassVar[bool] = False
    closed: ClassVar[bool] = True
    """It has no rate."""

    @property
    def name(self) -> str:
        """What results call it."""
        return self.path.name.removesuffix(".gz").rsplit(".", 1)[0]

    @property
    def options(self) -> str:
        """Command-line options that ask for it, without a folder of this machine."""
        return f"--decode-only {self.path.name}"

    def __iter__(self) -> Iterator[DecodeStep]:
        """Yield its iterations in order."""
        return _steps(self.path)


def open_decode_trace(name: str) -> DecodeTrace:
    """Return the decode trace in the file *name*.

    Raises `InputError` that names file and line: another format, ids that repeat, contexts that are none.
    """
    path = Path(name)
    header = _header(path)
    known: set[tuple[int, int]] = set()
    replicas = tokens = rows = 0
    for step in _steps(path):
        known.update((step.replica, number) for number in step.ids)
        replicas = max(replicas, step.replica + 1)
        tokens += sum(step.contexts)
        rows += len(step.contexts)
        if len(known) > _MOST_SEQUENCES:
            raise InputError(Problem(str(path), step.place, "", f"at most {_MOST_SEQUENCES:,} sequences"))
    if not rows:
        raise InputError(Problem(str(path), "", "", "at least one iteration after the header"))
    return DecodeTrace(
        path=path,
        digest=digest_of_lines(path),
        model=str(header.get("model", ""))[:200],
        shares=header.get("shares") is True,
        count=len(known),
        replicas=replicas,
        mean_context=max(1, tokens // rows),
    )


def _header(path: Path) -> dict[str, Any]:
    number, line = next(open_text_lines(path), (1, ""))
    header = _object(path, number, line)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        expected = f'a header {{"format": "{FORMAT}", "version": {VERSION}}} in the first line'
        raise InputError(Problem(str(path), "line 1", line, expected))
    return header


def _steps(path: Path) -> Iterator[DecodeStep]:
    for number, line in open_text_lines(path):
        if number == 1 or not line:
            continue
        if number > _MOST_LINES:
            raise InputError(Problem(str(path), f"line {number}", "", f"at most {_MOST_LINES:,} lines"))
        value = _object(path, number, line)
        try:
            yield _step(f"line {number}", value)
        except (KeyError, TypeError, ValueError) as error:
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise InputError(Problem(str(path), f"line {number}", line, _KEYS + reason)) from None


def _step(place: str, value: dict[str, Any]) -> DecodeStep:
    ids, contexts = value["ids"], value["contexts"]
    steps, replica = value.get("steps", 1), value.get("replica", 0)
    if not (isinstance(ids, list) and isinstance(contexts, list) and len(ids) == len(contexts) > 0):
        raise ValueError("as many contexts as ids, at least one")
    if any(type(item) is not int or not 0 <= item < _LARGEST for item in (*ids, *contexts, steps, replica)):
        raise ValueError("whole numbers from 0 below 2^40")
    if len(set(ids)) < len(ids) or min(contexts) < 1 or steps < 1 or replica >= _MOST_REPLICAS:
        raise ValueError("ids that differ, contexts and steps from 1")
    stated = value.get("prefill")
    if stated is None:
        return DecodeStep(place, replica, ids, contexts, steps, None)
    prefill = Prefill(*(stated[name] for name in Prefill._fields))
    if any(type(item) is not int or not 0 < item < _LARGEST**2 for item in prefill) or steps != 1:
        raise ValueError("prefill of one iteration, in numbers from 1")
    if prefill.tokens < prefill.sequences or min(prefill.pairs, prefill.kv_tokens) < prefill.tokens:
        raise ValueError("prefill whose tokens attend at least to themselves")
    return DecodeStep(place, replica, ids, contexts, 1, prefill)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "nested too deeply, or a number too long"
        raise InputError(Problem(str(path), f"line {number}", line, f"a JSON object ({reason})")) from None
    if not isinstance(value, dict):
        raise InputError(Problem(str(path), f"line {number}", line, "a JSON object"))
    return value
