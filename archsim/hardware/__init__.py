"""Hardware: specs of chips, memories, runtimes and systems, and the live parts made from them.

A spec (`spec`) is frozen data, read by `library` from TOML; a part is made once from a spec and simulates. What the
room is not: it knows no model, no trace and no metric.
"""

from __future__ import annotations

__all__: list[str] = []
