"""The step floor: one iteration of a batch over the whole system, and what many of them cost.

A *lap* is one repetition of a segment of the plan, such as a layer; chips that do the same are one *fold*. In order:

    static          work (a kernel as chunks and services), chunks, exchange (collectives of groups), feeds (reads that
                    wait for room)
    near a memory   offload (which kernels), near_tasks (what they become), cooperate (host and units together),
                    crossover (from which batch on)
    simulated       iteration (the events), rank_parts (one chip in them), simulate (laps and chips that
                    repeat), stages and pipeline (several stages), written_out (every lap by itself)
    booked          record (what is left), books (amounts of a scope), assemble (service and gaps together), channels
    put together    in_turn, drafting, spares, moves
    many of them    costs (knots and what lies between), cells, knots
    looked at       timeline, channel_tracks, operators; graph (a trace of others, replayed)
"""
