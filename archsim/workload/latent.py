"""Multi-head latent attention (MLA): what is cached, and the widths of its projections.

DeepSeek-AI 2024, arXiv 2405.04434, section 2.1. A token leaves one vector of `kv_rank` values and one rotated key of
`rope` values, which all heads share: 512 + 64 = 576 elements a layer, whatever the number of heads. Queries come
through `query_rank` values (0: straight from the hidden state).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Latent"]


@dataclass(frozen=True, slots=True)
class Latent:
    """Widths of latent attention."""

    query_rank: int
    kv_rank: int
    nope: int
    """Width of a head's query and key that is not rotated."""
    rope: int
    """Width that is rotated; the key's is shared by all heads."""
    value: int
    """Width of a head's value."""

    @property
    def cached(self) -> int:
        """Elements that a token leaves in a layer's cache."""
        return self.kv_rank + self.rope

    @property
    def query(self) -> int:
        """Width of a head's query."""
        return self.nope + self.rope
