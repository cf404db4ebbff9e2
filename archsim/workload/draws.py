"""Draws by inverse distributions, from raw 64-bit words of PCG64.

NumPy's own distributions may change between its versions; raw words do not. Values are rounded far above the last bit
in which logarithms of two platforms differ.

    uniform        u = (word >> 11) / 2**53
    exponential    -ln(1 - u)
    Weibull        (-ln(1 - u))**(1 / shape)
    gamma          x with P(shape, x) = u, P the regularised incomplete gamma function: power series below shape + 1,
                   Lentz's continued fraction above, inverted by Halley's method from the start of Press et al.,
                   Numerical Recipes, 3rd edition, 6.2.1; where the series is its first term, x is known.

Gaps of a gamma law of mean 1 have the coefficient of variation 1 / sqrt(shape).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.random import PCG64

__all__ = ["Quantiles", "Uniforms", "exponential", "from_words", "gamma", "uniforms", "weibull"]

Uniforms = npt.NDArray[np.float64]
"""Numbers from 0 on, below 1."""

_MOST_TERMS = 10_000
_HALLEY_STEPS = 12
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution of positive integers by points of its inverse, linear between them."""

    points: tuple[tuple[int, int], ...]
    """(probability in units of 1e-6, value), from 0 to a million, both rising."""
    _ends: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(part << 64 for part, _ in self.points[1:]))

    def at(self, bits: int) -> int:
        """Return the value at the probability *bits* / 2**64, rounded half up."""
        position = bits * 10**6
        piece = bisect.bisect_right(self._ends, position)
        (low, start), (high, end) = self.points[piece], self.points[piece + 1]
        rest, width = position - (low << 64), (high - low) << 64
        return start + (2 * (end - start) * rest + width) // (2 * width)


def uniforms(bits: PCG64, count: int) -> Uniforms:
    """Return the next *count* uniform numbers of *bits*."""
    return from_words(bits.random_raw(count))


def from_words(words: Sequence[int] | npt.NDArray[np.uint64]) -> Uniforms:
    """Return the uniform numbers of raw *words*."""
    return np.asarray((np.asarray(words, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def exponential(u: Uniforms) -> Uniforms:
    """Return the values of an exponential law of mean 1 at *u*."""
    return -np.log1p(-u)


def weibull(shape: float) -> Callable[[Uniforms], Uniforms]:
    """Return the inverse of a Weibull law of mean 1; *shape* is positive."""
    mean = math.gamma(1 + 1 / shape)
    return lambda u: exponential(u) ** (1 / shape) / mean


def gamma(shape: float) -> Callable[[Uniforms], Uniforms]:
    """Return the inverse of a gamma law of mean 1; *shape* is positive."""
    return lambda u: _gamma_inverse(shape, u) / shape


def _gamma_inverse(shape: float, u: Uniforms) -> Uniforms:
    """Return x with P(shape, x) = u."""
    lower = u < 0.5
    target = np.where(lower, u, 1 - u)
    x = _first_guess(shape, u)
    log_gamma = math.lgamma(shape)
    # Where the power series is its first term, P = x**shape / gamma(shape + 1), the guess is the answer.
    small = _first_term(shape, u)
    small[u == 0] = 0.0
    exact = small < 1e-12
    x[exact] = small[exact]
    open_ = np.flatnonzero(~exact)
    for _ in range(_HALLEY_STEPS):
        if not len(open_):
            break
        now = x[open_]
        below, above = _regularised(shape, now)
        error = np.where(lower[open_], below - target[open_], target[open_] - above)
        density = np.exp(np.maximum(-now + (shape - 1) * np.log(now) - log_gamma, -690.0))
        step = error / density
        step /= 1 - 0.5 * np.minimum(1.0, step * ((shape - 1) / now - 1))
        step = np.minimum(step, 0.5 * now)  # never below half of where it is
        x[open_] = now - step
        open_ = open_[np.abs(step) > 1e-13 * now]
    return x


def _first_term(shape: float, u: Uniforms) -> Uniforms:
    with np.errstate(under="ignore"):
        return np.asarray(np.exp((np.log(np.maximum(u, _TINY)) + math.lgamma(shape + 1)) / shape))


def _first_guess(shape: float, u: Uniforms) -> Uniforms:
    upper = np.maximum(1 - u, 2.0**-54)
    if shape > 1:
        # Wilson and Hilferty, with a rational normal quantile (Abramowitz and Stegun 26.2.22).
        t = np.sqrt(-2 * np.log(np.maximum(np.minimum(u, upper), _TINY)))
        normal = (2.30753 + t * 0.27061) / (1 + t * (0.99229 + t * 0.04481)) - t
        normal = np.where(u < 0.5, normal, -normal)
        middle = np.maximum(1e-3, shape * (1 - 1 / (9 * shape) + normal / (3 * math.sqrt(shape))) ** 3)
        first = np.maximum(_first_term(shape, u), _TINY)
        return np.where(first < 0.1 * shape, first, middle)
    edge = 1 - shape * (0.253 + shape * 0.12)
    with np.errstate(under="ignore"):
        head = np.exp(np.log(np.maximum(u, _TINY) / edge) / shape)
    return np.where(u < edge, np.maximum(head, _TINY), 1 - np.log(np.maximum(upper / (1 - edge), _TINY)))


def _regularised(shape: float, x: Uniforms) -> tuple[Uniforms, Uniforms]:
    """Return P and Q = 1 - P, each without loss where it is small."""
    below, above = np.empty_like(x), np.empty_like(x)
    near = x < shape + 1
    front = np.exp(np.maximum(-x + shape * np.log(x) - math.lgamma(shape), -690.0))
    below[near] = front[near] * _series(shape, x[near])
    above[near] = 1 - below[near]
    above[~near] = front[~near] * _fraction(shape, x[~near])
    below[~near] = 1 - above[~near]
    return below, above


def _series(shape: float, x: Uniforms) -> Uniforms:
    term = np.full_like(x, 1 / shape)
    total = term.copy()
    for number in range(1, _MOST_TERMS):
        term *= x / (shape + number)
        total += term
        if not len(x) or term.max() < 1e-17 * total.min():
            break
    return total


def _fraction(shape: float, x: Uniforms) -> Uniforms:
    """Lentz's continued fraction of Q * gamma(shape) * e**x / x**shape."""
    b = x + 1 - shape
    c = np.full_like(x, 1 / _TINY)
    d = 1 / b
    result = d.copy()
    for number in range(1, _MOST_TERMS):
        a = -number * (number - shape)
        b += 2
        d = 1 / np.where(np.abs(a * d + b) < _TINY, _TINY, a * d + b)
        c = b + a / c
        factor = d * c
        result *= factor
        if not len(x) or np.abs(factor - 1).max() < 1e-15:
            break
    return result
