"""DDR5: 32-bit subchannels of x8 devices, 6.4 Gb/s a pin, eight bank groups."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["DDR5"]

_RAMULATOR = "Ramulator 2.1 ddr5.py"

DDR5 = Standard(
    name="DDR5",
    document="JEDEC JESD79-5",
    lane_bits=32,
    burst_length=16,
    bits_per_clock=2,
    bank_groups=8,
    banks_per_group=4,
    page_bytes=4096,
    bus=0,
    half_clocks=False,
    activate_clocks=2,
    column_clocks=2,
    stack_ids=False,
    grade_bits_per_s=6_400_000_000,
    sets={
        "ramulator2.1": {
            **at_grade(
                312,
                _RAMULATOR,
                {"CL": 46, "CWL": 44, "tRCDRD": 46, "tRCDWR": 46, "tRP": 46, "tRAS": 103, "tRC": 149, "tWR": 96,
                 "tRTP": 24, "tRRDS": 16, "tRRDL": 16, "tFAW": 64, "tWTRS": 5, "tWTRL": 32, "tREFI": 12500,
                 "tCCDL": 16, "tCCDLWR": 64},
            ),
            "tRFCpb": ns("130", "assumption: tRFCsb of 16 Gb as DDR5 datasheets state; Ramulator 2.1 has none"),
            "tRREFD": ns("30", "assumption: tREFSBRD as DDR5 datasheets state; Ramulator 2.1 has none"),
            "tWPRE": clocks(2, f"{_RAMULATOR}: write preamble in its read-to-write wait"),
            "tPPD": clocks(2, f"{_RAMULATOR}: nPPD"),
            "tCCDS": clocks(8, f"{_RAMULATOR}: nCCDS"),
        },
    },
    refresh=(
        (64, ns("295", f"{_RAMULATOR}: nRFC of 16 Gb devices, 946 clocks of 312 ps")),
        (128, ns("410", "assumption: tRFC1 of 32 Gb devices as DDR5 datasheets state")),
    ),
    default_channel_gbit=64,
)  # fmt: skip
