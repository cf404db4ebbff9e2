"""What a system's server does beyond batching, table `[serving]`: each technique a table of its own, absent: off.

Names of policies are checked where the policies are (`archsim.serving.configure`).
"""

from __future__ import annotations

from archsim.hardware.memory_spec import Spec
from archsim.hardware.quantities import Text

__all__ = ["PrefixCacheSpec", "ServingSpec"]


class PrefixCacheSpec(Spec):
    """Prompts that begin alike share KV, table `[serving.prefix_cache]`."""

    eviction: Text
    """What goes first when blocks are needed: a key of `archsim.serving.prefix.EVICTIONS`."""


class ServingSpec(Spec):
    """Techniques of the server, table `[serving]`."""

    prefix_cache: PrefixCacheSpec | None = None
    """Keep what prompts have in common."""
