"""The replay floor: requests, scheduler, paged KV cache, and the search for the rate that saturates a system.

It knows tokens, blocks and iterations. What an iteration costs it asks of a cost model (`costs.Costs`) and hands on
as weights of that model's knots; it knows no bytes, no hardware and no metric.
"""

__all__: list[str] = []
