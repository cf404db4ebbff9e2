"""Power against silicon: the share of its design power that a chip draws on average over a batch of requests.

Rows are those of the decode schema whose metric is `average_power_fraction_of_tdp`; hosts and links of the row's
machine are left out, as the meters of chips leave them out. The requests arrive together and are replayed, so prefill
and decode stand in the average as they do in the measurement. A row of zero was not measured. Splitwise's rows were in
view when the A100's figures were fitted (batch 1 to 4, prompts to 1,024 tokens); its longer and larger ones were not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from archsim.errors import ArchsimError
from archsim.hardware.energy import energy_costs
from archsim.result import Energy
from archsim.summary.energy import energy_of
from archsim.summary.parts import Books
from archsim.validation.decode import COLUMNS, identity_of, request_of, shape_of
from archsim.validation.machines import Machine, machine, precision_of
from archsim.validation.network import Row, row
from archsim.validation.published import POWER
from archsim.validation.table import Record, number, read_table, whole

__all__ = ["METRIC", "chip_energy", "suite"]

METRIC = "average_power_fraction_of_tdp"
_UNLOADED = 0.25
"""Below a quarter of its design power no chip of the tables serves anything: what a meter reads without load."""


def suite(reference: Path | None) -> list[Row]:
    """Return one row a measurement of power. Raises `InputError` for a file of another schema."""
    records: Iterable[Record] = POWER if reference is None else read_table(reference, COLUMNS)
    return [_row(record) for record in records]


def _row(record: Record) -> Row:
    expected = number(record, "value")
    predicted, reason = _predict(record, expected)
    return row(identity_of(record), record["metric"], expected, predicted, reason)


def _predict(record: Record, expected: float | None) -> tuple[float | None, str | None]:
    if record["metric"] != METRIC or not expected or expected < _UNLOADED:
        return None, "not a power, not measured, or a reading without load"
    precision, shape, chips = precision_of(record["precision"]), shape_of(record), whole(record, "chips")
    if precision is None or shape is None or not chips:
        return None, "precision, chips, batch or lengths are not stated"
    try:
        made = machine(request_of(record, precision, chips))
        spent = chip_energy(made, shape.batch, shape.prompt, shape.output)
    except ArchsimError as error:
        return None, str(error)
    if spent is None or spent.tdp_watts is None:
        return None, f"no design power or no energy of {made.spec.chip.name} is stated"
    chips_watts = spent.average_watts - _hosts(spent)
    return chips_watts / made.spec.chips / spent.tdp_watts, None


def _hosts(spent: Energy) -> float:
    """Return the watts of hosts and links in *spent*."""
    others = [joules for part, joules in spent.by_part.items() if not part.startswith("chip.")]
    return math.fsum(others) / spent.joules * spent.average_watts


def chip_energy(made: Machine, batch: int, prompt: int, output: int) -> Energy | None:
    """Return the energy of *batch* equal requests that arrive together on *made*."""
    record = made.served(batch, prompt, output)
    steps = made.costs.records
    part = Books(steps).part(record.windows, record.total)
    seconds = record.end_ps / 10**12
    return energy_of(
        made.spec,
        [part],
        steps,
        costs=energy_costs(made.spec),
        simulated_s=seconds,
        output_tokens=batch * output,
    )
