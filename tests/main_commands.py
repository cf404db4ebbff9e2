"""The main commands, each with what it prints and writes: what must not depend on anything but the input.

`make` runs them in a folder, in one process. A `Variant` says what may not matter: how many workers a study has,
whether it was stopped and resumed, and the order in which files and options hold the same things.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Variant", "digests", "make"]

_HEAD = """kind = "study"
name = "small"
title = "Batches"
systems = ["m4-max"]
model = "qwen3-8b"
precision = "w8a16kv16"
"""
_TABLES = (
    '[[axis]]\nkey = "context"\nvalues = [64, 4096]\n',
    '[[axis]]\nkey = "batch"\nvalues = [1, 2, 4]\n',
    '[[objective]]\nmetric = "tokens_per_s"\ngoal = "max"\n',
)
_ROWS = tuple(f"{n / 4},{50 + n},{3 + n % 5}\n" for n in range(40))
_NOT_COMPARED = {"study.toml", "trace.csv", "s.db", "begun.out", "sweep.out"}
_SMALL = ("m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16")


@dataclass(frozen=True)
class Variant:
    """What the bytes may not depend on, beside interpreter and hash seed."""

    workers: int = 1
    resumed: bool = False
    cheap: bool = False
    """Only some of the commands, in a few seconds: no figures, no memory, no validation."""
    backwards: bool = False
    """The study's tables, the designs to compare and repeated options in the opposite order."""


def make(folder: Path, variant: Variant) -> None:
    """Run every command in *folder*; what it prints goes to NAME.out there."""
    from archsim import cli  # noqa: PLC0415 - an interpreter that runs this file alone imports it from its own path

    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(_HEAD + "\n".join(_ordered(_TABLES, variant)), encoding="utf-8")
    (folder / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(_ROWS), encoding="utf-8")
    with contextlib.chdir(folder):
        for name, arguments in _commands(variant):
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
                code = cli.main(list(arguments))
            assert code == 0, f"{name}: exit code {code}: {said.getvalue()}"
            Path(f"{name}.out").write_text(said.getvalue(), encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    """Return file -> SHA-256 of what `make` has left.

    Not of its inputs, nor of what tells how long it took: a store, and what a sweep prints.
    """
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _NOT_COMPARED
    }


def _ordered(parts: tuple[str, ...], variant: Variant) -> tuple[str, ...]:
    return parts[::-1] if variant.backwards else parts


def _commands(variant: Variant) -> Iterator[tuple[str, tuple[str, ...]]]:
    options = _ordered(("chip.memory.lpddr.bandwidth=500 GB/s", "runtime.ramp=2 us"), variant)
    sets = tuple(part for option in options for part in ("--set", option))
    systems = _ordered(("m4-max", "h100-sxm8"), variant)
    yield "list", ("list", "systems")
    yield "show", ("show", "h100-sxm8", "--sources")
    yield "step", ("run", *_SMALL, "--batch", "2", "--context", "512", "--json", *sets)
    yield "trace", ("run", *_SMALL, "--trace", "trace.csv", "--json")
    yield "network", ("network", "h100-sxm8", "--bytes", "64KiB:256KiB", "--json")
    yield "sample", ("trace", "sample", "azure-conv", "sampled.csv", "--share", "0.1", "--seed", "3")
    sweep = ("sweep", "study.toml", "--store", "s.db", "--workers", str(variant.workers))
    if variant.resumed:
        yield "begun", (*sweep, "--limit", "2")
    yield "sweep", sweep
    yield "export", ("study", "export", "s.db", "points.csv")
    if variant.cheap:
        return
    yield "run", ("run", *_SMALL, "--trace", "trace.csv", "--out", "run")
    yield "report", ("report", "run")
    yield (
        "compare",
        ("compare", *systems, "--model", "qwen3-8b", "--trace", "azure-conv", "--limit", "20", "--out", "c"),
    )
    yield "memory", ("memory", "HBM3", "--json")
    yield "validate", ("validate", "network", "--json")


def main() -> None:
    """Make the folder and variant that stand in the arguments as JSON, and print the digests."""
    folder, variant = Path(sys.argv[1]), Variant(**json.loads(sys.argv[2]))
    os.environ.setdefault("MPLBACKEND", "agg")
    make(folder, variant)
    sys.stdout.write(
        json.dumps({"python": sys.version.split()[0], "variant": asdict(variant), "digests": digests(folder)})
    )


if __name__ == "__main__":
    main()
