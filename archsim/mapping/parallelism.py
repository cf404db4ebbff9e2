"""How a model is spread over chips, and what does not divide.

Tensor parallelism only, for now: every layer is cut over all chips. Pipeline, data, expert and context parallelism
have their names here and are refused unless 1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.spec import SystemSpec
from archsim.workload.model import Model

__all__ = ["Parallelism", "check_parallelism", "tensor_parallel_sizes"]

_LONG_NAMES = {"pp": "pipeline", "dp": "data", "ep": "expert", "cp": "context"}
_KEY = "--parallel"


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Ways that the work is cut; the product of all is the number of chips."""

    tp: int
    """Tensor: each rank holds a slice of every matrix."""
    pp: int = 1
    dp: int = 1
    ep: int = 1
    cp: int = 1

    @classmethod
    def parse(cls, text: str) -> Parallelism:
        """Return the parallelism written as `tp=8,pp=1`; what is not named is 1."""
        names = [field.name for field in fields(cls)]
        sizes: dict[str, int] = {}
        for part in text.split(","):
            match = re.fullmatch(r"\s*([a-z]+)\s*=\s*([1-9]\d{0,5})\s*", part)
            if match is None or match[1] not in names or match[1] in sizes:
                hint = did_you_mean(match[1], names) if match and match[1] not in names else ""
                expected = f"NAME=N{hint} with each of {', '.join(names)} at most once and N from 1 to 999,999"
                raise InputError(Problem("", _KEY, part, expected))
            sizes[match[1]] = int(match[2])
        return cls(**{"tp": 1} | sizes)

    @classmethod
    def default(cls, system: SystemSpec) -> Parallelism:
        """Return tensor parallelism over all chips of *system*."""
        return cls(tp=system.chips)

    def __str__(self) -> str:
        return ",".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


def check_parallelism(parallelism: Parallelism, model: Model, system: SystemSpec) -> None:
    """Raise `InputError` unless *parallelism* uses all chips of *system* and divides *model*."""
    problems = [
        Problem("", f"{_KEY} {name}", str(getattr(parallelism, name)), f"1: {long} parallelism is not modelled")
        for name, long in _LONG_NAMES.items()
        if getattr(parallelism, name) != 1
    ]
    tp, chips = parallelism.tp, system.chips
    if tp != chips:
        problems.append(Problem("", f"{_KEY} tp", str(tp), f"{chips}, the number of chips of {system.name}"))
    elif expected := _indivisible(model, tp):
        sizes = ", ".join(map(str, tensor_parallel_sizes(model)))
        problems.append(Problem("", f"{_KEY} tp", str(tp), f"{expected}; {model.name} can be cut {sizes} ways"))
    if problems:
        raise InputError(*problems)


def tensor_parallel_sizes(model: Model) -> list[int]:
    """Return the numbers of ranks over which *model* can be cut, rising."""
    small = [tp for tp in range(1, math.isqrt(model.heads) + 1) if model.heads % tp == 0]
    divisors = {*small, *(model.heads // tp for tp in small)}
    return [tp for tp in sorted(divisors) if not _indivisible(model, tp)]


def _indivisible(model: Model, tp: int) -> str:
    """Return why *model* cannot be cut *tp* ways, or an empty string."""
    if model.heads % tp:
        return f"a divisor of the {model.heads} attention heads"
    if model.kv_heads % tp and tp % model.kv_heads:
        return f"a divisor or a multiple of the {model.kv_heads} KV heads"
    if model.intermediate % tp:
        return f"a divisor of the MLP width {model.intermediate}"
    return ""
