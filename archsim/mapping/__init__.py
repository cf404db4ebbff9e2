"""Where the work goes: parallelism, placement, capacity and the plan of one iteration."""

__all__: list[str] = []
