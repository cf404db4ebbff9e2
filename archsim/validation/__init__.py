"""Predictions against references: one suite for each, fed by a path to rows of its schema. Nothing here is tuned."""

from __future__ import annotations

__all__: list[str] = []
