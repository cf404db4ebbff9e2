"""The record that the kernels work on: one device and one controller, in arrays of fixed size.

A record of fixed shape is one type, compiled once for every device, and one pointer to pass. The limits below are
checked before a run; they hold every standard with room to spare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.dram.device import CLASSES, COMMANDS, Device, class_of
from archsim.errors import InputError, Problem

__all__ = ["DEEPEST_QUEUE", "MOST_BANKS", "blank_state"]

MOST_BANKS = 512
DEEPEST_QUEUE = 2048
_NODES = 1024
_ENTRIES = 1024
_LEVELS = 8
_SLOTS = 2 * DEEPEST_QUEUE + MOST_BANKS
_RING = 2048

_SCALARS = (
    "levels", "banks", "lanes", "scopes", "scope_level", "bus", "burst", "read_ticks", "write_ticks",
    "enter_at", "leave_at", "protect", "cap", "refresh", "refresh_ticks", "refresh_bank_ticks", "refresh_at",
    "owed_limit", "rotate", "stacks", "stack_banks", "next_stack", "next_flat", "owed_lane", "owed_stack", "owed_flat",
    "window", "return_ticks", "inject", "now", "offered", "completed", "source", "writing", "mode_since",
    "free_count", "promotions", "pair_edge", "pair_lane", "pair_bank", "priority_head", "priority_count",
    "blocked_from", "blocked_to", "traced", "stuck", "measure_from", "measure_to", "booked", "queues", "queue_banks", "queue_limit", "closed_page", "drain_above",
    "draining", "turn", "in_refresh", "waiting_commands", "act2_within", "act2_guard", "act2_by",
    "activating", "clock_tail", "clock_until", "started", "started_waiting",
)  # fmt: skip
_BANK_ARRAYS = (
    "lane", "scope", "open_row", "columns", "injected", "opened_at", "legal_from", "legal_why", "active",
    "refreshed", "deadline", "queue_head", "queue_tail", "queue_count", "queue_held",
)  # fmt: skip
_LANE_ARRAYS = ("lane_end", "lane_pending", "owed", "owed_bank", "round_done", "lane_first")
_SLOT_ARRAYS = (
    "slot_request", "slot_bank", "slot_row", "slot_write", "slot_ident", "slot_arrival", "slot_source", "slot_next",
    "slot_before", "slot_key", "free",
)  # fmt: skip


def _fields() -> list[tuple[Any, ...]]:
    one, commands = np.int64, 16
    fields: list[tuple[Any, ...]] = [(name, one) for name in _SCALARS]
    fields += [(name, one, (MOST_BANKS,)) for name in _BANK_ARRAYS + _LANE_ARRAYS]
    fields += [(name, one, (_SLOTS,)) for name in _SLOT_ARRAYS]
    fields += [(name, one, (_LEVELS,)) for name in ("size", "base", "count", "windowed")]
    fields += [(name, one, (_LEVELS, commands)) for name in ("c_start", "c_stop", "x_start", "x_stop")]
    fields += [(name, one, (_ENTRIES,)) for name in ("c_following", "c_ticks", "c_window", "c_why")]
    fields += [("path", one, (MOST_BANKS, _LEVELS)), ("ready", one, (_NODES, commands))]
    fields += [("why", one, (_NODES, commands)), ("history", one, (_NODES, 32)), ("history_at", one, (_NODES,))]
    fields += [(name, one, (2, MOST_BANKS)) for name in ("head", "tail", "hit", "miss")]
    fields += [("members", one, (5, MOST_BANKS)), ("place", one, (5, MOST_BANKS))]
    fields += [("members_count", one, (5,)), ("wake", one, (5,)), ("queued", one, (2,)), ("depth", one, (2,))]
    fields += [("column_latency", one, (2,))]
    fields += [("open_count", one, (MOST_BANKS,)), ("active_count", one, (MOST_BANKS,))]
    fields += [("rest_until", one, (8, 8)), ("priority_command", one, (_RING,)), ("priority_target", one, (_RING,))]
    return [
        *fields,
        ("causes", one, (len(CLASSES),)),
        ("measured", one, (2, len(CLASSES))),
        ("commands", one, (commands,)),
    ]


_STATE = np.dtype(_fields())
_EMPTY = (
    "open_row", "active", "owed_bank", "head", "tail", "hit", "miss", "place", "history", "pair_edge", "opened_at",
    "queue_head", "queue_tail", "activating", "started",
)  # fmt: skip


def blank_state(device: Device) -> npt.NDArray[Any]:
    """Return one record with *device* in it, no request waiting, all rows closed, the clock at 0."""
    _refuse_oversize(device)
    states = np.zeros(1, _STATE)
    state = states[0]
    for name in _EMPTY:
        state[name] = -1
    _write_tree(state, device)
    _write_constraints(state, device)
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
    if len(device.constraints) > _ENTRIES:
        found = str(len(device.constraints))
        raise InputError(Problem(device.name, "constraints", found, f"at most {_ENTRIES} timing constraints"))


def _write_tree(state: Any, device: Device) -> None:
    counts = np.cumprod(device.sizes)
    bases = np.concatenate(([0], np.cumsum(counts)[:-1]))
    levels = len(device.levels)
    banks = np.arange(device.banks)
    state["levels"], state["banks"] = levels, device.banks
    state["size"][:levels], state["count"][:levels], state["base"][:levels] = device.sizes, counts, bases
    for level in range(levels):
        state["path"][: device.banks, level] = bases[level] + banks * counts[level] // device.banks
    state["scope_level"] = device.scope_level
    state["scopes"] = counts[device.scope_level]
    state["scope"][: device.banks] = banks * counts[device.scope_level] // device.banks
    state["lane"][: device.banks] = banks * device.lanes // device.banks
    stacks = device.sizes[device.levels.index("sid")] if "sid" in device.levels else 1
    state["stacks"], state["stack_banks"] = stacks, device.banks // device.lanes // stacks


def _write_constraints(state: Any, device: Device) -> None:
    """Lay the constraints out by level and preceding command, those for siblings after those for the node itself."""
    ordered = sorted(device.constraints, key=lambda c: (c.sibling, c.level, COMMANDS.index(c.preceding)))
    for entry, constraint in enumerate(ordered):
        command = COMMANDS.index(constraint.preceding)
        start, stop = ("x_start", "x_stop") if constraint.sibling else ("c_start", "c_stop")
        if state[stop][constraint.level, command] == 0:
            state[start][constraint.level, command] = entry
        state[stop][constraint.level, command] = entry + 1
        state["c_following"][entry] = COMMANDS.index(constraint.following)
        state["c_ticks"][entry], state["c_window"][entry] = constraint.ticks, constraint.window
        state["c_why"][entry] = CLASSES.index(class_of(constraint, device.levels))
        if constraint.window > 1:
            state["windowed"][constraint.level] = 1
