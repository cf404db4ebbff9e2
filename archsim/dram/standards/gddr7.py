"""GDDR7: 8-bit channels, 28 to 32 Gb/s a pin. The public preset calls itself no vendor table; it is the only one."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["GDDR7"]

_RAMULATOR = "Ramulator 2.1 gddr7.py (self-declared no vendor table)"

GDDR7 = Standard(
    name="GDDR7",
    document="JEDEC JESD239",
    lane_bits=8,
    burst_length=32,
    bits_per_clock=16,
    bank_groups=1,
    banks_per_group=16,
    page_bytes=2048,
    bus=1,
    half_clocks=False,
    activate_clocks=2,
    column_clocks=2,
    stack_ids=False,
    grade_bits_per_s=28_000_000_000,
    sets={
        "ramulator2.1": {
            **at_grade(
                571,
                _RAMULATOR,
                {"CL": 24, "CWL": 6, "tRCDRD": 30, "tRCDWR": 19, "tRP": 30, "tRAS": 60, "tRC": 90, "tWR": 30,
                 "tRTP": 4, "tRRDS": 4, "tRRDL": 4, "tWTRS": 9, "tWTRL": 11, "tRTW": 12, "tREFI": 3327,
                 "tRFCpb": 105, "tRREFD": 21},
            ),
            "tFAW": clocks(0, f"{_RAMULATOR}: has none"),
            "tPPD": clocks(2, f"{_RAMULATOR}: nPPD"),
            "tCCDS": clocks(2, f"{_RAMULATOR}: nCCD"),
            "tCCDL": clocks(4, f"{_RAMULATOR}: nCCDSB, same bank; no bank groups"),
        },
    },
    refresh=((32, ns("179.865", f"{_RAMULATOR}: nRFCab, 315 clocks of 571 ps")),),
    default_channel_gbit=8,
)  # fmt: skip
