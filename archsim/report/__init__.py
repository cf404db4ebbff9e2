"""What a reader sees of results: terminal tables, figures, run directories. The only room that draws.

It computes no metric: it selects, sorts and prints what a `Result` and its tables hold.
"""

from __future__ import annotations

__all__: list[str] = []
