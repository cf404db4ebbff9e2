"""The kinds of recorded traces by the names of their columns.

A schema is a row of `SCHEMAS`: which columns hold arrival, prompt and output, and which the rest. Column order is free
and further columns are ignored. The plain schema is the one that archsim writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import PS_PER_S

__all__ = ["PLAIN", "SCHEMAS", "Schema", "schema_of"]

_PS_PER_MS = PS_PER_S // 1000


@dataclass(frozen=True, slots=True)
class Schema:
    """Names of the columns of one kind of trace."""

    name: str
    arrival: str
    """Empty: it has lengths alone, and arrivals must be drawn."""
    prompt: str
    output: str
    unit_ps: int = PS_PER_S
    """Of arrivals, counted from zero; 0: arrivals are dates with times of day, counted from the first."""
    session: str = ""
    wait: str = ""
    """Column of seconds after the request before it in the session."""
    blocks: str = ""
    """Column of identities of the prompt's blocks."""
    block_tokens: int = 0
    """Tokens in a block; 0: the column `block_tokens` says."""
    tick_ps: int = 0
    """What arrivals were rounded down to; they are spread over it."""

    @property
    def clock(self) -> bool:
        """Arrivals are dates with times of day."""
        return not self.unit_ps

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which it is another kind."""
        return tuple(name for name in (self.arrival, self.prompt, self.output) if name)

    def extras(self, names: list[str]) -> tuple[str, ...]:
        """Return the further columns that it reads and that *names* hold."""
        own = (self.session, self.wait, self.blocks, "block_tokens" if self.blocks and not self.block_tokens else "")
        return tuple(name for name in own if name and name in names)


PLAIN = Schema("plain", "arrival_s", "prompt_tokens", "output_tokens", session="session", wait="wait_s",
               blocks="blocks")  # fmt: skip
"""The common schema: what `archsim trace convert` writes."""

SCHEMAS = (
    Schema("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", unit_ps=0),
    PLAIN,
    # Mooncake states 3 s ticks by its data, and 512 tokens a block in its README (FAST'25 release).
    Schema("mooncake", "timestamp", "input_length", "output_length", unit_ps=_PS_PER_MS, blocks="hash_ids",
           block_tokens=512, tick_ps=3 * PS_PER_S),
    Schema("vllm", "arrival_s", "input_toks", "output_toks"),
    Schema("lengths", "", "num_prefill_tokens", "num_decode_tokens"),
)  # fmt: skip
"""Azure LLM inference traces; plain columns; Mooncake; requests of a vLLM benchmark; lengths of Vidur's traces."""


def schema_of(path: Path, names: list[str]) -> Schema:
    """Return the schema of a file with columns *names*; raise `InputError` that lists what is known."""
    for schema in SCHEMAS:
        if set(schema.needed) <= set(names):
            if PLAIN.blocks in schema.extras(names) and "block_tokens" not in names:
                expected = "a column block_tokens beside blocks: the tokens in a block"
                raise InputError(Problem(str(path), "header", ", ".join(names), expected))
            return schema
    known = " or ".join(", ".join(schema.needed) for schema in SCHEMAS)
    words = {word for schema in SCHEMAS for word in schema.needed}
    hint = next((text for name in names if name not in words and (text := did_you_mean(name, words))), "")
    raise InputError(Problem(str(path), "header", ", ".join(names), f"the columns {known}{hint}"))
