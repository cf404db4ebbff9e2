"""The network floor: a graph of directed links, flows that share it, and collectives as schedules of flows.

It is asked by the floors above for the time of one collective on one graph (`collectives.collective_facts`) and knows
nothing of models, chips or memories. Inside, time is float64 seconds; what leaves is integer picoseconds, rounded up
once.
"""

__all__: list[str] = []
