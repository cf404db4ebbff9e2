"""Software between model and chip, as data: launches, host work, prefetch, collectives, and what a server takes on.

A runtime is a file of its own because the same chip runs under several: an eager stack of 2023 is bound by its host
where a compiled program of today is bound by memory.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from archsim.hardware.quantities import Count, Picoseconds, Text
from archsim.hardware.spec_model import Spec

__all__ = ["RuntimeSpec"]


class RuntimeSpec(Spec):
    """Software between model and chip, `hwconfigs/runtimes/*.toml`."""

    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    aliases: tuple[Text, ...] = ()
    """Other names it is looked up by."""
    launch_gap_ps: Picoseconds = Field(alias="launch_gap")
    """Idle time between the end of one kernel and the start of the next."""
    ramp_ps: Picoseconds = Field(alias="ramp")
    """Fill and drain of one kernel, when it occupies the chip but moves nothing."""
    pipeline_stages: Count
    """Chunks of operands that a kernel keeps in staging at once (software pipelining depth); 2 is double buffering."""
    host_step_ps: Picoseconds = Field(alias="host_step")
    """Serial work of the host for one iteration (scheduling, sampling, detokenising)."""
    host_launch_ps: Picoseconds = Field(alias="host_launch", default=0)
    """Time in which the host issues one operator, one after the other and ahead of the chip. 0 where a captured graph
    or a compiled program issues them."""
    host_sequence_ps: Picoseconds = Field(alias="host_sequence", default=0)
    """Further serial work of the host for each sequence of an iteration. 0 where it hides behind the chip's work."""
    widening_operations: int = Field(default=0, strict=True, ge=0, le=1000)
    """Operations of the vector engine for each stored weight that is widened to the multiplied type."""
    kv_widening_operations: int = Field(default=0, strict=True, ge=0, le=1000)
    """The same for each element of a cache narrower than 16 bits, where heads are not grouped: vector units attend."""
    prefetch: Literal["kernel", "stream"]
    """`kernel`: operand reads wait for the kernel before. `stream`: next kernels' weights flow ahead into staging."""
    collective: Text
    """Algorithm of collectives, or `auto`."""
    collective_software_ps: Picoseconds = Field(alias="collective_software")
    """Software time of one collective beside its transfers."""
    overlap_parts: int = Field(default=1, strict=True, ge=1, le=32)
    """Parts in which an all-reduce is exchanged while the kernel that makes its tensor goes on. 1: after the kernel."""
    pipeline: Text | None = None
    """When stages work where nobody says: a key of `archsim.step.stages.PIPELINES`; not stated: drained."""
    kv_block_tokens: Count
    """Tokens of one block of the paged KV cache."""
    static_cache_tokens: int = Field(default=0, strict=True, ge=0, le=10**7)
    """Tokens that a sequence's cache is compiled for, all of which attention reads. 0: it reads what is there."""
    key_copies: int = Field(default=0, strict=True, ge=0, le=16)
    """Times that the keys of a context are written to memory and read again on their way to attention: transposed."""
    max_batch: Count
    """Largest number of sequences in one iteration."""
    max_prefill_tokens: Count
    """Largest number of prompt tokens in one iteration; of all tokens, where the scheduler cuts prompts."""
    scheduler: Text = "prefill_first"
    """Who is served next: a key of `archsim.serving.policies.POLICIES`."""
