"""The memory floor against other DRAM simulators: every row of a table of runs of Ramulator 2.1 or DRAMsim3.

A reference file is a CSV with a row per run (configuration, pattern, parameter, number of requests, sustained share of
peak `util_steady`), its parameters a JSON file with every timing and mapping of every configuration. The simulator
named in a row chooses the controller profile. A row is rerun request by request, from the definition of its stream.

Without a file the suite compares the channel with closed forms that hold where one constraint binds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from archsim.dram.address import AddressMap
from archsim.dram.channel import simulate
from archsim.dram.described import (
    dramsim3_device,
    dramsim3_map,
    dramsim3_profile,
    ramulator2_device,
    ramulator2_map,
    ramulator2_profile,
)
from archsim.dram.device import Device
from archsim.dram.profile import Profile
from archsim.dram.streams import Domain, make_stream
from archsim.errors import ArchsimError, InputError, Problem
from archsim.files import read_json
from archsim.validation.dram_closed import closed_forms
from archsim.validation.table import Record, number, read_table, whole

__all__ = ["COLUMNS", "DEVICE_BOUND", "Row", "beyond", "class_of_pattern", "class_of_row", "suite"]

Row = dict[str, Any]
"""`id, group, expected, predicted, error, skipped`: one line of `archsim validate --json`."""

DEVICE_BOUND = ("seq", "seqw", "stride", "rand", "conflict")
"""Patterns that the device bounds whatever the controller does; chunks of 4 KiB and more are a sixth."""
_DEVICE_BOUND_CHUNK = 4096
_MOST_ERROR = {"device-bound": 0.03, "policy-bound": 0.10}
"""Bar of a single row: what the 95th percentile of its class may be."""
_DIGITS = 0.00005
"""References state four digits: half of the last one."""
COLUMNS = ("simulator", "config_id", "pattern", "param", "n_requests", "tx_bytes", "util_steady")
"""Columns of a table of the suite."""
_MOST_REQUESTS = 2_000_000


@dataclass(frozen=True, slots=True)
class _Simulator:
    """How a simulator describes its configurations."""

    parameters: str
    """Name of the parameter file beside the reference."""
    device: Callable[[str, dict[str, Any]], Device]
    map: Callable[[dict[str, Any]], AddressMap]
    profile: Callable[[dict[str, Any]], Profile]


_SIMULATORS = {
    "ramulator2": _Simulator("params_ramulator2.json", ramulator2_device, ramulator2_map, ramulator2_profile),
    "dramsim3": _Simulator("params_dramsim3.json", dramsim3_device, dramsim3_map, dramsim3_profile),
}
"""By the beginning of the name in column `simulator`."""


def class_of_row(row: Mapping[str, Any]) -> str:
    """Return the class of a row of this suite, from its identity."""
    words = str(row["id"]).split()
    param = number({"param": words[2]}, "param") if len(words) > 3 else None
    return class_of_pattern(str(row["group"]), int(param or 0))


def class_of_pattern(pattern: str, param: int) -> str:
    """Return `device-bound` or `policy-bound`: which bar a row is held to."""
    bound = pattern in DEVICE_BOUND or (pattern == "chunk" and param >= _DEVICE_BOUND_CHUNK)
    return "device-bound" if bound else "policy-bound"


def beyond(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
    """Return the rows whose error is beyond the bar of their class, furthest first, each with its cause.

    Digits of the reference explain an error that is no more than half of the last one; nothing else is known for sure.
    """
    far = [row for row in rows if row["error"] is not None and abs(row["error"]) > _MOST_ERROR[class_of_row(row)]]
    return [
        (row, "the reference's last digit" if abs(row["predicted"] - row["expected"]) <= _DIGITS else "not explained")
        for row in sorted(far, key=lambda row: -abs(row["error"]))
    ]


def suite(reference: Path | None, params: Path | None = None) -> list[Row]:
    """Return the rows of *reference*, or of the closed forms.

    *params* is the parameter file; by default the one of the simulator's name beside the reference. Raises `InputError`
    for a file of another schema, parameters that are absent or cannot be read, and parameters without a reference.
    """
    if reference is None:
        if params is not None:
            raise InputError(Problem(str(params), "--params", "", "parameters of a --reference"))
        return closed_forms()
    records = list(read_table(reference, COLUMNS))
    for simulator in dict.fromkeys(record["simulator"] for record in records):
        if (described := _described(simulator)) is not None:
            _parameters(_parameter_file(reference, params, described))
    return [_rerun(reference, params, record) for record in records]


def _described(simulator: str) -> _Simulator | None:
    return next((value for name, value in _SIMULATORS.items() if simulator.startswith(name)), None)


def _parameter_file(reference: Path, params: Path | None, described: _Simulator) -> Path:
    path = params or reference.parent / described.parameters
    if not path.is_file():
        raise InputError(Problem(str(path), "--params", "", "the parameter file of the reference's configurations"))
    return path


def _rerun(reference: Path, params: Path | None, record: Record) -> Row:
    config, pattern = record["config_id"], record["pattern"]
    identity = f"{config} {pattern} {record['param']} util_steady"
    expected, param = number(record, "util_steady"), number(record, "param")
    requests, transaction = whole(record, "n_requests"), whole(record, "tx_bytes")
    if expected is None or param is None or not requests or not transaction:
        return _row(identity, pattern, expected, None, "a number is missing or cannot be read")
    if requests > _MOST_REQUESTS:
        return _row(identity, pattern, expected, None, f"more than {_MOST_REQUESTS:,} requests")
    try:
        device, address_map, profile = _configuration(reference, params, record["simulator"], config)
        domain = Domain(1 << address_map.bits, transaction, address_map.lowest_row_bit())
        stream = make_stream(pattern, int(param), requests=requests, domain=domain, place=str(reference))
        predicted = float(simulate(device, address_map, profile, stream).utilisation)
    except _UnmodelledError as error:
        return _row(identity, pattern, expected, None, str(error))
    except ArchsimError as error:
        return _row(identity, pattern, expected, None, str(error).splitlines()[0])
    return _row(identity, pattern, expected, predicted, None)


def _row(identity: str, group: str, expected: float | None, predicted: float | None, skipped: str | None) -> Row:
    compared = expected and predicted is not None
    error = (predicted - expected) / expected if compared and expected and predicted is not None else None
    reason = skipped or (None if compared else "the expected value is zero or absent")
    return {"id": identity, "group": group, "expected": expected, "predicted": predicted, "error": error,
            "skipped": reason}  # fmt: skip


class _UnmodelledError(Exception):
    """A configuration that the description leaves incomplete or that names something unknown."""


def _configuration(
    reference: Path, params: Path | None, simulator: str, config: str
) -> tuple[Device, AddressMap, Profile]:
    described = _described(simulator)
    if described is None:
        raise _UnmodelledError(f"simulator {simulator[:40]!r} is not one of {', '.join(_SIMULATORS)}")
    path = _parameter_file(reference, params, described)
    parameters = _parameters(path).get(config)
    if not isinstance(parameters, dict):
        raise _UnmodelledError(f"{path.name} has no configuration {config[:80]!r}")
    try:
        device = described.device(config, parameters)
        return device, described.map(parameters), described.profile(parameters)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _UnmodelledError(f"{path.name}: {config[:60]}: {type(error).__name__} {error}") from None


@lru_cache(maxsize=4)
def _parameters(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(Problem(str(path), "", "", "an object: configuration -> parameters"))
    return content
