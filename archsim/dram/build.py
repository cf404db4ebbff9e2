"""From a standard's table to a `Device`: clocks from nanoseconds at a pin rate, constraints from clocks.

JEDEC measures a time between the moments at which the device has received each command, so a command that takes n
clocks of the command bus shifts it: `ticks + (n_preceding - 1) - (n_following - 1)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from archsim.dram.device import Constraint, Device
from archsim.dram.standards import STANDARDS, Standard, Timing
from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["DeviceOptions", "build_device", "standard_named"]

_NEEDED = (
    "CL", "CWL", "tRCDRD", "tRCDWR", "tRP", "tRAS", "tRC", "tWR", "tRTP", "tRRDS", "tRRDL", "tFAW", "tWTRS", "tWTRL",
    "tREFI", "tRFCpb", "tRREFD", "tCCDS", "tCCDL",
)  # fmt: skip
_OPTIONAL = ("tRFC", "tRTW", "tWPRE", "tPPD", "tRPab", "tPBR2PBR", "tCCDR", "tCCDLWR", "BLL")
_READS, _WRITES = ("RD", "RDA"), ("WR", "WRA")
_SPLIT_BUS = 3
"""Command slots of a controller that sends ACT-1 and ACT-2 apart; see `Device.bus`."""


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """What varies between devices of one standard; `None` takes the table's default."""

    pin_bits_per_s: int | None = None
    lanes: int | None = None
    """Data lanes (pseudochannels) of one channel."""
    channel_gbit: int | None = None
    """Density of a channel in gigabits, rounded up to a power of two."""
    stack_ids: int = 2
    """Stack ids of a standard that has them: 1 for 4 dies, 2 for 8, 4 for 12 (three used) and 16."""
    timing_set: str | None = None
    hot: bool = False
    """Refresh twice as often, as above 85 degrees Celsius."""
    write_share: Fraction = Fraction(1)
    """Peak of writes as a share of the peak of reads."""
    split_activate: bool = False
    """Send ACT-1 and ACT-2 apart and start the data clock on demand, where the standard has two commands."""
    timings: Mapping[str, Timing] = field(default_factory=dict)
    """Timings that replace those of the set."""


def standard_named(name: str, *, place: str = "--standard") -> Standard:
    """Return the table of standard *name*. Raises `InputError` naming *place* for one without a table."""
    if name not in STANDARDS:
        hint = did_you_mean(name, STANDARDS)
        raise InputError(Problem(place, "standard", name, f"one of {', '.join(STANDARDS)}{hint}"))
    return STANDARDS[name]


