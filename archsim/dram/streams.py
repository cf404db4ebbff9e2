"""Request streams of one channel, in transactions: the ones that the simulators' reference runs were made with.

Each stream is a function of the number of requests, a parameter and the domain (`transactions` addresses); every index
is taken modulo the domain. Random draws come from one 64-bit linear congruential generator with seed 1, so a stream
is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.errors import InputError, Problem

__all__ = ["STREAMS", "Domain", "Stream", "draws", "make_stream"]

Indices = npt.NDArray[np.int64]

_MULTIPLIER = 6364136223846793005
_INCREMENT = 1442695040888963407
_MASK = (1 << 64) - 1
_ALIGNED_BYTES = 4096
"""Random streams start at multiples of this."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The addresses a stream may use."""

    transactions: int
    transaction_bytes: int
    row_bit: int
    """Position of the lowest row bit: the next row of the same bank is `2 ** row_bit` transactions away."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Transaction indices in order, and which of them write."""

    index: Indices
    write: npt.NDArray[np.uint8]


def draws(count: int, seed: int = 1) -> Indices:
    """Return *count* draws of 31 bits: `X <- a X + c mod 2^64`, then the top 31 bits.

    Computed in blocks: the generator's n-fold step is again linear, so a block of 4,096 follows from the one before.
    """
    block = min(max(count, 1), 4096)
    state, values = seed & _MASK, np.empty(block, np.uint64)
    for i in range(block):
        state = (_MULTIPLIER * state + _INCREMENT) & _MASK
        values[i] = state
    multiplier, increment = 1, 0
    for _ in range(block):
        multiplier, increment = multiplier * _MULTIPLIER & _MASK, (increment * _MULTIPLIER + _INCREMENT) & _MASK
    blocks = [values]
    for _ in range((count - 1) // block):
        blocks.append(blocks[-1] * np.uint64(multiplier) + np.uint64(increment))
    return (np.concatenate(blocks)[:count] >> np.uint64(33)).astype(np.int64)


def _reads(index: Indices) -> Stream:
    return Stream(index, np.zeros(index.shape, np.uint8))


def _every(index: Indices, period: int) -> Stream:
    return Stream(index, (np.arange(index.size) % period == period - 1).astype(np.uint8))


def _copy(count: int, _param: int, domain: Domain) -> Stream:
    i = np.arange(count)
    return Stream((i % 2) * (domain.transactions // 2) + i // 2, (i % 2).astype(np.uint8))


def _block_copy(count: int, param: int, domain: Domain) -> Stream:
    block = param // domain.transaction_bytes
    k, j = np.divmod(np.arange(count), 2 * block)
    upper = j >= block
    return Stream(upper * (domain.transactions // 2) + k * block + j % block, upper.astype(np.uint8))


def _stride(count: int, param: int, domain: Domain) -> Stream:
    q = np.arange(count) * (param // domain.transaction_bytes)
    return _reads(q + q // domain.transactions)


def _chunks(count: int, param: int, domain: Domain) -> Stream:
    block = param // domain.transaction_bytes
    base = draws(-(-count // block)) % (domain.transactions // block) * block
    i = np.arange(count)
    return _reads(base[i // block] + i % block)


def _aligned_streams(count: int, param: int, domain: Domain) -> Stream:
    i = np.arange(count)
    return _reads((i % param) * (domain.transactions // param) + i // param)


def _bases(streams: int, domain: Domain) -> Indices:
    block = _ALIGNED_BYTES // domain.transaction_bytes
    return draws(streams) % (domain.transactions // block) * block


def _random_streams(count: int, param: int, domain: Domain) -> Stream:
    i = np.arange(count)
    return _reads(_bases(param, domain)[i % param] + i // param)


def _coarse_streams(count: int, param: int, domain: Domain) -> Stream:
    i, q = np.arange(count), 256 // domain.transaction_bytes
    t = i // q
    return _reads(_bases(param, domain)[t % param] + t // param * q + i % q)


STREAMS: dict[str, Callable[[int, int, Domain], Stream]] = {
    "seq": lambda n, _p, _d: _reads(np.arange(n)),
    "seqw": lambda n, _p, _d: Stream(np.arange(n), np.ones(n, np.uint8)),
    "seqrw": lambda n, p, _d: _every(np.arange(n), p),
    "copy": _copy,
    "copyblk": _block_copy,
    "stride": _stride,
    "rand": lambda n, _p, d: _reads(draws(n) % d.transactions),
    "randrw": lambda n, p, d: _every(draws(n) % d.transactions, p),
    "chunk": _chunks,
    "streams": _aligned_streams,
    "streamsr": _random_streams,
    "streamsr256": _coarse_streams,
    "conflict": lambda n, _p, d: _reads(np.arange(n) << d.row_bit),
}
"""Pattern by name; the parameter is a period, bytes or a number of streams."""


def make_stream(pattern: str, param: int, *, requests: int, domain: Domain, place: str) -> Stream:
    """Return *requests* requests of *pattern*, indices reduced to the domain.

    Raises `InputError` naming *place* for an unknown pattern, a parameter it cannot have (bytes below a transaction,
    a period or a count below 1) or one larger than the domain.
    """
    if pattern not in STREAMS:
        raise InputError(Problem(place, "pattern", pattern, f"one of {', '.join(STREAMS)}"))
    unit = domain.transaction_bytes if pattern in ("copyblk", "stride", "chunk") else 1
    if pattern in ("copyblk", "stride", "chunk", "seqrw", "randrw", "streams", "streamsr", "streamsr256"):
        if param < unit:
            raise InputError(Problem(place, "param", str(param), f"at least {unit}"))
        if param // unit > domain.transactions:
            raise InputError(
                Problem(place, "param", str(param), f"at most {domain.transactions * unit}: the device ends")
            )
    made: Any = STREAMS[pattern](requests, param, domain)
    return Stream(made.index % domain.transactions, made.write)
