"""Energy of memory commands and bits, where a public source has it; what no source has is named, never a zero.

Only HBM2 has a public breakdown by part (O'Connor et al., Fine-Grained DRAM, MICRO 2017, in the form that AttAcc's
`src/config.py` uses): what a bit costs on its way from the cell to the host while streaming. Other standards have at
most an average over a whole device, from vendors or the press, which cannot be split. Claims relative to another
generation ("more than 50 % better than GDDR6") are no numbers and stand nowhere. No source found gives the energy of a
refresh command, so `refresh` is absent for every memory.

An activation opens a whole row however few of its bits are read: its energy per command is the streaming figure times
the bits of a row, so random reads pay more per bit. Whole femtojoules throughout; 1 pJ/bit = 1,000 fJ/bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from archsim.dram.device import COMMANDS, Device
from archsim.errors import InputError, Problem, did_you_mean

__all__ = [
    "ENERGY",
    "PARTS",
    "BitEnergy",
    "EnergyBill",
    "EnergyTable",
    "average_energy_of",
    "bill_of",
    "bits_moved",
    "command_femtojoules",
    "energy_of",
    "energy_table",
]

PARTS = ("activation", "read", "write", "refresh", "io")
"""Where a memory's energy goes: opening rows, moving bits inside the device, keeping them, moving them to the host."""

