"""Names of machines as tables and people write them, brought to one form.

`NVIDIA H200 141GB`, `H200-SXM5-141GB`, `h200_sxm` and `Nvidia H200 GPU` are one machine. A name is taken apart into
words; makers' names and words that tell no machine from another are left out, and the rest is looked up among the
names and aliases of the bundled files, in the same form. What may tell two machines apart comes first: a capacity (an
A100 has two) and a board (an H100 on PCIe is another chip) are left out only where no file has them, and a capacity
that was left out must be that of the machine found.

Not here: files (`library`), and names of models, whose endings say a precision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Plain", "plain_names"]

_EMPTY = frozenset(
    {
        *("nvidia", "amd", "instinct", "geforce", "tesla", "intel", "google", "cloud", "aws", "habana", "apple"),
        *("gpu", "gpus", "card", "cards", "tensor", "core", "accelerator", "graphics"),
    }
)
"""Makers, and words that every name may have."""
_BOARDS = re.compile(r"sxm[2-6]?|oam|hgx")
_CAPACITY = re.compile(r"(\d+)g(?:i?b)?|hbm\d?e?")
_RATE = re.compile(r"\d+ ?gb/s")


class Plain(NamedTuple):
    """A form of a name."""

    name: str
    gigabytes: int | None = None
    """Capacity that was left out, None where none was."""


def plain_names(name: str) -> Iterator[Plain]:
    """Yield the forms of *name* that may be looked up, the one that says most first; none where nothing is left."""
    words = [word for word in re.split(r"[\s_/,()-]+", _RATE.sub("", name.casefold())) if word and word not in _EMPTY]
    # `80 GB` is one word, and `RTX4090` two.
    joined = re.sub(r"\b(\d+) (g(?:i?b)\b)", r"\1\2", " ".join(words))
    words = re.sub(r"\brtx(?=\d)", "rtx ", joined).split()
    sizes = [int(match[1]) for word in words if (match := _CAPACITY.fullmatch(word)) and match[1]]
    if words:
        yield Plain("-".join(words))
    for left_out in (_CAPACITY, _BOARDS):
        words = [word for word in words if not left_out.fullmatch(word)]
        if words:
            yield Plain("-".join(words), sizes[0] if sizes else None)
