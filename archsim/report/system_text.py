"""A system drawn in characters: the chip with its stacks and channels, and the chips with their links.

Box-drawing characters only, no colour, at most 100 columns: it reads the same in a terminal, a file and a page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from archsim.hardware.parts import headline_dtype
from archsim.hardware.spec import ChipSpec, EngineSpec, MemorySpec, SystemSpec
from archsim.units import exact_quantity, format_quantity, seconds_of

__all__ = ["chip_lines", "network_lines", "system_lines"]

_WIDTH = 96
_MOST_DRAWN_CHIPS = 16
_MOST_DRAWN_STACKS = 8
_NODE_WIDTH = 7


def system_lines(spec: SystemSpec) -> list[str]:
    """Return the drawing of *spec*, line by line."""
    chips = "chip0" if spec.chips == 1 else f"chip0 to chip{spec.chips - 1}, each"
    return [line.rstrip() for line in (chips, *chip_lines(spec.chip), "", *network_lines(spec))]


def chip_lines(chip: ChipSpec) -> list[str]:
    """Return a box with the chip's engines and caches above its memories' stacks and their channels."""
    inner = _WIDTH - 2
    body = [
        chip.title,
        *[line for name, engine in chip.engine.items() for line in _engine_lines(name, engine, inner - 2)],
        f"staging {_bytes(chip.staging_bytes)}, {_bytes(chip.bytes_in_flight)} in flight",
        *[f"{name}: {_bytes(c.capacity_bytes)}, {_rate(c.bytes_per_s)}" for name, c in chip.cache.items()],
    ]
    lines = ["┌" + "─" * inner + "┐", *[f"│ {text[: inner - 2]:<{inner - 2}} │" for text in body]]
    notes: list[str] = []
    for name, memory in chip.memory.items():
        *box, foot, note = _memory_lines(name, memory, inner)
        lines += box
        notes += [note, *_near_lines(name, chip)]
    return [*lines, foot, *notes, *_placement_lines(chip)]


def _placement_lines(chip: ChipSpec) -> list[str]:
    """Return a line that says which memories hold what, where the chip has a placement."""
    placed = chip.placement
    if placed is None:
        return []
    classes = (("weights", placed.weights), ("KV", placed.kv), ("activations", placed.activations))
    shared = (("context", placed.context),) if placed.context else ()
    return ["  " + "; ".join(f"{what} in {', then '.join(names)}" for what, names in (*classes, *shared))]


def _near_lines(memory: str, chip: ChipSpec) -> list[str]:
    """Return a line for the units near *memory*."""
    return [
        f"  {name}: units in every {unit.level.replace('_', ' ')} of {memory}, "
        f"{format_quantity(max(unit.flop_per_s.values()), 'flop/s')} each: {', '.join(unit.operators)}"
        for name, unit in chip.near_memory.items()
        if unit.memory == memory
    ]


def _memory_lines(name: str, memory: MemorySpec, inner: int) -> list[str]:
    drawn = min(memory.stacks, _MOST_DRAWN_STACKS)
    width, wider = divmod(inner - (drawn - 1), drawn)
    widths = [width + (index < wider) for index in range(drawn)]
    labels = [f"{name} {index}" for index in range(drawn)]
    if memory.stacks > drawn:
        labels[-2:] = ["...", f"{name} {memory.stacks - 1}"]
    cells = [labels, [_channels(memory, width)] * drawn, [_bytes(memory.stack_bytes)] * drawn]
    rows = [
        "│" + "│".join(f"{cell[:size]:^{size}}" for cell, size in zip(row, widths, strict=True)) + "│" for row in cells
    ]
    head = "├" + "┬".join("─" * size for size in widths) + "┤"
    foot = "└" + "┴".join("─" * size for size in widths) + "┘"
    pins = f"{memory.stacks} x {memory.channels_per_stack} channels x {memory.channel_bits} bits"
    pin_rate = exact_quantity(memory.pin_bits_per_s, "bits/s")
    peak = f"{memory.device.standard}: {pins} x {pin_rate} = {_rate(memory.peak_bytes_per_s)}, "
    room = f"{_bytes(memory.capacity_bytes)}, {format_quantity(memory.usable_bytes, 'bytes')} usable"
    return [head, *rows, foot, "  " + peak + room]


def _channels(memory: MemorySpec, width: int) -> str:
    """Return one bar per channel where they fit, else their number."""
    count = memory.channels_per_stack
    spaced = " ".join("▮" * count)
    if len(spaced) <= width - 2:
        return spaced
    return "▮" * count if count <= width - 2 else f"▮ x {count}"


def network_lines(spec: SystemSpec) -> list[str]:
    """Return the chips and the links between them."""
    network = spec.network
    if network.topology == "none":
        return ["network: none, a single chip"]
    link = (
        f"{_rate(network.link_bytes_per_s)} each way, {format_quantity(seconds_of(network.link_latency_ps), 's')} a hop"
    )
    shape = " x ".join(map(str, network.shape))
    title = f"network: {network.topology.replace('_', ' ')}{' ' + shape if shape else ''}, {link}"
    if spec.chips > _MOST_DRAWN_CHIPS:
        return [title, *("  " + line for line in _many(spec))]
    names = [f"chip{index}" for index in range(spec.chips)]
    draw = {"switch": _switch, "full_mesh": _full_mesh, "ring": _ring, "torus": _grid, "mesh": _grid}
    if network.topology not in draw:
        return [title]
    return [title, *("  " + line for line in draw[network.topology](names, spec))]


def _many(spec: SystemSpec) -> list[str]:
    """Return what stands for more chips than a line holds: how they are grouped, and how groups are joined."""
    network, chips = spec.network, spec.chips
    if network.topology == "two_level":
        size = network.shape[0]
        return [f"{chips // size} x [ {size} chips ── switch ]", "every chip ── spine (outer links)"]
    if network.topology == "dragonfly" and network.shape:
        size = chips // network.shape[-1]
        return [f"{network.shape[-1]} x [ {size} chips, each ── each other ]", "every group ── every other group"]
    if network.topology in ("torus", "mesh"):
        closed = ", each row closed to a ring" if network.topology == "torus" else ""
        return [f"{chips} chips in rows of {network.shape[0]}, each ── its neighbours along every axis{closed}"]
    return [f"{chips} chips, each ── switch" if network.topology == "switch" else f"{chips} chips, too many to draw"]


def _switch(names: Sequence[str], _spec: SystemSpec) -> list[str]:
    halves = (names[: (len(names) + 1) // 2], names[(len(names) + 1) // 2 :])
    cell = _NODE_WIDTH + 2
    width = cell * len(halves[0])
    row = [" ".join(f"{name:^{cell - 1}}" for name in half) for half in halves]
    wires = ["".join(f"{'│':^{cell - 1}} " for _ in half).rstrip() for half in halves]
    box = ["╔" + "═" * (width - 3) + "╗", "║" + f"{'switch':^{width - 3}}" + "║", "╚" + "═" * (width - 3) + "╝"]
    return [row[0], wires[0], *box, *([wires[1], row[1]] if halves[1] else [])]


def _full_mesh(names: Sequence[str], _spec: SystemSpec) -> list[str]:
    """Return a staircase: each crossing is the link between the chip of its row and the chip of its column."""
    lines = [names[0]]
    lines += ["──".join(["  ├", *["┼"] * (index - 1)]) + f"─ {name}" for index, name in enumerate(names[1:], start=1)]
    return [*lines, "  each crossing is one link: row chip to column chip"]


def _ring(names: Sequence[str], _spec: SystemSpec) -> list[str]:
    """Return the ring as a loop: out along the upper row, back along the lower."""
    if len(names) < 4 or len(names) % 2:
        return _rows([names], wraps=True)
    half = len(names) // 2
    ends = f"{'│':^{_NODE_WIDTH}}"
    between = " " * ((_NODE_WIDTH + 4) * (half - 1) - _NODE_WIDTH)
    down = (ends + between + ends).rstrip()
    return [*_rows([names[:half]], wraps=False), down, *_rows([names[half:][::-1]], wraps=False)]


def _grid(names: Sequence[str], spec: SystemSpec) -> list[str]:
    """Return a torus or mesh plane by plane: the first axis across, the second down."""
    columns, *others = spec.network.shape
    per_plane = others[0] if others else 1
    rows = [names[start : start + columns] for start in range(0, len(names), columns)]
    wraps = spec.network.topology == "torus"
    lines: list[str] = []
    for start in range(0, len(rows), per_plane):
        lines += [*([""] if lines else []), *_rows(rows[start : start + per_plane], wraps=wraps)]
    if len(others) > 1:
        lines.append("chips at the same place of neighbouring planes are linked")
    return lines


def _rows(rows: Sequence[Sequence[str]], *, wraps: bool) -> list[str]:
    """Return rows of chips joined across and down; an arrow back marks a row or column that closes on itself."""
    lines: list[str] = []
    for index, row in enumerate(rows):
        around = " ──↺" if wraps and len(row) > 2 else ""
        lines.append(" ── ".join(f"{name:^{_NODE_WIDTH}}" for name in row) + around)
        if index + 1 < len(rows):
            lines.append("    ".join(f"{'│':^{_NODE_WIDTH}}" for _ in row).rstrip())
    if wraps and len(rows) > 2:
        lines.append("    ".join(f"{'↺':^{_NODE_WIDTH}}" for _ in rows[-1]).rstrip())
    return lines


def _engine_lines(name: str, engine: EngineSpec, width: int) -> list[str]:
    first = headline_dtype(engine)
    rates = sorted(engine.flop_per_s.items(), key=lambda rate: rate[0] != first)
    text = ", ".join(f"{format_quantity(flop_per_s, 'flop/s')} {dtype}" for dtype, flop_per_s in rates)
    return textwrap.wrap(f"{name} engine: {text}", width, subsequent_indent=" " * len(f"{name} engine: "))


def _rate(bytes_per_s: int) -> str:
    return format_quantity(bytes_per_s, "bytes/s")


def _bytes(count: int) -> str:
    return exact_quantity(count, "bytes")
