"""Pools of systems: prompts on one and decoding on another, or a device and the cloud, `hwconfigs/pools/*.toml`.

A pool is a number of equal copies of a system. What joins the pools is data too: the ports that KV caches pass, the
distance of a pool from its users, the law by which requests are divided. Nothing here knows a model.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from archsim.hardware.division_spec import CascadeSpec, DivisionSpec
from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import (
    BytesPerSecond,
    Count,
    Identifier,
    PicojoulesPerBit,
    PositivePicoseconds,
    Share,
    Text,
)
from archsim.hardware.spec import Status, SystemSpec

__all__ = ["DivisionSpec", "KvLinkSpec", "PoolSpec", "PoolsSpec", "WideAreaSpec"]

_PAIR = 2
_MOST_COPIES = 256
"""Servers of a pool are simulated one by one."""


class WideAreaSpec(Spec):
    """The way from the users to a pool, table `[pools.NAME.wide_area]`."""

    bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    """Of one user's link, each way: a prompt goes up before it is served."""
    latency_ps: PositivePicoseconds = Field(alias="latency")
    """One way: a prompt arrives so much later, and every token."""
    bytes_per_token: Count
    """Of a prompt on its way."""


class PoolSpec(Spec):
    """Equal copies of a system, table `[pools.NAME]`."""

    system: SystemSpec
    """The system: a bundled name, a path, or a table."""
    replicas: Count
    """Copies of it."""
    serves: Literal["prefill", "decode", "all"]
    """What it does of a request."""
    parallel: Text | None = None
    """How the model is spread over a copy; not stated: as the system or its chips ask for."""
    router: Text | None = None
    """Which server gets a request, a key of `archsim.serving.router.ROUTERS`; not stated: in turn."""
    model: Text | None = None
    """A model of its own, where the pool serves whole requests; not stated: that of the run."""
    wide_area: WideAreaSpec | None = None
    """How far it is from the users; not stated: their prompts and tokens take no time on the way."""
    memory_share: Share | None = None
    """Share of every memory's room that this pool's model has, where two models share chips."""

    @model_validator(mode="after")
    def _check_copies(self) -> PoolSpec:
        if self.replicas > _MOST_COPIES:
            raise refusal("replicas", self.replicas, f"at most {_MOST_COPIES} copies")
        if self.serves != "all" and (self.model or self.wide_area):
            key = "model" if self.model else "wide_area"
            raise refusal(key, self.model or "", 'nothing where a pool does not serve "all" of a request')
        return self


class KvLinkSpec(Spec):
    """How KV caches pass from the prefill pool to the decode pool, table `[link]`."""

    bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    """Of the port of one copy of a system, each way; replicas of a model within a copy share it evenly."""
    latency_ps: PositivePicoseconds = Field(alias="latency")
    """From the end of a transfer to the first iteration that can use it."""
    overlap: Literal["none", "layer"]
    """`none`: a cache leaves when its prompt is done. `layer`: each layer's part, as soon as it is computed."""
    pj_per_bit: PicojoulesPerBit | None = Field(alias="energy", default=None)
    """Energy of a bit over the link, both ends; not stated: absent in results."""


class PoolsSpec(Spec):
    """A design of several systems, `hwconfigs/pools/*.toml`."""

    kind: Literal["pools"]
    """Says what the file is."""
    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    status: Status
    """How much of it exists."""
    aliases: tuple[Text, ...] = ()
    """Other names it is looked up by."""
    pools: dict[Identifier, PoolSpec] = Field(min_length=_PAIR, max_length=_PAIR)
    """Both pools by name."""
    link: KvLinkSpec | None = None
    """What joins a prefill and a decode pool."""
    divide: DivisionSpec | None = None
    """What divides requests between two pools that serve all of them."""
    cascade: CascadeSpec | None = None
    """What makes requests begin on one of two such pools and go on to the other."""

    @property
    def hands_over(self) -> bool:
        """Whether requests pass from one pool to the other."""
        return self.link is not None

    def pool_that(self, serves: str) -> str:
        """Return the name of the pool that does *serves*."""
        return next(name for name, pool in self.pools.items() if pool.serves == serves)

    @property
    def shares_chips(self) -> bool:
        """Whether both pools are models on the same chips."""
        return self.cascade is not None and self.cascade.chips == "shared"

    @property
    def machines(self) -> dict[str, PoolSpec]:
        """Pools that have chips of their own, by name: both, or one of them for both that share."""
        return {"+".join(self.pools): self.pools[self.main]} if self.shares_chips else self.pools

    @property
    def main_machine(self) -> str:
        """The one of `machines` that headline figures are read off."""
        return next(iter(self.machines)) if self.shares_chips else self.main

    @property
    def main(self) -> str:
        """The pool that headline figures are read off: the one that decodes; of two, the one with more bandwidth.

        Of two models on the same chips it is the second.
        """
        if self.hands_over:
            return self.pool_that("decode")
        if self.cascade is not None and self.shares_chips:
            return next(name for name in self.pools if name != self.cascade.first)
        return max(self.pools, key=lambda name: _bandwidth(self.pools[name]))

    @model_validator(mode="after")
    def _check_roles(self) -> PoolsSpec:
        roles = sorted(pool.serves for pool in self.pools.values())
        if roles not in (["all", "all"], ["decode", "prefill"]):
            expected = 'one pool that serves "prefill" and one that serves "decode", or two that serve "all"'
            raise refusal("pools", ", ".join(pool.serves for pool in self.pools.values()), expected)
        handing = roles[0] == "decode"
        divides = not handing and self.cascade is None
        for key, table, wanted in (("link", self.link, handing), ("divide", self.divide, divides)):
            if (table is not None) != wanted:
                why = "pools that hand over" if key == "link" else "pools that serve all of a request"
                raise refusal(key, "", f"this table for {why}, and only for them")
        if self.cascade is not None and handing:
            raise refusal("cascade", "", "this table for pools that serve all of a request, and only for them")
        for key, law in (("divide", self.divide), ("cascade", self.cascade)):
            if law is not None and law.first not in self.pools:
                raise refusal(f"{key}.first", law.first, f"one of {', '.join(self.pools)}")
        return self

    @model_validator(mode="after")
    def _check_shared(self) -> PoolsSpec:
        shares = [pool.memory_share for pool in self.pools.values()]
        one, other = self.pools.values()
        if not self.shares_chips:
            if any(shares):
                raise refusal("memory_share", "", 'nothing where no cascade has chips = "shared"')
            return self
        if one.system != other.system or one.replicas != other.replicas:
            expected = "equal systems and replicas of both pools, whose models share chips"
            raise refusal("cascade.chips", "shared", expected)
        if not all(shares) or sum(share or 0 for share in shares) > 1:
            found = ", ".join("none" if share is None else f"{100 * float(share):g} %" for share in shares)
            raise refusal("memory_share", found, "a share of the memory for each pool, at most 100 % together")
        if any(pool.wide_area for pool in self.pools.values()) and one.wide_area != other.wide_area:
            raise refusal("wide_area", "", "the same way for both pools, whose models share chips")
        return self


def _bandwidth(pool: PoolSpec) -> int:
    chip = pool.system.chip
    return pool.replicas * pool.system.chips * chip.memory[chip.main_memory].peak_bytes_per_s