def build_device(name: str, options: DeviceOptions | None = None, *, place: str = "--standard") -> Device:
    """Return one channel of standard *name*.

    Raises `InputError` naming *place* for an unknown standard or set, a missing timing, timings that contradict each
    other (tRAS + tRP > tRC), or a density without a refresh time.
    """
    options = options or DeviceOptions()
    standard = standard_named(name, place=place)
    rate = options.pin_bits_per_s or standard.grade_bits_per_s
    clock_ps = Fraction(standard.bits_per_clock * 10**12, rate)
    lanes = options.lanes or (2 if standard.half_clocks or standard.lane_bits == 64 else 1)
    gbit = 1 << (max(options.channel_gbit or standard.default_channel_gbit, 1) - 1).bit_length()
    clocks = _clocks(standard, options, clock_ps, gbit, place)
    split = _split(standard, clock_ps) if options.split_activate else None
    if split is not None:
        standard = replace(standard, activate_clocks=1, bus=_SPLIT_BUS)
    ticks = 2 if standard.half_clocks else 1
    burst = standard.burst_length // standard.bits_per_clock * ticks
    stacks = options.stack_ids if standard.stack_ids else 1
    levels, sizes = _tree(standard, lanes, stacks)
    banks = lanes * stacks * standard.bank_groups * standard.banks_per_group
    transaction = standard.lane_bits * standard.burst_length // 8
    in_ticks = {key: value * ticks for key, value in clocks.items()} | {"BL": burst}
    columns = standard.page_bytes // transaction
    return Device(
        name=name,
        levels=levels,
        sizes=sizes,
        rows=max(gbit * 2**30 // 8 // (banks * standard.page_bytes), 1),
        row_transactions=columns,
        transaction_bytes=transaction,
        clock_ps=clock_ps,
        ticks_per_clock=ticks,
        burst_ticks=burst,
        read_ticks=in_ticks["CL"] + burst,
        write_ticks=in_ticks["CWL"] + burst,
        constraints=_constraints(standard, in_ticks, levels, options.write_share, ticks),
        bus=standard.bus,
        split_activate=split,
        refresh_ticks=in_ticks["tREFI"],
        refresh_bank_interval_ticks=max(in_ticks["tREFI"] * lanes // banks, 1),
        refresh_bank_ticks=in_ticks["tRFCpb"],
    )


def _clocks(standard: Standard, options: DeviceOptions, clock_ps: Fraction, gbit: int, place: str) -> dict[str, int]:
    name = options.timing_set or next(iter(standard.sets))
    if name not in standard.sets:
        raise InputError(Problem(place, f"{standard.name}.set", name, f"one of {', '.join(standard.sets)}"))
    timings = {**standard.sets[name], **options.timings}
    unknown = [key for key in options.timings if key not in (*standard.sets[name], *_NEEDED, *_OPTIONAL)]
    if unknown:
        known = ", ".join(sorted({*standard.sets[name], *_NEEDED, *_OPTIONAL}))
        raise InputError(
            *(
                Problem(place, f"{standard.name}.{key}", "", f"one of {known}{did_you_mean(key, _NEEDED)}")
                for key in unknown
            )
        )
    missing = [key for key in _NEEDED if key not in timings]
    if missing:
        raise InputError(
            *(Problem(place, f"{standard.name}.{key}", "", "a time or a number of clocks") for key in missing)
        )
    problems = [
        Problem(place, f"{standard.name}.{key}", str(timing.ps), "a time that is not negative")
        for key, timing in timings.items()
        if timing.ps < 0 or timing.clocks < 0
    ]
    refreshes = [timing for most, timing in standard.refresh if gbit <= most]
    if not refreshes:
        most = standard.refresh[-1][0]
        problems.append(Problem(place, f"{standard.name}.tRFCab", f"{gbit} Gb", f"a channel of at most {most} Gb"))
    whole = {key: max(timing.ps, timing.clocks * clock_ps) for key, timing in timings.items()}
    if refreshes:
        whole.setdefault("tRFC", max(refreshes[0].ps, refreshes[0].clocks * clock_ps))
    problems += [Problem(place, f"{standard.name}.{key}", *why) for key, why in _contradictions(whole, hot=options.hot)]
    if problems:
        raise InputError(*problems)
    clocks = {key: timing.in_clocks(clock_ps) for key, timing in timings.items()}
    clocks.setdefault("tRFC", refreshes[0].in_clocks(clock_ps))
    clocks["tREFI"] //= 2 if options.hot else 1
    return clocks


def _contradictions(ps: Mapping[str, Fraction], *, hot: bool) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each timing that contradicts others, what it is and what it should be; all in picoseconds."""
    opened = ps["tRAS"] + ps["tRP"]
    if opened > ps["tRC"]:
        yield "tRC", (_ps(ps["tRC"]), f"tRAS + tRP <= tRC, not {_ps(opened)} > {_ps(ps['tRC'])}")
    if ps["tRCDRD"] > ps["tRAS"]:
        yield "tRAS", (_ps(ps["tRAS"]), f"tRCDRD <= tRAS, not {_ps(ps['tRCDRD'])} > {_ps(ps['tRAS'])}")
    for short, long in (("tCCDS", "tCCDL"), ("tRRDS", "tRRDL"), ("tWTRS", "tWTRL")):
        if ps[short] > ps[long]:
            yield long, (_ps(ps[long]), f"{short} <= {long}, not {_ps(ps[short])} > {_ps(ps[long])}")
    due = ps["tREFI"] / (2 if hot else 1)
    if ps.get("tRFC", Fraction(0)) >= due:
        yield "tRFC", (_ps(ps["tRFC"]), f"tRFC < tREFI: a refresh is due every {_ps(due)}")


def _ps(time: Fraction) -> str:
    return f"{float(time):g} ps"


def _split(standard: Standard, clock_ps: Fraction) -> tuple[int, int, int] | None:
    parts = standard.split_activate
    if parts is None:
        return None
    return parts.within.in_clocks(clock_ps), parts.guard.in_clocks(clock_ps), parts.clock_tail.in_clocks(clock_ps)


def _tree(standard: Standard, lanes: int, stacks: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return levels and sizes: a lane level (`pc`, or `ra` of one), stack ids, bank groups, banks."""
    named = [("ch", 1), ("pc" if lanes > 1 or standard.stack_ids or standard.lane_bits == 64 else "ra", lanes)]
    if standard.stack_ids:
        named.append(("sid", stacks))
    if standard.bank_groups > 1:
        named.append(("bg", standard.bank_groups))
    named.append(("ba", standard.banks_per_group))
    return tuple(level for level, _ in named), tuple(size for _, size in named)


def _occupied(standard: Standard, ticks: int) -> dict[str, int]:
    """Return the ticks that each command occupies its bus."""
    row = 1
    act = 3 if standard.half_clocks else standard.activate_clocks
    column = standard.column_clocks * ticks
    return {"ACT": act, **dict.fromkeys(("PRE", "PREA", "REFA", "REFB"), row),
            **dict.fromkeys((*_READS, *_WRITES), column)}  # fmt: skip


def _constraints(
    standard: Standard, t: dict[str, int], levels: tuple[str, ...], write_share: Fraction, ticks: int
) -> tuple[Constraint, ...]:
    occupied = _occupied(standard, ticks)
    group = levels.index("bg") if "bg" in levels else len(levels) - 1
    found = [*_bus(standard, occupied), *_lane_columns(t, write_share), *_lane_rows(t), *_bank(t, len(levels) - 1)]
    found += _group(t, group, write_share)
    if "sid" in levels and "tCCDR" in t:
        found += [Constraint(2, first, then, t["tCCDR"], sibling=True) for first in _READS for then in _READS]
    shifted = (
        Constraint(c.level, c.preceding, c.following, _shift(c, occupied), c.window, c.sibling)
        for c in found
        if c.ticks
    )
    return _longest(shifted)


def _shift(constraint: Constraint, occupied: dict[str, int]) -> int:
    if constraint.level == 0:
        return constraint.ticks
    return constraint.ticks + occupied[constraint.preceding] - occupied[constraint.following]


def _longest(constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
    """Keep the longest of those that differ in nothing else."""
    longest: dict[tuple[int, str, str, int, bool], Constraint] = {}
    for c in constraints:
        key = (c.level, c.preceding, c.following, c.window, c.sibling)
        if key not in longest or longest[key].ticks < c.ticks:
            longest[key] = c
    return tuple(longest.values())


def _bus(standard: Standard, occupied: dict[str, int]) -> list[Constraint]:
    """A command of several ticks keeps the next one off its bus; row and column commands may have a bus each."""
    rows = [name for name in occupied if name not in _READS + _WRITES]
    columns = [name for name in occupied if name in _READS + _WRITES]
    buses = [rows, columns] if standard.bus else [rows + columns]
    return [
        Constraint(0, first, then, occupied[first])
        for bus in buses
        for first in bus
        for then in bus
        if occupied[first] > 1
    ]


def _pairs(level: int, first: tuple[str, ...], then: tuple[str, ...], ticks: int) -> list[Constraint]:
    return [Constraint(level, a, b, ticks) for a in first for b in then]


def _lane_columns(t: dict[str, int], write_share: Fraction) -> list[Constraint]:
    """Column commands of one data lane."""
    turn = t.get("tRTW", t["CL"] + t["BL"] + 2 + t.get("tWPRE", 0) - t["CWL"])
    slow = -int(-t["BL"] // write_share)
    return [
        *_pairs(1, _READS, _READS, max(t["BL"], t["tCCDS"])),
        *_pairs(1, _WRITES, _WRITES, max(slow, t["tCCDS"])),
        *_pairs(1, _READS, _WRITES, turn),
        *_pairs(1, _WRITES, _READS, t["CWL"] + t["BL"] + t["tWTRS"]),
    ]


def _lane_rows(t: dict[str, int]) -> list[Constraint]:
    """Row commands of one data lane, over all its banks."""
    written = t["CWL"] + t["BL"] + t["tWR"]
    all_closed = t.get("tRPab", t["tRP"])
    return [
        Constraint(1, "RD", "PREA", t["tRTP"]),
        Constraint(1, "WR", "PREA", written),
        Constraint(1, "ACT", "ACT", t["tRRDS"]),
        Constraint(1, "ACT", "ACT", t["tFAW"], window=4),
        Constraint(1, "ACT", "PREA", t["tRAS"]),
        Constraint(1, "PREA", "ACT", all_closed),
        *_pairs(1, ("PRE", "PREA"), ("PRE", "PREA"), t.get("tPPD", 0)),
        Constraint(1, "ACT", "REFA", t["tRC"]),
        Constraint(1, "PRE", "REFA", t["tRP"]),
        Constraint(1, "PREA", "REFA", all_closed),
        Constraint(1, "RDA", "REFA", t["tRTP"] + t["tRP"]),
        Constraint(1, "WRA", "REFA", written + t["tRP"]),
        *_pairs(1, ("REFA",), ("ACT", "PREA", "REFA", "REFB"), t["tRFC"]),
        Constraint(1, "REFB", "REFB", t.get("tPBR2PBR", t["tRREFD"])),
        Constraint(1, "REFB", "ACT", t["tRREFD"]),
        Constraint(1, "ACT", "REFB", t["tRRDS"]),
    ]


def _group(t: dict[str, int], level: int, write_share: Fraction) -> list[Constraint]:
    """Commands within one bank group (of one bank, where there are no groups)."""
    slow = -int(-t["BL"] // write_share)
    return [
        *_pairs(level, _READS, _READS, t["tCCDL"]),
        *_pairs(level, _WRITES, _WRITES, max(slow, t.get("tCCDLWR", t["tCCDL"]))),
        *_pairs(level, _WRITES, _READS, t["CWL"] + t.get("BLL", t["BL"]) + t["tWTRL"]),
        Constraint(level, "ACT", "ACT", t["tRRDL"]),
    ]


def _bank(t: dict[str, int], level: int) -> list[Constraint]:
    """Commands of one bank."""
    written = t["CWL"] + t["BL"] + t["tWR"]
    return [
        Constraint(level, "ACT", "ACT", t["tRC"]),
        *_pairs(level, ("ACT",), _READS, t["tRCDRD"]),
        *_pairs(level, ("ACT",), _WRITES, t["tRCDWR"]),
        Constraint(level, "ACT", "PRE", t["tRAS"]),
        Constraint(level, "ACT", "REFB", t["tRC"]),
        *_pairs(level, ("PRE",), ("ACT", "REFB"), t["tRP"]),
        Constraint(level, "RD", "PRE", t["tRTP"]),
        Constraint(level, "WR", "PRE", written),
        *_pairs(level, ("RDA",), ("ACT", "REFB"), t["tRTP"] + t["tRP"]),
        *_pairs(level, ("WRA",), ("ACT", "REFB"), written + t["tRP"]),
        *_pairs(level, ("REFB",), ("ACT", "REFB"), t["tRFCpb"]),
    ]
