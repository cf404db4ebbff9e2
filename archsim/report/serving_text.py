"""What techniques of the server did, in words."""

from __future__ import annotations

from archsim.report.views import percent
from archsim.result import Result

__all__ = ["serving_lines"]


def serving_lines(result: Result) -> list[tuple[str, str]]:
    """Return (name, text) of each technique that the run asked for."""
    found = result.serving
    if found is None:
        return []
    lines = []
    if (prefix := found.prefix_cache) is not None:
        text = f"{percent(prefix.hit_share)} of {prefix.prompt_tokens:,} prompt tokens found"
        lines.append(("prefix cache", f"{text}, {prefix.evicted_blocks:,} blocks evicted"))
    if (drafts := found.speculation) is not None:
        tokens = "no" if drafts.tokens_per_step is None else f"{drafts.tokens_per_step:.3g}"
        lines.append(
            ("speculation", f"{drafts.method}, {drafts.verified_tokens} guesses verified, {tokens} tokens a step")
        )
    return lines
