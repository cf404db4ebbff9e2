"""GDDR6: 16-bit channels, 14 to 16 Gb/s a pin."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["GDDR6"]

_RAMULATOR = "Ramulator 2.1 gddr6.py GDDR6_14000_1350mV_double"

GDDR6 = Standard(
    name="GDDR6",
    document="JEDEC JESD250",
    lane_bits=16,
    burst_length=16,
    bits_per_clock=8,
    bank_groups=4,
    banks_per_group=4,
    page_bytes=2048,
    bus=0,
    half_clocks=False,
    activate_clocks=1,
    column_clocks=1,
    stack_ids=False,
    grade_bits_per_s=14_000_000_000,
    sets={
        "ramulator2.1": {
            **at_grade(
                570,
                _RAMULATOR,
                {"CL": 24, "CWL": 6, "tRCDRD": 27, "tRCDWR": 16, "tRP": 27, "tRAS": 53, "tWR": 27,
                 "tRTP": 4, "tRRDS": 8, "tRRDL": 8, "tFAW": 29, "tWTRS": 9, "tWTRL": 11, "tREFI": 3333,
                 "tRFCpb": 106, "tRREFD": 15, "tRTW": 25},
            ),
            "tRC": ns("45.6", f"{_RAMULATOR}: nRAS 53 + nRP 27 clocks of 570 ps; its nRC of 79 is less"),
            "tPPD": clocks(1, f"{_RAMULATOR}: nPPD"),
            "tCCDS": clocks(2, f"{_RAMULATOR}: nCCDS"),
            "tCCDL": clocks(4, f"{_RAMULATOR}: nCCDL"),
        },
    },
    refresh=((16, ns("120.27", f"{_RAMULATOR}: nRFCab, 211 clocks of 570 ps")),),
    default_channel_gbit=8,
)  # fmt: skip
