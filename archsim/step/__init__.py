"""The step floor: one iteration of a batch over the whole system, and what many of them cost."""
