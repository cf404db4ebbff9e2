"""The record that the kernels work on: one device and one controller, in arrays of fixed size.

A record of fixed shape is one type, compiled once for every device, and one pointer to pass. The limits below are
checked before a run; they hold every standard with room to spare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.dram.device import CLASSES, COMMANDS, Constraint, Device, class_of
from archsim.errors import InputError, Problem

__all__ = ["DEEPEST_QUEUE", "MOST_BANKS", "STATE", "blank_state"]

MOST_BANKS = 512
DEEPEST_QUEUE = 2048
_PAD = 8
"""Added to the length of arrays: of a whole number of memory pages each, all would share few lines of the L1 cache."""
_BANKS = MOST_BANKS + _PAD
_NODES = 1024 + 2 * _PAD
_ENTRIES = 1024
_LEVELS = 6
_SLOTS = 2 * DEEPEST_QUEUE + MOST_BANKS + _PAD
_RING = 2048
_COLUMNS = ("RD", "WR", "RDA", "WRA")
_MOST_LANES = 8
_GROUPS = 6 * _MOST_LANES
_BELOW = 4
"""Levels of the tree below a data lane."""
_LOGGED = 8

_SCALARS = (
    "levels", "banks", "lanes", "scopes", "scope_level", "bus", "burst", "read_ticks", "write_ticks",
    "enter_at", "leave_at", "protect", "cap", "refresh", "refresh_ticks", "refresh_bank_ticks", "refresh_at",
    "owed_limit", "rotate", "stacks", "stack_banks", "next_stack", "next_flat", "owed_lane", "owed_stack", "owed_flat",
    "window", "return_ticks", "inject", "now", "offered", "completed", "source", "writing", "mode_since",
    "free_count", "promotions", "pair_edge", "pair_lane", "pair_bank", "priority_head", "priority_count",
    "blocked_from", "blocked_to", "traced", "stuck", "measure_from", "measure_to", "booked", "progress_at",
    "read_latency", "reads", "queues", "queue_banks", "queue_limit", "closed_page", "drain_above",
    "draining", "gave_way", "turn", "in_refresh",
    "waiting_commands", "act2_within", "act2_guard", "act2_by",
    "activating", "clock_tail", "clock_until", "started", "started_waiting",
    "active_banks", "active_wake",
    "idle_close", "idle_adapts", "idle_wake", "offering",
    "finished", "finished_at", "tracing", "logged", "merging", "left_count",
)  # fmt: skip
_BANK_ARRAYS = (
    "lane", "scope", "open_row", "columns", "injected", "opened_at", "legal_from", "legal_why", "held", "late",
    "active", "active_bank", "active_from", "active_place", "refreshed", "queue_count",
    "queue_held", "used_at", "idle_limit", "closed_row",
)  # fmt: skip
_LANE_ARRAYS = ("lane_node", "lane_end", "lane_pending", "owed", "owed_bank", "round_done")
_SLOT_ARRAYS = (
    "slot_request", "slot_bank", "slot_row", "slot_write", "slot_ident", "slot_arrival", "slot_source", "slot_next",
    "slot_before", "slot_key", "free",
)  # fmt: skip


def _fields() -> list[tuple[Any, ...]]:
    one, commands = np.int64, 16
    fields: list[tuple[Any, ...]] = [(name, one) for name in _SCALARS]
    fields += [(name, one, (_BANKS,)) for name in _BANK_ARRAYS + _LANE_ARRAYS]
    fields += [(name, one, (_SLOTS,)) for name in _SLOT_ARRAYS]
    fields += [(name, one, (_LEVELS,)) for name in ("fanout", "first_node", "count", "windowed")]
    fields += [(name, one, (commands,)) for name in ("c_start", "c_stop", "x_start", "x_stop")]
    fields += [(name, one, (_ENTRIES + _PAD,)) for name in ("c_level", "c_following", "c_ticks", "c_window", "c_why")]
    fields += [(name, np.uint16, (_BANKS, _LEVELS)) for name in ("path", "first_sibling")]
    fields += [("below", np.uint16, (_BANKS, _BELOW)), ("upper", np.uint16, (_BANKS,))]
    fields += [("ready", one, (_NODES, commands))]
    fields += [("why", one, (_NODES, commands)), ("history", one, (_NODES, 32)), ("history_at", one, (_NODES,))]
    fields += [(name, one, (2, _BANKS)) for name in ("head", "tail", "hit", "miss")]
    fields += [(name, one, (_GROUPS, _BANKS)) for name in ("members", "ages", "due", "standing")]
    fields += [(name, one, (_GROUPS,)) for name in ("members_count", "wake")]
    fields += [(name, one, (2,)) for name in ("queued", "depth")]
    fields += [(name, one, (2 + _BANKS,)) for name in ("queue_head", "queue_tail")]
    fields += [("column_latency", one, (2,))]
    fields += [(name, one, (_LOGGED,)) for name in ("log_command", "log_bank", "left")]
    fields += [("open_count", one, (_BANKS,)), ("active_count", one, (_BANKS,))]
    fields += [("rest_until", one, (8, 8)), ("priority_command", one, (_RING,)), ("priority_target", one, (_RING,))]
    return [
        *fields,
        ("causes", one, (len(CLASSES),)),
        ("measured", one, (2, len(CLASSES))),
        ("commands", one, (commands,)),
    ]


STATE = np.dtype(_fields())
_EMPTY = (
    "open_row", "active", "owed_bank", "head", "tail", "hit", "miss", "standing", "active_place", "history",
    "pair_edge", "opened_at", "closed_row", "queue_head", "queue_tail", "activating", "started", "finished",
)  # fmt: skip


def blank_state(device: Device, *, unused: frozenset[str] = frozenset()) -> npt.NDArray[Any]:
    """Return one record with *device* in it, no request waiting, all rows closed, the clock at 0.

    Constraints of *unused* commands, which the controller never sends, are left out.
    """
    _refuse_oversize(device)
    states = np.zeros(1, STATE)
    state = states[0]
    for name in _EMPTY:
        state[name] = -1
    _write_tree(state, device)
    _write_constraints(state, device, unused)
    state["burst"], state["read_ticks"], state["write_ticks"] = (
        device.burst_ticks,
        device.read_ticks,
        device.write_ticks,
    )
    if device.split_activate is not None:
        state["act2_within"], state["act2_guard"], state["clock_tail"] = device.split_activate
    state["column_latency"] = device.read_ticks - device.burst_ticks, device.write_ticks - device.burst_ticks
    state["bus"], state["lanes"] = device.bus, device.lanes
    return states


def _refuse_oversize(device: Device) -> None:
    if device.banks > MOST_BANKS:
        raise InputError(Problem(device.name, "banks", str(device.banks), f"at most {MOST_BANKS} banks in a channel"))
    below = len(device.levels) - 1 - ("pc" in device.levels)
    if device.lanes > _MOST_LANES or below > _BELOW:
        found = f"{device.lanes} lanes, {below} levels below them"
        raise InputError(Problem(device.name, "levels", found, f"at most {_MOST_LANES} lanes and {_BELOW} levels"))
    if len(device.constraints) > _ENTRIES:
        found = str(len(device.constraints))
        raise InputError(Problem(device.name, "constraints", found, f"at most {_ENTRIES} timing constraints"))


def _write_tree(state: Any, device: Device) -> None:
    counts = np.cumprod(device.sizes)
    bases = np.concatenate(([0], np.cumsum(counts)[:-1]))
    levels = len(device.levels)
    banks = np.arange(device.banks)
    state["levels"], state["banks"] = levels, device.banks
    state["fanout"][:levels], state["count"][:levels], state["first_node"][:levels] = device.sizes, counts, bases
    for level in range(levels):
        nodes = banks * counts[level] // device.banks
        state["path"][: device.banks, level] = bases[level] + nodes
        state["first_sibling"][: device.banks, level] = (
            bases[level] + nodes // device.sizes[level] * device.sizes[level]
        )
    _write_paths(state, device)
    state["scope_level"] = device.scope_level
    state["scopes"] = counts[device.scope_level]
    state["scope"][: device.banks] = banks * counts[device.scope_level] // device.banks
    state["lane"][: device.banks] = banks * device.lanes // device.banks
    if "pc" in device.levels:
        level = device.levels.index("pc")
        state["lane_node"][: device.lanes] = bases[level] + np.arange(device.lanes)
    stacks = device.sizes[device.levels.index("sid")] if "sid" in device.levels else 1
    state["stacks"], state["stack_banks"] = stacks, device.banks // device.lanes // stacks


def _write_paths(state: Any, device: Device) -> None:
    """Write the nodes of every bank's path: its data lane's, and those below down to the bank itself."""
    lane = device.levels.index("pc") if "pc" in device.levels else 0
    below = [level for level in range(1, len(device.levels)) if level != lane]
    state["upper"][: device.banks] = state["path"][: device.banks, lane]
    state["below"][:] = _NODES - 1
    for place, level in enumerate(below):
        state["below"][: device.banks, place] = state["path"][: device.banks, level]


def _binding(constraints: list[Constraint], device: Device) -> list[Constraint]:
    """Leave out what can never bind: no longer than the same at a level above, or than the slots of commands alone."""
    kept = []
    for c in constraints:
        columns = c.preceding in _COLUMNS and c.following in _COLUMNS
        slot = (2 if device.bus == 2 else 1) if c.level == 0 and columns and device.bus in (1, 2) else 0
        shadowed = any(
            above.level < c.level and above.ticks >= c.ticks and not above.sibling and above.window == 1
            and (above.preceding, above.following) == (c.preceding, c.following)
            for above in constraints
        )  # fmt: skip
        if c.sibling or c.window > 1 or not (shadowed or c.ticks <= slot):
            kept.append(c)
    return kept


def _write_constraints(state: Any, device: Device, unused: frozenset[str]) -> None:
    """Lay the constraints out by preceding command, those for siblings after those for the node itself."""
    used = _binding([c for c in device.constraints if c.preceding not in unused and c.following not in unused], device)
    for entry, c in enumerate(sorted(used, key=lambda c: (c.sibling, COMMANDS.index(c.preceding), c.level))):
        command, following = COMMANDS.index(c.preceding), COMMANDS.index(c.following)
        start, stop = ("x_start", "x_stop") if c.sibling else ("c_start", "c_stop")
        if state[stop][command] == 0:
            state[start][command] = entry
        state[stop][command] = entry + 1
        state["c_level"][entry], state["c_following"][entry] = c.level, following
        state["c_ticks"][entry], state["c_window"][entry] = c.ticks, c.window
        state["c_why"][entry] = CLASSES.index(class_of(c, device.levels))
        if c.window > 1:
            state["windowed"][c.level] = 1
