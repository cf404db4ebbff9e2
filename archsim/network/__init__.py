"""The network floor: a graph of directed links, flows that share it, and collectives as schedules of flows.

It is asked by the floors above for the time of one collective on one graph (`collectives.collective_facts`) and knows
nothing of models, chips or memories. Inside, time is float64 seconds; what leaves is integer picoseconds, rounded up
once. Read in this order:

    the graph       layouts (who is wired to whom), topology (rates, links, `Network`), wiring (neighbours and
                    ways of least weight), routing (which way)
    flows           flows (who sends what, after what), columns, sharing and filling (the max-min kernel), jit; fifo,
                    the store-and-forward bracket beside it
    algorithms      schedules (rings, trees, ...), special (in-network, hierarchical), torus
    their time      timing (one algorithm), closed (no solver needed), folding (messages that cannot be told apart)
    what is asked   collectives (one collective), implementations (libraries with measured protocols), curves (by size)
"""

__all__: list[str] = []
