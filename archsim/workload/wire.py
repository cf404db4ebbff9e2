"""Protocol-buffer messages as they lie in a file: numbered fields, without their schema.

The wire format alone (protobuf.dev, "Encoding"): a varint of field number and type, then a varint, eight bytes, four
bytes, or a length and so many bytes. A stream of messages writes each one's length before it. `ValueError` says at
which byte something is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["fields", "messages", "signed", "varints"]

Field = tuple[int, int | float | bytes]
"""(number, value): bytes of what has a length, a number otherwise; eight bytes as a double, four as a float."""

_LONGEST_VARINT = 10


def messages(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (place, content) of the messages of a stream."""
    at = 0
    while at < len(content):
        start = at
        size, at = _varint(content, at)
        if at + size > len(content):
            raise ValueError(f"byte {start:,}: a message of {size:,} bytes, {len(content) - at:,} are left")
        yield start, content[at : at + size]
        at += size


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of *message*."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value: int | float | bytes
            value, at = _varint(message, at)
        elif kind in _FIXED:
            form, size = _FIXED[kind]
            if at + size > len(message):
                raise ValueError(f"a number of {size} bytes that is cut off")
            value, at = struct.unpack_from(form, message, at)[0], at + size
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError(f"a field of {size:,} bytes, {len(message) - at:,} are left")
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}, which no field has")
        yield key >> 3, value


_FIXED = {1: ("<d", 8), 5: ("<f", 4)}


def varints(packed: bytes) -> list[int]:
    """Return the numbers of a packed list."""
    at, found = 0, []
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def signed(value: int) -> int:
    """Return a varint as the signed number of 64 bits that it stands for."""
    return value - 2**64 if value >= 2**63 else value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(content):
            raise ValueError(f"byte {at:,}: a number that is cut off")
        byte = content[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value % 2**64, at + place + 1
    raise ValueError(f"byte {at:,}: a number of more than {_LONGEST_VARINT} bytes")
