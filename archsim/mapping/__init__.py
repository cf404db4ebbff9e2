"""Where the work goes: parallelism, placement, capacity and the plan of one iteration. It knows no time.

Read in this order:

    the ways        parallelism (tp, pp, dp, ep, cp), spread (all that `--parallel` says), default, search, replicas
    what lies where tiers (memories that fill in order), placement (what a chip holds), apart (experts that lie apart),
                    shares (what a rank has of an amount)
    what is done    rank (kernels of one rank), residence (the transfers of its tensors), experts (ranks with experts of
                    their own), planar (matrices cut by both dimensions), sharding (all of it as plans), plan (the plan,
                    as data), waste (work for wrong guesses)
"""

__all__: list[str] = []
