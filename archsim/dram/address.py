"""How a channel's transactions spread over its banks and rows: a list of bit fields, low bits first.

A map is written as the fields from the lowest bit up, `"pc1 bg2 co5 ba2 sid1 ro14"`; a field may come in pieces. An
optional hash XORs the low bits of the row into a field (`"bg^ro"`), as memory controllers do to spread the rows of
several streams over the banks. The unit is the transaction, not the byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.dram.device import Device
from archsim.errors import InputError, Problem

__all__ = ["AddressMap", "default_map", "parse_map", "wanted_bits"]

_PIECE = re.compile(r"([a-z]+)(\d{1,2})")
_HASH = re.compile(r"([a-z]+)\^([a-z]+)(?:>>(\d{1,2}))?")
_BITS_LIMIT = 62
_BLOCK = 16384
"""Transactions decoded at once: their fields stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class AddressMap:
    """Bit fields from low to high, and hashes `(field, source field, right shift of the source)`."""

    fields: tuple[tuple[str, int], ...]
    hashes: tuple[tuple[str, str, int], ...] = field(default=())

    @property
    def bits(self) -> int:
        """Bits of a transaction index."""
        return sum(bits for _, bits in self.fields)

    def __str__(self) -> str:
        pieces = [f"{name}{bits}" for name, bits in self.fields]
        hashes = [f"{name}^{source}" + (f">>{shift}" if shift else "") for name, source, shift in self.hashes]
        return " ".join(pieces + hashes)

    def values(self, index: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """Return each field's value for every transaction *index*, hashes applied."""
        found: dict[str, npt.NDArray[np.int64]] = {}
        filled: dict[str, int] = {}
        position = 0
        for name, bits in self.fields:
            piece = (index >> position) & ((1 << bits) - 1)
            at = filled.get(name, 0)
            found[name] = piece if at == 0 else found[name] | (piece << at)
            filled[name] = at + bits
            position += bits
        for name, source, shift in self.hashes:
            found[name] = found[name] ^ ((found[source] >> shift) & ((1 << filled[name]) - 1))
        return found

    def decode(self, index: npt.NDArray[np.int64], device: Device) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the flat bank and the row of every transaction *index* of *device*."""
        banks, rows = np.empty(index.shape, np.int32), np.empty(index.shape, np.int32)
        for start in range(0, index.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            values = self.values(index[part])
            bank = np.zeros(index[part].shape, np.int64)
            for level, size in zip(device.levels, device.sizes, strict=True):
                bank *= size
                if level in values:
                    bank += values[level]
            banks[part] = bank
            rows[part] = values.get("ro", 0)
        return banks, rows

    def lowest_row_bit(self) -> int:
        """Return the position of the lowest bit of the row."""
        position = 0
        for name, bits in self.fields:
            if name == "ro":
                return position
            position += bits
        return position


def parse_map(text: str, device: Device, *, place: str) -> AddressMap:
    """Return the map written in *text*, checked against the organisation of *device*.

    Raises `InputError` naming *place* where a field is unknown, or has more or fewer bits than the device has banks,
    rows or columns.
    """
    fields: list[tuple[str, int]] = []
    hashes: list[tuple[str, str, int]] = []
    for word in text.split():
        if piece := _PIECE.fullmatch(word):
            fields.append((piece[1], int(piece[2])))
        elif mixed := _HASH.fullmatch(word):
            hashes.append((mixed[1], mixed[2], int(mixed[3] or 0)))
        else:
            raise InputError(Problem(place, "map", word, 'a field with its bits ("bg2") or a hash ("bg^ro")'))
    found = AddressMap(tuple(fields), tuple(hashes))
    problems = _misfits(found, device, place)
    if problems:
        raise InputError(*problems)
    return found


def wanted_bits(device: Device) -> dict[str, int]:
    """Return the bits that each field of a map must have to reach every row of *device* once."""
    sizes = dict(zip(device.levels, device.sizes, strict=True)) | {"ro": device.rows, "co": device.row_transactions}
    return {name: (size - 1).bit_length() for name, size in sizes.items() if size > 1}


def default_map(device: Device) -> AddressMap:
    """Return a map that is kind to pages: neighbours alternate over lanes and bank groups, then fill open rows.

    Banks, stack ids and rows follow, each bank field hashed with bits of the row, so that streams a power of two apart
    do not meet in one bank.
    """
    bits = wanted_bits(device)
    order = [name for name in ("pc", "bg", "co", "ba", "ra", "sid", "ro") if name in bits]
    hashes, shift = [], 0
    for name in ("bg", "ba", "sid"):
        if name in bits:
            hashes.append((name, "ro", shift))
            shift += bits[name]
    return AddressMap(tuple((name, bits[name]) for name in order), tuple(hashes))


def _misfits(found: AddressMap, device: Device, place: str) -> list[Problem]:
    wanted = wanted_bits(device)
    given: dict[str, int] = {}
    for name, bits in found.fields:
        given[name] = given.get(name, 0) + bits
    problems = [
        Problem(place, "map", f"{name}{given.get(name, 0)}", f"{name}{bits}: {device.name} has 2^{bits} of it")
        for name, bits in wanted.items()
        if given.get(name, 0) != bits
    ]
    problems += [
        Problem(place, "map", f"{name}{bits}", f"only fields of {device.name}: {', '.join(wanted)}")
        for name, bits in given.items()
        if name not in wanted and bits > 0
    ]
    problems += [
        Problem(place, "map", f"{name}^{source}", "a hash between two fields of the map")
        for name, source, _ in found.hashes
        if name not in given or source not in given
    ]
    problems += [
        Problem(
            place, "map", f"{name}^{source}>>{shift}", f"a hash that changes bits and can be undone: {name} has its own"
        )
        for name, source, shift in found.hashes
        if (name == source and shift == 0) or shift >= given.get(source, shift + 1)
    ]
    if found.bits > _BITS_LIMIT:
        problems.append(Problem(place, "map", str(found), f"at most {_BITS_LIMIT} bits in all"))
    return problems
