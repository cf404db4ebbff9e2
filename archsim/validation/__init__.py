"""Comparing archsim with references: one suite a module, each fed by a path to rows of its schema."""

__all__: list[str] = []