_CELL_ACTIVATE = 110  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: cell, activate and precharge, 0.11 pJ/bit
_CELL_ACCESS = 440  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: cell, read or write, 0.44 pJ/bit
_TO_BANK_GROUP = 1010  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: column decoder to bank group, 1.01 pJ/bit
_TO_DIE_EDGE = 1230  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: bank group to global I/O, 1.23 pJ/bit
_STACK_VIA = 500  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: through-silicon vias, 0.5 pJ/bit
_INTERPOSER = 300  # source: FGDRAM (MICRO 2017) in AttAcc src/config.py: interposer, 0.3 pJ/bit


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Femtojoules per bit of one kind of memory; `None` where no source was found."""

    name: str
    activation: int | None = None
    """Of a streamed bit: the whole row is read."""
    read: int | None = None
    write: int | None = None
    io: int | None = None
    average: int | None = None
    """Of the whole device under a mixed load, all parts together."""
    note: str = ""
    """Where the average comes from, or what was found instead of it."""


ENERGY: dict[str, EnergyTable] = {
    table.name: table
    for table in (
        EnergyTable(
            name="HBM2",
            activation=_CELL_ACTIVATE,
            read=_CELL_ACCESS + _TO_BANK_GROUP + _TO_DIE_EDGE,
            write=_CELL_ACCESS + _TO_BANK_GROUP + _TO_DIE_EDGE,  # source: the same figures, given for reads and writes
            io=_STACK_VIA + _INTERPOSER,
            note="FGDRAM (MICRO 2017), as AttAcc uses it",
        ),
        EnergyTable(
            name="HBM2E",
            average=6000,  # source: Micron, ultra-bandwidth solutions table: 6.0 pJ/bit
            note="Micron, ultra-bandwidth solutions table",
        ),
        EnergyTable(name="HBM3", note="none found"),
        EnergyTable(
            name="HBM3E",
            average=3900,  # source: press on Samsung's HBM4E roadmap: 3.9 pJ/bit
            note="press on Samsung's roadmap; a blog's 7 to 9 pJ/bit is a system's, not a device's",
        ),
        EnergyTable(name="HBM4", note="only SK hynix's claim of more than 40 % over HBM3E"),
        EnergyTable(name="LPDDR4X", note="none found"),
        EnergyTable(name="LPDDR5", note="none found"),
        EnergyTable(name="LPDDR5X", note="none found"),
        EnergyTable(name="DDR5", note="none found"),
        EnergyTable(
            name="GDDR6",
            average=7500,  # source: Micron, ultra-bandwidth solutions table: 7.5 pJ/bit
            note="Micron, ultra-bandwidth solutions table",
        ),
        EnergyTable(
            name="GDDR6X",
            average=7250,  # source: Micron, ultra-bandwidth solutions table: 7.25 pJ/bit
            note="Micron, ultra-bandwidth solutions table",
        ),
        EnergyTable(name="GDDR7", note="only Micron's claim of more than 50 % over GDDR6"),
        EnergyTable(
            name="HBF",
            average=20_000,  # source: notes on Ma & Patterson (IEEE Computer 2026): reads, 8 to 30 pJ/bit, nominal 20
            note="of reads: nominal of 8 to 30 pJ/bit in notes on Ma & Patterson; vendors claim HBM4's power profile",
        ),
    )
}
"""Tables by name of the standard."""


@dataclass(frozen=True, slots=True)
class EnergyBill:
    """Femtojoules of a run by part; a part that no source covers is not in it."""

    femtojoules: dict[str, int]
    absent: tuple[str, ...]
    """Parts that the run used and no source covers: the sum is a lower bound while one stands here."""

    @property
    def total(self) -> int:
        """Sum of the parts that are known."""
        return sum(self.femtojoules.values())


@dataclass(frozen=True, slots=True)
class BitEnergy:
    """Energy of a bit that the pattern moves, as far as sources say."""

    by_part: dict[str, Fraction]
    """Femtojoules by part of `PARTS`, of the parts that a source covers."""
    absent: tuple[str, ...]
    """Parts that the pattern uses and no source covers."""
    average: int | None
    """Femtojoules of the whole device under a mixed load, where a source has no more than that."""
    source: str

    def as_json(self) -> dict[str, Any]:
        """Return picojoules per bit; a part without a source is null."""
        known = {name: float(part) / 1000 for name, part in self.by_part.items()}
        parts = {name: known.get(name) for name in PARTS if name in known or name in self.absent}
        average = None if self.average is None else self.average / 1000
        return {"pj_per_bit": parts, "device_average_pj_per_bit": average, "source": self.source}


def energy_table(name: str, *, place: str) -> EnergyTable:
    """Return the table of memory *name*. Raises `InputError` naming *place* for one that has none."""
    if name not in ENERGY:
        known = f"one of {', '.join(ENERGY)}{did_you_mean(name, ENERGY)}"
        raise InputError(Problem(place, "energy", name, known))
    return ENERGY[name]


def _by_part(table: EnergyTable) -> dict[str, int | None]:
    return dict(zip(PARTS, (table.activation, table.read, table.write, None, table.io), strict=True))


_PART_OF = {"ACT": "activation", "RD": "read", "RDA": "read", "WR": "write", "WRA": "write", "REFA": "refresh",
            "REFB": "refresh"}  # fmt: skip
"""Part that a command belongs to; the others (PRE, PREA, ACT2, CAS) cost nothing beyond it: an activation's energy
includes closing the row."""


def command_femtojoules(table: EnergyTable, command: str, device: Device) -> dict[str, int | None]:
    """Return the femtojoules of one *command* to *device* by part, `None` for a part that no source covers.

    A column command moves one transaction through the device and over its I/O; an activation opens a whole row. Raises
    `ValueError` for a command that does not exist.
    """
    if command not in COMMANDS:
        raise ValueError(f"no such command: {command}")
    part = _PART_OF.get(command)
    if part is None:
        return {}
    per_bit = _by_part(table)
    transactions = device.row_transactions if part == "activation" else 1
    bits = 8 * device.transaction_bytes * transactions
    return {name: _times(bits, per_bit[name]) for name in ((part, "io") if part in ("read", "write") else (part,))}


def _times(bits: int, fj_per_bit: int | None) -> int | None:
    return None if fj_per_bit is None else bits * fj_per_bit


def bill_of(name: str, device: Device, commands: tuple[int, ...], *, place: str) -> EnergyBill:
    """Return the energy of *commands* issued to *device* (counts aligned with `COMMANDS`) as memory *name*.

    Raises `InputError` naming *place* for a memory without a table.
    """
    table = energy_table(name, place=place)
    known: dict[str, int] = {}
    absent: set[str] = set()
    for command, count in zip(COMMANDS, commands, strict=True):
        for part, femtojoules in command_femtojoules(table, command, device).items():
            if femtojoules is not None:
                known[part] = known.get(part, 0) + count * femtojoules
            elif count > 0:
                absent.add(part)
    return EnergyBill(known, tuple(part for part in PARTS if part in absent))


def bits_moved(device: Device, commands: tuple[int, ...]) -> int:
    """Return the bits that the column commands among *commands* moved."""
    columns = sum(n for name, n in zip(COMMANDS, commands, strict=True) if name in ("RD", "RDA", "WR", "WRA"))
    return 8 * device.transaction_bytes * columns


def energy_of(device: Device, commands: tuple[int, ...]) -> BitEnergy:
    """Return what a bit cost that *commands* moved over *device*, as far as sources say; refreshes are shared out.

    Raises `ValueError` where nothing was moved.
    """
    bits = bits_moved(device, commands)
    if not bits:
        raise ValueError(f"{device.name}: no bit was moved")
    table = energy_table(device.name, place="energy")
    bill = bill_of(device.name, device, commands, place="energy")
    by_part = {name: Fraction(bill.femtojoules[name], bits) for name in PARTS if bill.femtojoules.get(name)}
    return BitEnergy(by_part, bill.absent, table.average, table.note)


def average_energy_of(name: str) -> BitEnergy:
    """Return what is known of a bit of memory *name* that no DRAM command moves: an average, or nothing."""
    if name not in ENERGY:
        return BitEnergy({}, ("access",), None, "none found")
    table = ENERGY[name]
    return BitEnergy({}, ("access",) if table.average is None else (), table.average, table.note)
