"""Good files made bad, as a broken disk, a bad script or an enemy would: bytes, tokens, lines, numbers.

`fuzz_grammar` makes files that are well formed, and mostly valid.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence

from fuzzing import Target

__all__ = ["damaged", "inputs_of"]

LONGEST_BYTES = 1 << 16
_HOSTILE = (
    b"0", b"-1", b"1e308", b"-0.0", b"nan", b"inf", b"1e-320", b"9" * 70, b"true", b"null", b"[]", b"{}", b'""', b"''",
    b'"\\u0000"', b"\xff\xfe", b"\xf0\x9f\x92\xa9", b"[" * 200, b"{" * 200, b'"0 GB/s"', b'"1e30 TB/s"', b'"-5 ns"',
    b'"1 fs"', b'"999999 h"', b"2147483648", b"18446744073709551616", b"0x10", b"1_0", b"../../etc/passwd", b"\x00",
    b"=SUM(A1)", b"<script>", b"%s%n", b"1e5", b"4096.5", b'"8"', b"[0]", b"[-1]", b'["a", 1]', b"\r\n", b"\t", b"#",
)  # fmt: skip
"""What stands in a file where something else is expected."""
_NUMBER = re.compile(rb"(?<![\w.])\d{1,15}(?:\.\d{1,15})?(?![\w.])")


def damaged(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Return *content* with one to four things wrong, parts of *others* among them."""
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        content = draw.choice(_WAYS)(content, draw, others)[:LONGEST_BYTES]
    return content


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
