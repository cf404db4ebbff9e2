"""Hardware: specs of chips, memories, runtimes and systems, and the live parts made from them.

A spec is frozen data, read from TOML and checked at the door; a part is made once from a spec and simulates. The room
knows no model, no trace and no metric. Read in this order:

    specs           spec (chip, system); a table an idea: memory_spec, stacked_spec, near_spec, placement_spec,
                    energy_spec, network_spec, runtime_spec, serving_spec, tier_spec, pools_spec, division_spec;
                    spec_model and quantities, what all have in common
    the door        library (names and paths to specs), naming (spellings), pools, door (all problems at once), fields
                    (leaves of a spec), overrides (`--set`), sources (the comment of a number), template, importers/
    live parts      system (what a simulation asks), shelf (parts that systems have in common), pipe (the FIFO server),
                    level (a memory as a transfer sees it), answers (which mechanism of the memory floor), nearmem
    read off specs  parts, area, energy, capacity (other room than its own)
    `memory`        memory_settings, memory_question: what `archsim memory` asks
"""

from __future__ import annotations

__all__: list[str] = []
