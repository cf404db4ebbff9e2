"""How a model is spread over chips, and what does not divide.

Chips are tp x cp x dp x pp, and experts lie on the chips that attention already uses:

  tp   tensor: each rank holds a slice of every matrix
  pp   pipeline: each stage holds some of the layers
  cp   context: each rank holds a share of every sequence's KV cache (Helix parallelism: Bhatia et al. 2025); matrices
       other than the projections into attention are cut over tp x cp
  dp   data: replicas, each with its own sequences
  ep   expert: experts on each of ep parts of the ranks. Where tp x cp ranks attend together, ep = n x tp x cp joins n
       of the dp ways, which attend to their own sequences and meet at the experts (attention-data-parallel:
       DeepSeek-V3, 2024); what is left of dp, dp / n, are replicas that share nothing. Where ep is a divisor of
       tp x cp, each part is tp x cp / ep ranks that hold slices of its experts.

A rank's place on the graph follows from an order of these axes, innermost first: `ORDERS`. How tensor ranks cut a
matrix is the layout: `1d` by one of its dimensions, `2d` by both (`planar`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.spec import SystemSpec
from archsim.workload.model import Model

__all__ = ["LAYOUTS", "ORDERS", "WAYS", "Parallelism", "check_parallelism", "divides", "tensor_parallel_sizes"]

WAYS = ("tp", "pp", "dp", "ep", "cp")
_KEY = "--parallel"

ORDERS: dict[str, tuple[str, ...]] = {
    "tp_inner": ("tp", "cp", "group", "pp", "replica"),
    "pp_inner": ("pp", "tp", "cp", "group", "replica"),
    "dp_inner": ("group", "replica", "tp", "cp", "pp"),
}
"""Policy -> axes of the grid of ranks from the one whose neighbours are neighbouring chips; `group` are the attention
groups that share experts, `replica` what is left of dp."""

LAYOUTS = ("1d", "2d")
"""How tensor ranks cut matrices: by heads and MLP width; or by those and by the hidden width as well."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Ways that the work is cut, and the order in which ranks are put on chips."""

    tp: int
    pp: int = 1
    dp: int = 1
    ep: int = 1
    cp: int = 1
    order: str = "tp_inner"
    """A key of `ORDERS`."""
    layout: str = "1d"
    """One of `LAYOUTS`."""

    @classmethod
    def parse(cls, text: str) -> Parallelism:
        """Return the parallelism written as `tp=8,pp=1` (and `order=pp_inner`, `layout=2d`).

        What is not named is 1, but for dp beside an ep that tp x cp does not fill: then it is ep / (tp x cp).
        """
        sizes: dict[str, int] = {}
        order = layout = ""
        for part in text.split(","):
            name, _, value = (word.strip() for word in part.partition("="))
            if name == "order" and value in ORDERS and not order:
                order = value
            elif name == "layout" and value in LAYOUTS and not layout:
                layout = value
            elif name in WAYS and name not in sizes and re.fullmatch(r"[1-9]\d{0,5}", value):
                sizes[name] = int(value)
            else:
                raise InputError(Problem("", _KEY, part, _form(name)))
        ways = {"tp": 1} | sizes
        if "dp" not in sizes:
            groups, rest = divmod(sizes.get("ep", 1), ways["tp"] * sizes.get("cp", 1))
            ways["dp"] = 1 if rest else max(1, groups)
        return cls(**ways, order=order or "tp_inner", layout=layout or "1d")

    @classmethod
    def default(cls, system: SystemSpec) -> Parallelism:
        """Return tensor parallelism over all chips of *system*."""
        return cls(tp=len(system.working_chips))

    def __str__(self) -> str:
        sizes = ",".join(f"{name}={getattr(self, name)}" for name in WAYS)
        order = "" if self.order == "tp_inner" else f",order={self.order}"
        return f"{sizes}{order}" + ("" if self.layout == "1d" else f",layout={self.layout}")

    @property
    def chips(self) -> int:
        """Chips that it takes."""
        return self.tp * self.cp * self.dp * self.pp

    @property
    def group_ranks(self) -> int:
        """Ranks that attend together to the same sequences."""
        return self.tp * self.cp

    @property
    def groups(self) -> int:
        """Attention groups of one replica: those of the dp ways that share experts."""
        return max(1, self.ep // self.group_ranks)

    @property
    def expert_slices(self) -> int:
        """Neighbouring ranks that hold slices of the same experts."""
        return max(1, self.group_ranks // self.ep)

    @property
    def replicas(self) -> int:
        """Replicas that share nothing."""
        return max(1, self.dp // self.groups)

    @property
    def stage_ranks(self) -> int:
        """Ranks of one pipeline stage of one replica."""
        return self.group_ranks * self.groups

    def holders(self, model: Model) -> int:
        """Return the tensor ranks among which sequences are dealt out once KV heads are cut: of a 2D layout alone."""
        return self.tp // math.gcd(self.tp, model.kv_heads) if self.layout == "2d" else 1

    def chips_of(self, *, stage: int = 0, replica: int = 0) -> tuple[int, ...]:
        """Return the chip of every rank of a stage of a replica: tp fastest, then cp, then the attention group."""
        extents = {"tp": self.tp, "cp": self.cp, "group": self.groups, "pp": self.pp, "replica": self.replicas}
        strides: dict[str, int] = {}
        stride = 1
        for axis in ORDERS[self.order]:
            strides[axis] = stride
            stride *= extents[axis]
        base = stage * strides["pp"] + replica * strides["replica"]
        return tuple(
            base + t * strides["tp"] + c * strides["cp"] + g * strides["group"]
            for g in range(self.groups)
            for c in range(self.cp)
            for t in range(self.tp)
        )


def check_parallelism(parallelism: Parallelism, model: Model, system: SystemSpec) -> None:
    """Raise `InputError` with every problem unless *parallelism* uses all chips of *system* and divides *model*."""
    problems = [
        Problem("", f"{_KEY} {name}".strip(), value, expected)
        for name, value, expected in (
            *_wrong_size(parallelism, system),
            *_wrong_cut(parallelism, model),
            *_wrong_experts(parallelism, model),
            *_wrong_layout(parallelism, model, system),
        )
    ]
    if problems:
        raise InputError(*problems)


def divides(parallelism: Parallelism, model: Model) -> bool:
    """Return whether *parallelism* divides *model*, on whatever chips."""
    return not [*_wrong_cut(parallelism, model), *_wrong_experts(parallelism, model)]


def tensor_parallel_sizes(model: Model) -> list[int]:
    """Return the numbers of ranks over which *model* can be cut, rising."""
    small = [tp for tp in range(1, math.isqrt(model.heads) + 1) if model.heads % tp == 0]
    divisors = {*small, *(model.heads // tp for tp in small)}
    return [tp for tp in sorted(divisors) if not _indivisible(model, tp)]


_Problems = Iterator[tuple[str, str, str]]
"""(name of the way, value, what was expected)."""


def _wrong_size(ways: Parallelism, system: SystemSpec) -> _Problems:
    chips = len(system.working_chips)
    if ways.chips == chips:
        return
    of = f"the number of chips of {system.name}" + (f" beside {system.spares} spare" if system.spares else "")
    if ways == Parallelism(ways.tp, order=ways.order, layout=ways.layout):
        yield "tp", str(ways.tp), f"{chips}, {of}"
        return
    product = f"tp {ways.tp} x pp {ways.pp} x dp {ways.dp} x cp {ways.cp} = {ways.chips}"
    yield "", product, f"a product of {chips}, {of}"


def _wrong_cut(ways: Parallelism, model: Model) -> _Problems:
    if expected := _indivisible(model, ways.tp):
        sizes = ", ".join(map(str, tensor_parallel_sizes(model)))
        yield "tp", str(ways.tp), f"{expected}; {model.name} can be cut {sizes} ways"
    if ways.pp > model.layers:
        yield "pp", str(ways.pp), f"at most the {model.layers} layers of {model.name}: no stage is without one"
    if model.exits and (ways.pp > 1 or ways.ep > 1):
        where, size = ("pp", ways.pp) if ways.pp > 1 else ("ep", ways.ep)
        yield where, str(size), f"1: {model.name} lets tokens leave early, which stages and expert ranks cannot yet"
    both = ways.group_ranks
    if ways.cp > 1 and (any(width % both for width in _widths(model)) or model.query_width % both):
        widths = f"the MLP width {_written(model)} and the attention width {model.query_width}"
        yield "cp", str(ways.cp), f"ways that with tp {ways.tp} ({both} in all) divide {widths}"


def _wrong_experts(ways: Parallelism, model: Model) -> _Problems:
    ep, both = ways.ep, ways.group_ranks
    if ep == 1:
        return
    if not model.experts:
        yield "ep", str(ep), f"1: {model.name} has no experts"
    elif ep > model.experts or model.experts % ep:
        few = f"{model.experts} experts on {ep} ranks leave some without; " if ep > model.experts else ""
        yield "ep", str(ep), f"{few}a divisor of the {model.experts} experts of {model.name}"
    attend = f"tp {ways.tp}" + (f" x cp {ways.cp}" if ways.cp > 1 else "")
    if ep % both and both % ep:
        yield "ep", str(ep), f"a multiple or a divisor of {attend}, the {both} ranks that attend together"
    elif ways.dp % ways.groups:
        yield "dp", str(ways.dp), f"a multiple of {ways.groups}: ep {ep} over {attend} joins as many of its ways"


def _wrong_layout(ways: Parallelism, model: Model, system: SystemSpec) -> _Problems:
    if ways.layout == "1d":
        return
    what = "experts" if model.experts else "latent attention" if model.latent else ""
    ranks = f"cp {ways.cp}, ep {ways.ep}" if ways.cp * ways.ep > 1 else ""
    tiers = f"the placement of tensors in memories of {system.name}" if system.chip.placement else ""
    for beside in filter(None, (what and f"the {what} of {model.name}", ranks, tiers)):
        yield "layout", ways.layout, f"1d beside {beside}: both dimensions are cut of dense layers in one memory"


def _indivisible(model: Model, tp: int) -> str:
    """Return why *model* cannot be cut *tp* ways, or an empty string."""
    if model.heads % tp:
        return f"a divisor of the {model.heads} attention heads"
    if model.kv_heads % tp and tp % model.kv_heads:
        return f"a divisor or a multiple of the {model.kv_heads} KV heads"
    if any(width % tp for width in _widths(model)):
        return f"a divisor of the MLP width {_written(model)}"
    return ""


def _widths(model: Model) -> list[int]:
    """Return the widths of the model's MLPs: of experts, of those for every token, of leading dense layers."""
    return [width for width in (model.intermediate, model.shared_intermediate, model.dense_intermediate) if width]


def _written(model: Model) -> str:
    return " and ".join(map(str, dict.fromkeys(_widths(model))))


def _form(name: str) -> str:
    known = (*WAYS, "order", "layout")
    hint = did_you_mean(name, known) if name not in known else ""
    return (
        f"NAME=N{hint} with each of {', '.join(WAYS)} at most once and N from 1 to 999,999, "
        f"or order={' or '.join(ORDERS)}, or layout={' or '.join(LAYOUTS)}"
    )
