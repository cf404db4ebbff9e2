"""The memory floor: what one channel sustains, and why its data bus stands still the rest of the time.

It knows banks, rows and clocks, and neither chips nor tensors. Read in this order:

    what is asked   facts (a phase of accesses in, times by cause out), patterns, streams (requests of a pattern)
    what is DRAM    standards/ (timing tables), build (nanoseconds to clocks), device (constraints), address (bit
                    fields), profile (controllers), described (devices as other simulators write them)
    one run         channel (stream in, ticks by cause out), and what it compiles, `kernel_*`: state (the record),
                    device (when a command is legal), lists and queue (FR-FCFS), banks (a queue a bank), send, split,
                    refresh, idle, source (a window of requests in flight), account (whose fault a gap is); jit
    from runs on    sustain (the question of a phase), blend (any mixture from the few that are simulated), memo
                    (answers on disk), ecc, all_bank, bounds and closed_form (no controller), energy
    other memories  flash, pages, endurance; sram
    one answer      probe, probe_flash, probe_sram: what `archsim memory` asks, and glance, the form of its answer

A kernel's callees lie in `kernel_*` files alone: a compiled cache is stamped with those.
"""
