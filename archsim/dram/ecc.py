"""Inline ECC: check bits that lie among the data, so that the controller moves transactions of its own for them.

One transaction of check bits protects a block of `ecc_data` neighbouring transactions of a row and lies in that row, as
in the controllers of LPDDR and GDDR6 memories without ECC pins. The controller holds the last `ecc_buffer` of them. A
read whose check bits it does not hold reads them first. A write changes them in the buffer; when they leave it they are
written, and read before where only a part of the block was written (read-modify-write). What still waits at the end of
a stream is written after it. Bursts of check bits are booked as `command_bus` (assumption A37 in docs/model.md).

Not modelled: the columns of a row that check bits take from data (a run changes rows a little more often).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archsim.dram.address import AddressMap
from archsim.dram.streams import Stream

__all__ = ["Checked", "with_check_bits"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A stream with its transactions of check bits."""

    stream: Stream
    """A transaction of check bits has an address of its own, beyond those of the device."""
    of: npt.NDArray[np.int64]
    """For each transaction a request of the plain stream whose bank and row it goes to."""
    data: npt.NDArray[np.int64]
    """Positions of the transactions that were asked for, in order."""


@dataclass(slots=True)
class _Block:
    """Check bits in the buffer."""

    request: int
    """One that lies in the block."""
    known: bool = False
    """They were read; else only those of `written` are known."""
    written: int = 0
    """Mask of the block's transactions that were written."""


class _Buffer:
    """The check bits that the controller holds, and the transactions that it makes of them and of data, in order."""

    def __init__(self, width: int, entries: int) -> None:
        self.width, self.entries = width, entries
        self.blocks: OrderedDict[int, _Block] = OrderedDict()
        self.made: list[tuple[int, int, bool]] = []
        self.data: list[int] = []

    def access(self, request: int, number: int, *, within: int, write: bool) -> None:
        """Pass on *request*, transaction *within* of block *number*, after the check bits it needs."""
        block = self.blocks.pop(number, None)
        if block is None:
            block = _Block(request)
            if len(self.blocks) == self.entries:
                self._leave(*self.blocks.popitem(last=False))
        if write:
            block.written |= 1 << within
        elif not (block.known or block.written >> within & 1):
            self.made.append((request, number, False))
            block.known = True
        self.blocks[number] = block
        self.data.append(len(self.made))
        self.made.append((request, _DATA, write))

    def flush(self) -> None:
        """Write what is left."""
        while self.blocks:
            self._leave(*self.blocks.popitem(last=False))

    def _leave(self, number: int, block: _Block) -> None:
        if not block.written:
            return
        if not block.known and block.written != (1 << self.width) - 1:
            self.made.append((block.request, number, False))
        self.made.append((block.request, number, True))


_DATA = -1
"""Block number of a transaction of data."""


def with_check_bits(stream: Stream, address_map: AddressMap, *, width: int, entries: int) -> Checked:
    """Return *stream* with the check bits of blocks of *width* transactions, *entries* of which are held."""
    column, row = _columns(stream, address_map)
    buffer = _Buffer(width, entries)
    numbers = (row * (int(column.max(initial=0)) // width + 1) + column // width).tolist()
    inside, writes = (column % width).tolist(), stream.write.tolist()
    for request, (number, within, write) in enumerate(zip(numbers, inside, writes, strict=True)):
        buffer.access(request, number, within=within, write=bool(write))
    buffer.flush()
    made = np.array(buffer.made, np.int64).reshape(-1, 3)
    of, block = made[:, 0], made[:, 1]
    index = np.where(block == _DATA, stream.index[of], block + (1 << address_map.bits))
    return Checked(Stream(index, made[:, 2].astype(np.uint8)), of, np.array(buffer.data, np.int64))


def _columns(stream: Stream, address_map: AddressMap) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each request's column, and a number of its row that no row of another bank has."""
    values = address_map.values(stream.index)
    column = values.pop("co", np.zeros(stream.index.shape, np.int64))
    row, bits = np.zeros(stream.index.shape, np.int64), dict.fromkeys(values, 0)
    for name, count in address_map.fields:
        bits[name] = bits.get(name, 0) + count
    for name, value in values.items():
        row = (row << bits[name]) | value
    return column, row
